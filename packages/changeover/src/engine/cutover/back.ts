import { rm } from 'node:fs/promises';
import { ChangeoverError } from '../../errors.ts';
import type { Context } from '../../plan/context.ts';
import type { LockedData } from '../../plan/ports.ts';
import type { Verdict } from '../../plan/words.ts';
import { assertInTime, enter, explained, holdLease, openLease, startDeadline, withoutCancel } from './machine.ts';
import { openLegacy } from './open.ts';
import { LEGACY_BOOT, type CutoverParts } from './parts.ts';
import { rehearsalFolder, revertToNext } from './revert.ts';
import { assertProven, assertProvenButForChanging, catchUpUntilClose } from './evidence.ts';
import type { SwitchResult } from './forward.ts';

/** LIVE_NEW to LIVE_OLD, with everything that was written since the cutover. The mirror image of `switchToNext`. */
export async function switchToLegacy(ctx: Context, parts: CutoverParts): Promise<SwitchResult> {
  await parts.data.installEpoch(ctx);
  await assertLegacyStopped(ctx, parts);
  await catchUpUntilClose(ctx, parts, 'reverse');
  const before = await parts.data.verify(ctx, 'reverse', 'full');
  assertProvenButForChanging(before, 'reverse');

  let locked: LockedData | null = null;
  let verdicts: readonly Verdict[];
  let fromMs = ctx.clock.monotonicMs();
  try {
    await rehearse(ctx, parts);
    // What was written meanwhile need not be applied while requests wait.
    await catchUpUntilClose(ctx, parts, 'reverse');
    fromMs = ctx.clock.monotonicMs();
    const deadline = startDeadline(ctx, parts.limits.rollbackHoldDeadlineMs);
    const held = enter(ctx, parts, 'RB_HOLD', { lease: holdLease(ctx, deadline) });
    await parts.gateway.acknowledged(deadline.ctx, held.version, deadline.untilMs);
    const drainUntilMs = ctx.clock.monotonicMs() + parts.limits.drainDeadlineMs;
    await parts.gateway.drained(deadline.ctx, 'next', Math.min(deadline.untilMs, drainUntilMs));
    if (parts.isWhole) for (const unit of parts.next) await unit.passivate(deadline.ctx);
    ctx.faults.at('cutover.RB_HOLD.done');
    assertInTime(ctx, deadline, 'RB_HOLD');

    enter(ctx, parts, 'RB_LOCK');
    locked = await parts.data.lock(deadline.ctx, 'reverse');
    await locked.applyToEmpty();
    verdicts = await locked.verify('changed');
    assertProven(verdicts, 'reverse');
    await locked.sequences();
    ctx.faults.at('cutover.RB_LOCK.done');
    assertInTime(ctx, deadline, 'RB_LOCK');

    enter(ctx, parts, 'RB_FENCE');
    const fencing = locked;
    locked = null;
    await fencing.fence();
    ctx.faults.at('cutover.RB_FENCE.done');
    assertInTime(ctx, deadline, 'RB_FENCE');

    enter(ctx, parts, 'COMMIT_OLD');
    assertInTime(ctx, deadline, 'COMMIT_OLD');
  } catch (error) {
    const cause = explained(ctx, parts, error);
    await revertToNext(ctx, parts, locked, cause);
    return { verdicts: before, reverted: cause, heldMs: ctx.clock.monotonicMs() - fromMs };
  }
  enter(ctx, parts, 'RB_OPEN', { side: 'legacy', lease: openLease(ctx) });
  await openLegacy(withoutCancel(ctx), parts);
  const proven = [...before.filter(({ outcome }) => outcome === 'PASS'), ...verdicts];
  return { verdicts: proven, reverted: null, heldMs: ctx.clock.monotonicMs() - fromMs };
}

/** Its absence is the fence of a legacy on files; and whoever has its port would keep it from starting when everybody waits for it. */
async function assertLegacyStopped(ctx: Context, parts: CutoverParts): Promise<void> {
  if (parts.data.fencedBy('legacy') !== 'unit') return;
  for (const unit of parts.legacy) {
    const { state, pid } = await unit.status(ctx);
    if (state === 'stopped') continue;
    throw new ChangeoverError('CHG_CUTOVER_LEGACY_RUNS', {
      name: unit.name,
      pid: pid ?? 0,
      url: unit.url ?? 'no address',
    });
  }
}

/**
 * A legacy that must boot makes its boot part of the hold. It is booted once on copies, while the new side serves, so that the time is
 * known and a legacy that no longer boots is found before anything is held.
 */
async function rehearse(ctx: Context, parts: CutoverParts): Promise<void> {
  if (parts.data.fencedBy('legacy') !== 'unit') return;
  enter(ctx, parts, 'RB_REHEARSE');
  const folder = rehearsalFolder(ctx);
  let bootMs = 0;
  for (const unit of parts.legacy) {
    const measured = await unit.rehearse(ctx, folder);
    bootMs += measured?.bootMs ?? 0;
  }
  parts.journal.put(LEGACY_BOOT, Math.round(bootMs));
  await rm(folder, { recursive: true, force: true });
  ctx.faults.at('cutover.RB_REHEARSE.done');
}
