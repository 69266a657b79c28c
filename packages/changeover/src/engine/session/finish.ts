import { rm } from 'node:fs/promises';
import { ChangeoverError } from '../../errors.ts';
import type { RunOutcome } from '../../plan/api.ts';
import { undisturbed } from './hold.ts';
import type { Parts } from './parts.ts';
import { ENDED, owning, requireRun } from './run.ts';
import { assertAllMoved, assertNoneLeft } from './slices.ts';

/** Ends the way back: the reverse sync stops, the legacy's units stay stopped, and nothing of ours is left in the stores. */
export function finish(parts: Parts, signal: AbortSignal): Promise<RunOutcome> {
  return owning(parts, 'finish', signal, async (owner, ctx) => {
    const run = requireRun(parts, 'finish');
    const { state } = parts.journal.authority();
    if (state !== 'LIVE_NEW') {
      throw new ChangeoverError('CHG_ENGINE_NOT_READY', {
        verb: 'finish',
        expected: 'the new side to serve',
        state: 'the legacy serves; run `changeover rollback` to the end',
      });
    }
    await assertAllMoved(ctx, parts, 'finish');
    assertNoneLeft(parts, 'finish', ({ status }) => !ENDED.includes(status), 'every slice to be finished');
    parts.emit({ event: 'stage', stage: 'cleanup', status: 'started' });
    await parts.data.installEpoch(ctx);
    // The last writes still reach the legacy's stores, so that its archive is complete.
    for (;;) {
      const { applied, pending } = await parts.data.catchUp(ctx, 'reverse');
      if (applied === 0 && pending === 0) break;
    }
    // A legacy on files was stopped at the cutover; whoever has its address by now is somebody else.
    const endsLegacy = parts.slice === null && parts.data.fencedBy('legacy') === 'store';
    if (endsLegacy) for (const unit of parts.plan.legacy.units) await unit.stop(ctx);
    await parts.data.uninstall(ctx, { emptyTarget: false }, undisturbed(ctx, parts, owner));
    owner.setRunStatus(run.id, 'finished');
    owner.progress(run.id, 1, 0);
    parts.emit({ event: 'stage', stage: 'cleanup', status: 'completed' });
    return { status: 'finished', verdicts: [] };
  });
}

/**
 * Removes the whole footprint: bookkeeping in the stores, the gateway, the keeper and the state folder with its journal. Clients must
 * be pointed at the side that serves before, because the gateway's address ends with it.
 */
export async function uninstall(parts: Parts, signal: AbortSignal): Promise<{ readonly removed: readonly string[] }> {
  const removed: string[] = [];
  await owning(parts, 'uninstall', signal, async (owner, ctx) => {
    const run = parts.journal.currentRun();
    if (run !== null) requireRun(parts, 'uninstall');
    assertNoneLeft(parts, 'uninstall', ({ status }) => !ENDED.includes(status), 'no slice on its way');
    await parts.data.installEpoch(ctx);
    const footprint = await parts.data.uninstall(ctx, { emptyTarget: false }, undisturbed(ctx, parts, owner));
    removed.push(...footprint.map(({ where, adds }) => `${where}: ${adds}`));
    if (parts.slice === null && (await parts.gateway.isRunning(ctx))) {
      await parts.gateway.stop(ctx);
      removed.push(`gateway on ${parts.gateway.listen.host}:${parts.gateway.listen.port}`);
    }
  });
  await parts.data.close();
  parts.journal.close();
  await rm(parts.journalDir, { recursive: true, force: true });
  removed.push(`state folder ${parts.journalDir}`);
  return { removed };
}
