import { hash } from 'node:crypto';
import type { Key, Row, Value } from '../plan/stores.ts';

/**
 * A key as text: equal keys have equal text, and `decodeKey` gives the key back. Integers are written alike whether they
 * came as `number` or `bigint`; the text '1' and the number 1 stay different.
 */
export function encodeKey(key: Key): string {
  return JSON.stringify(key.map(encodeValue));
}

export function decodeKey(text: string): Key {
  return (JSON.parse(text) as string[]).map(decodeValue);
}

/** The key of `row`, in the order of `columns`. */
export function keyOf(row: Row, columns: readonly string[]): Key {
  return columns.map((column) => row[column] ?? null);
}

/** Integers of a double's exact range as `number`, all others as `bigint`. */
export function exactInteger(value: bigint): number | bigint {
  return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
}

function encodeValue(value: Value): string {
  if (value === null) return 'n';
  if (typeof value === 'string') return `t${value}`;
  if (typeof value === 'bigint') return `i${value}`;
  if (typeof value === 'boolean') return value ? 'y1' : 'y0';
  if (typeof value === 'number') return Number.isSafeInteger(value) ? `i${value}` : `r${value}`;
  return `b${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}`;
}

function decodeValue(text: string): Value {
  const rest = text.slice(1);
  switch (text[0]) {
    case 'n':
      return null;
    case 't':
      return rest;
    case 'i':
      return exactInteger(BigInt(rest));
    case 'r':
      return Number(rest);
    case 'y':
      return rest === '1';
    case 'b':
      return new Uint8Array(Buffer.from(rest, 'hex'));
    default:
      throw new TypeError(`not an encoded value: ${text}`);
  }
}

/** Bytes of all values, as the estimates of the stores count them. */
export function bytesOf(rows: readonly Row[]): number {
  let bytes = 0;
  for (const row of rows)
    for (const value of Object.values(row))
      bytes += typeof value === 'string' || value instanceof Uint8Array ? value.length : 8;
  return bytes;
}

/** Hex digest over rows in order; columns enter by name, so that the order in which a row lists them does not matter. */
export function hashRows(rows: readonly Row[]): string {
  let columns: readonly string[] = [];
  let text = '';
  for (const row of rows) {
    const own = Object.keys(row);
    // Rows of one table nearly always have the same columns: they are sorted and named once.
    if (own.length !== columns.length || columns.some((column) => !(column in row))) {
      columns = own.sort();
      text += `${JSON.stringify(columns)}\n`;
    }
    text += `${JSON.stringify(columns.map((column) => encodeValue(row[column] ?? null)))}\n`;
  }
  return hash('sha256', text);
}
