import type { RunStatus } from '../plan/api.ts';
import type { Json, Stage } from '../plan/words.ts';

/** One execution of a plan. `spec` and `hash` are frozen when it is created. */
export interface Run {
  readonly id: string;
  readonly plan: string;
  readonly hash: string;
  readonly spec: Json;
  readonly configFile: string;
  readonly status: RunStatus;
  readonly startedAtMs: number;
  readonly endedAtMs: number | null;
  /** 0 to 1. */
  readonly progress: number;
  readonly remainingMs: number | null;
  /** Why the run is being undone, once that was decided; null while it goes forward. */
  readonly undoing: string | null;
}

/**
 * `started`: the intent is committed and the outcome is not, so nobody knows yet whether the step acted.
 * `undoing` is the same for the way back.
 */
export type StepStatus = 'started' | 'done' | 'failed' | 'undoing' | 'undone' | 'undo_failed';

export interface StepRecord {
  readonly run: string;
  readonly name: string;
  readonly stage: Stage;
  /** 1 for the step that was started first; undo goes from the highest to 1. */
  readonly order: number;
  readonly status: StepStatus;
  /** What undo needs, as it was before the step acted. */
  readonly before: Json;
  readonly attempts: number;
  readonly error: string | null;
  readonly startedAtMs: number;
  readonly endedAtMs: number | null;
}
