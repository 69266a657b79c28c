import type { Value } from '../../plan/stores.ts';

/** A value that a column of the other side cannot hold so that the same value comes back. */
export class Unfit extends Error {}

/** How the values of one column travel. `null` never enters it. Both ways throw `Unfit`. */
export interface Codec {
  readonly to: (value: Value) => Value;
  readonly back: (value: Value) => Value;
}

/** Ways of a value, before anybody looks whether it comes back. */
export interface RawCodec extends Codec {
  /** Equality of two values of the target; default: the same value bit by bit. */
  readonly isSameTarget?: (a: Value, b: Value) => boolean;
}

/** The same value bit by bit: `0` and `-0` differ, `1` and `1n` do not. */
function isSameValue(a: Value, b: Value): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0;
  if (typeof a === 'bigint' || typeof b === 'bigint')
    return (isWhole(a) || typeof a === 'bigint') && (isWhole(b) || typeof b === 'bigint') && BigInt(a) === BigInt(b);
  return Object.is(a, b);
}

function isWhole(value: Value): value is number {
  return typeof value === 'number' && Number.isInteger(value) && !Object.is(value, -0);
}

/** Lets a value pass only where the way back gives it again: so whatever arrives comes back. */
export function checked({ to, back, isSameTarget = isSameValue }: RawCodec): Codec {
  return {
    to: (value) => {
      const made = to(value);
      const returned = back(made);
      if (!isSameValue(returned, value)) throw new Unfit(`it would come back as ${shown(returned)}`);
      return made;
    },
    back: (value) => {
      const made = back(value);
      const returned = to(made);
      if (!isSameTarget(returned, value)) throw new Unfit(`it would come back as ${shown(returned)}`);
      return made;
    },
  };
}

const SHOWN_CHARACTERS = 40;

/** A value for people, on one line, shortened. */
export function shown(value: Value): string {
  const text =
    value instanceof Uint8Array
      ? `x'${Buffer.from(value).toString('hex')}'`
      : typeof value === 'string'
        ? JSON.stringify(value)
        : Object.is(value, -0)
          ? '-0'
          : String(value);
  return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
}

/** What a value is, in SQLite's words: `integer`, `real`, `text`, `blob`. */
export function storageClass(value: Value): string {
  if (value instanceof Uint8Array) return 'blob';
  if (typeof value === 'string') return 'text';
  if (typeof value === 'bigint' || isWhole(value)) return 'integer';
  return typeof value === 'number' ? 'real' : typeof value === 'boolean' ? 'boolean' : 'null';
}
