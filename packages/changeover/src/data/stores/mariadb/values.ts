import type { Value } from '../../../plan/stores.ts';
import { exactInteger } from '../../values.ts';
import type { Cell } from './session.ts';
import type { MariadbColumn } from './shape.ts';
import { literal } from './text.ts';

/**
 * How values of a column travel. `spelled` types have one spelling that only the server knows (uuid, inet6, MySQL's JSON); `text` comes back as it
 * was written.
 */
export type Kind =
  | 'integer'
  | 'bit'
  | 'single'
  | 'double'
  | 'decimal'
  | 'binary'
  | 'bytes'
  | 'char'
  | 'instant'
  | 'date'
  | 'time'
  | 'enum'
  | 'set'
  | 'spelled'
  | 'text';

const KIND_OF: Readonly<Record<string, Kind>> = {
  tinyint: 'integer',
  smallint: 'integer',
  mediumint: 'integer',
  int: 'integer',
  bigint: 'integer',
  year: 'integer',
  bit: 'bit',
  float: 'single',
  double: 'double',
  decimal: 'decimal',
  binary: 'binary',
  varbinary: 'bytes',
  tinyblob: 'bytes',
  blob: 'bytes',
  mediumblob: 'bytes',
  longblob: 'bytes',
  geometry: 'bytes',
  point: 'bytes',
  linestring: 'bytes',
  polygon: 'bytes',
  multipoint: 'bytes',
  multilinestring: 'bytes',
  multipolygon: 'bytes',
  geometrycollection: 'bytes',
  geomcollection: 'bytes',
  char: 'char',
  datetime: 'instant',
  timestamp: 'instant',
  date: 'date',
  time: 'time',
  enum: 'enum',
  set: 'set',
  json: 'spelled',
  uuid: 'spelled',
  inet4: 'spelled',
  inet6: 'spelled',
};

/** @param base The type's bare name. A `float` with a precision above 24 is declared as `double` by the server itself. */
export function kindOf(base: string, type: string): Kind {
  return KIND_OF[base.toLowerCase()] ?? KIND_OF[type.toLowerCase()] ?? 'text';
}

export function readValue(column: MariadbColumn, cell: Cell): Value {
  if (cell === null) return null;
  switch (column.kind) {
    case 'integer':
    case 'bit':
      return exactInteger(BigInt(cell.toString('latin1')));
    case 'single':
    case 'double':
      return Number(cell.toString('latin1'));
    case 'binary':
    case 'bytes':
      return new Uint8Array(cell);
    case 'char':
    case 'decimal':
    case 'instant':
    case 'date':
    case 'time':
    case 'enum':
    case 'set':
    case 'spelled':
    case 'text':
      return cell.toString();
    default:
      return column.kind satisfies never;
  }
}

/** A value as SQL for a column. What the column cannot hold is left to the server, which refuses it. */
export function sqlOf(column: MariadbColumn, given: Value): string {
  const value = canonicalValue(column, given);
  if (value === null) return 'NULL';
  if (typeof value === 'string') return literal(value);
  if (typeof value === 'boolean') return value ? '1' : '0';
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'number') return numberSql(column, value);
  return `x'${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}'`;
}

function numberSql({ kind }: MariadbColumn, value: number): string {
  if (!Number.isFinite(value)) return literal(String(value));
  const text = Object.is(value, -0) ? '-0' : String(value);
  // With an exponent it is a double to the server, without one an exact decimal.
  return (kind === 'double' || kind === 'single') && !text.includes('e') ? `${text}e0` : text;
}

/**
 * A value in the form in which the column gives it back. One that the column would round or cut off stays as it is: then it differs from what
 * is there, and is found.
 */
export function canonicalValue({ kind, scale }: MariadbColumn, value: Value): Value {
  if (value === null) return null;
  switch (kind) {
    case 'integer':
      return integerOf(value);
    case 'bit':
      return typeof value === 'string' && /^[01]+$/.test(value) ? exactInteger(BigInt(`0b${value}`)) : integerOf(value);
    case 'single':
      return typeof value === 'number' ? Math.fround(value) : value;
    case 'decimal':
      return decimalOf(value, scale);
    case 'binary':
      return value instanceof Uint8Array && value.length < scale ? padded(value, scale) : value;
    case 'char':
      return typeof value === 'string' ? value.replace(/ +$/, '') : value;
    case 'instant':
      return typeof value === 'string' ? instantOf(value, scale) : value;
    case 'time':
      return typeof value === 'string' ? timeOf(value, scale) : value;
    case 'double':
    case 'bytes':
    case 'date':
    case 'enum':
    case 'set':
    case 'spelled':
    case 'text':
      return value;
    default:
      return kind satisfies never;
  }
}

