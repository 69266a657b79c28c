import { ChangeoverError } from '../../../errors.ts';
import type { Key, LedgerEntry, Row, WriteBatch } from '../../../plan/stores.ts';
import { UniqueConflict } from '../../conflict.ts';
import { TAKEN_KEY, type Belonging } from '../../slices/belonging.ts';
import { encodeKey, keyOf } from '../../values.ts';
import { ROW_LOCK_TIMEOUT_MS, type PostgresConnection } from './connection.ts';
import { LOCK_NOT_AVAILABLE, sqlState, type Cell, type Session } from './session.ts';
import { columnOf, readKey, readValue, selection, writeValue, type PostgresShape } from './shape.ts';
import { quoted } from './text.ts';

const UNIQUE_VIOLATION = '23505';
/** Below this a COPY costs more than it saves. */
const MIN_BULK_ROWS = 20;
/** Classes of SQLSTATE that say that a row's values are refused: data exceptions and integrity constraints. */
const REFUSED_CLASSES = ['22', '23'];

type Shapes = ReadonlyMap<string, PostgresShape>;

/** Rows that hold a unique value of the batch and are in it themselves: taken out first, then written again with all their values. */
type Displaced = ReadonlyMap<PostgresShape, readonly Key[]>;

/** Writes a batch in one transaction. Throws `UniqueConflict` where rows outside the batch hold its unique values. */
export async function writeBatch(
  connection: PostgresConnection,
  shapes: Shapes,
  batch: WriteBatch,
  slice: Belonging | null = null,
): Promise<void> {
  const { faults } = connection.ctx;
  const ledger = await connection.ours('ledger');
  const write = (displaced: Displaced, isBulk = false) =>
    connection.write(
      batch.epoch,
      async (session) => {
        if (batch.ledger !== undefined && (await isInLedger(session, ledger, batch.ledger))) return;
        if (isBulk) await copyRows(session, shapes, batch);
        else await applyBatch(session, shapes, batch, displaced, slice);
        if (slice !== null) await assertOurs(connection, shapes, batch, slice);
        if (batch.ledger !== undefined) await addToLedger(session, ledger, batch.ledger);
      },
      () => {
        faults.at('data.write.before_commit');
      },
    );
  try {
    if (!(await wasCopied(batch, () => write(new Map(), true)))) await write(new Map());
  } catch (cause) {
    if (sqlState(cause) === LOCK_NOT_AVAILABLE)
      throw new ChangeoverError(
        'CHG_DATA_STORE_BUSY',
        { store: connection.store, waitedMs: ROW_LOCK_TIMEOUT_MS },
        { cause },
      );
    if (sqlState(cause) !== UNIQUE_VIOLATION) throw await named(connection, shapes, batch, cause);
    const displaced = await findDisplaced(connection.writer, shapes, batch, cause);
    if (displaced.size === 0) throw await named(connection, shapes, batch, cause);
    try {
      await write(displaced);
    } catch (second) {
      throw await named(connection, shapes, batch, second);
    }
  }
  faults.at('data.write.committed');
}

/**
 * A chunk of the copy goes in the engine's bulk form. False where the batch is something else, or meets rows that are there already: then it is
 * written again as an upsert.
 */
async function wasCopied(batch: WriteBatch, copy: () => Promise<void>): Promise<boolean> {
  const [first] = batch.changes;
  if (batch.ledger === undefined || first === undefined || first.upserts.length < MIN_BULK_ROWS) return false;
  if (batch.changes.length > 1 || first.deletes.length > 0 || !haveSameColumns(first.upserts)) return false;
  try {
    await copy();
    return true;
  } catch (error) {
    if (sqlState(error) === UNIQUE_VIOLATION) return false;
    throw error;
  }
}

function haveSameColumns([first, ...others]: readonly Row[]): boolean {
  const columns = Object.keys(first ?? {});
  return others.every((row) => {
    const own = Object.keys(row);
    return own.length === columns.length && own.every((column, index) => column === columns[index]);
  });
}

async function copyRows(session: Session, shapes: Shapes, { changes }: WriteBatch): Promise<void> {
  for (const { table, upserts } of changes) {
    const columns = Object.keys(upserts[0] ?? {});
    const lines = upserts.map((row) => columns.map((column) => copyCell(writeValue(row[column] ?? null))).join('\t'));
    const sql = `COPY ${shapeOf(shapes, table).qualified} (${columns.map(quoted).join(', ')}) FROM STDIN`;
    await session.copyIn(sql, Buffer.from(`${lines.join('\n')}\n`));
  }
}

const COPY_ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };

/** One value in COPY's text format: https://www.postgresql.org/docs/current/sql-copy.html */
function copyCell(cell: Cell): string {
  if (cell === null) return '\\N';
  return /[\\\t\n\r]/.test(cell) ? cell.replace(/[\\\t\n\r]/g, (found) => COPY_ESCAPES[found] ?? found) : cell;
}

