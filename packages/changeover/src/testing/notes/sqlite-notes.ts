import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { authorOf } from './authors.ts';
import { FencedError, type Note, type NotesStore } from './note.ts';

export interface SqliteNotesOptions {
  readonly file: string;
  /** The two sides call their tables and the time of a change differently. */
  readonly tagsTable: 'tags' | 'note_tags';
  readonly timeColumn: 'updated_at' | 'changed_at';
  /** How long a write is tried again while another process holds the write lock; 0 fails at once. */
  readonly retryBusyMs: number;
  /** Whether it counts the notes of each author. Default: no. */
  readonly hasAuthors?: boolean;
}

const OPEN_TIMEOUT_MS = 5_000;
const BUSY = 5;
const CONSTRAINT_TRIGGER = 1811;
const CONSTRAINT_UNIQUE = 2067;
const BUSY_PAUSE_MS = 2;

interface NoteRow {
  id: number;
  token: string;
  body: string;
  tags: string;
}

/** Notes in a SQLite file, WAL and fully synchronous. */
export class SqliteNotes implements NotesStore {
  readonly supportsChanges = true;
  readonly #database: DatabaseSync;
  readonly #options: SqliteNotesOptions;

  constructor(options: SqliteNotesOptions) {
    this.#options = options;
    mkdirSync(path.dirname(options.file), { recursive: true });
    this.#database = new DatabaseSync(options.file, { timeout: OPEN_TIMEOUT_MS });
    // From here on the wait is ours and not SQLite's, which would block the whole process.
    this.#database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 0');
  }

  /** Makes the tables where they are missing. */
  createTables(): void {
    const { tagsTable, timeColumn } = this.#options;
    this.#database.exec(`
      CREATE TABLE IF NOT EXISTS notes (
        id INTEGER PRIMARY KEY AUTOINCREMENT, token TEXT UNIQUE NOT NULL, body TEXT, ${timeColumn} REAL);
      CREATE TABLE IF NOT EXISTS ${tagsTable} (
        note_id INTEGER NOT NULL, tag TEXT NOT NULL, PRIMARY KEY (note_id, tag));`);
    if (this.#options.hasAuthors === true)
      this.#database.exec('CREATE TABLE IF NOT EXISTS authors (name TEXT PRIMARY KEY, notes INTEGER NOT NULL)');
  }

  list(after: string, limit: number): Promise<Note[]> {
    return Promise.resolve(this.#select('token > ? ORDER BY token LIMIT ?', after, limit).map(toNote));
  }

  get(token: string): Promise<Note | null> {
    const row = this.#select('token = ?', token)[0];
    return Promise.resolve(row === undefined ? null : toNote(row));
  }

  async create(note: Note): Promise<boolean> {
    const { timeColumn } = this.#options;
    try {
      await this.#write(() => {
        const { lastInsertRowid } = this.#database
          .prepare(`INSERT INTO notes (token, body, ${timeColumn}) VALUES (?, ?, ?)`)
          .run(note.token, note.body, Date.now() / 1000);
        this.#tag(lastInsertRowid, note.tags);
        this.#count(note.token);
      });
      return true;
    } catch (error) {
      if (errcode(error) === CONSTRAINT_UNIQUE && String(error).endsWith('notes.token')) return false;
      throw error;
    }
  }

  update(note: Note): Promise<boolean> {
    const { tagsTable, timeColumn } = this.#options;
    return this.#write(() => {
      const row = this.#select('token = ?', note.token)[0];
      if (row === undefined) return false;
      this.#database
        .prepare(`UPDATE notes SET body = ?, ${timeColumn} = ? WHERE id = ?`)
        .run(note.body, Date.now() / 1000, row.id);
      this.#database.prepare(`DELETE FROM ${tagsTable} WHERE note_id = ?`).run(row.id);
      this.#tag(row.id, note.tags);
      return true;
    });
  }

  remove(token: string): Promise<boolean> {
    return this.#write(() => {
      const row = this.#select('token = ?', token)[0];
      if (row === undefined) return false;
      this.#database.prepare(`DELETE FROM ${this.#options.tagsTable} WHERE note_id = ?`).run(row.id);
      this.#database.prepare('DELETE FROM notes WHERE id = ?').run(row.id);
      return true;
    });
  }

  close(): Promise<void> {
    this.#database.close();
    return Promise.resolve();
  }

  #count(token: string): void {
    if (this.#options.hasAuthors !== true) return;
    this.#database
      .prepare('INSERT INTO authors VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET notes = notes + 1')
      .run(authorOf(token));
  }

  #tag(id: number | bigint, tags: readonly string[]): void {
    const insert = this.#database.prepare(`INSERT INTO ${this.#options.tagsTable} (note_id, tag) VALUES (?, ?)`);
    for (const tag of tags) insert.run(id, tag);
  }

  #select(where: string, ...values: (string | number)[]): NoteRow[] {
    const tags = `(SELECT json_group_array(tag) FROM (SELECT tag FROM ${this.#options.tagsTable} WHERE note_id = id ORDER BY tag))`;
    return this.#database
      .prepare(`SELECT id, token, body, ${tags} AS tags FROM notes WHERE ${where}`)
      .all(...values) as unknown as NoteRow[];
  }

  async #write<Result>(act: () => Result): Promise<Result> {
    const deadline = performance.now() + this.#options.retryBusyMs;
    for (;;) {
      try {
        this.#database.exec('BEGIN IMMEDIATE');
        const result = act();
        this.#database.exec('COMMIT');
        return result;
      } catch (error) {
        if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
        if (errcode(error) === CONSTRAINT_TRIGGER) throw new FencedError('the database is fenced', { cause: error });
        if ((errcode(error) & 0xff) !== BUSY || performance.now() >= deadline) throw error;
      }
      await sleep(BUSY_PAUSE_MS);
    }
  }
}

function toNote(row: NoteRow): Note {
  return { token: row.token, body: row.body, tags: JSON.parse(row.tags) as string[] };
}

function errcode(error: unknown): number {
  return error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' ? error.errcode : 0;
}
