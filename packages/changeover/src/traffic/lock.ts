import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

const SQLITE_BUSY = 5;

/** A lock that the kernel releases when its process dies, whatever kills it. */
export interface KernelLock {
  release(): void;
}

/**
 * Takes the lock of `path` or returns null at once when another process has it. The file is SQLite's lock and nothing else:
 * Node has no `flock`, and SQLite's byte-range locks are the same everywhere.
 */
export function acquireLock(path: string): KernelLock | null {
  mkdirSync(dirname(path), { recursive: true });
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    database.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) return null;
    throw error;
  }
  return {
    release: () => {
      database.close();
    },
  };
}
