import { ChangeoverError } from '../../../errors.ts';
import type { Key, Row, Value, WriteBatch } from '../../../plan/stores.ts';
import { UniqueConflict } from '../../conflict.ts';
import { TAKEN_KEY } from '../../slices/belonging.ts';
import { encodeKey, keyOf } from '../../values.ts';
import { selected } from './computed.ts';
import { sqliteCode, type SqliteConnection } from './connection.ts';
import type { SqliteShape } from './shape.ts';
import { quoted } from './text.ts';
import { affinityOfColumn, bound, boundKey, readKey, rowReader } from './values.ts';

const SQLITE_TOOBIG = 18;
const SQLITE_CONSTRAINT = 19;
const SQLITE_MISMATCH = 20;
const CONSTRAINT_PRIMARYKEY = 1555;
const CONSTRAINT_UNIQUE = 2067;

type ShapeOf = (table: string) => SqliteShape;

/** Rows of other keys that hold a unique value of the batch; they are in the batch themselves and are taken out before it is written. */
type Displaced = readonly { readonly shape: SqliteShape; readonly key: Key }[];

/** Writes a batch in one transaction. Throws `UniqueConflict` where rows outside the batch hold its unique values. */
export async function writeBatch(connection: SqliteConnection, shapeOf: ShapeOf, batch: WriteBatch): Promise<void> {
  const { faults } = connection.ctx;
  const write = (displaced: Displaced) =>
    connection.write(
      batch.epoch,
      () => {
        if (batch.ledger !== undefined && isInLedger(connection, batch.ledger)) return;
        applyBatch(connection, shapeOf, batch, displaced);
      },
      () => {
        faults.at('data.write.before_commit');
      },
    );
  try {
    await write([]);
  } catch (cause) {
    if (!(cause instanceof ChangeoverError) || !isUniqueViolation(cause.cause)) throw cause;
    await write(await connection.read(() => findDisplaced(connection, shapeOf, batch, cause)));
  }
  faults.at('data.write.committed');
}

function isUniqueViolation(error: unknown): boolean {
  return [CONSTRAINT_UNIQUE, CONSTRAINT_PRIMARYKEY].includes(sqliteCode(error));
}

function applyBatch(connection: SqliteConnection, shapeOf: ShapeOf, batch: WriteBatch, displaced: Displaced): void {
  // Values that the batch does not carry must survive: the whole row is kept and written again under the new values.
  const kept = new Map<string, Row>();
  for (const { shape, key } of displaced) {
    const [row] = readRows(connection, shape, [key]);
    if (row !== undefined) kept.set(`${shape.name} ${encodeKey(key)}`, row);
    deleteRow(connection, shape, key);
  }
  for (const { table, deletes } of batch.changes.toReversed()) {
    const shape = shapeOf(table);
    for (const key of deletes)
      refusing(connection, shape, key, () => {
        deleteRow(connection, shape, key);
      });
  }
  for (const { table, upserts } of batch.changes) {
    const shape = shapeOf(table);
    for (const row of upserts) {
      const key = keyOf(row, shape.key);
      const former = kept.size === 0 ? undefined : kept.get(`${table} ${encodeKey(key)}`);
      if (isAnothers(connection, shape, key)) {
        const fields = { store: connection.store, table, key: encodeKey(key), reason: TAKEN_KEY };
        throw new ChangeoverError('CHG_DATA_ROW_REFUSED', fields);
      }
      refusing(connection, shape, key, () => {
        upsertRow(connection, shape, { ...former, ...row });
      });
    }
  }
  const { ledger } = batch;
  if (ledger === undefined) return;
  connection
    .statement(`INSERT INTO ${connection.own.prefix}_ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?)`)
    .run(
      ledger.run,
      ledger.sync,
      ledger.table,
      BigInt(ledger.seq),
      ledger.lastKey,
      BigInt(ledger.rows),
      ledger.hash,
      ledger.complete ? 1n : 0n,
    );
}

function isInLedger(connection: SqliteConnection, entry: NonNullable<WriteBatch['ledger']>): boolean {
  const { run, sync, table, seq } = entry;
  const sql = `SELECT 1 FROM ${connection.own.prefix}_ledger WHERE run = ? AND sync = ? AND tbl = ? AND seq = ?`;
  return connection.all(sql, run, sync, table, BigInt(seq)).length > 0;
}

export function readRows(connection: SqliteConnection, shape: SqliteShape, keys: readonly Key[]): Row[] {
  const columns = shape.columns.map(selected).join(', ');
  const belongs = connection.own.slice?.belongs(shape.name, `${quoted(shape.name)}.`) ?? null;
  const sql = `SELECT ${columns} FROM ${quoted(shape.name)} WHERE ${matches(shape.key)}${belongs === null ? '' : ` AND ${belongs}`}`;
  const read = rowReader(connection, shape);
  const rows: Row[] = [];
  for (const key of keys) {
    const [found] = connection.all(sql, ...boundKey(shape, key));
    if (found !== undefined) rows.push(read(found));
  }
  return rows;
}

