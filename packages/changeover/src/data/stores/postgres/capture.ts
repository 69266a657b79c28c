import type { Capture, ChangeBatch, Key } from '../../../plan/stores.ts';
import { encodeKey } from '../../values.ts';
import type { PostgresConnection } from './connection.ts';
import { readKey, type PostgresShape } from './shape.ts';
import type { Session } from './session.ts';
import { CAPTURE_TRIGGER, TRUNCATE_TRIGGER, captureFunctionSql, captureTriggerSql } from './triggers.ts';

/** Changes are counted up to here; past it the exact number says nothing more. */
const MAX_COUNTED = 100_000;

type ShapeOf = (table: string) => Promise<PostgresShape>;

/** Ids of the change rows that were read; exactly these are deleted. */
type Token = readonly string[];

/**
 * Changes of a Postgres database, logged by triggers. Ids are random: the order of allocation is not the order of commits, so the log is
 * never read by "greater than", and exactly the rows that were read are deleted.
 */
export class PostgresCapture implements Capture {
  readonly #connection: PostgresConnection;
  readonly #shapeOf: ShapeOf;
  readonly #freshShapeOf: ShapeOf;

  /** @param freshShapeOf Reads the shape again: what is installed fits the table as it is now. */
  constructor(connection: PostgresConnection, shapeOf: ShapeOf, freshShapeOf: ShapeOf) {
    this.#connection = connection;
    this.#shapeOf = shapeOf;
    this.#freshShapeOf = freshShapeOf;
  }

