import { statSync } from 'node:fs';
import { join } from 'node:path';
import { ChangeoverError } from '../errors.ts';
import { CUTOVER_STATES } from '../plan/authority.ts';
import type { Authority, AuthoritySource } from '../plan/authority.ts';
import { JournalDatabase, guarded } from './database.ts';
import type { AuthorityChange } from './ownership.ts';

/** Name of the journal's file in the state folder. */
export const JOURNAL_FILE = 'journal.db';
/** How often a source looks whether its file is still the one in the folder. */
const FILE_CHECK_MS = 100;

export function readAuthority(database: JournalDatabase): Authority {
  const row = database.one('SELECT * FROM authority WHERE id = 1');
  const state = CUTOVER_STATES.find((known) => known === row?.state);
  if (row === undefined || state === undefined) {
    const detail = row === undefined ? 'its authority is gone' : `${String(row.state)} is no state`;
    throw new ChangeoverError('CHG_ENGINE_JOURNAL_CORRUPT', { path: database.path, detail });
  }
  return {
    side: row.side === 'next' ? 'next' : 'legacy',
    state,
    epoch: Number(row.epoch),
    version: Number(row.version),
    leaseUntilMs: row.lease_until_ms === null ? null : Number(row.lease_until_ms),
    leaseBoot: row.lease_boot === null ? null : String(row.lease_boot),
    operatorHold: row.operator_hold === 1,
    reason: row.reason === null ? null : String(row.reason),
  };
}

/** Only inside a write of the owner. */
export function changeAuthority(
  database: JournalDatabase,
  expectedVersion: number,
  change: AuthorityChange,
): Authority {
  const now = readAuthority(database);
  if (now.version !== expectedVersion) {
    throw new ChangeoverError('CHG_ENGINE_AUTHORITY_MOVED', {
      expected: expectedVersion,
      actual: now.version,
      state: now.state,
    });
  }
  const { lease } = change;
  const next: Authority = {
    side: change.side ?? now.side,
    state: change.state ?? now.state,
    epoch: now.epoch + (change.raiseEpoch === true ? 1 : 0),
    version: now.version + 1,
    leaseUntilMs: lease === undefined ? now.leaseUntilMs : (lease?.untilMs ?? null),
    leaseBoot: lease === undefined ? now.leaseBoot : (lease?.boot ?? null),
    operatorHold: change.operatorHold ?? now.operatorHold,
    reason: change.reason === undefined ? now.reason : change.reason,
  };
  storeAuthority(database, next);
  return next;
}

export function storeAuthority(database: JournalDatabase, next: Authority): void {
  database.run(
    `UPDATE authority SET side = ?, state = ?, epoch = ?, version = ?, lease_until_ms = ?, lease_boot = ?,
       operator_hold = ?, reason = ? WHERE id = 1`,
    next.side,
    next.state,
    next.epoch,
    next.version,
    next.leaseUntilMs,
    next.leaseBoot,
    next.operatorHold ? 1 : 0,
    next.reason,
  );
}

/**
 * How a process that may not write the journal follows the authority. `read` throws when the journal is gone, replaced,
 * corrupt or of a later version: whoever routes by it must then hold.
 * @example
 * const source = openAuthoritySource(stateDir);
 * if (source.changed()) route(source.read());
 */
export function openAuthoritySource(stateDir: string): AuthoritySource {
  const path = join(stateDir, JOURNAL_FILE);
  const database = JournalDatabase.openReadOnly(path);
  const file = guarded(path, () => statSync(path));
  let seen: unknown = null;
  let checkedAt = 0;

  const isSameFile = (): boolean => {
    const now = guarded(path, () => statSync(path, { throwIfNoEntry: false }));
    return now?.ino === file.ino && now.dev === file.dev;
  };
  // Counts commits of other connections, from shared memory: no system call where nothing changed.
  const dataVersion = (): unknown => database.one('PRAGMA data_version')?.data_version;

  return {
    read() {
      // A deleted file lives on for those who have it open, with an authority that nobody changes any more.
      if (!isSameFile()) throw new ChangeoverError('CHG_ENGINE_JOURNAL_MISSING', { path });
      // Before the row: a commit in between is then seen as a change, never missed.
      seen = dataVersion();
      return readAuthority(database);
    },
    changed() {
      try {
        const now = performance.now();
        if (now - checkedAt > FILE_CHECK_MS) {
          checkedAt = now;
          if (!isSameFile()) return true;
        }
        return dataVersion() !== seen;
      } catch {
        // `read` finds the same failure and throws it.
        return true;
      }
    },
    close() {
      database.close();
    },
  };
}
