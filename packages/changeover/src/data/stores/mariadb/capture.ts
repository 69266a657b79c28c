import { createHash } from 'node:crypto';
import type { Capture, ChangeBatch, Key } from '../../../plan/stores.ts';
import { encodeKey } from '../../values.ts';
import { readCascades, type Cascades } from './cascades.ts';
import type { MariadbConnection } from './connection.ts';
import { Guard, hasTable, missingTriggers, ownTriggers, putTriggers } from './guard.ts';
import { readKey } from './rows.ts';
import type { Session } from './session.ts';
import { keyColumns, selection, type MariadbShape } from './shape.ts';
import { literal, quoted } from './text.ts';
import { captureTriggers, logOf, logSql, rescanSql, type Trigger } from './triggers.ts';

/** Changes are counted up to here; past it the exact number says nothing more. */
const MAX_COUNTED = 100_000;

type ShapeOf = (table: string) => Promise<MariadbShape>;

/** The change rows that were read, by their log; exactly these are deleted. */
type Token = readonly { readonly log: string; readonly ids: readonly string[] }[];

/** A table with triggers of ours: one that moves, or one whose changes reach it. */
interface Captured {
  readonly table: string;
  readonly isMoved: boolean;
  /** What the table, its files and our triggers were when they were seen in order last; empty while they are being made. */
  readonly fingerprint: string;
}

/**
 * Changes of a MariaDB database, logged by triggers. InnoDB gives numbers out in another order than that of the commits, so a log is never read
 * by "greater than", and exactly the rows that were read are deleted.
 */
export class MariadbCapture implements Capture {
  readonly #connection: MariadbConnection;
  readonly #guard: Guard;
  readonly #shapeOf: ShapeOf;
  readonly #freshShapeOf: ShapeOf;

  /** @param freshShapeOf Reads the shape again: what is installed fits the table as it is now. */
  constructor(connection: MariadbConnection, guard: Guard, shapeOf: ShapeOf, freshShapeOf: ShapeOf) {
    this.#connection = connection;
    this.#guard = guard;
    this.#shapeOf = shapeOf;
    this.#freshShapeOf = freshShapeOf;
  }

