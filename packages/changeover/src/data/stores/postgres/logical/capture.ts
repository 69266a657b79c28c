import { ChangeoverError } from '../../../../errors.ts';
import type { Capture, CaptureLag, ChangeBatch } from '../../../../plan/stores.ts';
import { ChangeLog } from '../change-log.ts';
import { OWN_PREFIX, type PostgresConnection } from '../connection.ts';
import type { Cell, Session } from '../session.ts';
import { columnOf, type PostgresShape } from '../shape.ts';
import { UNSENT, type Decoded, type Relation, type Tuple } from './decode.ts';
import { Slot } from './slot.ts';

type ShapeOf = (table: string) => Promise<PostgresShape>;

/** Log that nobody needs is let go of when it is this long. */
const IDLE_BYTES = 1024 * 1024;

/**
 * Changes of a Postgres database, read from its write-ahead log through a replication slot: the application's transactions do nothing more
 * than before. What is read is put into the same log of keys that triggers write, and only then acknowledged to the slot; so a kill in
 * between makes a key come twice, and never lose.
 */
export class LogicalCapture implements Capture {
  readonly #connection: PostgresConnection;
  readonly #log: ChangeLog;
  readonly #slot: Slot;
  readonly #shapeOf: ShapeOf;
  readonly #freshShapeOf: ShapeOf;

  /** @param freshShapeOf Reads the shape again: what is installed fits the table as it is now. */
  constructor(connection: PostgresConnection, shapeOf: ShapeOf, freshShapeOf: ShapeOf) {
    this.#connection = connection;
    this.#log = new ChangeLog(connection, shapeOf);
    this.#slot = new Slot(connection);
    this.#shapeOf = shapeOf;
    this.#freshShapeOf = freshShapeOf;
  }

  /** The slot is made when the publication names the tables, since what was committed before that is not in it. */
  async install(tables: readonly string[], { isLost: wasLost } = { isLost: false }): Promise<void> {
    await this.#log.create();
    let name = await this.#slot.name();
    const isLost = name !== null && (await this.#slot.damages(name)).length > 0;
    if (isLost) {
      await this.#slot.drop();
      name = null;
    }
    const known = new Map((await this.#log.captured(fingerprintSql)).map(({ table, isIntact }) => [table, isIntact]));
    const missing = tables.filter((table) => isLost || known.get(table) !== true);
    if (name !== null && missing.length === 0) return;
    name ??= await this.#slot.create();
    for (const table of missing.toSorted()) await this.#publish(name, table, wasLost || known.has(table));
    this.#connection.ctx.faults.at('data.capture.installed');
  }

  async isInstalled(): Promise<boolean> {
    return this.#log.exists();
  }

  async pending(limit: number): Promise<ChangeBatch> {
    const name = await this.#slot.name();
    if (name === null) return { changes: [], rescan: [], remaining: 0, token: [] };
    const before = await this.#log.pending(limit);
    if (before.remaining > 0) return before;
    await this.#drain(name);
    return this.#log.pending(limit);
  }

  async lag(): Promise<CaptureLag | null> {
    const name = await this.#slot.name();
    return name === null ? null : this.#slot.lag(name);
  }

  /** The keys take far less room than the log that names them, and may wait as long as it takes. */
  async drain(): Promise<void> {
    const name = await this.#slot.name();
    const lag = name === null ? null : await this.#slot.lag(name);
    if (name !== null && lag !== null && lag.bytes > IDLE_BYTES) await this.#drain(name);
  }

  async acknowledge(batch: ChangeBatch): Promise<void> {
    await this.#log.acknowledge(batch);
  }

  async intact(): Promise<readonly string[]> {
    if (!(await this.#log.exists())) return [];
    const name = await this.#slot.name();
    if (name === null) return ['the replication slot is not there'];
    const changed = (await this.#log.captured(fingerprintSql)).filter(({ isIntact }) => !isIntact);
    for (const { table } of changed) await this.#freshShapeOf(table);
    return [
      ...(await this.#slot.damages(name)),
      ...changed.map(({ table }) => `the columns, the identity or the publication of ${table} changed`),
    ];
  }

  async remove(): Promise<void> {
    await this.#slot.drop();
    if (await this.#log.exists())
      await this.#connection.change('changeover_changes', (session) => this.#log.drop(session));
  }

  /** Under a lock on the table, so that no transaction that wrote it before is still to commit. */
  async #publish(name: string, table: string, wasCaptured: boolean): Promise<void> {
    const shape = await this.#freshShapeOf(table);
    await this.#connection.change(table, async (session) => {
      await session.query(`LOCK TABLE ${shape.qualified} IN SHARE ROW EXCLUSIVE MODE`);
      await this.#assertIdentity(session, shape);
      const [there] = await session.query(
        'SELECT EXISTS (SELECT FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid WHERE p.pubname = $1 AND r.prrelid = $2)',
        [name, shape.oid],
      );
      if (there?.[0] !== 't') await session.query(`ALTER PUBLICATION ${name} ADD TABLE ONLY ${shape.qualified}`);
      await this.#log.record(session, shape, fingerprintSql, wasCaptured);
    });
  }

  /** Postgres refuses UPDATE and DELETE of a published table whose rows the log cannot identify: the application would suffer. */
  async #assertIdentity(session: Session, shape: PostgresShape): Promise<void> {
    const [row] = await session.query(identitySql('$1', '$2'), [shape.oid, JSON.stringify(shape.key)]);
    if (row?.[0] === 't') return;
    throw new ChangeoverError('CHG_DATA_NO_REPLICA_IDENTITY', {
      store: this.#connection.store,
      table: shape.name,
      key: shape.key.join(', '),
    });
  }

  /** Moves what the slot holds now into the log of keys. */
  async #drain(name: string): Promise<void> {
    const end = await this.#slot.flushed();
    const tables = await this.#tablesByName();
    for (let isAll = false; !isAll;) {
      let isOurs = false;
      const read = await this.#slot.read(name, end.lsn, async (part, session) => {
        const keys = new Map<string, LoggedKey>();
        for (const decoded of part) {
          if (decoded.kind === 'begin') isOurs = false;
          else if (decoded.kind === 'message') isOurs ||= decoded.prefix === OWN_PREFIX;
          else if (!isOurs) for (const key of keysOf(decoded, tables)) keys.set(JSON.stringify(key), key);
        }
        if (keys.size > 0) await this.#write(session, [...keys.values()]);
      });
      isAll = read.isAll;
      const done = isAll ? end.lsn : read.endLsn;
      // Telling the slot costs as much as reading, so where nothing was there it is left for later.
      const isIdle = read.endLsn === null && ((await this.#slot.lag(name))?.bytes ?? 0) <= IDLE_BYTES;
      if (done !== null && !isIdle) await this.#slot.acknowledge(name, done, end.at);
    }
  }

  async #write(session: Session, keys: readonly LoggedKey[]): Promise<void> {
    const log = `${await this.#connection.home()}.changeover_changes`;
    await session.query(
      `INSERT INTO ${log} (tbl, key)
       SELECT e.value->>0, CASE WHEN jsonb_typeof(e.value->1) = 'array' THEN ARRAY(SELECT jsonb_array_elements_text(e.value->1)) END
       FROM jsonb_array_elements($1::jsonb) AS e`,
      [JSON.stringify(keys)],
    );
  }

  /** The captured tables by schema and name, as the slot calls them. */
  async #tablesByName(): Promise<Map<string, PostgresShape>> {
    const shapes = new Map<string, PostgresShape>();
    for (const table of await this.#log.tables()) {
      const shape = await this.#shapeOf(table);
      shapes.set(shape.oid, shape);
    }
    const rows = await this.#connection.main.query(
      'SELECT c.oid, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY ($1::oid[])',
      [[...shapes.keys()]],
    );
    return new Map(
      rows.flatMap(([oid, schema, name]) => {
        const shape = shapes.get(oid ?? '');
        return shape === undefined ? [] : [[nameOf(schema ?? '', name ?? ''), shape]];
      }),
    );
  }
}

