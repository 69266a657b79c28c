import type { Capture, ChangeBatch } from '../../../plan/stores.ts';
import { ChangeLog } from './change-log.ts';
import type { PostgresConnection } from './connection.ts';
import type { PostgresShape } from './shape.ts';
import type { Session } from './session.ts';
import type { Own } from './own.ts';
import { captureFunctionSql, captureTrigger, captureTriggerSql, truncateTrigger, type SliceRows } from './triggers.ts';

type ShapeOf = (table: string) => Promise<PostgresShape>;

/** Changes of a Postgres database, logged by triggers. */
export class PostgresCapture implements Capture {
  readonly #connection: PostgresConnection;
  readonly #log: ChangeLog;
  readonly #freshShapeOf: ShapeOf;
  readonly #sliceRows: () => Promise<SliceRows | null>;
  readonly #fingerprint: (table: string) => string;

  /** @param freshShapeOf Reads the shape again: what is installed fits the table as it is now. */
  constructor(
    connection: PostgresConnection,
    shapeOf: ShapeOf,
    freshShapeOf: ShapeOf,
    sliceRows: () => Promise<SliceRows | null>,
  ) {
    this.#connection = connection;
    this.#sliceRows = sliceRows;
    this.#fingerprint = (table) => fingerprintSql(table, connection.own);
    this.#log = new ChangeLog(connection, shapeOf);
    this.#freshShapeOf = freshShapeOf;
  }

  /**
   * One table a transaction. CREATE TRIGGER waits for every transaction that has written the table, so nothing older is still unseen, and
   * nothing later is uncaptured.
   */
  async install(tables: readonly string[], { isLost } = { isLost: false }): Promise<void> {
    const connection = this.#connection;
    const home = await connection.home();
    await this.#log.create();
    const known = new Map(
      (await this.#log.captured(this.#fingerprint)).map(({ table, isIntact }) => [table, isIntact]),
    );
    for (const table of [...tables].sort()) {
      if (known.get(table) === true) continue;
      const shape = await this.#freshShapeOf(table);
      connection.ctx.faults.at('data.capture.installing');
      await connection.change(table, (session) => this.#installTable(session, home, shape, isLost || known.has(table)));
      connection.ctx.faults.at('data.capture.installed');
    }
  }

  async isInstalled(): Promise<boolean> {
    return this.#log.exists();
  }

  async pending(limit: number): Promise<ChangeBatch> {
    if (!(await this.#log.exists())) return { changes: [], rescan: [], remaining: 0, token: [] };
    return this.#log.pending(limit);
  }

  async acknowledge(batch: ChangeBatch): Promise<void> {
    await this.#log.acknowledge(batch);
  }

  async intact(): Promise<readonly string[]> {
    if (!(await this.#log.exists())) return [];
    const damaged = (await this.#log.captured(this.#fingerprint)).filter(({ isIntact }) => !isIntact);
    for (const { table } of damaged) await this.#freshShapeOf(table);
    return damaged.map(({ table }) => `the triggers or the files of ${table} changed`);
  }

  async remove(): Promise<void> {
    if (!(await this.#log.exists())) return;
    const { own } = this.#connection;
    const [CAPTURE_TRIGGER, TRUNCATE_TRIGGER] = [captureTrigger(own), truncateTrigger(own)];
    const home = await this.#connection.home();
    const tables = await this.#connection.main.query(
      `SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger
       WHERE tgname IN ('${CAPTURE_TRIGGER}', '${TRUNCATE_TRIGGER}') AND tgparentid = 0 ORDER BY 1`,
    );
    for (const [table] of tables)
      await this.#connection.change(String(table), (session) =>
        session.query(
          `DROP TRIGGER IF EXISTS ${CAPTURE_TRIGGER} ON ${table}; DROP TRIGGER IF EXISTS ${TRUNCATE_TRIGGER} ON ${table}`,
        ),
      );
    await this.#connection.change('changeover_changes', async (session) => {
      const functions = await session.query(
        'SELECT oid::regprocedure::text FROM pg_proc WHERE starts_with(proname::text, $2) AND pronamespace = $1::regnamespace',
        [home, `${own.prefix}_capture_`],
      );
      for (const [name] of functions) await session.query(`DROP FUNCTION ${name}`);
      await this.#log.drop(session);
    });
  }

  async #installTable(session: Session, home: string, shape: PostgresShape, wasCaptured: boolean): Promise<void> {
    const { own } = this.#connection;
    const [CAPTURE_TRIGGER, TRUNCATE_TRIGGER] = [captureTrigger(own), truncateTrigger(own)];
    const rows = await this.#sliceRows();
    await session.query(`LOCK TABLE ${shape.qualified} IN SHARE ROW EXCLUSIVE MODE`);
    const partitions = await partitionsOf(session, shape.qualified);
    for (const table of [shape.qualified, ...partitions])
      await session.query(`DROP TRIGGER IF EXISTS ${TRUNCATE_TRIGGER} ON ${table}`);
    await session.query(`DROP TRIGGER IF EXISTS ${CAPTURE_TRIGGER} ON ${shape.qualified}`);
    await session.query(captureFunctionSql(home, shape, own, rows));
    for (const sql of captureTriggerSql(home, shape, partitions, own)) await session.query(sql);
    await this.#log.record(session, shape, this.#fingerprint, wasCaptured);
  }
}

/** Partitions of a table, leaves and inner ones, quoted; none for an ordinary table. */
export async function partitionsOf(session: Session, qualified: string): Promise<string[]> {
  const rows = await session.query(
    `SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
     FROM pg_partition_tree($1::regclass) AS t JOIN pg_class c ON c.oid = t.relid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE t.relid <> $1::regclass ORDER BY 1`,
    [qualified],
  );
  return rows.map(([name]) => name ?? '');
}

/**
 * A table's identity, files, columns, partitions and our triggers on it, as one text. A table that was rebuilt or rewritten, and a trigger that was
 * dropped, disabled or replaced, all change it. The files stand in front as they are: a TRUNCATE, which our trigger logs, gives its table others,
 * and the trigger corrects that.
 */
function fingerprintSql(table: string, own: Own): string {
  return `(
    WITH own AS (
      SELECT to_regclass(${table})::oid AS oid
      UNION SELECT relid FROM pg_partition_tree(to_regclass(${table})))
    SELECT concat_ws('|',
      (SELECT string_agg(concat_ws(':', c.oid, pg_relation_filenode(c.oid)), ',' ORDER BY c.oid)
       FROM own JOIN pg_class c USING (oid)),
      md5(concat_ws('|',
      (SELECT string_agg(concat_ws(':', a.attname, a.atttypid, a.atttypmod), ',' ORDER BY a.attnum)
       FROM pg_attribute a WHERE a.attrelid = to_regclass(${table}) AND a.attnum > 0 AND NOT a.attisdropped),
      (SELECT string_agg(concat_ws(':', t.tgrelid, t.tgenabled, pg_get_triggerdef(t.oid), md5(p.prosrc)), ',' ORDER BY t.tgrelid, t.tgname)
       FROM own JOIN pg_trigger t ON t.tgrelid = own.oid JOIN pg_proc p ON p.oid = t.tgfoid
       WHERE t.tgname IN ('${captureTrigger(own)}', '${truncateTrigger(own)}'))))))`;
}
