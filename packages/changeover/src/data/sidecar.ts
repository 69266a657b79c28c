import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync, type SQLInputValue, type SQLOutputValue, type StatementSync } from 'node:sqlite';
import { ChangeoverError } from '../errors.ts';
import type { Context } from '../plan/context.ts';
import type { LedgerEntry } from '../plan/stores.ts';
import type { Json } from '../plan/words.ts';

/** Transactions here last milliseconds; only a stopped process holds one longer. */
const BUSY_TIMEOUT_MS = 5_000;
const SCHEMA_VERSION = 1;

/** Inodes and nanoseconds are text: both exceed a double. */
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS gate (store TEXT PRIMARY KEY, epoch INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS ledger (
    store TEXT NOT NULL, run TEXT NOT NULL, sync TEXT NOT NULL, tbl TEXT NOT NULL, seq INTEGER NOT NULL, entry TEXT NOT NULL,
    PRIMARY KEY (store, run, sync, tbl, seq)) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS note (
    store TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (store, name)) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS log_broken (
    store TEXT NOT NULL, offset INTEGER NOT NULL, number INTEGER NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (store, offset)) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS log_line (
    store TEXT NOT NULL, id TEXT NOT NULL, offset INTEGER NOT NULL, hash TEXT NOT NULL, is_deleted INTEGER NOT NULL,
    PRIMARY KEY (store, id), UNIQUE (store, offset)) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS document_row (
    store TEXT NOT NULL, tbl TEXT NOT NULL, key TEXT NOT NULL, hash TEXT NOT NULL,
    PRIMARY KEY (store, tbl, key)) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS file (
    store TEXT NOT NULL, side TEXT NOT NULL, path TEXT NOT NULL, file TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns TEXT NOT NULL,
    ctime_ns TEXT NOT NULL, read_at_ms INTEGER NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY (store, side, path)) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS file_synced (
    store TEXT NOT NULL, path TEXT NOT NULL, sha256 TEXT NOT NULL, is_verified INTEGER NOT NULL,
    PRIMARY KEY (store, path)) STRICT, WITHOUT ROWID;`;

const TABLES = ['gate', 'ledger', 'note', 'log_broken', 'log_line', 'document_row', 'file', 'file_synced'] as const;

/**
 * What is known about stores that have no tables and no transactions of their own (logs, documents, folders): gate, ledger,
 * intents, and the state of their last scan. One SQLite file in our own state folder, durable at every commit.
 *
 * Transactions are synchronous from begin to end, effects on files included: whoever holds one is the only process that
 * changes any of these stores, and an owner that was replaced meets the gate before it can change anything.
 */
export class Sidecar {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  readonly #store: string;
  readonly #ctx: Context;
  /** The highest epoch on whose behalf this process acts. */
  #epoch: number;

  private constructor(db: DatabaseSync, store: string, ctx: Context) {
    this.#db = db;
    this.#store = store;
    this.#ctx = ctx;
    this.#epoch = ctx.epoch;
  }

  /** Opens `<stateDir>/data.db` for one store. Any number of processes and stores may have it open. */
  static open(ctx: Context, store: string): Sidecar {
    mkdirSync(ctx.stateDir, { recursive: true, mode: 0o700 });
    const file = path.join(ctx.stateDir, 'data.db');
    try {
      const db = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
      db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
      const version = db.prepare('PRAGMA user_version').get()?.['user_version'];
      if (version === 0) db.exec(`BEGIN IMMEDIATE; ${SCHEMA} PRAGMA user_version = ${SCHEMA_VERSION}; COMMIT`);
      else if (version !== SCHEMA_VERSION) throw new Error(`format ${String(version)}, expected ${SCHEMA_VERSION}`);
      return new Sidecar(db, store, ctx);
    } catch (cause) {
      throw failed(file, cause);
    }
  }

  close(): void {
    this.#db.close();
  }

  /** Rows of one statement whose first parameter is the store. */
  all(sql: string, ...values: SQLInputValue[]): Record<string, SQLOutputValue>[] {
    return this.#guarded(() => this.#statement(sql).all(this.#store, ...values));
  }

  /** Runs one statement whose first parameter is the store; returns how many rows it changed. */
  run(sql: string, ...values: SQLInputValue[]): number {
    return this.#guarded(() => Number(this.#statement(sql).run(this.#store, ...values).changes));
  }

  /** One transaction, on the disk when it returns. `change` must be synchronous. */
  transaction<Result>(change: () => Result): Result {
    this.#guarded(() => {
      this.#db.exec('BEGIN IMMEDIATE');
    });
    try {
      const result = change();
      this.#guarded(() => {
        this.#db.exec('COMMIT');
      });
      return result;
    } finally {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
    }
  }

  /**
   * One transaction that first looks at the gate. Effects on files belong inside: until it returns no other process can raise
   * the gate. Throws `CHG_DATA_EPOCH_STALE` when another owner took over.
   */
  gated<Result>(epoch: number, effect: () => Result): Result {
    return this.transaction(() => {
      const gate = this.gate();
      if (epoch < gate) throw new ChangeoverError('CHG_DATA_EPOCH_STALE', { store: this.#store, epoch, gate });
      this.#epoch = Math.max(this.#epoch, epoch);
      return effect();
    });
  }

  /** The epoch on whose behalf this process acts where a call names none. */
  get epoch(): number {
    return this.#epoch;
  }

  gate(): number {
    return Number(this.all('SELECT epoch FROM gate WHERE store = ?')[0]?.['epoch'] ?? 0);
  }

  /** Raises the gate, never lowers it. */
  installEpoch(epoch: number): void {
    this.#epoch = Math.max(this.#epoch, epoch);
    this.run(
      'INSERT INTO gate VALUES (?, ?) ON CONFLICT (store) DO UPDATE SET epoch = max(epoch, excluded.epoch)',
      epoch,
    );
    this.#ctx.faults.at('data.epoch.installed');
  }

  ledger(run: string, sync: string): LedgerEntry[] {
    const rows = this.all(
      'SELECT entry FROM ledger WHERE store = ? AND run = ? AND sync = ? ORDER BY tbl, seq',
      run,
      sync,
    );
    return rows.map(({ entry }) => JSON.parse(String(entry)) as LedgerEntry);
  }

  isInLedger({ run, sync, table, seq }: LedgerEntry): boolean {
    const sql = 'SELECT 1 FROM ledger WHERE store = ? AND run = ? AND sync = ? AND tbl = ? AND seq = ?';
    return this.all(sql, run, sync, table, seq).length > 0;
  }

  enterIntoLedger(entry: LedgerEntry): void {
    const sql = 'INSERT OR REPLACE INTO ledger VALUES (?, ?, ?, ?, ?, ?)';
    this.run(sql, entry.run, entry.sync, entry.table, entry.seq, JSON.stringify(entry));
  }

  /** A small named fact about the store: the state of a scan, or an intent. */
  note(name: string): Json | undefined {
    const body = this.all('SELECT body FROM note WHERE store = ? AND name = ?', name)[0]?.['body'];
    return body === undefined ? undefined : (JSON.parse(String(body)) as Json);
  }

  setNote(name: string, body: Json): void {
    this.run('INSERT OR REPLACE INTO note VALUES (?, ?, ?)', name, JSON.stringify(body));
  }

  dropNote(name: string): void {
    this.run('DELETE FROM note WHERE store = ? AND name = ?', name);
  }

  /** Forgets everything about the store but its gate. */
  forget(): void {
    this.transaction(() => {
      for (const table of TABLES.slice(1)) this.run(`DELETE FROM ${table} WHERE store = ?`);
    });
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (!statement) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #guarded<Result>(act: () => Result): Result {
    try {
      return act();
    } catch (cause) {
      throw failed(path.join(this.#ctx.stateDir, 'data.db'), cause);
    }
  }
}

function failed(file: string, cause: unknown): ChangeoverError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new ChangeoverError('CHG_DATA_SIDECAR', { file, reason }, { cause });
}
