import type { Context } from '../../plan/context.ts';
import { release, renewingLease } from './machine.ts';
import type { CutoverParts } from './parts.ts';

/** OPEN and RELEASE: repeatable, so recovery runs the same function. The state OPEN is already journaled. */
export async function openNext(ctx: Context, parts: CutoverParts): Promise<void> {
  await parts.data.unfence(ctx, 'next');
  ctx.faults.at('cutover.OPEN.unfenced');
  await renewingLease(ctx, parts.journal, async () => {
    for (const unit of parts.next) {
      await unit.start(ctx, { passive: false });
      await unit.activate(ctx);
    }
  });
  ctx.faults.at('cutover.OPEN.done');
  await release(ctx, parts, 'RELEASE');
}

/** RB_OPEN and RB_RELEASE: repeatable. The authority already names the legacy, so it may write from here on. */
export async function openLegacy(ctx: Context, parts: CutoverParts): Promise<void> {
  await parts.data.unfence(ctx, 'legacy');
  ctx.faults.at('cutover.RB_OPEN.unfenced');
  await renewingLease(ctx, parts.journal, async () => {
    for (const unit of parts.legacy) await unit.start(ctx, { passive: false });
    for (const writer of parts.writers) await writer.resume(ctx);
  });
  ctx.faults.at('cutover.RB_OPEN.done');
  await release(ctx, parts, 'RB_RELEASE');
}
