import type { Authority } from '../plan/authority.ts';
import type { Clock, Faults } from '../plan/context.ts';
import type { Json } from '../plan/words.ts';
import type { AcquireOptions, Owner, OwnerInfo } from './ownership.ts';
import type { AuditEntry, Message } from './records.ts';
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
  get(name: string): Json;

  audit(entry: Omit<AuditEntry, 'atMs' | 'host'>): void;
  auditTrail(): AuditEntry[];
  close(): void;
}
