import type { Context } from '../plan/context.ts';
import type { Json, Stage, Verdict } from '../plan/words.ts';

export type Probed = 'done' | 'not-done' | 'unknown';

/**
 * The unit that the journal knows. Its process may be killed at any instruction: between the journaled intent and the
 * journaled outcome the journal cannot know whether `do` acted, so `probe` is asked, and what it cannot see pauses the run.
 */
export interface Step {
  /** Unique in the plan and stable: a resumed run finds its steps by it. */
  readonly name: string;
  readonly stage: Stage;
  /** Share of its stage, relative to the other steps of the stage. */
  readonly weight: number;
  /** For people: what it does, e.g. `copy rows of events`. */
  readonly title: string;
  /** Tries of `do` in all, with a pause that doubles each time. Default: one. */
  readonly retry?: { readonly attempts: number; readonly delayMs: number };
  /** What `undo` needs to know of the state before; journaled with the intent. */
  before?(ctx: Context): Promise<Json>;
  do(ctx: Context, before: Json): Promise<void>;
  /** Did an interrupted `do` act? Must only look. */
  probe(ctx: Context, before: Json): Promise<Probed>;
  /** A FAIL fails the step. */
  verify?(ctx: Context): Promise<readonly Verdict[]>;
  /** With it whatever does not pass fails the step, but for rows that only change while they are compared. Default: false. */
  readonly needsProof?: boolean;
  /** Removes what `do` added and nothing else. Must be safe after a `do` that acted half or not at all, and to repeat. */
  undo?(ctx: Context, before: Json): Promise<void>;
}
