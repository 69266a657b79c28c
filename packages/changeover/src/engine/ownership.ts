import type { RunStatus } from '../plan/api.ts';
import type { Authority, CutoverState } from '../plan/authority.ts';
import type { Json, Side, Stage } from '../plan/words.ts';
import type { MessageLevel } from './records.ts';
import type { Run } from './runs.ts';

export interface AcquireOptions {
  /** What the owner does, as others are told it, e.g. `changeover run`. */
  readonly command: string;
  /** How long to wait for another owner. Default 0: one try. */
  readonly waitMs?: number;
  readonly signal?: AbortSignal;
}

/** Who owns the journal, or owned it last. */
export interface OwnerInfo {
  readonly epoch: number;
  readonly pid: number;
  readonly startTime: string;
  readonly command: string;
  readonly host: string;
  readonly sinceMs: number;
  /** True when the kernel's lock is held right now. */
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
 * The right to write the journal. Every method checks the owner's epoch inside its own transaction and throws
 * `CHG_ENGINE_FENCED` when another owner came after it; then nothing was changed.
 */
export interface Owner {
  /** Fencing token for stores; grows with `raiseEpoch`. */
  readonly epoch: number;
  /** True when a live process waits in `acquire`, so that a long-lived owner can give way. Cheap: poll it every 20 ms. */
  isWanted(): boolean;
  /** Throws `CHG_ENGINE_FENCED` unless this is still the owner. */
  check(): void;

  /**
   * Compare-and-set of the authority. Throws `CHG_ENGINE_AUTHORITY_MOVED` when its version is not `expectedVersion`
   * (an operator's hold counts as a change): read it again and decide again.
   */
  setAuthority(expectedVersion: number, change: AuthorityChange): Authority;

  /** Throws `CHG_ENGINE_RUN_UNFINISHED` while the current run is not failed, rolled back or finished. */
  createRun(run: {
    readonly plan: string;
    readonly hash: string;
    readonly spec: Json;
    readonly configFile: string;
  }): Run;
  setRunStatus(run: string, status: RunStatus): void;
  /** Throws `CHG_ENGINE_PLAN_CHANGED` with the difference when the current run was made from another plan. */
  checkPlan(hash: string, spec: Json): void;
  /** Goes on with a changed plan. Returns the difference, for the audit. */
  acceptPlan(hash: string, spec: Json): string;
  /** 0 to 1 over the whole run. */
  progress(run: string, fraction: number, remainingMs: number | null): void;

  /** Commits the intent of a step before it acts. On a repeated attempt the first `before` is kept. */
  intendStep(run: string, step: { readonly name: string; readonly stage: Stage; readonly before: Json }): void;
  completeStep(run: string, name: string): void;
  /** `undo`: the run turns back with the same commit, so that a crash cannot lose the decision. */
  failStep(run: string, name: string, error: string, options: { readonly undo: boolean }): void;
  /** Turns a run back that did not fail (`rollback` before the cutover). */
  intendUndo(run: string, reason: string): void;
  intendStepUndo(run: string, name: string): void;
  completeStepUndo(run: string, name: string): void;
  failStepUndo(run: string, name: string, error: string): void;

  message(run: string, level: MessageLevel, text: string): void;
  /** Facts of other parts (the hold's start, a hash), read with `journal.get`. `null` removes one. */
  put(name: string, value: Json): void;

  /** Gives the ownership back. Safe to call twice. */
  release(): void;
}
