import { closeSync, fstatSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Key } from '../../plan/stores.ts';
import type { SqliteConnection } from '../stores/sqlite/connection.ts';
import type { SqliteShape } from '../stores/sqlite/shape.ts';
import { literal, quoted } from '../stores/sqlite/text.ts';
import { within } from '../stores/sqlite/values.ts';
import { RecordReader } from './sqlite-record.ts';

/** The largest page that SQLite has: a row of that size then lies in one piece. */
const PAGE_BYTES = 65_536;
/** The first table of a database has its root right after the schema's page. */
const ROOT_PAGE = 2;

/**
 * Rows of one table as the records that SQLite itself keeps, many at a time: they are inserted into a table of a database of our own, and
 * its pages are read. No value becomes an object on the way, which alone costs more than everything else together; and that database has
 * columns without a type, so every value arrives as the source gives it.
 *
 * Its file has no name any more: it is gone when the thread is, however that ends.
 */
export class SqliteBatch {
  readonly #connection: SqliteConnection;
  readonly #shape: SqliteShape;
  readonly #insert: string;
  readonly #file: number;
  readonly #reader: RecordReader;
  #pages = Buffer.alloc(0);

  /** @param columns What is selected, in SQL. */
  constructor(connection: SqliteConnection, shape: SqliteShape, columns: readonly string[]) {
    this.#connection = connection;
    this.#shape = shape;
    const folder = mkdtempSync(path.join(tmpdir(), 'changeover-batch-'));
    const file = path.join(folder, 'rows.db');
    connection.exec(`ATTACH ${literal(file)} AS changeover_batch; PRAGMA changeover_batch.page_size = ${PAGE_BYTES};
      PRAGMA changeover_batch.locking_mode = EXCLUSIVE; PRAGMA changeover_batch.journal_mode = MEMORY;
      PRAGMA changeover_batch.synchronous = OFF;
      CREATE TABLE changeover_batch.rows (${columns.map((_, index) => `c${index}`).join(', ')})`);
    this.#file = openSync(file, 'r');
    rmSync(folder, { recursive: true });
    this.#insert = `INSERT INTO changeover_batch.rows SELECT ${columns.join(', ')} FROM main.${quoted(shape.name)}`;
    this.#reader = new RecordReader(columns.length);
  }

  /** Takes in the rows of a range, in the order of their key. To be followed by `records`, outside of a transaction. */
  fill(range: { readonly after: Key | null; readonly upTo: Key | null }): void {
    const { where, values } = within(this.#shape, range);
    const order = this.#shape.key.map(quoted).join(', ');
    this.#connection.statement('DELETE FROM changeover_batch.rows').run();
    this.#connection.statement(`${this.#insert} ${where} ORDER BY ${order}`).run(...values);
  }

  /** The rows that were taken in, until the next ones are. */
  records(): RecordReader {
    const { size } = fstatSync(this.#file);
    if (size > this.#pages.length) this.#pages = Buffer.allocUnsafeSlow(size * 2);
    for (let at = 0; at < size;) at += readSync(this.#file, this.#pages, at, size - at, at);
    this.#reader.open(this.#pages, PAGE_BYTES, ROOT_PAGE);
    return this.#reader;
  }

  close(): void {
    closeSync(this.#file);
  }
}