async function applyBatch(
  session: Session,
  shapes: Shapes,
  batch: WriteBatch,
  displaced: Displaced,
  slice: Belonging | null,
): Promise<void> {
  const kept = new Map<string, Row>();
  for (const [shape, keys] of displaced) {
    for (const row of await readRows(session, shape, keys))
      kept.set(`${shape.name} ${encodeKey(keyOf(row, shape.key))}`, row);
    await deleteRows(session, shape, keys, slice);
  }
  for (const { table, deletes } of batch.changes.toReversed())
    await deleteRows(session, shapeOf(shapes, table), deletes, slice);
  for (const { table, upserts } of batch.changes) {
    const shape = shapeOf(shapes, table);
    const whole =
      kept.size === 0
        ? upserts
        : upserts.map((row) => ({ ...kept.get(`${table} ${encodeKey(keyOf(row, shape.key))}`), ...row }));
    await upsertRows(session, shape, whole, slice);
  }
}

/** A row of another slice that has the key of one of ours is never written over; then ours is refused, as a whole batch and later alone. */
async function assertOurs(
  connection: PostgresConnection,
  shapes: Shapes,
  batch: WriteBatch,
  slice: Belonging,
): Promise<void> {
  for (const { table, upserts } of batch.changes) {
    const shape = shapeOf(shapes, table);
    const elsewhere = slice.elsewhere(table, 't.');
    if (elsewhere === null || upserts.length === 0) continue;
    const keys = upserts.map((row) => keyOf(row, shape.key));
    const [taken] = await connection.writer.query(
      `SELECT ${selection(
        shape.key.map((column) => columnOf(shape, column)),
        't.',
      )} FROM ${shape.qualified} AS t JOIN ${given(shape.key)} ON ${matching(shape, shape.key)} WHERE ${elsewhere} LIMIT 1`,
      columnsOf(keys, shape.key.length),
    );
    if (taken === undefined) continue;
    const fields = { store: connection.store, table, key: encodeKey(readKey(shape, taken)), reason: TAKEN_KEY };
    throw new ChangeoverError('CHG_DATA_ROW_REFUSED', fields);
  }
}

export async function readRows(
  session: Session,
  shape: PostgresShape,
  keys: readonly Key[],
  slice: Belonging | null = null,
): Promise<Row[]> {
  if (keys.length === 0) return [];
  const belongs = slice?.belongs(shape.name, 't.') ?? null;
  const rows = await session.query(
    `SELECT ${selection(shape.columns, 't.')} FROM ${shape.qualified} AS t JOIN ${given(shape.key)} ON ${matching(shape, shape.key)}
     ${belongs === null ? '' : `WHERE ${belongs}`}`,
    columnsOf(keys, shape.key.length),
  );
  return rows.map((cells) => readRow(shape, cells));
}

export function readRow(shape: PostgresShape, cells: readonly Cell[]): Row {
  const row: Record<string, Row[string]> = {};
  shape.columns.forEach(({ name, kind }, index) => {
    row[name] = readValue(kind, cells[index] ?? null);
  });
  return row;
}

async function deleteRows(
  session: Session,
  shape: PostgresShape,
  keys: readonly Key[],
  slice: Belonging | null,
): Promise<void> {
  if (keys.length === 0) return;
  await session.query(
    `DELETE FROM ${shape.qualified} AS t USING ${given(shape.key)} WHERE ${matching(shape, shape.key)}${unlessAnothers(slice, shape)}`,
    columnsOf(keys, shape.key.length),
  );
}

/** Keeps a statement off rows `t` of other slices. */
function unlessAnothers(slice: Belonging | null, shape: PostgresShape): string {
  const elsewhere = slice?.elsewhere(shape.name, 't.') ?? null;
  return elsewhere === null ? '' : ` AND NOT (${elsewhere})`;
}

/**
 * Rows with the same columns go in one statement. The conflict target is the key alone. Rows that carry only some of the columns are updated
 * first, because an insert would be refused where another column must not be NULL.
 */
