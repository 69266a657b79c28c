import { hostname } from 'node:os';
import { ChangeoverError } from '../errors.ts';
import type { RunStatus } from '../plan/api.ts';
import type { Authority, CutoverState } from '../plan/authority.ts';
import type { Clock, Faults } from '../plan/context.ts';
import type { Json, Side } from '../plan/words.ts';
import { changeAuthority, readAuthority } from './authority.ts';
import type { JournalDatabase } from './database.ts';
import type { Journal } from './journal.ts';
import { planDifference } from './plan-difference.ts';
import { isAlive } from './process-table.ts';
import { addMessage, putFact } from './records.ts';
import type { MessageLevel } from './records.ts';
import * as runs from './runs.ts';
import type { NewRun, Run, StepIntent, StepStatus, UndoDecision } from './runs.ts';

/** Who owns the journal, or owned it last. */
export interface OwnerInfo {
  readonly epoch: number;
  readonly pid: number;
  readonly startTime: string;
  readonly command: string;
  readonly host: string;
  readonly sinceMs: number;
  /** True when the kernel's lock is held right now, by this owner or by one who has not yet written its name. */
  readonly isHeld: boolean;
}

/** What `setAuthority` changes; what is left out stays. */
export interface AuthorityChange {
  readonly side?: Side;
  readonly state?: CutoverState;
  readonly lease?: { readonly untilMs: number; readonly boot: string } | null;
  readonly operatorHold?: boolean;
  readonly reason?: string | null;
  /** Raises the epoch with the same commit, for the fence of a new hold. The owner goes on with the new epoch. */
  readonly raiseEpoch?: boolean;
}

/**
 * The right to write the journal. Every writing method checks the owner's epoch inside its own transaction and throws
 * `CHG_ENGINE_FENCED` when another owner came after it; then nothing was changed.
 */
export interface Owner {
  /** For reading. */
  readonly journal: Journal;
  /** Fencing token for stores; grows with `raiseEpoch`. */
  readonly epoch: number;
  /** True when a live process waits in `acquire`, so that a long-lived owner can give way. Cheap: poll it every 20 ms. */
  isWanted(): boolean;
  /** Throws `CHG_ENGINE_FENCED` unless this is still the owner. */
  check(): void;
  /**
   * Makes room for the writes of a switch, so that a disk that fills up meanwhile cannot stop it. Throws
   * `CHG_ENGINE_JOURNAL_FULL`. Entering a hold and creating a run do it by themselves.
   */
  reserve(): void;

  /**
   * Compare-and-set of the authority. Throws `CHG_ENGINE_AUTHORITY_MOVED` when its version is not `expectedVersion`
   * (an operator's hold counts as a change): read it again and decide again.
   */
  setAuthority(expectedVersion: number, change: AuthorityChange): Authority;

  /** Throws `CHG_ENGINE_RUN_UNFINISHED` while the current run is not failed, rolled back or finished. */
  createRun(run: NewRun): Run;
  setRunStatus(run: string, status: RunStatus): void;
  /** Throws `CHG_ENGINE_PLAN_CHANGED` with the difference when the current run was made from another plan. */
  checkPlan(hash: string, spec: Json): void;
  /** Goes on with a changed plan. Returns the difference, for the audit. */
  acceptPlan(hash: string, spec: Json): string;
  /** 0 to 1 over the whole run. */
  progress(run: string, fraction: number, remainingMs: number | null): void;

  /** Commits the intent of a step before it acts. On a repeated attempt the first `before` is kept. */
  intendStep(run: string, step: StepIntent): void;
  completeStep(run: string, name: string): void;
  /** With `undo` the run turns back in the same commit, so that a crash cannot lose the decision. */
  failStep(run: string, name: string, error: string, undo: UndoDecision | null): void;
  /** Turns a run back. */
  decideUndo(run: string, undo: UndoDecision): void;
  intendStepUndo(run: string, name: string): void;
  completeStepUndo(run: string, name: string): void;
  failStepUndo(run: string, name: string, error: string): void;

  message(run: string, level: MessageLevel, text: string): void;
  /** Facts of other parts (the hold's start, a hash), read with `journal.get`. `null` removes one. */
  put(name: string, value: Json): void;

  /** Gives the ownership back. Safe to call twice. */
  release(): void;
}

export interface OwnerParts {
  readonly journal: Journal;
  readonly database: JournalDatabase;
  readonly clock: Clock;
  readonly faults: Faults;
  readonly epoch: number;
  /** Frees the kernel's lock. */
  readonly free: () => void;
}

export class JournalOwner implements Owner {
  readonly #parts: OwnerParts;
  #epoch: number;
  #isReleased = false;

  constructor(parts: OwnerParts) {
    this.#parts = parts;
    this.#epoch = parts.epoch;
  }

  get journal(): Journal {
    return this.#parts.journal;
  }

  get epoch(): number {
    return this.#epoch;
  }

