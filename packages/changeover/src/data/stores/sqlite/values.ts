import { ChangeoverError } from '../../../errors.ts';
import type { Key, Row, Value } from '../../../plan/stores.ts';
import { encodeKey, exactInteger, keyOf } from '../../values.ts';
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
    `SELECT CAST(${quoted(column)} AS BLOB) FROM ${quoted(shape.name)} WHERE ${where}`,
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

export function boundRow(shape: SqliteShape, row: Row): Bound[] {
  return shape.columns.map(({ name, affinity }) => bound(row[name] ?? null, affinity));
}

export function boundKey(shape: SqliteShape, key: readonly Value[]): Bound[] {
  return shape.key.map((name, index) => bound(key[index] ?? null, affinityOfColumn(shape, name)));
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