/** A key as text; null: the whole table has to be compared. */
type LoggedKey = readonly [table: string, key: readonly Cell[] | null];

function keysOf(decoded: Decoded, tables: ReadonlyMap<string, PostgresShape>): LoggedKey[] {
  const shapeOf = ({ schema, name }: Relation) => tables.get(nameOf(schema, name));
  if (decoded.kind === 'truncate')
    return decoded.relations.flatMap((relation) => {
      const shape = shapeOf(relation);
      return shape === undefined ? [] : [[shape.name, null] as const];
    });
  if (decoded.kind !== 'row') return [];
  const { relation, before, after } = decoded;
  const shape = shapeOf(relation);
  if (shape === undefined) return [];
  return [before, after].flatMap((tuple) =>
    tuple === null ? [] : [[shape.name, keyIn(tuple, relation, shape)] as const],
  );
}

function keyIn(tuple: Tuple, { columns }: Relation, shape: PostgresShape): readonly Cell[] | null {
  const cells: Cell[] = [];
  for (const column of shape.key) {
    const cell = tuple[columns.indexOf(column)];
    // A part of the key that was not sent did not change, but which row it is cannot be told.
    if (cell === undefined || cell === UNSENT) return null;
    const isPadded = columnOf(shape, column).kind === 'blank-padded';
    cells.push(isPadded ? (cell?.replace(/ +$/, '') ?? null) : cell);
  }
  return cells;
}

function nameOf(schema: string, name: string): string {
  return JSON.stringify([schema, name]);
}

/** True where the log names the rows of a table by at least the columns of `key`, a JSON array. */
export function identitySql(oid: string, key: string): string {
  return `SELECT c.relreplident = 'f' OR EXISTS (
    SELECT FROM pg_index i WHERE i.indrelid = c.oid AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident END
      AND ${key}::jsonb <@ (SELECT jsonb_agg(a.attname) FROM unnest(i.indkey::int2[]) AS k (attnum)
                            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum))
    FROM pg_class c WHERE c.oid = ${oid}`;
}

/** A table's identity, columns, what identifies its rows in the log, and its place in our publication, as one text. */
function fingerprintSql(table: string): string {
  return `(
    SELECT md5(concat_ws('|', c.oid, c.relreplident,
      (SELECT string_agg(concat_ws(':', a.attname, a.atttypid, a.atttypmod), ',' ORDER BY a.attnum)
       FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
      (SELECT string_agg(i.indexrelid::text, ',' ORDER BY i.indexrelid) FROM pg_index i
       WHERE i.indrelid = c.oid AND (i.indisprimary OR i.indisreplident)),
      (SELECT string_agg(p.pubname, ',' ORDER BY p.pubname) FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
       WHERE r.prrelid = c.oid AND p.pubname LIKE 'changeover\\_%')))
    FROM pg_class c WHERE c.oid = to_regclass(${table}))`;
}
