import type { Value } from '../../../plan/stores.ts';
import { exactInteger } from '../../values.ts';
import { storageClass, Unfit, type RawCodec } from '../codec.ts';
import { bytes, dates, dashedUuids, jsons, plainDecimal, singles, texts } from '../codecs.ts';

/**
 * The ways of values between a column of MariaDB and one of another engine. What such a column would round, pad, cut off or sort anew without a
 * word is refused on the way back.
 */

/** The same look in both directions; `look` throws for what is not a value of the column. */
function both(look: (value: Value) => Value): RawCodec {
  return { to: look, back: look };
}

function whole(value: Value): bigint {
  if (typeof value === 'bigint') return value;
  if (typeof value === 'number' && Number.isInteger(value) && !Object.is(value, -0)) return BigInt(value);
  throw new Unfit(`it is stored as ${storageClass(value)}, not integer`);
}

export function integersWithin([lowest, highest]: readonly [bigint, bigint]): RawCodec {
  return both((value) => {
    const number = whole(value);
    if (number < lowest || number > highest) throw new Unfit(`it is not between ${lowest} and ${highest}`);
    return exactInteger(number);
  });
}

/** Whole numbers as decimals or as text. */
export function integersAsText([lowest, highest]: readonly [bigint, bigint]): RawCodec {
  return {
    to: (value) => whole(value).toString(),
    back: (value) => {
      const text = plainDecimal(String(value));
      if (!/^-?\d+$/.test(text)) throw new Unfit('it is not a whole number');
      const number = BigInt(text);
      if (number < lowest || number > highest) throw new Unfit(`it is not between ${lowest} and ${highest}`);
      return exactInteger(number);
    },
    isSameTarget: (a, b) => plainDecimal(String(a)) === plainDecimal(String(b)),
  };
}

/** BIT(n) as the text of its digits. */
export function bits(count: number): RawCodec {
  return {
    to: (value) => whole(value).toString(2).padStart(count, '0'),
    back: (value) => {
      if (typeof value !== 'string' || !/^[01]+$/.test(value) || value.length !== count)
        throw new Unfit(`it is not ${count} bits`);
      return exactInteger(BigInt(`0b${value}`));
    },
  };
}

/** @param digits Behind the point, of `double(10,2)`; null: any. */
export function doubles(digits: number | null): RawCodec {
  return both((value) => {
    const real = finite(value);
    if (digits !== null && Number(real.toFixed(digits)) !== real)
      throw new Unfit(`it has more than ${digits} digits behind the point`);
    return real;
  });
}

/** For an engine without a negative zero. */
export function unsignedZero(raw: RawCodec): RawCodec {
  const to = (value: Value) => {
    if (Object.is(value, -0)) throw new Unfit('SQLite has no negative zero');
    return raw.to(value);
  };
  return { ...raw, to };
}

/** MariaDB gives the double that is the same number; an engine with 4-byte reals gives the shortest decimal that means them. */
export function floats(digits: number | null, isShortest: boolean): RawCodec {
  return {
    to: (value) => (isShortest ? singles.back(finite(value)) : finite(value)),
    back: (value) => {
      const real = finite(value);
      const single = Math.fround(real);
      if (!Number.isFinite(single) || (!isShortest && single !== real)) throw new Unfit('it does not fit 4 bytes');
      if (digits !== null && Math.fround(Number(single.toFixed(digits))) !== single)
        throw new Unfit(`it has more than ${digits} digits behind the point`);
      return single;
    },
    isSameTarget: (a, b) => Object.is(Math.fround(Number(a)), Math.fround(Number(b))),
  };
}

function finite(value: Value): number {
  const real = typeof value === 'bigint' ? Number(value) : value;
  if (typeof real !== 'number') throw new Unfit(`it is stored as ${storageClass(value)}, not real`);
  if (!Number.isFinite(real)) throw new Unfit('MariaDB has neither NaN nor infinity');
  return real;
}

/** Exact decimals with exactly `scale` digits behind the point. */
export function decimals(precision: number, scale: number): RawCodec {
  return {
    to: (value) => String(value),
    back: (value) => {
      const text = plainDecimal(String(value));
      const [head = '', fraction = ''] = text.split('.');
      if (!/^-?\d+(\.\d+)?$/.test(text)) throw new Unfit('it is not a decimal');
      if (fraction.length > scale) throw new Unfit(`it has more than ${scale} digits behind the point`);
      if (head.replace(/^-?0*/, '').length > precision - scale)
        throw new Unfit(`it has more than ${precision - scale} digits before the point`);
      return scale === 0 ? head : `${head}.${fraction.padEnd(scale, '0')}`;
    },
    isSameTarget: (a, b) => plainDecimal(String(a)) === plainDecimal(String(b)),
  };
}

/** CHAR loses blanks at its end. */
export const unpaddedTexts: RawCodec = {
  to: texts.to,
  back: (value) => {
    if (String(texts.back(value)).endsWith(' ')) throw new Unfit('blanks at its end would be lost');
    return value;
  },
};

