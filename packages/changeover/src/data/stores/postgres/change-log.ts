import type { ChangeBatch, Key } from '../../../plan/stores.ts';
import { encodeKey } from '../../values.ts';
import type { PostgresConnection } from './connection.ts';
import type { Session } from './session.ts';
import { readKey, type PostgresShape } from './shape.ts';

/** `triggers` log each change in the application's own transaction; `log` reads the write-ahead log through a replication slot. */
export type CaptureMethod = 'triggers' | 'log';

/** Changes are counted up to here; past it the exact number says nothing more. */
const MAX_COUNTED = 100_000;

/** Ids of the change rows that were read; exactly these are deleted. */
type Token = readonly string[];

/**
 * The keys that changed, in a table of ours beside the application's, and which tables are captured. Ids are random: the order of allocation
 * is not the order of commits, so the log is never read by "greater than", and exactly the rows that were read are deleted.
 */
export class ChangeLog {
  readonly #connection: PostgresConnection;
  readonly #shapeOf: (table: string) => Promise<PostgresShape>;

  constructor(connection: PostgresConnection, shapeOf: (table: string) => Promise<PostgresShape>) {
    this.#connection = connection;
    this.#shapeOf = shapeOf;
  }

  async create(): Promise<void> {
    if (await this.exists()) return;
    const [changes, captured] = await this.#names();
    await this.#connection.change('changeover_changes', (session) =>
      session.query(`
        CREATE TABLE IF NOT EXISTS ${changes} (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tbl text NOT NULL, key text[]);
        CREATE TABLE IF NOT EXISTS ${captured} (tbl text PRIMARY KEY, fingerprint text NOT NULL);
        REVOKE ALL ON ${changes}, ${captured} FROM PUBLIC`),
    );
  }

  async exists(): Promise<boolean> {
    const [, captured] = await this.#names();
    const [row] = await this.#connection.main.query('SELECT to_regclass($1) IS NOT NULL', [captured]);
    return row?.[0] === 't';
  }

  async pending(limit: number): Promise<ChangeBatch> {
    const { main } = this.#connection;
    const [log] = await this.#names();
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
    const [log] = await this.#names();
    await this.#connection.main.query(`DELETE FROM ${log} WHERE id = ANY ($1::uuid[])`, [batch.token as Token]);
  }

  /** The tables that are captured. */
  async tables(): Promise<string[]> {
    const [, captured] = await this.#names();
    const names = await this.#connection.main.query(`SELECT tbl FROM ${captured} ORDER BY tbl`);
    return names.map(([name]) => name ?? '');
  }

  /** The tables that are captured, and whether what `fingerprint` gives for each is still what it was. */
  async captured(fingerprint: (table: string) => string): Promise<{ table: string; isIntact: boolean }[]> {
    const [, log] = await this.#names();
    const captured: { table: string; isIntact: boolean }[] = [];
    for (const table of await this.tables()) {
      const shape = await this.#shapeOf(table);
      const [row] = await this.#connection.main.query(
        `SELECT fingerprint = ${fingerprint('$2')} FROM ${log} WHERE tbl = $1`,
        [table, shape.qualified],
      );
      captured.push({ table, isIntact: row?.[0] === 't' });
    }
    return captured;
  }

  /**
   * In the transaction that makes the capture of a table. One that was captured before is compared whole: nobody knows what was written
   * in between.
   */
  async record(
    session: Session,
    shape: PostgresShape,
    fingerprint: (table: string) => string,
    wasCaptured: boolean,
  ): Promise<void> {
    const [changes, captured] = await this.#names();
    if (wasCaptured) await session.query(`INSERT INTO ${changes} (tbl) VALUES ($1)`, [shape.name]);
    await session.query(
      `INSERT INTO ${captured} VALUES ($1, ${fingerprint('$2')})
       ON CONFLICT (tbl) DO UPDATE SET fingerprint = excluded.fingerprint`,
      [shape.name, shape.qualified],
    );
  }

  async drop(session: Session): Promise<void> {
    const [changes, captured] = await this.#names();
    await session.query(`DROP TABLE IF EXISTS ${changes}, ${captured}`);
  }

  async #names(): Promise<[changes: string, captured: string]> {
    return [await this.#connection.ours('changes'), await this.#connection.ours('captured')];
  }
}
