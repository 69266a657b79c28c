import { existsSync } from 'node:fs';
import { DatabaseSync, backup } from 'node:sqlite';
import { ChangeoverError } from '../errors.ts';
import { fsPath, showRaw } from './raw-path.ts';
import type { RawPath } from './raw-path.ts';
import { sidecarPaths } from './tree.ts';

const PAGES_PER_STEP = 500;
/** A backup of a rollback-journal database starts over after each foreign commit; after this many times its pages it is given up. */
const GIVE_UP_AFTER_PASSES = 20;
const BUSY_TIMEOUT_MS = 5000;
const NOT_A_DATABASE = 26;

export type JournalMode = 'wal' | 'rollback' | 'not a database';

/**
 * Opens a live database for reading, and leaves nothing behind: a read-only connection to a WAL database without its sidecars would
 * create them and not remove them.
 */
function openForReading(at: RawPath): DatabaseSync {
  const [wal] = sidecarPaths(at);
  const readOnly = wal !== undefined && existsSync(fsPath(wal));
  return new DatabaseSync(fsPath(at), { readOnly, timeout: BUSY_TIMEOUT_MS });
}

function journalModeOf(database: DatabaseSync): JournalMode {
  try {
    const mode = database.prepare('PRAGMA journal_mode').get()?.['journal_mode'];
    database.prepare('PRAGMA schema_version').get();
    return mode === 'wal' ? 'wal' : 'rollback';
  } catch (error) {
    if (error instanceof Error && 'errcode' in error && error.errcode === NOT_A_DATABASE) return 'not a database';
    throw error;
  }
}

export function probeSqlite(at: RawPath): JournalMode {
  const database = openForReading(at);
  try {
    return journalModeOf(database);
  } finally {
    database.close();
  }
}

/**
 * Copies a live database by SQLite's own backup, so that what is only in the WAL is in it too. In WAL mode one read transaction
 * holds the view still, which hinders nobody; without WAL it would make every writer wait, so there the steps are short and a
 * foreign commit starts the copy over. Resolves to false when the file is no database.
 */
export async function backupSqlite(
  at: RawPath,
  target: string,
  options: { readonly id: string; readonly signal: AbortSignal; readonly onBytes?: (bytes: number) => void },
): Promise<boolean> {
  let database: DatabaseSync | null = null;
  let stopped: unknown;
  try {
    database = openForReading(at);
    const mode = journalModeOf(database);
    if (mode === 'not a database') return false;
    const { page_size: pageBytes } = database.prepare('PRAGMA page_size').get() as { page_size: number };
    if (mode === 'wal') database.exec('BEGIN; SELECT count(*) FROM sqlite_schema');
    let steps = 0;
    let reported = 0;
    await backup(database, target, {
      rate: PAGES_PER_STEP,
      progress({ totalPages, remainingPages }) {
        steps += 1;
        try {
          options.signal.throwIfAborted();
          if (steps * PAGES_PER_STEP > GIVE_UP_AFTER_PASSES * (totalPages + PAGES_PER_STEP)) {
            throw new Error(`it was changed so often that ${GIVE_UP_AFTER_PASSES} passes did not suffice`);
          }
        } catch (error) {
          stopped = error;
          throw error;
        }
        const copied = (totalPages - remainingPages) * pageBytes;
        options.onBytes?.(copied - reported);
        reported = copied;
      },
    });
    return true;
  } catch (cause) {
    options.signal.throwIfAborted();
    const reason = stopped ?? cause;
    throw new ChangeoverError(
      'CHG_SNAPSHOT_SQLITE_FAILED',
      { path: showRaw(at), id: options.id, reason: reason instanceof Error ? reason.message : String(reason) },
      { cause },
    );
  } finally {
    database?.close();
  }
}
