import type { Authority, CutoverState } from '../../plan/authority.ts';
import type { Context } from '../../plan/context.ts';
import type { CrashPoint } from '../../plan/crash-points.ts';
import { ChangeoverError } from '../../errors.ts';
import type { AuthorityChange, CutoverJournal, CutoverParts } from './parts.ts';

/** How much longer than the switch's own deadline the lease runs, so that a living runner reverts by itself before it is killed. */
const LEASE_GRACE_MS = 750;
/** A wait that looks at the deadline itself says what it waited for, so it gets the time to before it is aborted. */
const ABORT_GRACE_MS = 250;
/** How long the gateway may take to release, and a new side to open, before the keeper takes over. */
const OPEN_LEASE_MS = 15_000;

/** An operator may hold or release by hand at any time; that changes the row's version but not whose turn it is. */
const MAX_CAS_ATTEMPTS = 5;

/** Writes `state` to the authority's row and tells everybody; the action that the name stands for comes after it. */
export function enter(ctx: Context, parts: CutoverParts, state: CutoverState, change: AuthorityChange = {}): Authority {
  const authority = compareAndSet(parts.journal, { ...change, state });
  parts.emit({ event: 'state', state, side: authority.side, epoch: authority.epoch });
  ctx.faults.at(journaledPoint(state));
  return authority;
}

function compareAndSet(
  journal: Pick<CutoverJournal, 'authority' | 'setAuthority'>,
  change: AuthorityChange,
): Authority {
  const before = journal.authority();
  for (let attempt = 1; ; attempt++) {
    const { version, state, side } = journal.authority();
    try {
      return journal.setAuthority(version, change);
    } catch (error) {
      const isOperatorHold = state === before.state && side === before.side;
      const isMoved = error instanceof ChangeoverError && error.code === 'CHG_ENGINE_AUTHORITY_MOVED';
      if (!isMoved || !isOperatorHold || attempt === MAX_CAS_ATTEMPTS) throw error;
    }
  }
}

function journaledPoint(state: CutoverState): CrashPoint {
  return `cutover.${state}.journaled`;
}

/** A deadline in monotonic time, as it is written into the lease. */
export interface Deadline {
  readonly untilMs: number;
  /** A context whose signal also ends right after the deadline. */
  readonly ctx: Context;
}

export function startDeadline(ctx: Context, deadlineMs: number): Deadline {
  const untilMs = ctx.clock.monotonicMs() + deadlineMs;
  const signal = AbortSignal.any([ctx.signal, AbortSignal.timeout(Math.ceil(deadlineMs) + ABORT_GRACE_MS)]);
  return { untilMs, ctx: { ...ctx, signal } };
}

export function holdLease(ctx: Context, deadline: Deadline): NonNullable<AuthorityChange['lease']> {
  return { untilMs: deadline.untilMs + LEASE_GRACE_MS, boot: ctx.clock.bootId() };
}

/** After the decision there is no way back on a deadline, only on: a fresh lease bounds how long a silent runner is waited for. */
export function openLease(ctx: Context): NonNullable<AuthorityChange['lease']> {
  return { untilMs: ctx.clock.monotonicMs() + OPEN_LEASE_MS, boot: ctx.clock.bootId() };
}

/**
 * Does what may take longer than a lease (a unit boots), and renews the lease meanwhile, so that a runner that is at it is not taken for a
 * silent one. A stopped or dead process renews nothing.
 */
export async function renewingLease<Result>(
  ctx: Context,
  journal: Pick<CutoverJournal, 'authority' | 'setAuthority'>,
  act: () => Promise<Result>,
): Promise<Result> {
  let failure: unknown = null;
  const renew = (): void => {
    try {
      compareAndSet(journal, { lease: openLease(ctx) });
    } catch (error) {
      failure ??= error;
      clearInterval(timer);
    }
  };
  const timer = setInterval(renew, OPEN_LEASE_MS / 3);
  renew();
  try {
    const result = await act();
    if (failure !== null) throw failure as Error;
    return result;
  } finally {
    clearInterval(timer);
  }
}

/** Throws when the deadline has passed or the operator asked to stop: called between the actions of a hold. */
export function assertInTime(ctx: Context, deadline: Deadline, state: CutoverState): void {
  if (ctx.signal.aborted) throw new ChangeoverError('CHG_CUTOVER_INTERRUPTED', { state });
  if (ctx.clock.monotonicMs() >= deadline.untilMs) throw new ChangeoverError('CHG_CUTOVER_DEADLINE', { state });
}

/** An aborted wait says nothing by itself: it was the operator's will, or the deadline. */
export function explained(ctx: Context, parts: CutoverParts, cause: unknown): unknown {
  if (!(cause instanceof Error) || !['AbortError', 'TimeoutError'].includes(cause.name)) return cause;
  const code = ctx.signal.aborted ? 'CHG_CUTOVER_INTERRUPTED' : 'CHG_CUTOVER_DEADLINE';
  return new ChangeoverError(code, { state: parts.journal.authority().state }, { cause });
}

/**
 * Lets requests go again: reads first, on every worker, then writes. Between the two every worker has acknowledged the side that serves,
 * so that no read starts on the other side once a write was acknowledged on this one.
 */
export async function release(ctx: Context, parts: CutoverParts, via: 'RELEASE' | 'RB_RELEASE'): Promise<void> {
  const reads = enter(ctx, parts, via);
  await parts.gateway.acknowledged(ctx, reads.version, ctx.clock.monotonicMs() + OPEN_LEASE_MS);
  ctx.faults.at(via === 'RELEASE' ? 'cutover.RELEASE.done' : 'cutover.RB_RELEASE.done');
  const live = enter(ctx, parts, via === 'RELEASE' ? 'LIVE_NEW' : 'LIVE_OLD', { lease: null, reason: null });
  await parts.gateway.acknowledged(ctx, live.version, ctx.clock.monotonicMs() + OPEN_LEASE_MS);
}

/** Once the authority has changed sides, a cancelled signal must not leave everybody held. */
export function withoutCancel(ctx: Context): Context {
  return { ...ctx, signal: new AbortController().signal };
}