  /**
   * CREATE TRIGGER waits for every transaction that has touched the table, so nothing older is still unseen, and nothing later is uncaptured.
   * A table that was captured before is compared whole: nobody knows what was written while its triggers were away.
   */
  async install(tables: readonly string[], { isLost } = { isLost: false }): Promise<void> {
    const { main } = this.#connection;
    if (!(await this.#exists())) await this.#connection.change('changeover_captured', (run) => run(CAPTURED));
    const cascades = await readCascades(main, tables);
    // Before the lock of the cutover, which waits for nobody that came earlier.
    await this.#guard.install(tables, cascades);
    const known = new Map((await this.#captured()).map((one) => [one.table, one]));
    for (const table of Guard.tablesOf(tables, cascades)) {
      const former = known.get(table);
      if (former !== undefined && (await this.#damage(former)) === null && former.isMoved === tables.includes(table))
        continue;
      this.#connection.ctx.faults.at('data.capture.installing');
      await this.#installTable(table, tables, cascades);
      await this.#settle(table, tables, cascades, isLost || former !== undefined);
      this.#connection.ctx.faults.at('data.capture.installed');
    }
    await this.#dropFormerLogs(tables);
  }

  async isInstalled(): Promise<boolean> {
    return this.#exists();
  }

  async pending(limit: number): Promise<ChangeBatch> {
    const token: { log: string; ids: string[] }[] = [];
    const rescan = new Set<string>();
    const changes = new Map<string, { table: string; key: Key }>();
    let remaining = 0;
    let left = limit;
    for (const table of await this.#movedTables()) {
      const shape = await this.#shapeOf(table);
      const log = quoted(logOf(shape));
      const reader = await this.#connection.reader();
      const rows =
        left === 0 ? [] : await reader.query(`SELECT id, ${slots(shape)} FROM ${log} ORDER BY id LIMIT ${left}`);
      for (const [, ...cells] of rows) {
        if (cells[0] == null) {
          rescan.add(table);
          continue;
        }
        const key = readKey(shape, cells);
        changes.set(`${table} ${encodeKey(key)}`, { table, key });
      }
      if (rows.length > 0) token.push({ log, ids: rows.map(([id]) => String(id)) });
      if (rows.length === left) remaining += (await count(reader, log)) - rows.length;
      left -= rows.length;
    }
    return {
      changes: [...changes.values()],
      rescan: [...rescan],
      remaining: Math.max(0, remaining),
      token: token satisfies Token,
    };
  }

  /** What is acknowledged was applied already, so it may go even where the lock is released afterwards. */
  async acknowledge(batch: ChangeBatch): Promise<void> {
    const reader = await this.#connection.reader();
    for (const { log, ids } of batch.token as Token)
      await reader.query(`DELETE FROM ${log} WHERE id IN (${ids.join(', ')})`);
  }

  async intact(): Promise<readonly string[]> {
    if (!(await this.#exists())) return [];
    const damages: string[] = [];
    for (const captured of await this.#captured()) {
      const damage = await this.#damage(captured);
      if (damage === null) continue;
      damages.push(damage);
      if (captured.isMoved) await this.#freshShapeOf(captured.table);
    }
    return damages;
  }

  /** Triggers first: one whose log is gone would make the application's writes fail. */
  async remove(): Promise<void> {
    const { main } = this.#connection;
    if (!(await this.#exists())) return;
    const triggers = await ownTriggers(main, 'changeover_capture_');
    const logs = await this.#logs();
    await this.#connection.change('changeover_captured', async (run) => {
      for (const name of triggers) await run(`DROP TRIGGER IF EXISTS ${quoted(name)}`);
      for (const log of [...logs, 'changeover_captured']) await run(`DROP TABLE IF EXISTS ${quoted(log)}`);
    });
  }

  /** Marks the capture as not in order, makes the triggers; `#settle` says that it is in order. */
  async #installTable(table: string, tables: readonly string[], cascades: Cascades): Promise<void> {
    const { main } = this.#connection;
    const isMoved = tables.includes(table);
    const shapes = new Map<string, MariadbShape>();
    for (const name of [...(isMoved ? [table] : []), ...cascades.from(table).map((path) => path.table)])
      if (!shapes.has(name)) shapes.set(name, await this.#freshShapeOf(name));
    const shapeOf = (name: string): MariadbShape => {
      const shape = shapes.get(name);
      if (shape === undefined) throw new TypeError(`the shape of ${name} was not read`);
      return shape;
    };
    const wanted = captureTriggers(table, shapeOf, cascades, isMoved);
    const missing = await missingTriggers(main, wanted);
    const stale = await this.#staleTriggers(table, wanted);
    await this.#connection.change(table, async (run) => {
      await run(`UPDATE changeover_captured SET fingerprint = '' WHERE tbl = ${literal(table)}`);
      for (const shape of shapes.values()) await run(logSql(shape));
      for (const name of stale) await run(`DROP TRIGGER IF EXISTS ${quoted(name)}`);
      await putTriggers(run, missing);
    });
  }

  async #settle(table: string, tables: readonly string[], cascades: Cascades, wasKnown: boolean): Promise<void> {
    const isMoved = tables.includes(table);
    const rescan = wasKnown
      ? new Set([...(isMoved ? [table] : []), ...cascades.from(table).map((path) => path.table)])
      : [];
    const statements: string[] = [];
    for (const name of rescan) statements.push(rescanSql(await this.#shapeOf(name)));
    const fingerprint = await this.#fingerprint(table);
    await this.#connection.settle('changeover_captured', async (session) => {
      for (const sql of statements) await session.query(sql);
      await session.query(
        `REPLACE INTO changeover_captured VALUES (${literal(table)}, ${isMoved ? 'TRUE' : 'FALSE'}, ${literal(fingerprint)})`,
      );
    });
  }

  /** Triggers of ours on the table that are not wanted any more. */
  async #staleTriggers(table: string, wanted: readonly Trigger[]): Promise<string[]> {
    const rows = await this.#connection.main.texts(
      `SELECT TRIGGER_NAME FROM information_schema.TRIGGERS
       WHERE TRIGGER_SCHEMA = DATABASE() AND EVENT_OBJECT_TABLE = ${literal(table)} AND LEFT(TRIGGER_NAME, 19) = 'changeover_capture_'`,
    );
    const names = wanted.map(({ name }) => name);
    return rows.map(([name]) => name ?? '').filter((name) => !names.includes(name));
  }

  async #exists(): Promise<boolean> {
    return hasTable(this.#connection.main, 'changeover_captured');
  }

  async #captured(): Promise<Captured[]> {
    const rows = await this.#connection.main.texts(
      'SELECT tbl, moved, fingerprint FROM changeover_captured ORDER BY tbl',
    );
    return rows.map(([table, moved, fingerprint]) => ({
      table: table ?? '',
      isMoved: moved === '1',
      fingerprint: fingerprint ?? '',
    }));
  }

  async #movedTables(): Promise<string[]> {
    if (!(await this.#exists())) return [];
    return (await this.#captured()).filter(({ isMoved }) => isMoved).map(({ table }) => table);
  }

  async #damage({ table, fingerprint }: Captured): Promise<string | null> {
    if ((await this.#fingerprint(table)) === fingerprint) return null;
    return `the triggers or the files of ${table} changed`;
  }

  /**
   * A table's definition, its files, and our triggers on it with the time they were made, as one text. A table that was emptied by TRUNCATE,
   * rebuilt or exchanged has other files: InnoDB gives each a number of its own.
   */
  async #fingerprint(table: string): Promise<string> {
    const { main } = this.#connection;
    if (!(await hasTable(main, table))) return 'none';
    const [created] = await main.texts(`SHOW CREATE TABLE ${quoted(table)}`);
    const files = await filesOf(main, table);
    const triggers = await main.texts(
      `SELECT TRIGGER_NAME, ACTION_TIMING, EVENT_MANIPULATION, CREATED, MD5(ACTION_STATEMENT) FROM information_schema.TRIGGERS
       WHERE TRIGGER_SCHEMA = DATABASE() AND EVENT_OBJECT_TABLE = ${literal(table)} AND LEFT(TRIGGER_NAME, 11) = 'changeover_'
       ORDER BY TRIGGER_NAME`,
    );
    return digestOf([created?.[1]?.replace(/ AUTO_INCREMENT=\d+/, ''), files, triggers]);
  }

  async #logs(): Promise<string[]> {
    const rows = await this.#connection.main.texts(
      `SELECT TABLE_NAME FROM information_schema.TABLES
       WHERE TABLE_SCHEMA = DATABASE() AND LEFT(TABLE_NAME, 15) = 'changeover_log_' ORDER BY TABLE_NAME`,
    );
    return rows.map(([name]) => name ?? '');
  }

  /** A key that got another type has a log of its own; nobody writes to the former one any more. */
  async #dropFormerLogs(tables: readonly string[]): Promise<void> {
    const captured = new Set([...(await this.#movedTables()), ...tables]);
    const current = new Set<string>();
    for (const table of captured) current.add(logOf(await this.#shapeOf(table)));
    const former = (await this.#logs()).filter((log) => !current.has(log));
    if (former.length > 0)
      await this.#connection.change('changeover_captured', async (run) => {
        for (const log of former) await run(`DROP TABLE IF EXISTS ${quoted(log)}`);
      });
  }
}

const CAPTURED = `CREATE TABLE IF NOT EXISTS changeover_captured (tbl VARCHAR(64) PRIMARY KEY, moved BOOL NOT NULL, fingerprint VARCHAR(64) NOT NULL)
  ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`;

function slots(shape: MariadbShape): string {
  return selection(keyColumns(shape).map((column, index) => ({ ...column, name: `k${index}` })));
}

/** InnoDB's numbers of a table and its partitions. Needs the right PROCESS. */
async function filesOf(session: Session, table: string): Promise<(string | null)[][]> {
  const [isMariadb] = await session.texts("SELECT version() LIKE '%MariaDB%'");
  const view = isMariadb?.[0] === '1' ? 'INNODB_SYS_TABLES' : 'INNODB_TABLES';
  // Names of files have their own spelling, for which the server has a character set.
  const file = (name: string) => `CAST(CONVERT(${name} USING filename) AS BINARY)`;
  return session.texts(
    `SELECT NAME, TABLE_ID FROM information_schema.${view}
     WHERE CAST(NAME AS BINARY) = CONCAT(${file('DATABASE()')}, '/', ${file(literal(table))})
        OR LEFT(CAST(NAME AS BINARY), LENGTH(CONCAT(${file('DATABASE()')}, '/', ${file(literal(table))})) + 3)
           IN (CONCAT(${file('DATABASE()')}, '/', ${file(literal(table))}, '#P#'), CONCAT(${file('DATABASE()')}, '/', ${file(literal(table))}, '#p#'))
     ORDER BY NAME`,
  );
}

function digestOf(parts: unknown): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

async function count(session: Session, log: string): Promise<number> {
  const [row] = await session.texts(`SELECT COUNT(*) FROM (SELECT 1 FROM ${log} LIMIT ${MAX_COUNTED}) AS counted`);
  return Number(row?.[0]);
}