export const jsonTexts: RawCodec = { to: jsons(false).to, back: jsons(false).to };
export const uuids: RawCodec = { to: dashedUuids.to, back: dashedUuids.to };
export const days: RawCodec = { to: dates.to, back: dates.to };

/** Addresses without the mask that another engine's type may have. */
export const addresses = both((value) => {
  if (String(texts.to(value)).includes('/')) throw new Unfit('an address with a mask is a network');
  return value;
});

/** BINARY(n) fills shorter values up with zeros. */
export function fixedBytes(length: number): RawCodec {
  return {
    to: bytes.to,
    back: (value) => {
      bytes.to(value);
      if ((value as Uint8Array).length !== length)
        throw new Unfit(`it has not ${length} bytes, and would be filled up`);
      return value;
    },
  };
}

export function enumMembers(members: readonly string[]): RawCodec {
  return both((value) => {
    // A text that is no member is taken for the number of one.
    if (!members.includes(String(texts.to(value)))) throw new Unfit('it is none of the members of the ENUM');
    return value;
  });
}

export function setMembers(members: readonly string[]): RawCodec {
  return both((value) => {
    const text = String(texts.to(value));
    const chosen = text === '' ? [] : text.split(',');
    const places = chosen.map((member) => members.indexOf(member));
    if (places.some((place, index) => place <= (index === 0 ? -1 : (places[index - 1] ?? -1))))
      throw new Unfit('its members are not those of the SET, once each and in its order');
    return value;
  });
}

/** Points in time as `YYYY-MM-DD hh:mm:ss` with `scale` digits of a second. `suffix`: how the other engine marks the zone. */
export function instants(scale: number, suffix: '' | '+00'): RawCodec {
  return {
    to: (value) => {
      const text = String(texts.to(value));
      if (!/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?$/.test(text)) throw new Unfit('it is not a point in time');
      dates.to(text.slice(0, 10));
      return `${withoutZeros(text)}${suffix}`;
    },
    back: (value) => {
      const text = String(value);
      if (!/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?(\+00)?$/.test(text) || !text.endsWith(suffix))
        throw new Unfit('it is not a point in time of the years 1 to 9999');
      return withDigits(suffix === '' ? text : text.slice(0, -suffix.length), scale);
    },
  };
}

/** Times of day. */
export function dayTimes(scale: number): RawCodec {
  return timesLike(scale, /^([01]\d|2[0-3]):\d\d:\d\d(\.\d+)?$/, 'it is not a time of day');
}

/** Times of up to 838 hours, which may be negative. */
export function durations(scale: number): RawCodec {
  return timesLike(scale, /^-?\d{2,3}:\d\d:\d\d(\.\d+)?$/, 'it is not a time of hours, minutes and seconds');
}

function timesLike(scale: number, form: RegExp, reason: string): RawCodec {
  return {
    to: (value) => {
      const text = String(texts.to(value));
      if (!form.test(text)) throw new Unfit(reason);
      return withoutZeros(text);
    },
    back: (value) => {
      if (!form.test(String(value))) throw new Unfit(reason);
      return withDigits(String(value), scale);
    },
  };
}

const TIME_TEXTS: Readonly<Record<string, RegExp>> = {
  date: /^\d{4}-\d\d-\d\d$/,
  datetime: /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?$/,
  timestamp: /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?$/,
  time: /^-?\d{2,3}:\d\d:\d\d(\.\d+)?$/,
};

/** Days and times as the text that MariaDB gives, zero dates and impossible days among them. */
export function timeTexts(base: string, scale: number): RawCodec {
  return {
    to: texts.to,
    back: (value) => {
      const text = String(texts.back(value));
      if (TIME_TEXTS[base]?.test(text) !== true) throw new Unfit(`it has not the form of a ${base.toUpperCase()}`);
      return withDigits(text, scale);
    },
    isSameTarget: (a, b) => withoutZeros(String(a)) === withoutZeros(String(b)),
  };
}

function withoutZeros(text: string): string {
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text;
}

function withDigits(text: string, scale: number): string {
  const [head = '', fraction = ''] = text.split('.');
  if (fraction.replace(/0+$/, '').length > scale) throw new Unfit(`it has more than ${scale} digits of a second`);
  return scale === 0 ? head : `${head}.${fraction.slice(0, scale).padEnd(scale, '0')}`;
}

/** Without the zeros at the end of a fraction, as a form of the plan reads times. */
export function trimmed(raw: RawCodec, scale: number): RawCodec {
  return {
    to: (value) => raw.to(typeof value === 'string' ? withoutZeros(value) : value),
    back: (value) => {
      const made = raw.back(value);
      return typeof made === 'string' ? withDigits(made, scale) : made;
    },
    ...(raw.isSameTarget === undefined ? {} : { isSameTarget: raw.isSameTarget }),
  };
}
