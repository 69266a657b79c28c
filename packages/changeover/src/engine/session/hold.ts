import { isInTransition } from '../../plan/authority.ts';
import type { Context } from '../../plan/context.ts';
import type { Quietly } from '../../plan/ports.ts';
import { openLease, startDeadline, withoutCancel, type Deadline } from '../cutover/machine.ts';
import type { Owner } from '../ownership.ts';
import type { Parts } from './parts.ts';

type Holder = Pick<Owner, 'setAuthority'>;

const RELEASE_DEADLINE_MS = 15_000;
/** Requests that take longer are not waited for where the hold only spares the legacy a lock. */
const DRAIN_MS = 500;

/**
 * Holds all requests without changing the side, with a lease: a runner that dies meanwhile is noticed by the keeper. Resolves when no
 * request is at the side that serves; rejects at the deadline.
 */
export async function holdRequests(ctx: Context, parts: Parts, owner: Holder, reason: string): Promise<Deadline> {
  const deadline = startDeadline(ctx, parts.plan.cutover.holdDeadlineMs);
  const { side, version } = parts.journal.authority();
  const held = owner.setAuthority(version, { operatorHold: true, lease: openLease(ctx), reason });
  ctx.faults.at('engine.hold.begun');
  if (await parts.gateway.isRunning(ctx)) {
    await parts.gateway.acknowledged(deadline.ctx, held.version, deadline.untilMs);
    await parts.gateway.drained(deadline.ctx, side, Math.min(deadline.untilMs, ctx.clock.monotonicMs() + DRAIN_MS));
  }
  return deadline;
}

/** @param stayHeld True where an operator held everything before. */
export async function releaseRequests(given: Context, parts: Parts, owner: Holder, stayHeld = false): Promise<void> {
  const ctx = withoutCancel(given);
  const { version } = parts.journal.authority();
  const released = owner.setAuthority(version, { operatorHold: stayHeld, lease: null, reason: null });
  if (await parts.gateway.isRunning(ctx))
    await parts.gateway.acknowledged(ctx, released.version, ctx.clock.monotonicMs() + RELEASE_DEADLINE_MS);
}

/**
 * A hold that nobody is at any more: in a LIVE state only `holdRequests` leaves a lease. (An operator's own hold has none, and stays.)
 */
export function isLeftHeld(parts: Parts): boolean {
  const { state, leaseUntilMs } = parts.journal.authority();
  return !isInTransition(state) && leaseUntilMs !== null;
}

/**
 * Does what writes into the store of the side that serves while no request is there: a legacy that never waits for a lock would fail a
 * request that meets one of ours. Takes some hundredths of a second; where requests cannot be held, it is done all the same.
 */
export function undisturbed(ctx: Context, parts: Parts, owner: Holder): Quietly {
  return (act) => actUndisturbed(ctx, parts, owner, act);
}

async function actUndisturbed(ctx: Context, parts: Parts, owner: Holder, act: () => Promise<void>): Promise<void> {
  const { state, operatorHold } = parts.journal.authority();
  if (operatorHold || isInTransition(state) || !(await parts.gateway.isRunning(ctx))) return act();
  try {
    await holdRequests(ctx, parts, owner, 'our tables and triggers are put into a store, or taken out').catch(
      (error: unknown) => {
        ctx.signal.throwIfAborted();
        ctx.report.log(`requests could not be held for the work on a store: ${String(error)}`);
      },
    );
    await act();
  } finally {
    await releaseRequests(ctx, parts, owner);
  }
}
