import { kindOf, type Kind } from '../stores/mariadb/values.ts';
import { Unfit } from '../schema/codec.ts';
import type { Cell, Transfer } from './mariadb-transfer.ts';

/** What a result says of a column: https://mariadb.com/docs/server/reference/clientserver-protocol/4-server-response-packets/result-set-packets */
export interface WireColumn {
  readonly columnType: number;
  readonly flags: number;
}

const WIRE = { tiny: 1, short: 2, long: 3, float: 4, longlong: 8, int24: 9, year: 13 } as const;
const UNSIGNED = 32;

const WHOLE = ['int2', 'int4', 'int8', 'bool', 'numeric'];
const TEXTS = ['text', 'varchar', 'bpchar', 'json', 'jsonb', 'uuid'];

/** Types of the target whose values are made here from those of each kind. */
const PAIRS: Readonly<Record<Kind, readonly string[]>> = {
  integer: WHOLE,
  bit: WHOLE,
  single: ['float4', 'float8'],
  double: ['float8'],
  decimal: ['numeric'],
  binary: ['bytea'],
  bytes: ['bytea'],
  char: TEXTS,
  enum: TEXTS,
  set: TEXTS,
  spelled: TEXTS,
  text: TEXTS,
  instant: ['timestamp', 'timestamptz'],
  date: ['date'],
  time: ['time', 'interval'],
};

/** Postgres's short names of its types, by the names under which a shape has them. */
const SHORT_NAMES: Readonly<Record<string, string>> = {
  smallint: 'int2',
  integer: 'int4',
  bigint: 'int8',
  boolean: 'bool',
  real: 'float4',
  'double precision': 'float8',
  'character varying': 'varchar',
  character: 'bpchar',
  'timestamp without time zone': 'timestamp',
  'timestamp with time zone': 'timestamptz',
  'time without time zone': 'time',
};

/** `numeric(10,2)` → `numeric` and its scale, 2. A scale that is not declared is 0: then each value has its own. */
function targetType(declared: string): { name: string; scale: number } {
  const bare = declared.replace(/\([-\d,]*\)/, '');
  return { name: SHORT_NAMES[bare] ?? bare, scale: Number(/,(\d+)\)/.exec(declared)?.[1] ?? 0) };
}

/** True where the values of a column of MariaDB can go into one of Postgres in its binary form. Both types as they are declared. */
export function canTransfer(source: string, target: string): boolean {
  return PAIRS[kindOf(/^\w*/.exec(source)?.[0] ?? '', source)].includes(targetType(target).name);
}

/** True where Postgres gives back the bytes that it was sent: its own form of a document is another one. */
export function isCanonical(target: string): boolean {
  return target !== 'jsonb';
}

/** How the values of one column move. */
export function cellOf(kind: Kind, declared: string, wire: WireColumn): Cell {
  const { name, scale } = targetType(declared);
  switch (kind) {
    case 'integer':
    case 'bit':
      return wholeCell(name, kind === 'bit' ? readBits : integerReader(wire));
    case 'single':
    case 'double':
      if (wire.columnType !== WIRE.float) return (row) => row.reverse(8);
      return name === 'float4' ? (row) => row.reverse(4) : singleToDouble;
    case 'decimal':
      return (row) => numeric(row, row.latin1(), scale);
    case 'instant':
      return instant;
    case 'date':
      return day;
    case 'time':
      return name === 'interval' ? span : timeOfDay;
    case 'binary':
    case 'bytes':
    case 'char':
    case 'enum':
    case 'set':
    case 'spelled':
    case 'text':
      if (name === 'uuid') return uuid;
      return name === 'jsonb' ? document : (row) => row.bytes();
    default:
      return kind satisfies never;
  }
}

/** Reads an integer into the row's two halves. */
type IntegerReader = (row: Transfer) => void;

function integerReader({ columnType, flags }: WireColumn): IntegerReader {
  const isUnsigned = (flags & UNSIGNED) !== 0;
  switch (columnType) {
    case WIRE.tiny:
      return isUnsigned ? (row) => row.unsigned(1) : (row) => row.signed(1);
    case WIRE.short:
    case WIRE.year:
      return isUnsigned ? (row) => row.unsigned(2) : (row) => row.signed(2);
    case WIRE.long:
    case WIRE.int24:
      return isUnsigned ? (row) => row.unsigned(4) : (row) => row.signed(4);
    case WIRE.longlong:
      return isUnsigned ? (row) => row.unsigned(8) : (row) => row.signed(8);
    default:
      throw new Unfit(`an integer came as type ${columnType}`);
  }
}

/** BIT comes as bytes, the highest first. */
function readBits(row: Transfer): void {
  row.setInteger(BigInt(`0x${row.slice().toString('hex') || '0'}`));
}

