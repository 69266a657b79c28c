import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Capture, ChangeBatch, Key, Value } from '../../../plan/stores.ts';
import { encodeKey } from '../../values.ts';
import type { SqliteConnection } from './connection.ts';
import { readShape, type SqliteShape } from './shape.ts';
import { quoted } from './text.ts';
import { captureTriggers, type Trigger } from './triggers.ts';
import { readKey } from './values.ts';

/** Applied changes are left in place until so many have gathered: the legacy's writers then meet our write lock rarely. */
const PRUNE_AFTER_ROWS = 20_000;
const PRUNE_ROWS = 500;

/** What one batch acknowledges: every change up to this one, since the order of AUTOINCREMENT is the order of commits here. */
interface Token {
  readonly lastId: number;
}

/**
 * Changes of a SQLite file, logged by triggers. Nothing is deleted from the log while the legacy is live: the watermark is kept in our own
 * state folder. A watermark that is lost or old only makes changes apply again.
 */
export class SqliteCapture implements Capture {
  readonly #connection: SqliteConnection;
  /** Names of our two tables. */
  readonly #log: string;
  readonly #captured: string;
  readonly #watermarkFile: string;
  #watermark: { identity: string; id: number } | null = null;
  #pruned = 0;
  /** The schema version at which everything of ours was last seen in its place. */
  #intactAt: bigint | null = null;

  constructor(connection: SqliteConnection, fileId: string) {
    this.#connection = connection;
    this.#log = `${connection.own.prefix}_changes`;
    this.#captured = `${connection.own.prefix}_captured`;
    this.#watermarkFile = path.join(connection.own.folder(connection.ctx.stateDir), `watermark-${fileId}.json`);
  }

