import type { SqliteConnection } from '../stores/sqlite/connection.ts';
import type { Affinity } from '../stores/sqlite/shape.ts';
import { quoted } from '../stores/sqlite/text.ts';
import type { Kind } from '../stores/postgres/shape.ts';

/** A column on its way from SQLite to Postgres: the source's name and affinity, and what the target makes of it. */
export interface TextColumn {
  readonly name: string;
  readonly affinity: Affinity;
  readonly kind: Kind;
}

/** What COPY's text format writes with a backslash: https://www.postgresql.org/docs/current/sql-copy.html */
const ESCAPES: readonly (readonly [code: number, letter: string])[] = [
  [8, 'b'],
  [9, 't'],
  [10, 'n'],
  [11, 'v'],
  [12, 'f'],
  [13, 'r'],
];
const TAB = 9;
const NEWLINE = 10;
const BACKSLASH = 92;
const CAPITAL_N = 78;
const LOWER_X = 120;

/**
 * The expression of SQL that makes a line of COPY text, newline included, in the form in which Postgres writes it back. `plain` leaves
 * text as it is, and whoever uses it looks for what should have been escaped (`hasSpecials`).
 *
 * A column may hold values of any type in SQLite, whatever it was declared as; each is written as the row by row copy writes it.
 */
export function lineOf(columns: readonly TextColumn[], form: 'plain' | 'escaped'): string {
  // Not concat_ws: several versions of SQLite leave out empty text with its separator.
  return `${columns.map((column) => cellOf(column, form)).join(" || '\t' || ")} || '\n'`;
}

function cellOf({ name, affinity, kind }: TextColumn, form: 'plain' | 'escaped'): string {
  const column = quoted(name);
  const integer = kind === 'boolean' ? `CASE ${column} WHEN 1 THEN 't' WHEN 0 THEN 'f' ELSE ${column} END` : column;
  const text = form === 'plain' ? plainText(column) : escapedText(column);
  const branches: Readonly<Record<string, string>> = {
    integer,
    real: `${kind === 'real' ? 'changeover_real' : 'changeover_number'}(${column})`,
    text,
    blob: `'\\\\x' || lower(hex(${column}))`,
    null: "'\\N'",
  };
  const order = [...new Set([FIRST[affinity], 'null', 'text', 'integer', 'real', 'blob'])];
  return `CASE typeof(${column}) ${order.map((type) => `WHEN '${type}' THEN ${branches[type] ?? ''}`).join(' ')} END`;
}

/** The type that nearly all values of a column have. */
const FIRST: Readonly<Record<Affinity, string>> = {
  integer: 'integer',
  text: 'text',
  blob: 'blob',
  real: 'real',
  numeric: 'integer',
};

/**
 * Only text that begins with a backslash could pass for one of our marks (`\N`, the `\\x` of a blob): its backslashes are doubled here, so
 * that what is left to be seen afterwards is never taken for a mark.
 */
function plainText(column: string): string {
  const beginsWithBackslash = `${column} COLLATE BINARY >= '\\' AND ${column} COLLATE BINARY < ']'`;
  return `iif(${beginsWithBackslash}, replace(${column}, '\\', '\\\\'), ${column})`;
}

function escapedText(column: string): string {
  const backslashed = `replace(${column}, '\\', '\\\\')`;
  return ESCAPES.reduce((text, [code, letter]) => `replace(${text}, char(${code}), '\\${letter}')`, backslashed);
}

/**
 * True where plain lines are not COPY text: some value holds a character that has to be escaped. `rows` lines of `columns` cells each have a
 * known number of tabs and newlines, and a backslash stands only in a whole cell `\N` or `\\N`, or before the digits of a blob.
 */
export function hasSpecials(bytes: Uint8Array, rows: number, columns: number): boolean {
  let tabs = 0;
  let newlines = 0;
  for (let index = 0; index < bytes.length; index++) {
    const byte = bytes[index] ?? 0;
    if (byte > NEWLINE + 3 && byte !== BACKSLASH) continue;
    if (byte === TAB) tabs++;
    else if (byte === NEWLINE) newlines++;
    else if (byte === BACKSLASH) {
      const end = markEnd(bytes, index);
      if (end === 0) return true;
      index = end - 1;
    } else if (byte >= 8 && byte <= 13) return true;
  }
  return newlines !== rows || tabs !== rows * (columns - 1);
}

/** Where a cell that is one of our own marks ends, or the beginning of a blob; 0 where the backslash is none of ours. */
function markEnd(bytes: Uint8Array, at: number): number {
  const before = at === 0 ? NEWLINE : bytes[at - 1];
  if (before !== TAB && before !== NEWLINE) return 0;
  if (bytes[at + 1] === CAPITAL_N) return isCellEnd(bytes[at + 2]) ? at + 2 : 0;
  if (bytes[at + 1] !== BACKSLASH) return 0;
  if (bytes[at + 2] === CAPITAL_N) return isCellEnd(bytes[at + 3]) ? at + 3 : 0;
  return bytes[at + 2] === LOWER_X ? at + 3 : 0;
}

function isCellEnd(byte: number | undefined): boolean {
  return byte === TAB || byte === NEWLINE;
}

/** The functions that `lineOf` uses. */
export function defineFunctions(connection: SqliteConnection): void {
  connection.define('changeover_real', (value) => realText(Number(value)));
  connection.define('changeover_number', (value) => (Object.is(value, -0) ? '-0' : String(Number(value))));
}

/**
 * The shortest text that reads as the same double, written as Postgres writes it: an exponent, of two digits at least, below 1e-4 and from
 * 1e15 on.
 */
export function realText(value: number): string {
  if (Object.is(value, -0)) return '-0';
  const size = Math.abs(value);
  if (size === 0 || (size >= 1e-4 && size < 1e15) || !Number.isFinite(value)) return String(value);
  const [mantissa, exponent = ''] = value.toExponential().split('e');
  const sign = exponent.startsWith('-') ? '-' : '+';
  return `${mantissa}e${sign}${exponent.slice(1).padStart(2, '0')}`;
}
