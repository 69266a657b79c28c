import { rm } from 'node:fs/promises';
import path from 'node:path';
import type { Context } from '../../plan/context.ts';
import type { LockedData } from '../../plan/ports.ts';
import { enter, renewingLease, withoutCancel } from './machine.ts';
import type { CutoverParts } from './parts.ts';

const RELEASE_DEADLINE_MS = 15_000;

/** The legacy serves on: unfenced, running, its other writers awake, and only then released. */
export async function revertToLegacy(
  given: Context,
  parts: CutoverParts,
  locked: LockedData | null,
  cause: unknown,
): Promise<void> {
  const ctx = withoutCancel(given);
  await locked?.release();
  await parts.data.unfence(ctx, 'legacy');
  ctx.faults.at('cutover.revert.unfenced');
  await renewingLease(ctx, parts.journal, async () => {
    for (const unit of parts.legacy) await unit.start(ctx, { passive: false });
    for (const writer of parts.writers) await writer.resume(ctx);
  });
  ctx.faults.at('cutover.revert.restarted');
  const live = enter(ctx, parts, 'LIVE_OLD', { lease: null, reason: describeCause(cause) });
  await parts.gateway.acknowledged(ctx, live.version, ctx.clock.monotonicMs() + RELEASE_DEADLINE_MS);
}

/** The new side serves on after a rollback that was given up. */
export async function revertToNext(
  given: Context,
  parts: CutoverParts,
  locked: LockedData | null,
  cause: unknown,
): Promise<void> {
  const ctx = withoutCancel(given);
  await locked?.release();
  await parts.data.unfence(ctx, 'next');
  ctx.faults.at('cutover.revert.unfenced');
  await renewingLease(ctx, parts.journal, async () => {
    for (const unit of parts.next) {
      await unit.start(ctx, { passive: false });
      await unit.activate(ctx);
    }
  });
  await rm(rehearsalFolder(ctx), { recursive: true, force: true });
  ctx.faults.at('cutover.revert.restarted');
  const live = enter(ctx, parts, 'LIVE_NEW', { lease: null, reason: describeCause(cause) });
  await parts.gateway.acknowledged(ctx, live.version, ctx.clock.monotonicMs() + RELEASE_DEADLINE_MS);
}

function describeCause(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

export function rehearsalFolder(ctx: Context): string {
  return path.join(ctx.stateDir, 'rehearsal');
}