/** What a value sorts by: members of an ENUM and of a SET by their numbers, whatever they are called. */
export function rankOf(column: MariadbColumn, value: Value): string {
  if ((column.kind !== 'enum' && column.kind !== 'set') || typeof value !== 'string') return sqlOf(column, value);
  const members = membersOf(column.type);
  if (column.kind === 'enum') return String(members.indexOf(value) + 1);
  const bits = value === '' ? [] : value.split(',').map((member) => 1n << BigInt(members.indexOf(member)));
  return String(bits.reduce((sum, bit) => sum | bit, 0n));
}

/** The members of an ENUM or a SET, from its type as the server spells it. */
export function membersOf(type: string): string[] {
  return [...type.matchAll(/'((?:[^'\\]|''|\\[^])*)'/g)].map(([, member = '']) =>
    unescaped(member.replaceAll("''", "'")),
  );
}

const ESCAPES: Readonly<Record<string, string>> = { '0': '\0', n: '\n', r: '\r', t: '\t', b: '\b', Z: '\x1a' };

/** `information_schema` writes a backslash before what it takes for special, whatever `sql_mode` says. */
export function unescaped(text: string): string {
  return text.replace(/\\([^])/g, (_, character: string) => ESCAPES[character] ?? character);
}

function integerOf(value: Value): Value {
  if (typeof value === 'boolean') return value ? 1 : 0;
  if (typeof value === 'bigint') return exactInteger(value);
  return typeof value === 'string' && /^-?\d+$/.test(value) ? exactInteger(BigInt(value)) : value;
}

function decimalOf(value: Value, scale: number): Value {
  if (typeof value === 'boolean') return decimalOf(value ? '1' : '0', scale);
  if (value instanceof Uint8Array || value === null) return value;
  const parts = /^([+-]?)0*(\d*)(?:\.(\d*))?$/.exec(String(value));
  if (parts === null) return value;
  const [, sign, whole = '', fraction] = parts;
  const digits = fractionOf(fraction ?? '', scale);
  if (digits === null || (whole === '' && fraction === undefined && !/\d/.test(String(value)))) return value;
  const text = `${whole === '' ? '0' : whole}${digits}`;
  return sign === '-' && /[1-9]/.test(text) ? `-${text}` : text;
}

const INSTANT =
  /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d)(?:\.(\d+))?)?)?\s*(Z|[+-]\d\d(?::?\d\d)?(?::?\d\d)?)?$/i;

/** `YYYY-MM-DD hh:mm:ss` with the column's digits. A time with an offset is given in UTC, since our sessions are in UTC. */
function instantOf(text: string, scale: number): string {
  const parts = INSTANT.exec(text);
  if (parts === null) return text;
  const [, date = '', minutes = '00:00', seconds = '00', fraction = '', offset = 'Z'] = parts;
  const digits = fractionOf(fraction, scale);
  if (digits === null) return text;
  const offsetMs = offsetOf(offset);
  if (offsetMs === 0) return `${date} ${minutes}:${seconds}${digits}`;
  const utc = new Date(Date.parse(`${date}T${minutes}:${seconds}Z`) - offsetMs);
  return Number.isNaN(utc.getTime()) ? text : `${utc.toISOString().slice(0, 19).replace('T', ' ')}${digits}`;
}

function offsetOf(text: string): number {
  if (/^z$/i.test(text)) return 0;
  const [hours = 0, minutes = 0, seconds = 0] = (text.slice(1).match(/\d\d/g) ?? []).map(Number);
  return ((hours * 60 + minutes) * 60 + seconds) * (text.startsWith('-') ? -1000 : 1000);
}

function timeOf(text: string, scale: number): string {
  const parts = /^(-?\d{2,3}:\d\d:\d\d)(?:\.(\d+))?$/.exec(text);
  const digits = fractionOf(parts?.[2] ?? '', scale);
  return parts === null || digits === null ? text : `${parts[1] ?? ''}${digits}`;
}

/** `.` and exactly `scale` digits; null where digits other than 0 would be lost. */
function fractionOf(digits: string, scale: number): string | null {
  if (/[1-9]/.test(digits.slice(scale))) return null;
  return scale === 0 ? '' : `.${digits.slice(0, scale).padEnd(scale, '0')}`;
}

function padded(bytes: Uint8Array, length: number): Uint8Array {
  const whole = new Uint8Array(length);
  whole.set(bytes);
  return whole;
}