  /**
   * One table a transaction. CREATE TRIGGER waits for every transaction that has written the table, so nothing older is still unseen, and
   * nothing later is uncaptured.
   */
  async install(tables: readonly string[]): Promise<void> {
    const connection = this.#connection;
    const home = await connection.home();
    if (!(await this.#exists()))
      await connection.change('changeover_changes', (session) =>
        session.query(`
          CREATE TABLE IF NOT EXISTS ${home}.changeover_changes (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tbl text NOT NULL, key text[]);
          CREATE TABLE IF NOT EXISTS ${home}.changeover_captured (tbl text PRIMARY KEY, fingerprint text NOT NULL);
          REVOKE ALL ON ${home}.changeover_changes, ${home}.changeover_captured FROM PUBLIC`),
      );
    const known = new Map((await this.#captured()).map(({ table, isIntact }) => [table, isIntact]));
    for (const table of [...tables].sort()) {
      if (known.get(table) === true) continue;
      const shape = await this.#freshShapeOf(table);
      connection.ctx.faults.at('data.capture.installing');
      await connection.change(table, (session) => this.#installTable(session, home, shape, known.has(table)));
      connection.ctx.faults.at('data.capture.installed');
    }
  }

  async pending(limit: number): Promise<ChangeBatch> {
    if (!(await this.#exists())) return { changes: [], rescan: [], remaining: 0, token: [] satisfies Token };
    const { main } = this.#connection;
    const log = `${await this.#connection.home()}.changeover_changes`;
    const logged = await main.query(`SELECT id, tbl, to_json(key) FROM ${log} LIMIT ${limit}`);
    const [counted] =
      logged.length < limit
        ? [[String(logged.length)]]
        : await main.query(`SELECT count(*) FROM (SELECT FROM ${log} LIMIT ${MAX_COUNTED}) AS counted`);
    const rescan = new Set<string>();
    const changes = new Map<string, { table: string; key: Key }>();
    for (const [, name, key] of logged) {
      const table = name ?? '';
      if (key == null) {
        rescan.add(table);
        continue;
      }
      const values = readKey(await this.#shapeOf(table), JSON.parse(key) as string[]);
      changes.set(`${table} ${encodeKey(values)}`, { table, key: values });
    }
    return {
      changes: [...changes.values()],
      rescan: [...rescan],
      remaining: Math.max(0, Number(counted?.[0]) - logged.length),
      token: logged.map(([id]) => id ?? '') satisfies Token,
    };
  }

  /** Inside the lock this belongs to the lock's transaction: when that is rolled back, the changes are pending again. */
  async acknowledge(batch: ChangeBatch): Promise<void> {
    const log = `${await this.#connection.home()}.changeover_changes`;
    await this.#connection.main.query(`DELETE FROM ${log} WHERE id = ANY ($1::uuid[])`, [batch.token as Token]);
  }

  async intact(): Promise<readonly string[]> {
    if (!(await this.#exists())) return [];
    const damaged = (await this.#captured()).filter(({ isIntact }) => !isIntact);
    for (const { table } of damaged) await this.#freshShapeOf(table);
    return damaged.map(({ table }) => `the triggers or the files of ${table} changed`);
  }

  async remove(): Promise<void> {
    if (!(await this.#exists())) return;
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
        "SELECT oid::regprocedure::text FROM pg_proc WHERE proname LIKE 'changeover\\_capture\\_%' AND pronamespace = $1::regnamespace",
        [home],
      );
      for (const [name] of functions) await session.query(`DROP FUNCTION ${name}`);
      await session.query(`DROP TABLE IF EXISTS ${home}.changeover_changes, ${home}.changeover_captured`);
    });
  }

  async #installTable(session: Session, home: string, shape: PostgresShape, wasKnown: boolean): Promise<void> {
    await session.query(`LOCK TABLE ${shape.qualified} IN SHARE ROW EXCLUSIVE MODE`);
    const partitions = await partitionsOf(session, shape.qualified);
    for (const table of [shape.qualified, ...partitions])
      await session.query(`DROP TRIGGER IF EXISTS ${TRUNCATE_TRIGGER} ON ${table}`);
    await session.query(`DROP TRIGGER IF EXISTS ${CAPTURE_TRIGGER} ON ${shape.qualified}`);
    await session.query(captureFunctionSql(home, shape));
    for (const sql of captureTriggerSql(home, shape, partitions)) await session.query(sql);
    // Nobody knows what was written while the triggers were away.
    if (wasKnown) await session.query(`INSERT INTO ${home}.changeover_changes (tbl) VALUES ($1)`, [shape.name]);
    await session.query(
      `INSERT INTO ${home}.changeover_captured VALUES ($1, ${fingerprintSql('$2')})
       ON CONFLICT (tbl) DO UPDATE SET fingerprint = excluded.fingerprint`,
      [shape.name, shape.qualified],
    );
  }

  async #exists(): Promise<boolean> {
    const home = await this.#connection.home();
    const [row] = await this.#connection.main.query('SELECT to_regclass($1) IS NOT NULL', [
      `${home}.changeover_captured`,
    ]);
    return row?.[0] === 't';
  }

  async #captured(): Promise<{ table: string; isIntact: boolean }[]> {
    const home = await this.#connection.home();
    const names = await this.#connection.main.query(`SELECT tbl FROM ${home}.changeover_captured ORDER BY tbl`);
    const captured: { table: string; isIntact: boolean }[] = [];
    for (const [name] of names) {
      const table = name ?? '';
      const shape = await this.#shapeOf(table);
      const [row] = await this.#connection.main.query(
        `SELECT fingerprint = ${fingerprintSql('$2')} FROM ${home}.changeover_captured WHERE tbl = $1`,
        [table, shape.qualified],
      );
      captured.push({ table, isIntact: row?.[0] === 't' });
    }
    return captured;
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
 * dropped, disabled or replaced, all change it.
 */
function fingerprintSql(table: string): string {
  return `(
    WITH own AS (
      SELECT ${table}::regclass::oid AS oid
      UNION SELECT relid FROM pg_partition_tree(${table}::regclass))
    SELECT md5(concat_ws('|',
      (SELECT string_agg(concat_ws(':', c.oid, pg_relation_filenode(c.oid)), ',' ORDER BY c.oid)
       FROM own JOIN pg_class c USING (oid)),
      (SELECT string_agg(concat_ws(':', a.attname, a.atttypid, a.atttypmod), ',' ORDER BY a.attnum)
       FROM pg_attribute a WHERE a.attrelid = ${table}::regclass AND a.attnum > 0 AND NOT a.attisdropped),
      (SELECT string_agg(concat_ws(':', t.tgrelid, t.tgenabled, pg_get_triggerdef(t.oid), md5(p.prosrc)), ',' ORDER BY t.tgrelid, t.tgname)
       FROM own JOIN pg_trigger t ON t.tgrelid = own.oid JOIN pg_proc p ON p.oid = t.tgfoid
       WHERE t.tgname IN ('${CAPTURE_TRIGGER}', '${TRUNCATE_TRIGGER}')))))`;
}
