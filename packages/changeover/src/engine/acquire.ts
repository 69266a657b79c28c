import { hostname } from 'node:os';
import { ChangeoverError } from '../errors.ts';
import type { Clock, Faults } from '../plan/context.ts';
import { readAuthority, storeAuthority } from './authority.ts';
import type { JournalDatabase } from './database.ts';
import type { OwnerLock } from './owner-lock.ts';
import { isPresent, lastOwner, liveClaims } from './ownership.ts';
import { startTimeOf } from './process-table.ts';

export interface AcquireOptions {
  /** What the owner does, as others are told it, e.g. `changeover run`. */
  readonly command: string;
  /** How long to wait for another owner. Default 0: one try. */
  readonly waitMs?: number;
  readonly signal?: AbortSignal;
}

const POLL_MS = 20;
/** How long a newcomer lets those who wait already go first. A stopped process among them costs no more than this. */
const GIVE_WAY_MS = 200;
/** The lock is taken but nobody owns: somebody only looks at it, or is just writing its name. */
const SETTLE_MS = 250;

export interface AcquireParts {
  readonly database: JournalDatabase;
  readonly lock: OwnerLock;
  readonly clock: Clock;
  readonly faults: Faults;
}

/** Takes the kernel's lock, then raises the epoch durably. Returns the new epoch. */
export async function acquire(parts: AcquireParts, options: AcquireOptions): Promise<number> {
  await takeLock(parts, options);
  try {
    parts.faults.at('engine.owner.locked');
    const epoch = recordOwner(parts, options.command);
    parts.faults.at('engine.owner.recorded');
    return epoch;
  } catch (error) {
    parts.lock.drop();
    throw error;
  }
}

async function takeLock(parts: AcquireParts, { command, waitMs = 0, signal }: AcquireOptions): Promise<void> {
  const { database, lock, clock } = parts;
  const startedMs = clock.monotonicMs();
  let claim: number | null = null;
  try {
    for (;;) {
      if (signal?.aborted === true) throw interrupted(signal.reason);
      const waitedMs = clock.monotonicMs() - startedMs;
      const mustGiveWay = waitMs > 0 && waitedMs < GIVE_WAY_MS && isBehind(database, claim);
      if (!mustGiveWay && lock.take()) return;
      const owner = lastOwner(database);
      const limitMs = owner !== null && isPresent(owner) ? waitMs : Math.max(waitMs, SETTLE_MS);
      if (waitedMs >= limitMs) {
        throw new ChangeoverError('CHG_ENGINE_OWNED', {
          pid: owner?.pid ?? 0,
          command: owner?.command ?? 'unknown',
          host: owner?.host ?? hostname(),
          since: new Date(owner?.sinceMs ?? clock.wallMs()).toISOString(),
          waitedMs: Math.round(waitedMs),
        });
      }
      if (waitMs > 0) claim ??= leaveClaim(database, command);
      await clock.sleep(POLL_MS, signal).catch((error: unknown) => {
        throw signal?.aborted === true ? interrupted(error) : error;
      });
    }
  } finally {
    if (claim !== null) dropClaim(database, claim);
  }
}

function interrupted(cause: unknown): Error {
  return new ChangeoverError('CHG_ENGINE_INTERRUPTED', { step: 'waiting for the journal' }, { cause });
}

function isBehind(database: JournalDatabase, claim: number | null): boolean {
  const first = liveClaims(database)[0];
  return first !== undefined && first !== claim;
}

function leaveClaim(database: JournalDatabase, command: string): number {
  return database.write(() =>
    Number(
      database.one(
        'INSERT INTO claims (pid, start_time, command) VALUES (?, ?, ?) RETURNING id',
        process.pid,
        ownStartTime(),
        command,
      )?.id,
    ),
  );
}

function dropClaim(database: JournalDatabase, claim: number): void {
  database.write(() => database.run('DELETE FROM claims WHERE id = ?', claim));
}

/** From this commit on every write of the owner before is refused, even if its process wakes up later. */
function recordOwner({ database, clock }: AcquireParts, command: string): number {
  return database.write(() => {
    const authority = readAuthority(database);
    const epoch = authority.epoch + 1;
    storeAuthority(database, { ...authority, epoch, version: authority.version + 1 });
    database.run(
      'INSERT INTO owners (epoch, pid, start_time, command, host, since_ms) VALUES (?, ?, ?, ?, ?, ?)',
      epoch,
      process.pid,
      ownStartTime(),
      command,
      hostname(),
      clock.wallMs(),
    );
    const live = JSON.stringify(liveClaims(database));
    database.run('DELETE FROM claims WHERE id NOT IN (SELECT value FROM json_each(?))', live);
    return epoch;
  });
}

function ownStartTime(): string {
  return startTimeOf(process.pid) ?? 'unknown';
}
