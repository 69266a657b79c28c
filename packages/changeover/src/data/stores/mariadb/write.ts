import { ChangeoverError } from '../../../errors.ts';
import type { Key, LedgerEntry, Row, Value, WriteBatch } from '../../../plan/stores.ts';
import { UniqueConflict } from '../../conflict.ts';
import { encodeKey, keyOf } from '../../values.ts';
import type { MariadbConnection } from './connection.ts';
import { among, isRefusal, readKey, readRows } from './rows.ts';
import { DUPLICATE_ENTRY, ROW_LOCK_TIMEOUT_S, errorNumber, isLockTimeout, type Session } from './session.ts';
import { columnOf, keyColumns, selection, type MariadbShape } from './shape.ts';
import { literal, quoted } from './text.ts';
import { sqlOf } from './values.ts';

/** Text of one INSERT; below the server's smallest usual `max_allowed_packet`. */
const MAX_INSERT_CHARACTERS = 1_000_000;

type Shapes = ReadonlyMap<string, MariadbShape>;

/** Writes a batch in one transaction. Throws `UniqueConflict` where rows outside the batch hold its unique values. */
export async function writeBatch(connection: MariadbConnection, shapes: Shapes, batch: WriteBatch): Promise<void> {
  const { faults } = connection.ctx;
  const write = (isNew: boolean) =>
    connection.write(
      batch.epoch,
      async (session) => {
        if (batch.ledger !== undefined && (await isInLedger(session, batch.ledger))) return;
        await applyBatch(session, shapes, batch, isNew);
        if (batch.ledger !== undefined) await addToLedger(session, batch.ledger);
      },
      () => {
        faults.at('data.write.before_commit');
      },
    );
  try {
    if (!(await wasNew(batch, () => write(true)))) await write(false);
  } catch (cause) {
    if (isLockTimeout(cause)) {
      const fields = { store: connection.store, waitedMs: ROW_LOCK_TIMEOUT_S * 1000 };
      throw new ChangeoverError('CHG_DATA_STORE_BUSY', fields, { cause });
    }
    if (errorNumber(cause) === DUPLICATE_ENTRY) await assertNoHolders(connection.writer, shapes, batch, cause);
    throw isRefusal(cause) ? await named(connection, shapes, batch, cause) : cause;
  }
  faults.at('data.write.committed');
}

/** A chunk of the copy meets no rows, as a rule. False where it does: then they are taken out first. */
async function wasNew(batch: WriteBatch, write: () => Promise<void>): Promise<boolean> {
  if (batch.ledger === undefined || batch.changes.some(({ deletes }) => deletes.length > 0)) return false;
  try {
    await write();
    return true;
  } catch (error) {
    if (errorNumber(error) === DUPLICATE_ENTRY) return false;
    throw error;
  }
}

/**
 * All rows of the batch are taken out before any is put in, so that unique values can move between them, and no row of another key is
 * ever changed, as ON DUPLICATE KEY would.
 */
async function applyBatch(session: Session, shapes: Shapes, batch: WriteBatch, isNew: boolean): Promise<void> {
  const whole = new Map<MariadbShape, readonly Row[]>();
  for (const { table, upserts } of batch.changes) {
    const shape = shapeOf(shapes, table);
    whole.set(shape, isNew ? upserts : await completed(session, shape, upserts));
  }
  if (!isNew)
    for (const { table, deletes, upserts } of batch.changes.toReversed()) {
      const shape = shapeOf(shapes, table);
      await deleteRows(session, shape, [...deletes, ...upserts.map((row) => keyOf(row, shape.key))]);
    }
  for (const { table } of batch.changes) {
    const shape = shapeOf(shapes, table);
    await insertRows(session, shape, whole.get(shape) ?? []);
  }
}

/** Rows that carry only some of the columns keep the others as they are. */
async function completed(session: Session, shape: MariadbShape, rows: readonly Row[]): Promise<readonly Row[]> {
  const partial = rows.filter((row) => shape.columns.some(({ name }) => row[name] === undefined));
  if (partial.length === 0) return rows;
  const keys = partial.map((row) => keyOf(row, shape.key));
  const former = new Map<string, Row>();
  for (const row of await readRows(session, shape, keys, shape.columns)) former.set(idOf(shape, row), row);
  return rows.map((row) => ({ ...former.get(idOf(shape, row)), ...row }));
}

/** As the server reads the key: `1` and `1n` and `'1'` are one integer. */
function idOf(shape: MariadbShape, row: Row): string {
  return keyColumns(shape)
    .map((column) => sqlOf(column, row[column.name] ?? null))
    .join(' ');
}

async function deleteRows(session: Session, shape: MariadbShape, keys: readonly Key[]): Promise<void> {
  if (keys.length > 0) await session.query(`DELETE FROM ${quoted(shape.name)} WHERE ${among(shape, keys)}`);
}

/** Rows with the same columns go together. */
async function insertRows(session: Session, shape: MariadbShape, rows: readonly Row[]): Promise<void> {
  const groups = new Map<string, { columns: readonly string[]; tuples: string[] }>();
  const generated = new Set(shape.generated.map(({ name }) => name));
  for (const row of rows) {
    const columns = Object.keys(row).filter((name) => !generated.has(name));
    const id = JSON.stringify(columns);
    const group = groups.get(id) ?? { columns, tuples: [] };
    groups.set(id, group);
    group.tuples.push(`(${columns.map((name) => sqlOf(columnOf(shape, name), row[name] ?? null)).join(', ')})`);
  }
  for (const { columns, tuples } of groups.values())
    for (const part of parts(tuples))
      await session.query(
        `INSERT INTO ${quoted(shape.name)} (${columns.map(quoted).join(', ')}) VALUES ${part.join(', ')}`,
      );
}

