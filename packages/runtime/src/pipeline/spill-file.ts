import { DatabaseSync } from 'node:sqlite';
import { deserialize, serialize } from 'node:v8';

export interface Spilled {
  readonly value: unknown;
  /** A power cut right after it may bring the item back. */
  readonly forget: () => void;
}

/** Items that wait in a file, in their order. One that was taken stays in it until it is settled: a crash gives it back. */
export class SpillFile {
  readonly #db: DatabaseSync;
  readonly #synchronous: 'FULL' | 'OFF';
  #size: number;
  #lastTaken = 0;

  /**
   * @param options.isDurable True: `add` returns when the item outlives a power cut. False: when it outlives this process. Default true.
   */
  constructor(file: string, options: { readonly isDurable?: boolean } = {}) {
    this.#synchronous = (options.isDurable ?? true) ? 'FULL' : 'OFF';
    this.#db = new DatabaseSync(file);
    this.#db.exec(
      `PRAGMA journal_mode = WAL; PRAGMA synchronous = ${this.#synchronous};
       CREATE TABLE IF NOT EXISTS items (id INTEGER PRIMARY KEY AUTOINCREMENT, value BLOB NOT NULL)`,
    );
    this.#size = Number(this.#db.prepare('SELECT count(*) AS size FROM items').get()?.['size']);
  }

  /** Items that were not taken yet. */
  get size(): number {
    return this.#size;
  }

  /** Takes whatever the structured clone of Node takes. */
  add(value: unknown): void {
    this.#db.prepare('INSERT INTO items (value) VALUES (?)').run(serialize(value));
    this.#size += 1;
  }

  /** The oldest that was not taken since the file was opened. */
  take(): Spilled | null {
    if (this.#size === 0) return null;
    const row = this.#db.prepare('SELECT id, value FROM items WHERE id > ? ORDER BY id LIMIT 1').get(this.#lastTaken);
    if (row === undefined) return null;
    const id = Number(row['id']);
    this.#lastTaken = id;
    this.#size -= 1;
    const forget = () => {
      // Nobody waits for the disk to learn that something is done.
      this.#db.exec('PRAGMA synchronous = NORMAL');
      this.#db.prepare('DELETE FROM items WHERE id = ?').run(id);
      this.#db.exec(`PRAGMA synchronous = ${this.#synchronous}`);
    };
    return { value: deserialize(row['value'] as Uint8Array), forget };
  }

  close(): void {
    this.#db.close();
  }
}
