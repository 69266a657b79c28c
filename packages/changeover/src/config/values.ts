import type { Json } from '../plan/words.ts';
import { toText } from './tree.ts';

export const VALUE_TYPES = ['string', 'number', 'integer', 'boolean', 'list', 'json'] as const;
export type ValueType = (typeof VALUE_TYPES)[number];

/** Milliseconds and bytes in each unit. */
const UNITS = {
  ms: ['time', 1],
  s: ['time', 1000],
  min: ['time', 60_000],
  h: ['time', 3_600_000],
  d: ['time', 86_400_000],
  B: ['size', 1],
  kB: ['size', 1000],
  MB: ['size', 1e6],
  GB: ['size', 1e9],
  KiB: ['size', 2 ** 10],
  MiB: ['size', 2 ** 20],
  GiB: ['size', 2 ** 30],
} as const satisfies Record<string, readonly ['time' | 'size', number]>;

export type Unit = keyof typeof UNITS;

/** Why two units do not convert, or null. */
export function whyNotConvertible(from: string, to: string): string | null {
  for (const unit of [from, to])
    if (!Object.hasOwn(UNITS, unit)) return `${unit} is no unit; there are ${Object.keys(UNITS).join(', ')}`;
  return UNITS[from as Unit][0] === UNITS[to as Unit][0] ? null : `${from} does not convert to ${to}`;
}

/** Rounded to what a decimal number of people can hold, so that 2.3 s are 2300 ms and not 2299.9999999999995. */
export function convertUnit(value: number, from: Unit, to: Unit): number {
  return Number(((value * UNITS[from][1]) / UNITS[to][1]).toPrecision(15));
}

const TRUE_WORDS = ['true', 'yes', 'on', '1'];
const FALSE_WORDS = ['false', 'no', 'off', '0'];

export function numberFromText(text: string): number | undefined {
  const trimmed = text.trim();
  if (!/^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$/.test(trimmed)) return undefined;
  const value = Number(trimmed);
  const isExact = Number.isFinite(value) && !(/^[+-]?\d+$/.test(trimmed) && !Number.isSafeInteger(value));
  return isExact ? value : undefined;
}

export function booleanFromText(text: string): boolean | undefined {
  const word = text.trim().toLowerCase();
  if (TRUE_WORDS.includes(word)) return true;
  return FALSE_WORDS.includes(word) ? false : undefined;
}

/** Undefined when the value is none of that type. */
export function toType(value: Json, type: ValueType): Json | undefined {
  switch (type) {
    case 'string':
      return typeof value === 'object' ? undefined : toText(value);
    case 'number':
      return typeof value === 'string' ? numberFromText(value) : typeof value === 'number' ? value : undefined;
    case 'integer': {
      const number = toType(value, 'number');
      return Number.isSafeInteger(number) ? number : undefined;
    }
    case 'boolean':
      return typeof value === 'boolean' ? value : booleanFromText(toText(value));
    case 'list':
      return typeof value === 'string' ? listFromText(value) : Array.isArray(value) ? value : undefined;
    case 'json':
      return typeof value === 'string' ? jsonFromText(value) : value;
  }
}

/** `a, b` or `["a", "b"]`. */
function listFromText(text: string): Json | undefined {
  const trimmed = text.trim();
  if (trimmed === '') return [];
  if (!trimmed.startsWith('[')) return trimmed.split(',').map((item) => item.trim());
  const value = jsonFromText(trimmed);
  return Array.isArray(value) ? value : undefined;
}

function jsonFromText(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined; // the caller says where and why; the parser's message would quote the text
  }
}
