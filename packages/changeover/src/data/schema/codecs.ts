import type { Value } from '../../plan/stores.ts';
import { exactInteger } from '../values.ts';
import { storageClass, Unfit, type RawCodec } from './codec.ts';

/** The ways of values between what SQLite stores and what a typed engine holds. */

const MAX_INT64 = 2n ** 63n - 1n;
const DASHED = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

const unchanged = (value: Value) => value;

function only(value: Value, ...classes: readonly string[]): void {
  const own = storageClass(value);
  if (!classes.includes(own)) throw new Unfit(`it is stored as ${own}, not ${classes.join(' or ')}`);
}

function asText(value: Value): string {
  only(value, 'text');
  const text = value as string;
  if (text.includes('\0')) throw new Unfit('it has a NUL character, which ends a text elsewhere');
  return text;
}

/** Whole numbers between the limits of a signed type of `bits`. */
export function integers(bits: 16 | 32 | 64): RawCodec {
  const limit = bits === 64 ? MAX_INT64 : 2n ** BigInt(bits - 1) - 1n;
  const to = (value: Value) => {
    only(value, 'integer');
    const whole = BigInt(value as number | bigint);
    if (whole > limit || whole < -limit - 1n) throw new Unfit(`it does not fit ${bits} bits`);
    return exactInteger(whole);
  };
  return { to, back: unchanged };
}

/** Doubles of SQLite, which has no NaN and no negative zero. */
function double(value: Value): Value {
  const real = typeof value === 'bigint' ? Number(value) : value;
  if (typeof real !== 'number') throw new Unfit(`it is stored as ${storageClass(value)}, not real`);
  if (Number.isNaN(real)) throw new Unfit('SQLite has no NaN');
  if (Object.is(real, -0)) throw new Unfit('SQLite has no negative zero');
  return real;
}

export const reals: RawCodec = { to: double, back: double };

/** In a column without affinity SQLite tells 1 and 1.0 apart, and the store gives them as `bigint` and `number`. */
export function untypedIntegers(bits: 16 | 32 | 64): RawCodec {
  const { to } = integers(bits);
  return {
    to: (value) => {
      if (typeof value === 'number') throw new Unfit('it is stored as real, not integer');
      return to(value);
    },
    back: (value) => BigInt(value as number | bigint),
  };
}

export const untypedReals: RawCodec = {
  to: (value) => {
    if (typeof value === 'bigint') throw new Unfit('it is stored as integer, not real');
    return double(value);
  },
  back: double,
};

/** 0 and 1 as false and true. */
export const booleans: RawCodec = {
  to: (value) => {
    only(value, 'integer');
    if (value !== 0 && value !== 1 && value !== 0n && value !== 1n) throw new Unfit('it is neither 0 nor 1');
    return Number(value) === 1;
  },
  back: (value) => (value === true ? 1 : 0),
};

export const texts: RawCodec = { to: asText, back: asText };

export const bytes: RawCodec = {
  to: (value) => {
    only(value, 'blob');
    return value;
  },
  back: unchanged,
};

/** A column whose affinity makes numbers of texts that look like numbers: as text, and back by the same rule. */
export const numericTexts: RawCodec = {
  to: (value) => {
    only(value, 'integer', 'real', 'text');
    return typeof value === 'string' ? asText(value) : numberText(value as number | bigint);
  },
  back: (value) => (DECIMAL.test(String(value)) ? numberOf(String(value)) : value),
};

/** Integers and doubles of a NUMERIC column as exact decimals. */
export const decimals: RawCodec = {
  to: (value) => {
    only(value, 'integer', 'real');
    return numberText(value as number | bigint);
  },
  back: (value) => numberOf(String(value)),
  isSameTarget: (a, b) => plainDecimal(String(a)) === plainDecimal(String(b)),
};

/** Without an exponent, so that it is the text that a decimal type gives back. */
function numberText(value: number | bigint): string {
  if (typeof value === 'number' && !Number.isFinite(value)) throw new Unfit('a decimal has no infinity');
  return plainDecimal(String(value));
}

/** The nearest double, or the integer where it is whole and fits SQLite's 64 bits: what NUMERIC affinity stores. */
function numberOf(text: string): Value {
  if (!DECIMAL.test(text)) throw new Unfit('it is not a number of SQLite');
  const plain = plainDecimal(text);
  if (/^-?\d+$/.test(plain)) {
    const whole = BigInt(plain);
    if (whole <= MAX_INT64 && whole >= -MAX_INT64 - 1n) return exactInteger(whole);
  }
  return Number(plain);
}

