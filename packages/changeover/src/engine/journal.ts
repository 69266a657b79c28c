import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Authority } from '../plan/authority.ts';
import type { Clock, Faults } from '../plan/context.ts';
import type { Json } from '../plan/words.ts';
import { acquire } from './acquire.ts';
import type { AcquireOptions } from './acquire.ts';
import { JOURNAL_FILE, readAuthority, storeAuthority } from './authority.ts';
import { JournalDatabase } from './database.ts';
import { OwnerLock } from './owner-lock.ts';
import { JournalOwner, isPresent, lastOwner } from './ownership.ts';
import type { LastOwner, Owner, OwnerInfo } from './ownership.ts';
import { lockHolderOf } from './process-table.ts';
import { addAudit, auditTrail, getFact, messagesOf } from './records.ts';
import type { AuditEntry, Message } from './records.ts';
import { currentRun, stepsOf } from './runs.ts';
import type { Run, StepRecord } from './runs.ts';

export interface JournalOptions {
  readonly clock: Clock;
  readonly faults: Faults;
}

/**
 * The durable record of intent and outcome of every step, and the one row of authority. Reading needs no ownership;
 * what changes a run is done by the `Owner`. Implementations must not assume that an owner ends in good order: it may be
 * killed between any two calls, or stopped and woken after another one took over.
 */
export interface Journal {
  readonly stateDir: string;
  authority(): Authority;
  /** An operator holds or releases all requests by hand; needs no ownership and changes nothing else but the version. */
  setOperatorHold(hold: boolean): Authority;

  /** Throws `CHG_ENGINE_OWNED` when another process owns the journal for longer than `waitMs`. */
  acquire(options: AcquireOptions): Promise<Owner>;
  /**
   * Kills (SIGKILL) the owner of `epoch`, known by pid and start time, then acquires. For an owner that is stopped or hung
   * past its lease; an owner that changed in between is left alone and waited for.
   */
  takeOver(options: AcquireOptions & { readonly epoch: number }): Promise<Owner>;
  /** The last owner; null before the first. */
  ownerInfo(): OwnerInfo | null;

  /** The run that was created last; null before the first. */
  currentRun(): Run | null;
  /** In the order of their start. */
  steps(run: string): StepRecord[];
  /** Newest last; at most the newest 1,000 of a run are kept. */
  messages(run: string): Message[];
  /** Null when nothing was put under that name. */
  get(name: string): Json;

  audit(entry: Omit<AuditEntry, 'atMs' | 'host'>): void;
  auditTrail(): AuditEntry[];
  close(): void;
}

/** Name of the file whose lock is the ownership. */
const LOCK_FILE = 'owner.lock';
/** How long the kernel may take to end a killed owner and free its lock. */
const TAKE_OVER_WAIT_MS = 5000;
/** Between taking the lock and writing its name an owner needs a few milliseconds. */
const NAMELESS_MS = 250;

/**
 * Opens the journal of a state folder, and makes both where they are missing. Throws `CHG_ENGINE_JOURNAL_CORRUPT`,
 * `CHG_ENGINE_JOURNAL_LATER`, `CHG_ENGINE_JOURNAL_FULL` or `CHG_ENGINE_JOURNAL_UNUSABLE`.
 * @example
 * const journal = openJournal('.changeover', { clock: systemClock(), faults: NO_FAULTS });
 * const owner = await journal.acquire({ command: 'changeover run' });
 */
export function openJournal(stateDir: string, { clock, faults }: JournalOptions): Journal {
  const database = JournalDatabase.open(join(stateDir, JOURNAL_FILE));
  const lock = new OwnerLock(join(stateDir, LOCK_FILE));

  /**
   * The process to kill for the lock that is taken. Where the kernel tells who holds it, that is believed, not the name in the journal: an
   * owner may have been stopped before it wrote its name. One who is just about to write it gets the time to.
   */
  const silentHolder = async (owner: LastOwner): Promise<number | null> => {
    const holder = lockHolderOf(lock.path);
    if (isPresent(owner) && (holder === null || holder === owner.pid)) return owner.pid;
    if (holder === null) return null;
    await clock.sleep(NAMELESS_MS);
    return lastOwner(database)?.epoch === owner.epoch && lockHolderOf(lock.path) === holder ? holder : null;
  };
  let owned: Owner | null = null;

  const journal: Journal = {
    stateDir,
    authority: () => readAuthority(database),
    setOperatorHold: (operatorHold) =>
      database.write(() => {
        const now = readAuthority(database);
        if (now.operatorHold === operatorHold) return now;
        const next = { ...now, operatorHold, version: now.version + 1 };
        storeAuthority(database, next);
        return next;
      }),

    async acquire(options) {
      const epoch = await acquire({ database, lock, clock, faults }, options);
      const free = (): void => {
        lock.drop();
      };
      owned = new JournalOwner({ journal, database, clock, faults, epoch, free });
      return owned;
    },
    async takeOver({ epoch, ...options }) {
      const owner = lastOwner(database);
      if (owner?.epoch === epoch && lock.isTaken()) {
        const pid = await silentHolder(owner);
        if (pid !== null && pid !== process.pid) process.kill(pid, 'SIGKILL');
      }
      return await journal.acquire({ waitMs: TAKE_OVER_WAIT_MS, ...options });
    },
    ownerInfo() {
      const owner = lastOwner(database);
      if (owner === null) return null;
      const { epoch, pid, startTime, command, host, sinceMs } = owner;
      return { epoch, pid, startTime, command, host, sinceMs, isHeld: lock.isTaken() };
    },

    currentRun: () => currentRun(database),
    steps: (run) => stepsOf(database, run),
    messages: (run) => messagesOf(database, run),
    get: (name) => getFact(database, name),

    audit(entry) {
      database.write(() => {
        addAudit(database, { ...entry, atMs: clock.wallMs(), host: hostname() });
      });
    },
    auditTrail: () => auditTrail(database),
    close() {
      owned?.release();
      lock.close();
      database.close();
    },
  };
  return journal;
}
