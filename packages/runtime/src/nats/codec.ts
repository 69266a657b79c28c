import { reasonOf, RuntimeError } from '../errors.ts';

/** First bytes of an item on its way between machines; the digit is the version of what follows. */
const MAGIC = Buffer.from('CHQ1');
const LENGTH_BYTES = 4;
const MAX_DEPTH = 100;

type Path = readonly (string | number)[];

interface Binary {
  readonly path: Path;
  readonly length: number;
  /** It lay in memory that all threads share, and does again where it arrives. */
  readonly isShared: boolean;
}

/**
 * A value as bytes: the length of a header, the header in JSON, and behind it the bytes of every Uint8Array as they are, so that a picture does
 * not grow.
 *
 * @throws RuntimeError RUN_TRANSPORT_VALUE where something in it would not arrive as it is.
 */
export function encode(value: unknown, stage: string): Uint8Array {
  const binaries: Binary[] = [];
  const parts: Uint8Array[] = [];
  const refuse = (path: Path, what: string): never => {
    const at = path.length === 0 ? 'the item itself' : `item.${path.join('.')}`;
    throw new RuntimeError('RUN_TRANSPORT_VALUE', { stage, at, what });
  };
  const plain = (part: unknown, path: Path): unknown => {
    if (path.length > MAX_DEPTH) return refuse(path.slice(0, 3), `nested deeper than ${MAX_DEPTH}, or in a circle`);
    if (part === null || typeof part === 'string' || typeof part === 'boolean') return part;
    if (typeof part === 'number') return Number.isFinite(part) ? part : refuse(path, String(part));
    if (typeof part !== 'object') return refuse(path, part === undefined ? 'undefined' : `a ${typeof part}`);
    if (part instanceof Uint8Array) {
      binaries.push({ path, length: part.length, isShared: part.buffer instanceof SharedArrayBuffer });
      parts.push(part);
      return null;
    }
    if (Array.isArray(part)) return Array.from(part, (each, index) => plain(each, [...path, index]));
    const prototype: unknown = Object.getPrototypeOf(part);
    if (prototype !== Object.prototype && prototype !== null) {
      const { constructor: made }: { constructor?: unknown } = part;
      return refuse(path, `of the class ${typeof made === 'function' ? made.name : 'of nobody'}`);
    }
    const present = Object.entries(part).filter(([, each]) => each !== undefined);
    // fromEntries makes `__proto__` a property like any other.
    return Object.fromEntries(present.map(([name, each]) => [name, plain(each, [...path, name])]));
  };
  const header = Buffer.from(JSON.stringify({ value: plain(value, []), binaries }));
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32BE(header.length);
  return Buffer.concat([MAGIC, length, header, ...parts]);
}

/**
 * The value of such bytes, which anybody may have written.
 *
 * @throws RuntimeError RUN_TRANSPORT_BYTES.
 */
export function decode(data: Uint8Array, stage: string): unknown {
  try {
    return decoded(Buffer.from(data.buffer, data.byteOffset, data.length));
  } catch (error) {
    throw new RuntimeError(
      'RUN_TRANSPORT_BYTES',
      { stage, bytes: data.length, reason: reasonOf(error) },
      { cause: error },
    );
  }
}

function decoded(data: Buffer): unknown {
  const start = MAGIC.length + LENGTH_BYTES;
  if (data.length < start || !data.subarray(0, MAGIC.length).equals(MAGIC))
    throw new Error(`it does not begin with ${MAGIC.toString()}`);
  const end = start + data.readUInt32BE(MAGIC.length);
  if (end > data.length) throw new Error(`its header ends at ${end}, behind its end`);
  const header = JSON.parse(data.toString('utf8', start, end)) as { value: unknown; binaries: Binary[] };
  let root = header.value;
  if (root === undefined) throw new Error('its header has no value');
  let at = end;
  for (const { path, length, isShared } of header.binaries) {
    if (!Number.isSafeInteger(length) || length < 0 || at + length > data.length)
      throw new Error(`a binary of ${length} bytes at ${at} ends behind its end`);
    const bytes = new Uint8Array(isShared ? new SharedArrayBuffer(length) : new ArrayBuffer(length));
    bytes.set(data.subarray(at, at + length));
    at += length;
    root = placed(root, path, bytes);
  }
  if (at !== data.length) throw new Error(`${data.length - at} bytes are left over`);
  return root;
}

/** Puts the bytes where a null stands for them, and only there: nothing that the value inherits is touched. */
function placed(root: unknown, path: Path, bytes: Uint8Array): unknown {
  const [name, ...rest] = path;
  if (name === undefined) {
    if (root !== null) throw new Error('a binary has no place');
    return bytes;
  }
  if (typeof root !== 'object' || root === null || !Object.hasOwn(root, name))
    throw new Error(`a binary has no place at ${name}`);
  const value: unknown = placed((root as Record<string | number, unknown>)[name], rest, bytes);
  Object.defineProperty(root, name, { value, enumerable: true, configurable: true, writable: true });
  return root;
}