async function upsertRows(
  session: Session,
  shape: PostgresShape,
  rows: readonly Row[],
  slice: Belonging | null,
): Promise<void> {
  const groups = new Map<string, Row[]>();
  for (const row of rows) {
    const id = JSON.stringify(Object.keys(row));
    const group = groups.get(id);
    if (group === undefined) groups.set(id, [row]);
    else group.push(row);
  }
  for (const group of groups.values()) {
    const columns = Object.keys(group[0] ?? {});
    const updates = columns
      .filter((column) => !shape.key.includes(column))
      .map((column) => `${quoted(column)} = excluded.${quoted(column)}`);
    const unless = unlessAnothers(slice, shape).replace(' AND', ' WHERE');
    const action = updates.length === 0 ? 'NOTHING' : `UPDATE SET ${updates.join(', ')}${unless}`;
    const values = columns.map((column) => cast(shape, columns, column)).join(', ');
    const isPartial = columns.length < shape.columns.length;
    if (isPartial) await updateRows(session, shape, columns, group, slice);
    const isNew = isPartial
      ? `WHERE NOT EXISTS (SELECT FROM ${shape.qualified} AS t WHERE ${matching(shape, shape.key, columns)})`
      : '';
    await session.query(
      `INSERT INTO ${shape.qualified} AS t (${columns.map(quoted).join(', ')}) OVERRIDING SYSTEM VALUE
       SELECT ${values} FROM ${given(columns)} ${isNew} ON CONFLICT (${shape.key.map(quoted).join(', ')}) DO ${action}`,
      columns.map((column) => group.map((row) => writeValue(row[column] ?? null))),
    );
  }
}

async function updateRows(
  session: Session,
  shape: PostgresShape,
  columns: readonly string[],
  rows: readonly Row[],
  slice: Belonging | null,
): Promise<void> {
  const updates = columns
    .filter((column) => !shape.key.includes(column))
    .map((column) => `${quoted(column)} = ${cast(shape, columns, column)}`);
  if (updates.length === 0) return;
  await session.query(
    `UPDATE ${shape.qualified} AS t SET ${updates.join(', ')} FROM ${given(columns)} WHERE ${matching(shape, shape.key, columns)}${unlessAnothers(slice, shape)}`,
    columns.map((column) => rows.map((row) => writeValue(row[column] ?? null))),
  );
}

/** `rows` as they would come back, computed without writing. What a length or precision of the column would cut off stays: it is a difference. */
export async function canonicalRows(session: Session, shape: PostgresShape, rows: readonly Row[]): Promise<Row[]> {
  if (rows.length === 0) return [];
  const { from, values } = givenRows(shape, rows);
  try {
    const answer = await session.query(
      `SELECT ${selection(shape.columns)} FROM (${from}) AS given ORDER BY changeover_position`,
      values,
    );
    return answer.map((cells) => readRow(shape, cells));
  } catch (error) {
    // A value that the type refuses has no form to come back in; as it is, it differs from whatever is there.
    if (!isRefusal(error)) throw error;
    return [...rows];
  }
}

/** A SELECT of rows that are not written, with their place among them, and the values that it takes. */
export function givenRows(shape: PostgresShape, rows: readonly Row[]): { from: string; values: Cell[][] } {
  const columns = shape.columns.map(({ name }) => name);
  const values = columns.map((column) => `${held(shape, columns, column)} AS ${quoted(column)}`);
  return {
    from: `SELECT ${values.join(', ')}, u.position AS changeover_position FROM ${given(columns, true)}`,
    values: columns.map((column) => rows.map((row) => writeValue(row[column] ?? null))),
  };
}

/** One array parameter a column, as rows. */
function given(columns: readonly string[], isOrdered = false): string {
  const arrays = columns.map((_, index) => `$${index + 1}::pg_catalog.text[]`).join(', ');
  const names = columns.map((column) => slot(columns, column));
  return isOrdered
    ? `unnest(${arrays}) WITH ORDINALITY AS u(${[...names, 'position'].join(', ')})`
    : `unnest(${arrays}) AS u(${names.join(', ')})`;
}

function slot(columns: readonly string[], column: string): string {
  return `c${columns.indexOf(column)}`;
}

/** With the length or precision of the column where that loses nothing: `1.5` is `1.50` in a `numeric(10, 2)`. */
function held(shape: PostgresShape, columns: readonly string[], column: string): string {
  const { type, kind } = columnOf(shape, column);
  const free = cast(shape, columns, column);
  if (!type.includes('(') || kind === 'blank-padded') return free;
  const bounded = `u.${slot(columns, column)}::${type}`;
  return `CASE WHEN ${bounded} = ${free} THEN ${bounded} ELSE ${free} END`;
}

function cast(shape: PostgresShape, columns: readonly string[], column: string): string {
  return `u.${slot(columns, column)}::${columnOf(shape, column).cast}`;
}

/** @param slots The columns that are given, in the order of their slots; default those that are matched. */
function matching(shape: PostgresShape, columns: readonly string[], slots = columns): string {
  return columns.map((column) => `t.${quoted(column)} = ${cast(shape, slots, column)}`).join(' AND ');
}

function columnsOf(keys: readonly Key[], width: number): Cell[][] {
  return Array.from({ length: width }, (_, index) => keys.map((key) => writeValue(key[index] ?? null)));
}