function deleteRow(connection: SqliteConnection, shape: SqliteShape, key: Key): void {
  if (isAnothers(connection, shape, key)) return;
  connection.statement(`DELETE FROM ${quoted(shape.name)} WHERE ${matches(shape.key)}`).run(...boundKey(shape, key));
}

/** True where another slice has a row of this key. Nobody comes in between: the write lock is ours. */
function isAnothers(connection: SqliteConnection, shape: SqliteShape, key: Key): boolean {
  const elsewhere = connection.own.slice?.elsewhere(shape.name, `${quoted(shape.name)}.`) ?? null;
  if (elsewhere === null) return false;
  const sql = `SELECT 1 FROM ${quoted(shape.name)} WHERE ${matches(shape.key)} AND ${elsewhere}`;
  return connection.all(sql, ...boundKey(shape, key)).length > 0;
}

/**
 * The conflict target is the key alone: a conflict on any other unique index must not be settled by changing another row. A row that carries only
 * some of the columns is updated first, because an insert would be refused where another column must not be NULL.
 */
function upsertRow(connection: SqliteConnection, shape: SqliteShape, row: Row): void {
  const columns = Object.keys(row);
  if (columns.length < shape.columns.length && updateRow(connection, shape, row)) return;
  const updates = columns
    .filter((column) => !shape.key.includes(column))
    .map((column) => `${quoted(column)} = excluded.${quoted(column)}`);
  const action = updates.length === 0 ? 'NOTHING' : `UPDATE SET ${updates.join(', ')}`;
  const sql =
    `INSERT INTO ${quoted(shape.name)} (${columns.map(quoted).join(', ')}) VALUES (${columns.map(() => '?').join(', ')}) ` +
    `ON CONFLICT (${shape.key.map(quoted).join(', ')}) DO ${action}`;
  connection
    .statement(sql)
    .run(...columns.map((column) => bound(row[column] ?? null, affinityOfColumn(shape, column))));
}

/** False where there is no such row. */
function updateRow(connection: SqliteConnection, shape: SqliteShape, row: Row): boolean {
  const columns = Object.keys(row).filter((column) => !shape.key.includes(column));
  if (columns.length === 0) return readRows(connection, shape, [keyOf(row, shape.key)]).length > 0;
  const sql = `UPDATE ${quoted(shape.name)} SET ${columns.map((column) => `${quoted(column)} = ?`).join(', ')} WHERE ${matches(shape.key)}`;
  const values = columns.map((column) => bound(row[column] ?? null, affinityOfColumn(shape, column)));
  return Number(connection.statement(sql).run(...values, ...boundKey(shape, keyOf(row, shape.key))).changes) > 0;
}

function matches(columns: readonly string[]): string {
  return columns.map((column) => `${quoted(column)} = ?`).join(' AND ');
}

/** Names the row in the error where SQLite refuses its values. */
function refusing(connection: SqliteConnection, shape: SqliteShape, key: Key, write: () => void): void {
  try {
    write();
  } catch (cause) {
    const primary = sqliteCode(cause) & 0xff;
    const isTooLarge = cause instanceof Error && 'code' in cause && cause.code === 'ERR_INVALID_ARG_VALUE';
    if (![SQLITE_CONSTRAINT, SQLITE_MISMATCH, SQLITE_TOOBIG].includes(primary) && !isTooLarge) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    const fields = { store: connection.store, table: shape.name, key: encodeKey(key), reason };
    throw new ChangeoverError('CHG_DATA_ROW_REFUSED', fields, { cause });
  }
}

function findDisplaced(connection: SqliteConnection, shapeOf: ShapeOf, batch: WriteBatch, cause: unknown): Displaced {
  const displaced: { shape: SqliteShape; key: Key }[] = [];
  for (const { table, deletes, upserts } of batch.changes) {
    const shape = shapeOf(table);
    const inBatch = new Set([...deletes, ...upserts.map((row) => keyOf(row, shape.key))].map(encodeKey));
    const outside = new Map<string, Key>();
    for (const row of upserts)
      for (const key of holdersOf(connection, shape, row)) {
        if (inBatch.has(encodeKey(key))) displaced.push({ shape, key });
        else outside.set(encodeKey(key), key);
      }
    if (outside.size > 0) throw new UniqueConflict(table, [...outside.values()], { cause });
  }
  if (displaced.length === 0) throw cause;
  return displaced;
}

/** Keys of the other rows that hold one of the row's unique values. */
function holdersOf(connection: SqliteConnection, shape: SqliteShape, row: Row): Key[] {
  const key = keyOf(row, shape.key);
  return shape.unique
    .filter((index) => !index.hasExpression && index.columns.every((column) => row[column] !== undefined))
    .flatMap((index) => {
      const sql = `SELECT ${shape.key.map(quoted).join(', ')} FROM ${quoted(shape.name)} WHERE ${matches(index.columns)}`;
      const values = index.columns.map((column) => bound(row[column] ?? null, affinityOfColumn(shape, column)));
      return connection.all(sql, ...values);
    })
    .map((found) => readKey(shape, found as Value[]))
    .filter((found) => encodeKey(found) !== encodeKey(key));
}