function* parts(tuples: readonly string[]): Generator<string[]> {
  let part: string[] = [];
  let length = 0;
  for (const tuple of tuples) {
    if (part.length > 0 && length + tuple.length > MAX_INSERT_CHARACTERS) {
      yield part;
      part = [];
      length = 0;
    }
    part.push(tuple);
    length += tuple.length;
  }
  if (part.length > 0) yield part;
}

function shapeOf(shapes: Shapes, table: string): MariadbShape {
  const shape = shapes.get(table);
  if (shape === undefined) throw new TypeError(`the shape of ${table} was not read`);
  return shape;
}

/** Throws `UniqueConflict` with the rows outside the batch that hold a unique value which the batch gives to a row with another key. */
async function assertNoHolders(session: Session, shapes: Shapes, batch: WriteBatch, cause: unknown): Promise<void> {
  for (const { table, deletes, upserts } of batch.changes) {
    const shape = shapeOf(shapes, table);
    const inBatch = new Set([...deletes.map((key) => keyId(shape, key)), ...upserts.map((row) => idOf(shape, row))]);
    const outside = new Map<string, Key>();
    for (const key of await holdersOf(session, shape, upserts))
      if (!inBatch.has(keyId(shape, key))) outside.set(encodeKey(key), key);
    if (outside.size > 0) throw new UniqueConflict(table, [...outside.values()], { cause });
  }
}

function keyId(shape: MariadbShape, key: Key): string {
  return keyColumns(shape)
    .map((column, index) => sqlOf(column, key[index] ?? null))
    .join(' ');
}

async function holdersOf(session: Session, shape: MariadbShape, rows: readonly Row[]): Promise<Key[]> {
  const holders: Key[] = [];
  for (const index of shape.unique) {
    const carrying = rows.filter((row) => index.columns.every((name) => row[name] != null));
    if (index.hasExpression || index.columns.length === 0 || carrying.length === 0) continue;
    const tuples = carrying.map(
      (row) => `(${index.columns.map((name) => sqlOf(columnOf(shape, name), row[name] as Value)).join(', ')})`,
    );
    const found = await session.query(
      `SELECT ${selection(keyColumns(shape))} FROM ${quoted(shape.name)}
       WHERE (${index.columns.map(quoted).join(', ')}) IN (${tuples.join(', ')})`,
    );
    holders.push(...found.map((cells) => readKey(shape, cells)));
  }
  return holders;
}

/** The same error with the row that is refused: found by trying the rows one by one, in a transaction that is rolled back. */
async function named(
  connection: MariadbConnection,
  shapes: Shapes,
  batch: WriteBatch,
  cause: unknown,
): Promise<ChangeoverError<'CHG_DATA_ROW_REFUSED'>> {
  const refused = await findRefused(connection, shapes, batch);
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new ChangeoverError(
    'CHG_DATA_ROW_REFUSED',
    {
      store: connection.store,
      table: refused?.table ?? batch.changes.map(({ table }) => table).join(', '),
      key: refused === null ? 'unknown' : encodeKey(refused.key),
      reason: refused?.reason ?? reason,
    },
    { cause },
  );
}

interface Refused {
  readonly table: string;
  readonly key: Key;
  readonly reason: string;
}

async function findRefused(connection: MariadbConnection, shapes: Shapes, batch: WriteBatch): Promise<Refused | null> {
  let refused: Refused | null = null;
  const { writer } = connection;
  await writer.alone(() =>
    writer.pinned(async () => {
      await writer.query('BEGIN');
      try {
        for (const { table, deletes, upserts } of batch.changes) {
          const shape = shapeOf(shapes, table);
          await deleteRows(writer, shape, [...deletes, ...upserts.map((row) => keyOf(row, shape.key))]);
        }
        for (const { table, upserts } of batch.changes)
          for (const row of upserts) refused ??= await tried(writer, shapeOf(shapes, table), row);
      } catch (error) {
        // A key that the server cannot even read refuses the batch before any row is tried.
        if (!isRefusal(error)) throw error;
      } finally {
        await writer.rollback();
      }
    }),
  );
  return refused;
}

async function tried(session: Session, shape: MariadbShape, row: Row): Promise<Refused | null> {
  try {
    await insertRows(session, shape, [row]);
    return null;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return {
      table: shape.name,
      key: keyOf(row, shape.key),
      reason: error instanceof Error ? error.message : String(error),
    };
  }
}

async function isInLedger(session: Session, { run, sync, table, seq }: LedgerEntry): Promise<boolean> {
  const found = await session.query(
    `SELECT 1 FROM changeover_ledger
     WHERE run = ${literal(run)} AND sync = ${literal(sync)} AND tbl = ${literal(table)} AND seq = ${seq}`,
  );
  return found.length > 0;
}

async function addToLedger(session: Session, entry: LedgerEntry): Promise<void> {
  const { run, sync, table, seq, lastKey, rows, hash, complete } = entry;
  const last = lastKey === null ? 'NULL' : literal(lastKey);
  await session.query(
    `INSERT INTO changeover_ledger VALUES (${literal(run)}, ${literal(sync)}, ${literal(table)}, ${seq}, ${last}, ${rows}, ${literal(hash)}, ${complete ? 'TRUE' : 'FALSE'})`,
  );
}