  isWanted(): boolean {
    return liveClaims(this.#parts.database).length > 0;
  }

  check(): void {
    const { epoch } = readAuthority(this.#parts.database);
    if (epoch === this.#epoch && !this.#isReleased) return;
    const info = lastOwner(this.#parts.database);
    throw new ChangeoverError('CHG_ENGINE_FENCED', {
      epoch: this.#epoch,
      current: epoch,
      owner:
        this.#isReleased || info === null ? 'nobody' : `process ${info.pid} (\`${info.command}\`, on ${info.host})`,
    });
  }

  reserve(): void {
    this.check();
    this.#parts.database.reserve();
  }

  setAuthority(expectedVersion: number, change: AuthorityChange): Authority {
    if (change.state === 'HOLD' || change.state === 'RB_HOLD') this.reserve();
    this.#parts.faults.at('engine.authority.changing');
    const next = this.#write((database) => {
      const changed = changeAuthority(database, expectedVersion, change);
      if (change.raiseEpoch === true) {
        database.run('UPDATE owners SET epoch = ? WHERE epoch = ?', changed.epoch, this.#epoch);
      }
      return changed;
    });
    this.#epoch = next.epoch;
    this.#parts.faults.at('engine.authority.changed');
    return next;
  }

  createRun(run: NewRun): Run {
    this.reserve();
    const created = this.#write((database) => runs.createRun(database, run, this.#now()));
    this.#parts.faults.at('engine.run.created');
    return created;
  }

  setRunStatus(run: string, status: RunStatus): void {
    this.#write((database) => {
      runs.setRunStatus(database, run, status, this.#now());
    });
  }

  checkPlan(hash: string, spec: Json): void {
    const run = this.journal.currentRun();
    if (run === null || run.hash === hash) return;
    throw new ChangeoverError('CHG_ENGINE_PLAN_CHANGED', {
      run: run.id,
      difference: planDifference(run.spec, spec),
    });
  }

  acceptPlan(hash: string, spec: Json): string {
    return this.#write((database) => {
      const run = runs.currentRun(database);
      if (run === null) throw new ChangeoverError('CHG_ENGINE_RUN_MISSING', {});
      database.run('UPDATE runs SET hash = ?, spec = ? WHERE id = ?', hash, JSON.stringify(spec), run.id);
      return planDifference(run.spec, spec);
    });
  }

  progress(run: string, fraction: number, remainingMs: number | null): void {
    this.#write((database) => {
      runs.setProgress(database, run, fraction, remainingMs);
    });
  }

  intendStep(run: string, step: StepIntent): void {
    this.#write((database) => {
      runs.intendStep(database, run, step, this.#now());
    });
  }

  completeStep(run: string, name: string): void {
    this.#endStep(run, name, 'done', null);
  }

  failStep(run: string, name: string, error: string, undo: UndoDecision | null): void {
    this.#endStep(run, name, 'failed', error, undo);
  }

  decideUndo(run: string, undo: UndoDecision): void {
    this.#write((database) => {
      runs.decideUndo(database, run, undo);
    });
  }

  intendStepUndo(run: string, name: string): void {
    this.#endStep(run, name, 'undoing', null);
  }

  completeStepUndo(run: string, name: string): void {
    this.#endStep(run, name, 'undone', null);
  }

  failStepUndo(run: string, name: string, error: string): void {
    this.#endStep(run, name, 'undo_failed', error);
  }

  message(run: string, level: MessageLevel, text: string): void {
    this.#write((database) => {
      addMessage(database, run, { atMs: this.#now(), level, text });
    });
  }

  put(name: string, value: Json): void {
    this.#write((database) => {
      putFact(database, name, value);
    });
  }

  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    try {
      this.#parts.database.write(() =>
        this.#parts.database.run('UPDATE owners SET released_ms = ? WHERE epoch = ?', this.#now(), this.#epoch),
      );
    } finally {
      this.#parts.free();
    }
  }

  #endStep(
    run: string,
    name: string,
    status: StepStatus,
    error: string | null,
    undo: UndoDecision | null = null,
  ): void {
    const endedAtMs = status === 'undoing' ? null : this.#now();
    this.#write((database) => {
      runs.endStep(database, run, name, { status, error, endedAtMs });
      if (undo !== null) runs.decideUndo(database, run, undo);
    });
  }

  #write<T>(change: (database: JournalDatabase) => T): T {
    const { database } = this.#parts;
    return database.write(() => {
      this.check();
      return change(database);
    });
  }

  #now(): number {
    return this.#parts.clock.wallMs();
  }
}

/** Processes that wait for the ownership, in the order of their coming. What a dead process left does not count. */
export function liveClaims(database: JournalDatabase): number[] {
  return database
    .all('SELECT id, pid, start_time FROM claims ORDER BY id')
    .filter((row) => isAlive({ pid: Number(row.pid), startTime: String(row.start_time) }))
    .map((row) => Number(row.id));
}

export interface LastOwner extends Omit<OwnerInfo, 'isHeld'> {
  readonly isReleased: boolean;
}

export function lastOwner(database: JournalDatabase): LastOwner | null {
  const row = database.one('SELECT * FROM owners ORDER BY id DESC LIMIT 1');
  if (row === undefined) return null;
  return {
    epoch: Number(row.epoch),
    pid: Number(row.pid),
    startTime: String(row.start_time),
    command: String(row.command),
    host: String(row.host),
    sinceMs: Number(row.since_ms),
    isReleased: row.released_ms !== null,
  };
}

/** True for an owner that is a live process of this machine and has not given the ownership back. */
export function isPresent(owner: LastOwner): boolean {
  return !owner.isReleased && owner.host === hostname() && isAlive(owner);
}
