import type { Context } from '../../plan/context.ts';
import type { Json } from '../../plan/words.ts';
import { ChangeoverError } from '../../errors.ts';
import { CUTOVER_STATES } from '../../plan/authority.ts';
import { renewingLease, withoutCancel } from '../cutover/machine.ts';
import type { Owner } from '../ownership.ts';
import { holdRequests, releaseRequests } from './hold.ts';
import { cutoverParts, type Parts } from './parts.ts';

/** Name under which a begun restore leaves what has to be done to end it. */
export const RESTORE_INTENT = 'restore.intent';

interface RestoreIntent {
  readonly snapshot: string;
  /** Names of the legacy's units that ran. */
  readonly running: readonly string[];
  /** An operator held all requests before. */
  readonly wasHeld: boolean;
}

/**
 * Puts a snapshot back below the legacy: requests are held and the legacy is stopped while its files are exchanged, since a program
 * would go on writing into the files that it has open, and those are gone.
 */
export async function restore(ctx: Context, parts: Parts, owner: Owner, snapshot: string): Promise<void> {
  assertLegacyIdle(parts);
  const running: string[] = [];
  for (const unit of parts.plan.legacy.units) if ((await unit.status(ctx)).state !== 'stopped') running.push(unit.name);
  const intent: RestoreIntent = { snapshot, running, wasHeld: parts.journal.authority().operatorHold };
  owner.put(RESTORE_INTENT, intent as unknown as Json);
  ctx.faults.at('engine.restore.intended');
  await carryOut(ctx, parts, owner, intent);
}

export function isRestoring(parts: Parts): boolean {
  return parts.journal.get(RESTORE_INTENT) !== null;
}

/** Ends what a killed restore left: the snapshot is put back whole, and the legacy serves again. */
export async function finishRestore(ctx: Context, parts: Parts, owner: Owner): Promise<void> {
  const intent = parts.journal.get(RESTORE_INTENT) as unknown as RestoreIntent | null;
  if (intent !== null) await carryOut(ctx, parts, owner, intent);
}

async function carryOut(ctx: Context, parts: Parts, owner: Owner, intent: RestoreIntent): Promise<void> {
  try {
    await parts.snapshot.restore(ctx, intent.snapshot, { standStill: () => standStill(ctx, parts, owner) });
  } catch (error) {
    // With half of the old files aside nobody may serve from the rest; the same command, or the keeper, tries again.
    if (!(error instanceof Error && error.cause instanceof AggregateError)) await serveAgain(ctx, parts, owner, intent);
    throw error;
  }
  await serveAgain(ctx, parts, owner, intent);
}

async function standStill(ctx: Context, parts: Parts, owner: Owner): Promise<void> {
  const { legacy } = parts.plan;
  const deadline = await holdRequests(ctx, parts, owner, 'a snapshot is put back');
  for (const writer of legacy.writers) await writer.pause(deadline.ctx);
  for (const unit of legacy.units) await unit.stop(deadline.ctx);
  ctx.faults.at('engine.restore.stopped');
}

async function serveAgain(given: Context, parts: Parts, owner: Owner, intent: RestoreIntent): Promise<void> {
  const ctx = withoutCancel(given);
  const { legacy } = parts.plan;
  await renewingLease(ctx, cutoverParts(parts, owner).journal, async () => {
    for (const unit of legacy.units) if (intent.running.includes(unit.name)) await unit.start(ctx, { passive: false });
    for (const writer of legacy.writers) await writer.resume(ctx);
  });
  ctx.faults.at('engine.restore.started');
  await releaseRequests(ctx, parts, owner, intent.wasHeld);
  owner.put(RESTORE_INTENT, null);
}

/** A snapshot put back under a sync would be taken for changes of the legacy and carried over. */
function assertLegacyIdle(parts: Parts): void {
  const { state } = parts.journal.authority();
  const status = parts.journal.currentRun()?.status ?? 'rolled_back';
  if (state === CUTOVER_STATES[0] && ['rolled_back', 'failed', 'finished'].includes(status)) return;
  throw new ChangeoverError('CHG_ENGINE_NOT_READY', {
    verb: 'restore',
    expected: 'no run under way',
    state: `the run is ${status}`,
  });
}
