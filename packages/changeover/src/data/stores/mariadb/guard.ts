import type { Cascades } from './cascades.ts';
import type { MariadbConnection } from './connection.ts';
import type { Session } from './session.ts';
import { literal, quoted } from './text.ts';
import { createSql, fenceTriggers, type Trigger } from './triggers.ts';

/**
 * The fence: refusing triggers that stay, and a row for each table that says whether they refuse. DDL commits by itself in MariaDB, so the
 * triggers cannot be made in the transaction that applied the last change; the row can be changed in it.
 */
export class Guard {
  readonly #connection: MariadbConnection;

  constructor(connection: MariadbConnection) {
    this.#connection = connection;
  }

  /** The tables that are guarded for `tables`, in a fixed order: their own, and those whose changes reach them. */
  static tablesOf(tables: readonly string[], cascades: Cascades): string[] {
    return [...tables, ...cascades.parents].sort();
  }

  /** Makes what is missing. CREATE TRIGGER waits for every transaction that has touched the table, so nobody passes unseen afterwards. */
  async install(tables: readonly string[], cascades: Cascades): Promise<void> {
    const wanted = Guard.#triggers(tables, cascades);
    const missing = await missingTriggers(this.#connection.main, wanted);
    const guarded = Guard.tablesOf(tables, cascades);
    const rows = (await this.#rows()).map(({ table }) => table);
    if (missing.length === 0 && guarded.every((table) => rows.includes(table))) return;
    await this.#connection.settle('changeover_fence', (session) =>
      session.query(
        `INSERT IGNORE INTO changeover_fence VALUES ${guarded.map((table) => `(${literal(table)}, FALSE)`).join(', ')}`,
      ),
    );
    await this.#connection.change(guarded.join(', '), (run) => putTriggers(run, missing));
  }

  async isIntact(tables: readonly string[], cascades: Cascades): Promise<boolean> {
    return (await missingTriggers(this.#connection.main, Guard.#triggers(tables, cascades))).length === 0;
  }

  /** Inside a transaction that holds the rows: they take effect with its commit. */
  static async close(session: Session, guarded: readonly string[]): Promise<void> {
    await session.query(
      `UPDATE changeover_fence SET fenced = TRUE WHERE tbl IN (${guarded.map(literal).join(', ')}) AND NOT fenced`,
    );
  }

  async fenced(): Promise<string[]> {
    return (await this.#rows()).filter(({ isFenced }) => isFenced).map(({ table }) => table);
  }

  /** True where anything of ours is in the database, were it the rest of a removal that was interrupted. */
  async isPresent(): Promise<boolean> {
    const rows = await this.#connection.main.query(
      "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND LEFT(TABLE_NAME, 11) = 'changeover_' LIMIT 1",
    );
    return rows.length > 0;
  }

  /** Removes the triggers; their tables go with the gate. */
  async remove(): Promise<void> {
    const names = await ownTriggers(this.#connection.main, 'changeover_fence_');
    if (names.length > 0)
      await this.#connection.change('changeover_fence', async (run) => {
        for (const name of names) await run(`DROP TRIGGER IF EXISTS ${quoted(name)}`);
      });
  }

  static #triggers(tables: readonly string[], cascades: Cascades): Trigger[] {
    return Guard.tablesOf(tables, cascades).flatMap((table) => fenceTriggers(table, cascades, tables.includes(table)));
  }

  async #rows(): Promise<{ table: string; isFenced: boolean }[]> {
    if (!(await hasTable(this.#connection.main, 'changeover_fence'))) return [];
    const rows = await this.#connection.main.texts('SELECT tbl, fenced FROM changeover_fence ORDER BY tbl');
    return rows.map(([table, fenced]) => ({ table: table ?? '', isFenced: fenced === '1' }));
  }
}

export async function hasTable(session: Session, table: string): Promise<boolean> {
  const sql = `SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ${literal(table)}`;
  return (await session.query(sql)).length > 0;
}

/** Names of our triggers in the database that begin with `prefix`. */
export async function ownTriggers(session: Session, prefix: string): Promise<string[]> {
  const rows = await session.texts(
    `SELECT TRIGGER_NAME FROM information_schema.TRIGGERS
     WHERE TRIGGER_SCHEMA = DATABASE() AND LEFT(TRIGGER_NAME, ${prefix.length}) = ${literal(prefix)} ORDER BY TRIGGER_NAME`,
  );
  return rows.map(([name]) => name ?? '');
}

/** Those that are not there, or not as they should be. */
export async function missingTriggers(session: Session, wanted: readonly Trigger[]): Promise<Trigger[]> {
  if (wanted.length === 0) return [];
  const rows = await session.texts(
    `SELECT TRIGGER_NAME, ACTION_TIMING, EVENT_MANIPULATION, EVENT_OBJECT_TABLE, ACTION_STATEMENT FROM information_schema.TRIGGERS
     WHERE TRIGGER_SCHEMA = DATABASE() AND TRIGGER_NAME IN (${wanted.map(({ name }) => literal(name)).join(', ')})`,
  );
  const present = new Set(rows.map((row) => JSON.stringify(row)));
  return wanted.filter(
    ({ name, timing, event, table, body }) => !present.has(JSON.stringify([name, timing, event, table, body])),
  );
}

export async function putTriggers(run: (sql: string) => Promise<void>, triggers: readonly Trigger[]): Promise<void> {
  for (const trigger of triggers) {
    await run(`DROP TRIGGER IF EXISTS ${quoted(trigger.name)}`);
    await run(createSql(trigger));
  }
}
