import { closeSync, fsyncSync, mkdirSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { SQLInputValue, SQLOutputValue, StatementSync } from 'node:sqlite';
import { ChangeoverError } from '../errors.ts';
import type { Json } from '../plan/words.ts';
import { APPLICATION_ID, SCHEMA, SCHEMA_VERSION } from './schema.ts';

/** How long a write waits for another process's write, which lasts less than a millisecond unless that process is stopped. */
const BUSY_TIMEOUT_MS = 2000;
/** Pages that the log may hold before it is folded into the database and starts again from its beginning. */
const LOG_PAGES = 256;
/** Twice `LOG_PAGES`, so that a reader that delays the folding does not make the log grow on a full disk. */
const RESERVED_PAGES = 2 * LOG_PAGES;
const PAGE_BYTES = 4096;

export type SqlRow = Record<string, SQLOutputValue>;

/**
 * The SQLite file of a journal: errors from the catalogue, cached statements, one way to write. Two handles on one file in one
 * process are safe only because both go through SQLite; a plain open and close of the file would drop its POSIX locks.
 */
export class JournalDatabase {
  readonly path: string;
  readonly #sqlite: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  private constructor(path: string, sqlite: DatabaseSync) {
    this.path = path;
    this.#sqlite = sqlite;
  }

  /** Creates the file where there is none. Any number of processes may do so at once. */
  static open(path: string): JournalDatabase {
    return guarded(path, () => {
      createFolder(dirname(path));
      const sqlite = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS });
      try {
        // FULL: a commit that returned is on the disk. The journal is useless with less.
        sqlite.exec(`PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA wal_autocheckpoint = ${LOG_PAGES}`);
        create(path, sqlite);
        checkWhole(path, sqlite);
        return new JournalDatabase(path, sqlite);
      } catch (error) {
        sqlite.close();
        throw error;
      }
    });
  }

  static openReadOnly(path: string): JournalDatabase {
    if (!exists(path)) throw new ChangeoverError('CHG_ENGINE_JOURNAL_MISSING', { path });
    return guarded(path, () => {
      const sqlite = new DatabaseSync(path, { readOnly: true, timeout: BUSY_TIMEOUT_MS });
      try {
        checkVersion(path, sqlite);
        return new JournalDatabase(path, sqlite);
      } catch (error) {
        sqlite.close();
        throw error;
      }
    });
  }

  all(sql: string, ...values: SQLInputValue[]): SqlRow[] {
    return guarded(this.path, () => this.#statement(sql).all(...values));
  }

  one(sql: string, ...values: SQLInputValue[]): SqlRow | undefined {
    return guarded(this.path, () => this.#statement(sql).get(...values));
  }

  /** Returns how many rows it changed. Only inside `write`. */
  run(sql: string, ...values: SQLInputValue[]): number {
    return guarded(this.path, () => Number(this.#statement(sql).run(...values).changes));
  }

  /** One transaction, on the disk when it returns. */
  write<T>(change: () => T): T {
    return guarded(this.path, () => {
      this.#statement('BEGIN IMMEDIATE').run();
      try {
        const result = change();
        this.#statement('COMMIT').run();
        return result;
      } catch (error) {
        // A full disk makes SQLite roll back by itself.
        if (this.#sqlite.isTransaction) this.#statement('ROLLBACK').run();
        throw error;
      }
    });
  }

  /**
   * Makes sure that the next few hundred pages need no new space: free pages in the database, and a log that is already
   * as long as it gets. Throws `CHG_ENGINE_JOURNAL_FULL`.
   */
  reserve(): void {
    const free = Number(this.one('PRAGMA freelist_count')?.freelist_count);
    const log = guarded(this.path, () => statSync(`${this.path}-wal`, { throwIfNoEntry: false })?.size ?? 0);
    if (free >= LOG_PAGES && log >= RESERVED_PAGES * PAGE_BYTES) return;
    this.write(() => this.run('INSERT INTO reserve (space) VALUES (zeroblob(?))', (RESERVED_PAGES + 2) * PAGE_BYTES));
    this.write(() => this.run('DELETE FROM reserve'));
    guarded(this.path, () => {
      this.#sqlite.exec('PRAGMA wal_checkpoint(PASSIVE)');
    });
  }

  close(): void {
    if (!this.#sqlite.isOpen) return;
    this.#statements.clear();
    this.#sqlite.close();
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#sqlite.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

/** A JSON column. Text that is no JSON means that somebody edited the journal. */
export function parseJson(database: JournalDatabase, text: SQLOutputValue | undefined): Json {
  try {
    return JSON.parse(String(text)) as Json;
  } catch (cause) {
    throw new ChangeoverError(
      'CHG_ENGINE_JOURNAL_CORRUPT',
      { path: database.path, detail: `a value is no JSON: ${String(text).slice(0, 60)}` },
      { cause },
    );
  }
}

function createFolder(folder: string): void {
  const first = mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  // A new folder is only there after a power loss if its own folder was written.
  const parent = openSync(dirname(first), 'r');
  try {
    fsyncSync(parent);
  } finally {
    closeSync(parent);
  }
}

function create(path: string, sqlite: DatabaseSync): void {
  if (checkVersion(path, sqlite) === SCHEMA_VERSION) return;
  switchToLog(sqlite);
  sqlite.exec('BEGIN IMMEDIATE');
  try {
    // Another process may have been first.
    if (checkVersion(path, sqlite) === 0) sqlite.exec(SCHEMA);
    sqlite.exec('COMMIT');
  } catch (error) {
    if (sqlite.isTransaction) sqlite.exec('ROLLBACK');
    throw error;
  }
}

/** SQLite does not wait by itself for the lock that this switch needs. */
function switchToLog(sqlite: DatabaseSync): void {
  const deadline = performance.now() + BUSY_TIMEOUT_MS;
  for (;;) {
    try {
      sqlite.exec('PRAGMA journal_mode = WAL');
      return;
    } catch (error) {
      if (primaryCode(error) !== SQLITE_BUSY || performance.now() > deadline) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}

/** The version of the file, 0 for a new one. */
function checkVersion(path: string, sqlite: DatabaseSync): number {
  const pragma = (name: string): number => Number(sqlite.prepare(`PRAGMA ${name}`).get()?.[name]);
  const version = pragma('user_version');
  if (version === 0 && pragma('application_id') === 0) {
    const tables = sqlite.prepare('SELECT name FROM sqlite_schema LIMIT 1').get();
    if (tables === undefined) return 0;
  }
  if (pragma('application_id') !== APPLICATION_ID) {
    throw new ChangeoverError('CHG_ENGINE_JOURNAL_CORRUPT', { path, detail: 'it is a database of another program' });
  }
  if (version > SCHEMA_VERSION) {
    throw new ChangeoverError('CHG_ENGINE_JOURNAL_LATER', { path, found: version, known: SCHEMA_VERSION });
  }
  return version;
}

function checkWhole(path: string, sqlite: DatabaseSync): void {
  const found = sqlite.prepare('PRAGMA quick_check(1)').get()?.quick_check;
  if (found === 'ok') return;
  throw new ChangeoverError('CHG_ENGINE_JOURNAL_CORRUPT', { path, detail: String(found).replaceAll('\n', ' ') });
}

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

const SQLITE_BUSY = 5;
const SQLITE_IOERR = 10;
const SQLITE_CORRUPT = 11;
const SQLITE_FULL = 13;
const SQLITE_NOTADB = 26;
/** SQLite found no space for its shared index of the log. */
const SQLITE_IOERR_SHMSIZE = 4874;

function errcode(error: unknown): number | null {
  return error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' ? error.errcode : null;
}

/** SQLite's error without the details in its upper bytes; null for another kind of error. */
function primaryCode(error: unknown): number | null {
  const code = errcode(error);
  return code === null ? null : code & 0xff;
}

export function isBusy(error: unknown): boolean {
  return primaryCode(error) === SQLITE_BUSY;
}

/** Runs `work` and gives what SQLite or the file system throws the catalogue's name. */
export function guarded<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw translate(path, cause);
  }
}

function translate(path: string, cause: unknown): unknown {
  if (cause instanceof ChangeoverError || !(cause instanceof Error)) return cause;
  const code = primaryCode(cause);
  const isFull =
    code === SQLITE_FULL || errcode(cause) === SQLITE_IOERR_SHMSIZE || ('code' in cause && cause.code === 'ENOSPC');
  if (isFull) return new ChangeoverError('CHG_ENGINE_JOURNAL_FULL', { path }, { cause });
  if (code === SQLITE_BUSY) {
    return new ChangeoverError('CHG_ENGINE_JOURNAL_BUSY', { path, waitedMs: BUSY_TIMEOUT_MS }, { cause });
  }
  if (code === SQLITE_CORRUPT || code === SQLITE_NOTADB) {
    return new ChangeoverError('CHG_ENGINE_JOURNAL_CORRUPT', { path, detail: cause.message }, { cause });
  }
  if (code !== null || 'syscall' in cause) {
    const detail = code === SQLITE_IOERR ? `${cause.message} (code ${String(errcode(cause))})` : cause.message;
    return new ChangeoverError('CHG_ENGINE_JOURNAL_UNUSABLE', { path, detail }, { cause });
  }
  return cause;
}
