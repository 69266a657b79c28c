import { ChangeoverError } from '../../errors.ts';
import type { Context } from '../../plan/context.ts';
import type { LockedData } from '../../plan/ports.ts';
import type { Verdict } from '../../plan/words.ts';
import {
  assertInTime,
  enter,
  explained,
  holdLease,
  openLease,
  startDeadline,
  withoutCancel,
  type Deadline,
} from './machine.ts';
import { openNext } from './open.ts';
import { SETTINGS_HASH, type CutoverParts } from './parts.ts';
import { revertToLegacy } from './revert.ts';
import { assertProven, assertProvenButForChanging, catchUpUntilClose } from './evidence.ts';

export interface SwitchResult {
  readonly verdicts: readonly Verdict[];
  /** Why the switch was given up; null when it happened. */
  readonly reverted: unknown;
  /** How long requests were held, until the last of them was let go. */
  readonly heldMs: number;
}

/**
 * LIVE_OLD to LIVE_NEW. Everything slow (catching up, full verification) is done before the hold; what is left inside it is bounded by
 * the deadline. Until the authority says `next`, any failure goes back to the legacy; afterwards there is only forward.
 */
export async function switchToNext(ctx: Context, parts: CutoverParts): Promise<SwitchResult> {
  await parts.data.installEpoch(ctx);
  await catchUpUntilClose(ctx, parts, 'forward');
  const before = await parts.data.verify(ctx, 'forward', 'full');
  assertProvenButForChanging(before, 'forward');
  // What was written during the verification need not be applied while requests wait.
  await catchUpUntilClose(ctx, parts, 'forward');

  const fromMs = ctx.clock.monotonicMs();
  const deadline = startDeadline(ctx, parts.limits.holdDeadlineMs);
  let locked: LockedData | null = null;
  let verdicts: readonly Verdict[];
  try {
    await holdAndDrain(ctx, parts, deadline);
    await quiesce(ctx, parts, deadline);
    enter(ctx, parts, 'LOCK');
    locked = await parts.data.lock(deadline.ctx, 'forward');
    await locked.applyToEmpty();
    await assertSettingsUnchanged(ctx, parts);
    verdicts = await locked.verify('changed');
    assertProven(verdicts, 'forward');
    await locked.sequences();
    ctx.faults.at('cutover.LOCK.done');
    assertInTime(ctx, deadline, 'LOCK');

    enter(ctx, parts, 'FENCE');
    const fencing = locked;
    locked = null;
    await fencing.fence();
    ctx.faults.at('cutover.FENCE.done');
    assertInTime(ctx, deadline, 'FENCE');

    enter(ctx, parts, 'COMMIT_NEW');
    assertInTime(ctx, deadline, 'COMMIT_NEW');
  } catch (error) {
    const cause = explained(ctx, parts, error);
    await revertToLegacy(ctx, parts, locked, cause);
    return { verdicts: before, reverted: cause, heldMs: ctx.clock.monotonicMs() - fromMs };
  }
  enter(ctx, parts, 'OPEN', { side: 'next', lease: openLease(ctx) });
  await openNext(withoutCancel(ctx), parts);
  const proven = [...before.filter(({ outcome }) => outcome === 'PASS'), ...verdicts];
  return { verdicts: proven, reverted: null, heldMs: ctx.clock.monotonicMs() - fromMs };
}

async function holdAndDrain(ctx: Context, parts: CutoverParts, deadline: Deadline): Promise<void> {
  const held = enter(ctx, parts, 'HOLD', { lease: holdLease(ctx, deadline) });
  await parts.gateway.acknowledged(deadline.ctx, held.version, deadline.untilMs);
  const drainUntilMs = ctx.clock.monotonicMs() + parts.limits.drainDeadlineMs;
  await parts.gateway.drained(deadline.ctx, 'legacy', Math.min(deadline.untilMs, drainUntilMs));
  ctx.faults.at('cutover.HOLD.done');
  assertInTime(ctx, deadline, 'HOLD');
}

/**
 * Nothing acknowledged may be left in the legacy's memory, and nobody may write around the gateway. A legacy whose stores cannot refuse
 * writes (files) is stopped: its absence is the fence.
 */
async function quiesce(ctx: Context, parts: CutoverParts, deadline: Deadline): Promise<void> {
  enter(ctx, parts, 'QUIESCE');
  for (const writer of parts.writers) await writer.pause(deadline.ctx);
  const untilMs = Math.min(deadline.untilMs, ctx.clock.monotonicMs() + parts.limits.quiesceDeadlineMs);
  for (const unit of parts.legacy) await unit.quiesce(deadline.ctx, untilMs);
  if (parts.data.fencedBy('legacy') === 'unit') for (const unit of parts.legacy) await unit.stop(deadline.ctx);
  ctx.faults.at('cutover.QUIESCE.done');
  assertInTime(ctx, deadline, 'QUIESCE');
}

async function assertSettingsUnchanged(ctx: Context, parts: CutoverParts): Promise<void> {
  if (parts.settings === null) return;
  const moved = parts.journal.get(SETTINGS_HASH);
  const now = await parts.settings.sourceHash(ctx);
  if (moved !== now) throw new ChangeoverError('CHG_CUTOVER_SETTINGS_CHANGED', {});
}