function wholeCell(target: string, read: IntegerReader): Cell {
  switch (target) {
    case 'int8':
      return (row) => {
        read(row);
        if (row.high > 0x7fffffff) throw new Unfit('a number is above those of bigint');
        row.int32(8);
        row.int32(row.high);
        row.int32(row.low);
      };
    case 'int4':
      return (row) => {
        read(row);
        if (row.high !== (row.low | 0) >> 31) throw new Unfit('a number does not fit integer');
        row.int32(4);
        row.int32(row.low);
      };
    case 'int2':
      return (row) => {
        read(row);
        const short = (row.low << 16) >> 16;
        if (row.high !== short >> 31 || row.low !== short >>> 0) throw new Unfit('a number does not fit smallint');
        row.int32(2);
        row.int16(short);
      };
    case 'bool':
      return (row) => {
        read(row);
        if (row.high !== 0 || row.low > 1) throw new Unfit('a number is neither 0 nor 1');
        row.int32(1);
        row.byte(row.low);
      };
    default:
      return (row) => {
        read(row);
        numeric(row, row.integer().toString(), 0);
      };
  }
}

function singleToDouble(row: Transfer): void {
  row.int32(8);
  row.double(row.readSingle());
}

const NEGATIVE = 0x4000;
const GROUP = 4;

/**
 * A decimal as digits to the base of 10000, without groups of zeros at either end:
 * https://github.com/postgres/postgres/blob/REL_18_STABLE/src/backend/utils/adt/numeric.c (numeric_send)
 *
 * @param scale Digits after the point that the target's column shows at least.
 */
function numeric(row: Transfer, text: string, scale: number): void {
  const isNegative = text.startsWith('-');
  const [whole = '', fraction = ''] = (isNegative ? text.slice(1) : text).split('.');
  const left = whole.padStart(Math.ceil(whole.length / GROUP) * GROUP, '0');
  const digits = left + fraction.padEnd(Math.ceil(fraction.length / GROUP) * GROUP, '0');
  const groups: number[] = [];
  for (let at = 0; at < digits.length; at += GROUP) groups.push(Number(digits.slice(at, at + GROUP)));
  let weight = left.length / GROUP - 1;
  while (groups[0] === 0) {
    groups.shift();
    weight--;
  }
  while (groups.at(-1) === 0) groups.pop();
  row.reserve(12 + 2 * groups.length);
  row.int32(8 + 2 * groups.length);
  row.int16(groups.length);
  row.int16(groups.length === 0 ? 0 : weight);
  row.int16(isNegative && groups.length > 0 ? NEGATIVE : 0);
  row.int16(Math.max(fraction.length, scale));
  for (const group of groups) row.int16(group);
}

const DAYS_OF_MONTH = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
/** Days from 0000-03-01 to 2000-01-01, the first day of Postgres. */
const EPOCH_DAY = 730_425;
const DAY_S = 86_400;

/** Reads year, month and day; days since 2000-01-01. MariaDB also has days that no calendar has. */
function readDay(row: Transfer, length: number): number {
  if (length < 4) throw new Unfit('a date is zero');
  const year = row.uint16();
  const month = row.uint8();
  const dayOfMonth = row.uint8();
  const isLeap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  const last = month === 2 && isLeap ? 29 : (DAYS_OF_MONTH[month - 1] ?? 0);
  if (year === 0 || dayOfMonth === 0 || dayOfMonth > last) throw new Unfit('a date is of no calendar');
  // Years that begin in March have their odd day at the end: https://howardhinnant.github.io/date_algorithms.html#days_from_civil
  const shifted = month > 2 ? year : year - 1;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + dayOfMonth - 1;
  const leapDays = Math.floor(shifted / 4) - Math.floor(shifted / 100) + Math.floor(shifted / 400);
  return shifted * 365 + leapDays + dayOfYear - EPOCH_DAY;
}

function day(row: Transfer): void {
  const days = readDay(row, row.uint8());
  row.int32(4);
  row.int32(days);
}

function instant(row: Transfer): void {
  const length = row.uint8();
  const days = readDay(row, length);
  const seconds = length < 7 ? 0 : row.uint8() * 3600 + row.uint8() * 60 + row.uint8();
  const micros = length < 11 ? 0 : row.uint32();
  row.int32(8);
  row.micros(days * DAY_S + seconds, micros);
}

/** Seconds and microseconds, both with the sign. */
function readTime(row: Transfer): { seconds: number; micros: number } {
  const length = row.uint8();
  if (length < 8) return { seconds: 0, micros: 0 };
  const sign = row.uint8() === 1 ? -1 : 1;
  const seconds = row.uint32() * DAY_S + row.uint8() * 3600 + row.uint8() * 60 + row.uint8();
  const micros = length < 12 ? 0 : row.uint32();
  return { seconds: sign * seconds, micros: sign * micros };
}

function timeOfDay(row: Transfer): void {
  const { seconds, micros } = readTime(row);
  if (seconds < 0 || micros < 0 || seconds >= DAY_S) throw new Unfit('a time is outside of the day');
  row.int32(8);
  row.micros(seconds, micros);
}

function span(row: Transfer): void {
  const { seconds, micros } = readTime(row);
  row.int32(16);
  row.micros(seconds, micros);
  // No days and no months.
  row.int32(0);
  row.int32(0);
}

const VERSION_OF_JSONB = 1;

function document(row: Transfer): void {
  row.bytesAfter(VERSION_OF_JSONB);
}

function uuid(row: Transfer): void {
  const text = row.latin1();
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) throw new Unfit('a text is no uuid');
  row.int32(16);
  row.hex(text.replaceAll('-', ''));
}
