import { DatabaseSync } from 'node:sqlite';
import { guarded, isBusy } from './database.ts';

/**
 * A lock that the kernel frees when its process dies, whatever the way: an exclusive transaction on an empty SQLite file of its own.
 * Nothing is ever written to it. One object per process and journal; the file must never be opened and closed by other means
 * in a process that holds it, because that drops POSIX locks.
 */
export class OwnerLock {
  readonly path: string;
  #sqlite: DatabaseSync | null = null;
  #isTaken = false;

  constructor(path: string) {
    this.path = path;
  }

  /** False when it is taken, by this object too. */
  take(): boolean {
    if (this.#isTaken) return false;
    this.#isTaken = this.#try('BEGIN EXCLUSIVE');
    return this.#isTaken;
  }

  drop(): void {
    if (!this.#isTaken) return;
    this.#isTaken = false;
    this.#open().exec('ROLLBACK');
  }

  /** Whether anybody has it. Disturbs a concurrent `take` for microseconds, which is why acquiring retries. */
  isTaken(): boolean {
    return this.#isTaken || !this.#try('SELECT 1 FROM sqlite_schema');
  }

  close(): void {
    this.drop();
    this.#sqlite?.close();
    this.#sqlite = null;
  }

  #try(sql: string): boolean {
    return guarded(this.path, () => {
      try {
        this.#open().exec(sql);
        return true;
      } catch (error) {
        if (isBusy(error)) return false;
        throw error;
      }
    });
  }

  #open(): DatabaseSync {
    this.#sqlite ??= new DatabaseSync(this.path, { timeout: 0 });
    return this.#sqlite;
  }
}