/** A decimal without exponent, plus sign, leading or trailing zeros: equal values have equal texts. */
export function plainDecimal(text: string): string {
  const match = /^([+-]?)(\d*)\.?(\d*)(?:e([+-]?\d+))?$/i.exec(text);
  if (match === null) return text;
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = match;
  const digits = whole + fraction;
  const point = whole.length + Number(exponent);
  const padded = point < 0 ? '0'.repeat(-point) + digits : digits.padEnd(point, '0');
  const at = Math.max(point, 0);
  const left = padded.slice(0, at).replace(/^0+/, '') || '0';
  const right = padded.slice(at).replace(/0+$/, '');
  const value = right === '' ? left : `${left}.${right}`;
  return sign === '-' && value !== '0' ? `-${value}` : value;
}

/** JSON documents as their text; a column of NUMERIC affinity keeps bare numbers as numbers. */
export function jsons(hasNumericAffinity: boolean): RawCodec {
  const base = hasNumericAffinity ? numericTexts : texts;
  return {
    to: (value) => {
      const text = base.to(value) as string;
      try {
        JSON.parse(text);
      } catch {
        throw new Unfit('it is not JSON');
      }
      return text;
    },
    back: base.back,
  };
}

export const dashedUuids: RawCodec = {
  to: (value) => {
    if (!DASHED.test(asText(value))) throw new Unfit('it is not a UUID in lower case with dashes');
    return value;
  },
  back: unchanged,
};

/** 32 hexadecimal digits without dashes. */
export const hexUuids: RawCodec = {
  to: (value) => dashed(asText(value)),
  back: (value) => String(value).replaceAll('-', ''),
};

export const byteUuids: RawCodec = {
  to: (value) => {
    only(value, 'blob');
    return dashed(Buffer.from(value as Uint8Array).toString('hex'));
  },
  back: (value) => new Uint8Array(Buffer.from(String(value).replaceAll('-', ''), 'hex')),
};

function dashed(hex: string): string {
  if (!/^[0-9a-f]{32}$/.test(hex)) throw new Unfit('it is not a UUID of 32 digits in lower case');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

/** The way of the other direction: what a typed engine holds, kept in SQLite. */
export function swapped({ to, back }: RawCodec): RawCodec {
  return { to: back, back: to };
}

/** Postgres gives 4-byte reals as the shortest decimal that means them; the double nearest to that is what SQLite keeps. */
export const singles: RawCodec = {
  to: double,
  back: (value) => {
    const real = double(value) as number;
    const single = Math.fround(real);
    if (!Number.isFinite(single) || single === 0) return single;
    for (let digits = 1; digits <= SINGLE_DIGITS; digits++) {
      const shortest = Number(single.toPrecision(digits));
      if (Math.fround(shortest) !== single || isHalfway(shortest, single)) continue;
      // Of two that are equally near either is right.
      const other = Number((2 * single - shortest).toPrecision(digits));
      return real === other && single - other === shortest - single ? other : shortest;
    }
    return real;
  },
};

/** Decimal digits that tell any two 4-byte reals apart. */
const SINGLE_DIGITS = 9;

/** Between two 4-byte reals a decimal means neither for certain, so Postgres writes one more digit. */
function isHalfway(decimal: number, single: number): boolean {
  const view = new DataView(new ArrayBuffer(4));
  view.setFloat32(0, single);
  const bits = view.getUint32(0);
  return [bits - 1, bits + 1].some((neighbour) => {
    view.setUint32(0, neighbour);
    return (view.getFloat32(0) + single) / 2 === decimal;
  });
}

/** Days as `YYYY-MM-DD`. */
export const dates: RawCodec = {
  to: (value) => {
    const text = asText(value);
    const ms = /^\d{4}-\d\d-\d\d$/.test(text) && !text.startsWith('0000') ? Date.parse(`${text}T00:00:00Z`) : NaN;
    if (Number.isNaN(ms) || new Date(ms).toISOString().slice(0, 10) !== text)
      throw new Unfit('it is not a day as YYYY-MM-DD');
    return text;
  },
  back: unchanged,
};
