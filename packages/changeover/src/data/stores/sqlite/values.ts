import { ChangeoverError } from '../../../errors.ts';
import type { Key, Row, Value } from '../../../plan/stores.ts';
import { encodeKey, exactInteger, keyOf } from '../../values.ts';
import { selected } from './computed.ts';
import type { SqliteConnection } from './connection.ts';
import type { Affinity, SqliteShape } from './shape.ts';
import { quoted } from './text.ts';

export type Bound = null | number | bigint | string | Uint8Array;

/**
 * A value for a column of `affinity`. Whole numbers are bound as integers, since the column's affinity makes them real where it
 * should; only in a column without affinity is the number 1 a REAL and the bigint 1 an INTEGER.
 */
export function bound(value: Value, affinity: Affinity): Bound {
  if (typeof value === 'boolean') return value ? 1n : 0n;
  if (typeof value !== 'number' || affinity === 'blob') return value;
  return Number.isSafeInteger(value) && !Object.is(value, -0) ? BigInt(value) : value;
}

/** Makes rows of arrays. Text that was not valid UTF-8 would come back changed, so it is refused. */
export function rowReader(connection: SqliteConnection, shape: SqliteShape): (values: readonly unknown[]) => Row {
  const { columns } = shape;
  return (values) => {
    const row: Record<string, Value> = {};
    for (let index = 0; index < columns.length; index++) {
      const column = columns[index];
      if (column === undefined) break;
      let value = values[index] as Value;
      if (typeof value === 'bigint' && column.affinity !== 'blob') value = exactInteger(value);
      row[column.name] = value;
    }
    for (const { name } of columns) {
      const value = row[name];
      if (typeof value === 'string' && value.includes('\uFFFD')) assertValidText(connection, shape, row, name);
    }
    return row;
  };
}

function assertValidText(connection: SqliteConnection, shape: SqliteShape, row: Row, column: string): void {
  const where = shape.key.map((name) => `${quoted(name)} = ?`).join(' AND ');
  const key = keyOf(row, shape.key);
  const [found] = connection.all(
    `SELECT CAST(${selectedColumn(shape, column)} AS BLOB) FROM ${quoted(shape.name)} WHERE ${where}`,
    ...boundKey(shape, key),
  );
  const bytes = found?.[0];
  const text = row[column];
  if (bytes instanceof Uint8Array && Buffer.from(bytes).equals(Buffer.from(String(text)))) return;
  throw new ChangeoverError('CHG_DATA_TEXT_INVALID', {
    store: connection.store,
    table: shape.name,
    column,
    key: encodeKey(key),
  });
}

function selectedColumn({ columns }: SqliteShape, name: string): string {
  const column = columns.find((one) => one.name === name);
  return column === undefined ? quoted(name) : selected(column);
}

export function boundRow(shape: SqliteShape, row: Row): Bound[] {
  return shape.columns.map(({ name, affinity }) => bound(row[name] ?? null, affinity));
}

export function boundKey(shape: SqliteShape, key: readonly Value[]): Bound[] {
  return shape.key.map((name, index) => bound(key[index] ?? null, affinityOfColumn(shape, name)));
}

/** The WHERE that keeps the rows of a range of keys, strictly after `after` and up to `upTo`, and the values that it takes. */
export function within(
  shape: SqliteShape,
  { after, upTo }: { readonly after: Key | null; readonly upTo: Key | null },
): { where: string; values: Bound[] } {
  const [first] = shape.key;
  const isSingle = shape.key.length === 1 && first !== undefined;
  // A row value of one column would do, but its plan is not that of the plain comparison.
  const columns = isSingle ? quoted(first) : `(${shape.key.map(quoted).join(', ')})`;
  const slots = isSingle ? '?' : `(${shape.key.map(() => '?').join(', ')})`;
  const terms = [
    ...(after === null ? [] : [`${columns} > ${slots}`]),
    ...(upTo === null ? [] : [`${columns} <= ${slots}`]),
  ];
  const values = [after, upTo].flatMap((key) => (key === null ? [] : boundKey(shape, key)));
  return { where: terms.length === 0 ? '' : `WHERE ${terms.join(' AND ')}`, values };
}

export function affinityOfColumn(shape: SqliteShape, name: string): Affinity {
  return shape.columns.find((column) => column.name === name)?.affinity ?? 'blob';
}

/** A key from what SQLite gave for its columns, in their order. */
export function readKey(shape: SqliteShape, slots: readonly Value[]): Key {
  return shape.key.map((column, index) => {
    const value = slots[index] ?? null;
    return typeof value === 'bigint' && affinityOfColumn(shape, column) !== 'blob' ? exactInteger(value) : value;
  });
}
