import { isUtf8 } from 'node:buffer';
import { readPickle, writePickle } from '../../python/index.ts';
import type { PickleProtocol, PythonInput, PythonValue } from '../../python/index.ts';

/**
 * How a whole file is read and written. `serialize` must give equal bytes for equal contents; `Input` is what may be written, where that
 * is more than what is read.
 */
export interface DocumentFormat<Contents, Input = Contents> {
  readonly name: string;
  /** Throws for bytes that are no such file. Must not evaluate anything. */
  readonly parse: (bytes: Uint8Array) => Contents;
  readonly serialize: (contents: Input | Contents) => Uint8Array;
}

/**
 * Python pickles: built-in values and numpy arrays of numbers, read without running code. `plain` from `changeover/python` turns what is read into
 * plain objects.
 *
 * @param options.protocol Protocol to write, 2 to 5; default 4.
 */
export function pickleFormat(
  options: { readonly protocol?: PickleProtocol } = {},
): DocumentFormat<PythonValue, PythonInput> {
  const protocol = options.protocol ?? 4;
  return {
    name: `pickle ${protocol}`,
    parse: (bytes) => readPickle(bytes),
    serialize: (contents) => writePickle(contents, { protocol }),
  };
}

export type JsonValue =
  null | boolean | number | bigint | string | readonly JsonValue[] | { readonly [key: string]: JsonValue };

/**
 * JSON files. Integers that no double holds are `bigint` and are written as they were.
 *
 * @param options.indent Spaces or a string for each level; default 2. 0 writes one line.
 */
export function jsonFormat(options: { readonly indent?: number | string } = {}): DocumentFormat<JsonValue> {
  const indent = options.indent ?? 2;
  return {
    name: 'json',
    parse: (bytes) => {
      if (!isUtf8(bytes)) throw new SyntaxError('the bytes are not UTF-8');
      return JSON.parse(Buffer.from(bytes).toString('utf8'), exactly) as JsonValue;
    },
    serialize: (contents) => Buffer.from(`${JSON.stringify(contents, rawIntegers, indent)}\n`),
  };
}

/** Part of the language since ES2026, not yet of the compiler's library. */
const { rawJSON } = JSON as unknown as { readonly rawJSON: (text: string) => unknown };

function rawIntegers(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? rawJSON(String(value)) : value;
}

/** `context.source` is the number as it stands in the text. */
function exactly(this: unknown, _key: string, value: unknown, context?: { readonly source?: string }): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value)) return value;
  return context?.source !== undefined && /^-?\d+$/.test(context.source) ? BigInt(context.source) : value;
}
