import { isUtf8 } from 'node:buffer';
import { ChangeoverError } from '../../../errors.ts';
import type { Key, Row, Value } from '../../../plan/stores.ts';
import { encodeKey, keyOf } from '../../values.ts';
import { errorNumber, sqlState, type Cell, type Session } from './session.ts';
import { keyColumns, selection, type MariadbColumn, type MariadbShape } from './shape.ts';
import { literal, quoted } from './text.ts';
import { canonicalValue, rankOf, readValue, sqlOf } from './values.ts';

/** Makes rows of cells. Text that is not valid UTF-8, as the server lets in with half a surrogate pair, would come back changed: it is refused. */
export function rowReader(
  { store }: Session,
  shape: MariadbShape,
  columns: readonly MariadbColumn[],
): (cells: readonly Cell[]) => Row {
  return (cells) => {
    const row: Record<string, Value> = {};
    columns.forEach((column, index) => {
      row[column.name] = readValue(column, cells[index] ?? null);
    });
    columns.forEach(({ name }, index) => {
      const [value, cell] = [row[name], cells[index] ?? null];
      if (typeof value !== 'string' || !value.includes('\uFFFD') || cell === null || isUtf8(cell)) return;
      const key = encodeKey(keyOf(row, shape.key));
      throw new ChangeoverError('CHG_DATA_TEXT_INVALID', { store, table: shape.name, column: name, key });
    });
    return row;
  };
}

export function readKey(shape: MariadbShape, cells: readonly Cell[]): Key {
  return keyColumns(shape).map((column, index) => readValue(column, cells[index] ?? null));
}

/** Columns that are read: all of them. */
export function readColumns(shape: MariadbShape): readonly MariadbColumn[] {
  return [...shape.columns, ...shape.generated];
}

/** The rows of `keys`, each once, even where two keys are one to the column's collation. */
export async function readRows(
  session: Session,
  shape: MariadbShape,
  keys: readonly Key[],
  columns: readonly MariadbColumn[] = readColumns(shape),
): Promise<Row[]> {
  if (keys.length === 0) return [];
  const sql = `SELECT ${selection(columns)} FROM ${quoted(shape.name)} WHERE ${among(shape, keys)}`;
  return (await session.query(sql)).map(rowReader(session, shape, columns));
}

/** The condition that a row has one of `keys`. */
export function among(shape: MariadbShape, keys: readonly Key[]): string {
  const columns = keyColumns(shape);
  const names = columns.map(({ name }) => quoted(name)).join(', ');
  const tuples = keys.map((key) => `(${columns.map((column, index) => sqlOf(column, key[index] ?? null)).join(', ')})`);
  return `(${names}) IN (${tuples.join(', ')})`;
}

/**
 * The WHERE that keeps the rows of a range of keys, strictly after `after` and up to `upTo`; empty for the whole table. Spelled out column by
 * column: of a comparison of row values the optimizer makes no range. Text compares by the column's own collation.
 */
export function within(shape: MariadbShape, range: { readonly after: Key | null; readonly upTo: Key | null }): string {
  const terms = [
    ...(range.after === null ? [] : [compared(shape, '>', '>', range.after)]),
    ...(range.upTo === null ? [] : [compared(shape, '<', '<=', range.upTo)]),
  ];
  return terms.length === 0 ? '' : `WHERE ${terms.map((term) => `(${term})`).join(' AND ')}`;
}

function compared(shape: MariadbShape, sign: '>' | '<', lastSign: '>' | '<=', key: Key): string {
  const columns = keyColumns(shape);
  const alternatives = columns.map((column, index) => {
    const equal = columns
      .slice(0, index)
      .map((before, position) => `${quoted(before.name)} = ${sqlOf(before, key[position] ?? null)}`);
    const own = `${quoted(column.name)} ${index === columns.length - 1 ? lastSign : sign} ${rankOf(column, key[index] ?? null)}`;
    return `(${[...equal, own].join(' AND ')})`;
  });
  return alternatives.join(' OR ');
}

/** `rows` as they would come back, computed without writing. */
export async function canonicalRows(session: Session, shape: MariadbShape, rows: readonly Row[]): Promise<Row[]> {
  const settled = rows.map((row) => {
    const values: Record<string, Value> = { ...row };
    for (const column of shape.columns)
      if (row[column.name] !== undefined) values[column.name] = canonicalValue(column, row[column.name] ?? null);
    return values;
  });
  for (const column of shape.columns)
    if (column.kind === 'spelled' && settled.length > 0) await spell(session, column, settled);
  return settled;
}

/** Lets the server spell the values of one column. Values that it refuses stay as they are, and differ from whatever is there. */
async function spell(session: Session, column: MariadbColumn, rows: Record<string, Value>[]): Promise<void> {
  for (const row of rows) {
    const value = row[column.name];
    if (typeof value !== 'string') continue;
    try {
      const [found] = await session.query(`SELECT CAST(${literal(value)} AS ${column.type})`);
      row[column.name] = readValue(column, found?.[0] ?? null) ?? value;
    } catch (error) {
      if (!isRefusal(error)) throw error;
    }
  }
}

/** Values that strict mode refuses, beside the SQLSTATE classes of data exceptions (22) and integrity constraints (23). */
const REFUSALS = [1264, 1265, 1292, 1364, 1366, 1411, 4025];

export function isRefusal(error: unknown): boolean {
  return REFUSALS.includes(errorNumber(error)) || ['22', '23'].includes(sqlState(error).slice(0, 2));
}