function shapeOf(shapes: Shapes, table: string): PostgresShape {
  const shape = shapes.get(table);
  if (shape === undefined) throw new TypeError(`the shape of ${table} was not read`);
  return shape;
}

function isRefusal(error: unknown): boolean {
  return REFUSED_CLASSES.includes((sqlState(error) ?? '').slice(0, 2));
}

async function findDisplaced(
  session: Session,
  shapes: Shapes,
  batch: WriteBatch,
  cause: unknown,
): Promise<Map<PostgresShape, Key[]>> {
  const displaced = new Map<PostgresShape, Key[]>();
  for (const { table, deletes, upserts } of batch.changes) {
    const shape = shapeOf(shapes, table);
    const inBatch = new Set([...deletes, ...upserts.map((row) => keyOf(row, shape.key))].map(encodeKey));
    const outside = new Map<string, Key>();
    const inside = new Map<string, Key>();
    for (const key of await holdersOf(session, shape, upserts))
      (inBatch.has(encodeKey(key)) ? inside : outside).set(encodeKey(key), key);
    if (outside.size > 0) throw new UniqueConflict(table, [...outside.values()], { cause });
    if (inside.size > 0) displaced.set(shape, [...inside.values()]);
  }
  return displaced;
}

/** Keys of the rows that hold a unique value which the batch gives to a row with another key. */
async function holdersOf(session: Session, shape: PostgresShape, rows: readonly Row[]): Promise<Key[]> {
  const holders: Key[] = [];
  for (const index of shape.unique) {
    const carrying = rows.filter((row) => index.columns.every((column) => row[column] !== undefined));
    if (index.hasExpression || index.columns.length === 0 || carrying.length === 0) continue;
    const columns = [...new Set([...index.columns, ...shape.key])];
    const isOther = shape.key.map((column) => `t.${quoted(column)} IS DISTINCT FROM ${cast(shape, columns, column)}`);
    const found = await session.query(
      `SELECT DISTINCT ${selection(
        shape.key.map((column) => columnOf(shape, column)),
        't.',
      )}
       FROM ${shape.qualified} AS t JOIN ${given(columns)}
         ON ${index.columns.map((column) => `t.${quoted(column)} = ${cast(shape, columns, column)}`).join(' AND ')}
       WHERE ${isOther.join(' OR ')}`,
      columns.map((column) => carrying.map((row) => writeValue(row[column] ?? null))),
    );
    holders.push(...found.map((cells) => readKey(shape, cells)));
  }
  return holders;
}

/** The same error with the row that is refused: found by trying the rows one by one, in a transaction that is rolled back. */
async function named(
  connection: PostgresConnection,
  shapes: Shapes,
  batch: WriteBatch,
  cause: unknown,
): Promise<unknown> {
  if (!isRefusal(cause)) return cause;
  let refused: { table: string; key: Key; reason: string } | null = null;
  const { writer } = connection;
  await writer.alone(async () => {
    await writer.begin();
    try {
      for (const { table, upserts } of batch.changes) {
        const shape = shapeOf(shapes, table);
        for (const row of upserts) {
          await writer.query('SAVEPOINT one');
          try {
            await writer.query("SELECT set_config('changeover.epoch', $1, true)", [String(batch.epoch)]);
            await upsertRows(writer, shape, [row], null);
          } catch (error) {
            const reason = error instanceof Error ? error.message : String(error);
            refused ??= { table, key: keyOf(row, shape.key), reason };
          }
          await writer.query(refused === null ? 'RELEASE one' : 'ROLLBACK TO one');
          if (refused !== null) break;
        }
        if (refused !== null) break;
      }
    } finally {
      await writer.rollback();
    }
  });
  const found = refused as { table: string; key: Key; reason: string } | null;
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new ChangeoverError(
    'CHG_DATA_ROW_REFUSED',
    {
      store: connection.store,
      table: found?.table ?? batch.changes.map(({ table }) => table).join(', '),
      key: found === null ? 'unknown' : encodeKey(found.key),
      reason: found?.reason ?? reason,
    },
    { cause },
  );
}

export async function isInLedger(session: Session, ledger: string, entry: LedgerEntry): Promise<boolean> {
  const found = await session.query(`SELECT FROM ${ledger} WHERE run = $1 AND sync = $2 AND tbl = $3 AND seq = $4`, [
    entry.run,
    entry.sync,
    entry.table,
    String(entry.seq),
  ]);
  return found.length > 0;
}

export async function addToLedger(session: Session, ledger: string, entry: LedgerEntry): Promise<void> {
  const { run, sync, table, seq, lastKey, rows, hash, complete } = entry;
  await session.query(`INSERT INTO ${ledger} VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, [
    run,
    sync,
    table,
    String(seq),
    lastKey,
    String(rows),
    hash,
    String(complete),
  ]);
}