  async install(tables: readonly string[], { isLost } = { isLost: false }): Promise<void> {
    const connection = this.#connection;
    const shapes = tables.map((table) => readShape(connection, table));
    if (this.#exists() && shapes.every((shape) => this.#damage(shape) === null)) return;
    connection.ctx.faults.at('data.capture.installing');
    await connection.changeBriefly(() => {
      // A log that starts anew numbers its changes anew; a watermark of the former one must not hide them.
      if (!this.#exists()) connection.renewIdentity();
      connection.exec(`
        CREATE TABLE IF NOT EXISTS ${this.#log} (id INTEGER PRIMARY KEY AUTOINCREMENT, tbl TEXT NOT NULL, rescan INTEGER NOT NULL DEFAULT 0);
        CREATE TABLE IF NOT EXISTS ${this.#captured} (tbl TEXT PRIMARY KEY, sql TEXT NOT NULL) WITHOUT ROWID;`);
      const width = Math.max(...shapes.map((shape) => shape.key.length), 0);
      const columns = connection.all('SELECT name FROM pragma_table_info(?)', this.#log).map(([name]) => name);
      for (let slot = 0; slot < width; slot++)
        if (!columns.includes(`k${slot}`)) connection.exec(`ALTER TABLE ${this.#log} ADD COLUMN k${slot}`);
      for (const shape of shapes) this.#installTable(shape, isLost);
    });
    connection.ctx.faults.at('data.capture.installed');
  }

  async isInstalled(): Promise<boolean> {
    return this.#connection.read(() => this.#exists());
  }

  async pending(limit: number): Promise<ChangeBatch> {
    const connection = this.#connection;
    return connection.read(() => {
      if (!this.#exists()) return { changes: [], rescan: [], remaining: 0, token: { lastId: 0 } satisfies Token };
      const after = this.#readWatermark();
      const slots = connection.all('SELECT name FROM pragma_table_info(?)', this.#log).length - 3;
      const columns = Array.from({ length: slots }, (_, slot) => `, k${slot}`).join('');
      const logged = connection.all(
        `SELECT id, tbl, rescan${columns} FROM ${this.#log} WHERE id > ? ORDER BY id LIMIT ?`,
        BigInt(after),
        BigInt(limit),
      );
      const lastId = Number(logged.at(-1)?.[0] ?? after);
      const [highest] = connection.all(`SELECT coalesce(max(id), 0) FROM ${this.#log}`);
      return {
        ...this.#distinct(logged),
        remaining: Math.max(0, Number(highest?.[0]) - lastId),
        token: { lastId } satisfies Token,
      };
    });
  }

  async acknowledge(batch: ChangeBatch): Promise<void> {
    const { lastId } = batch.token as Token;
    const identity = this.#connection.identity();
    this.#watermark = { identity, id: lastId };
    mkdirSync(path.dirname(this.#watermarkFile), { recursive: true });
    const draft = `${this.#watermarkFile}.${process.pid}`;
    writeFileSync(draft, JSON.stringify(this.#watermark));
    renameSync(draft, this.#watermarkFile);
    if (lastId - this.#pruned >= PRUNE_AFTER_ROWS) await this.#prune(lastId);
  }

  async intact(): Promise<readonly string[]> {
    const connection = this.#connection;
    return connection.read(() => {
      if (!this.#exists()) return [];
      const [version] = connection.all('PRAGMA schema_version');
      const now = version?.[0] as bigint;
      if (now === this.#intactAt) return [];
      const damages: string[] = [];
      for (const [table, sql] of connection.all(`SELECT tbl, sql FROM ${this.#captured}`)) {
        const name = String(table);
        if (this.#tableSql(name) !== sql) damages.push(`table ${name} was changed`);
        else {
          const damage = this.#damage(readShape(connection, name));
          if (damage !== null) damages.push(damage);
        }
      }
      if (damages.length === 0) this.#intactAt = now;
      return damages;
    });
  }

  async remove(): Promise<void> {
    if (!this.#connection.hasGate()) return;
    await this.#connection.changeBriefly(() => {
      this.drop();
    });
  }

  /** The removal itself, inside of a transaction. */
  drop(): void {
    const connection = this.#connection;
    const triggers = connection.all(
      "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND substr(name, 1, length(?1)) = ?1",
      `${connection.own.prefix}_capture_`,
    );
    for (const [name] of triggers) connection.exec(`DROP TRIGGER ${quoted(String(name))}`);
    connection.exec(`DROP TABLE IF EXISTS ${this.#log}; DROP TABLE IF EXISTS ${this.#captured}`);
  }

  #exists(): boolean {
    return this.#connection.all('SELECT 1 FROM sqlite_schema WHERE name = ?', this.#captured).length > 0;
  }

  #installTable(shape: SqliteShape, isLost: boolean): void {
    const connection = this.#connection;
    const known = connection.all(`SELECT 1 FROM ${this.#captured} WHERE tbl = ?`, shape.name).length > 0;
    const damaged = known && this.#damage(shape) !== null;
    if (known && !damaged) return;
    for (const trigger of this.#triggers(shape)) {
      connection.exec(`DROP TRIGGER IF EXISTS ${quoted(trigger.name)}`);
      connection.exec(trigger.sql);
    }
    // Nobody knows what was written while the triggers were away.
    if (damaged || isLost) connection.statement(`INSERT INTO ${this.#log} (tbl, rescan) VALUES (?, 1)`).run(shape.name);
    connection.statement(`INSERT OR REPLACE INTO ${this.#captured} VALUES (?, ?)`).run(shape.name, shape.sql);
  }

  /** What is wrong with the capture of one table; null where nothing is. */
  #damage(shape: SqliteShape): string | null {
    const connection = this.#connection;
    const [captured] = connection.all(`SELECT sql FROM ${this.#captured} WHERE tbl = ?`, shape.name);
    if (captured === undefined) return `table ${shape.name} is not captured`;
    if (captured[0] !== shape.sql) return `table ${shape.name} was changed`;
    const isMissing = ({ name, sql }: Trigger) =>
      connection.all("SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND name = ? AND sql = ?", name, sql)
        .length === 0;
    const missing = this.#triggers(shape).find(isMissing);
    return missing === undefined ? null : `trigger ${missing.name} is missing or was changed`;
  }

  #triggers(shape: SqliteShape): Trigger[] {
    return captureTriggers(shape, this.#connection.own, (table) => readShape(this.#connection, table).key);
  }

  #tableSql(table: string): unknown {
    return this.#connection.all("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?", table)[0]?.[0];
  }

  #distinct(logged: readonly (readonly unknown[])[]): Pick<ChangeBatch, 'changes' | 'rescan'> {
    const rescan = new Set<string>();
    const changes = new Map<string, { table: string; key: Key }>();
    const shapes = new Map<string, SqliteShape>();
    for (const [, name, isRescan, ...slots] of logged) {
      const table = String(name);
      if (Number(isRescan) === 1) {
        rescan.add(table);
        continue;
      }
      let shape = shapes.get(table);
      if (shape === undefined) shapes.set(table, (shape = readShape(this.#connection, table)));
      const key = readKey(shape, slots as Value[]);
      changes.set(`${table} ${encodeKey(key)}`, { table, key });
    }
    return { changes: [...changes.values()], rescan: [...rescan] };
  }

  #readWatermark(): number {
    const identity = this.#connection.identity();
    if (this.#watermark?.identity === identity) return this.#watermark.id;
    const kept = readKept(this.#watermarkFile);
    this.#watermark = kept?.identity === identity ? kept : { identity, id: 0 };
    return this.#watermark.id;
  }

  async #prune(lastId: number): Promise<void> {
    const connection = this.#connection;
    let deleted: number;
    do {
      deleted = await connection.changeBriefly(() =>
        Number(
          connection
            .statement(
              `DELETE FROM ${this.#log} WHERE id IN (SELECT id FROM ${this.#log} WHERE id <= ? ORDER BY id LIMIT ?)`,
            )
            .run(BigInt(lastId), BigInt(PRUNE_ROWS)).changes,
        ),
      );
    } while (deleted === PRUNE_ROWS);
    this.#pruned = lastId;
  }
}

/** Null where it is absent, or torn by a loss of power: then everything that is still logged is applied again. */
function readKept(file: string): { identity: string; id: number } | null {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as { identity: string; id: number };
  } catch {
    return null;
  }
}
