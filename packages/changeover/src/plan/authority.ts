import type { Side } from './words.ts';

/**
 * The states of the cutover in the order of the protocol. `RB_` states lead back.
 * A state is journaled before the action that its name stands for.
 */
export const CUTOVER_STATES = [
  'LIVE_OLD',
  'HOLD',
  'QUIESCE',
  'LOCK',
  'FENCE',
  'COMMIT_NEW',
  'OPEN',
  'RELEASE',
  'LIVE_NEW',
  'RB_REHEARSE',
  'RB_HOLD',
  'RB_LOCK',
  'RB_FENCE',
  'COMMIT_OLD',
  'RB_OPEN',
  'RB_RELEASE',
] as const;
export type CutoverState = (typeof CUTOVER_STATES)[number];

/**
 * The one row that says who serves and who may write. Changed only by compare-and-set in the journal.
 * The gateway derives its route and its hold from it, and from nothing else.
 */
export interface Authority {
  readonly side: Side;
  readonly state: CutoverState;
  /** Fencing token: increases with every new owner and every hold, never decreases. */
  readonly epoch: number;
  /** Increases with every change of this row; a gateway worker acknowledges a version. */
  readonly version: number;
  /** Deadline of the hold, in ms of the monotonic clock of the boot `leaseBoot`; null while nothing is held. */
  readonly leaseUntilMs: number | null;
  readonly leaseBoot: string | null;
  /** An operator holds all requests by hand. */
  readonly operatorHold: boolean;
  /** Why the last cutover or rollback went back, if it did. */
  readonly reason: string | null;
}

/** What the gateway holds: nothing, writes only (reads go to `side`), or everything. */
export type Hold = 'none' | 'writes' | 'all';

const HOLD_OF: Readonly<Record<CutoverState, Hold>> = {
  LIVE_OLD: 'none',
  HOLD: 'all',
  QUIESCE: 'all',
  LOCK: 'all',
  FENCE: 'all',
  COMMIT_NEW: 'all',
  OPEN: 'all',
  RELEASE: 'writes',
  LIVE_NEW: 'none',
  RB_REHEARSE: 'none',
  RB_HOLD: 'all',
  RB_LOCK: 'all',
  RB_FENCE: 'all',
  COMMIT_OLD: 'all',
  RB_OPEN: 'all',
  RB_RELEASE: 'writes',
};

export function holdOf(authority: Authority): Hold {
  return authority.operatorHold ? 'all' : HOLD_OF[authority.state];
}

/** True while a cutover or a rollback is under way and somebody must finish or revert it. */
export function isInTransition(state: CutoverState): boolean {
  return HOLD_OF[state] !== 'none' || state === 'RB_REHEARSE';
}

/** The side at which requests are, writes included; null during a switch. */
export function liveSide({ state, side }: Authority): Side | null {
  return isInTransition(state) ? null : side;
}

/** How a process that may not write the journal follows the authority (the gateway's workers). */
export interface AuthoritySource {
  /** The row as it is now. Throws when the journal cannot be read; the caller must then hold. */
  read(): Authority;
  /** True when the journal may have changed since the last `read` (cheap: microseconds). */
  changed(): boolean;
  close(): void;
}

/** The slices that have an authority of their own. Their requests follow it, all others that of the whole. */
export interface SliceSources {
  /** Those that are there now; one that was begun since the last call is among them. */
  current(): readonly { readonly name: string; readonly id: string; readonly source: AuthoritySource }[];
  close(): void;
}
