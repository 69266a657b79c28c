import type { CutoverResult, RunOutcome } from '../../plan/api.ts';
import type { Context } from '../../plan/context.ts';
import type { Side } from '../../plan/words.ts';
import { switchToLegacy } from '../cutover/back.ts';
import { switchToNext, type SwitchResult } from '../cutover/forward.ts';
import { undoSteps } from '../execute.ts';
import type { Owner } from '../ownership.ts';
import { cutoverParts, type Parts } from './parts.ts';
import { ENDED, owning, requireRun, runChecks } from './run.ts';
import { assertAllMoved, assertMayMove, assertNoneLeft } from './slices.ts';
import { runSteps } from './run-steps.ts';

/** The checks do not wait longer for the requests that were held. */
const MAX_BACKLOG_MS = 2000;
const BACKLOG_POLL_MS = 100;

/** Flips the sides; alone allowed to. Ends with the checks of the plan on the new side. */
export function cutover(parts: Parts, signal: AbortSignal): Promise<CutoverResult> {
  return owning(parts, 'cutover', signal, async (owner, ctx) => {
    const run = requireRun(parts, 'cutover');
    if (run.status === 'live')
      return resultOf(parts, 'next', { verdicts: await validate(ctx, parts), reverted: null, heldMs: 0 });
    owner.checkPlan(parts.planHash, parts.planSpec);
    assertMayMove(parts, 'cutover', parts.restStatus());
    await assertAllMoved(ctx, parts, 'cutover');
    parts.emit({ event: 'stage', stage: 'cutover', status: 'started' });
    const switched = await switchToNext(ctx, cutoverParts(parts, owner));
    if (switched.reverted !== null) {
      parts.emit({ event: 'stage', stage: 'cutover', status: 'failed' });
      return resultOf(parts, 'legacy', switched);
    }
    owner.setRunStatus(run.id, 'live');
    parts.emit({ event: 'stage', stage: 'cutover', status: 'completed' });
    await letBacklogGo(ctx, parts);
    const verdicts = [...switched.verdicts, ...(await validate(ctx, parts))];
    const failed = verdicts.find(({ outcome }) => outcome === 'FAIL');
    if (failed === undefined || !parts.plan.cutover.rollbackOnFailedChecks)
      return resultOf(parts, 'next', { ...switched, verdicts });
    ctx.report.warn(`${failed.check} failed after the cutover (${failed.evidence}); the plan says to roll back`);
    await returnToLegacy(ctx, parts, owner);
    return resultOf(parts, 'legacy', {
      ...switched,
      verdicts,
      reverted: new Error(`${failed.check} failed: ${failed.evidence}`),
    });
  });
}

/** Requests that waited go first: the checks would compete with them for the processor. */
async function letBacklogGo(ctx: Context, { gateway }: Parts): Promise<void> {
  const untilMs = ctx.clock.monotonicMs() + MAX_BACKLOG_MS;
  do await ctx.clock.sleep(BACKLOG_POLL_MS, ctx.signal);
  while ((await gateway.stats(ctx)).held > 0 && ctx.clock.monotonicMs() < untilMs);
}

async function validate(ctx: Context, parts: Parts) {
  parts.emit({ event: 'stage', stage: 'validate', status: 'started' });
  const verdicts = await runChecks(ctx, parts);
  const hasFailed = verdicts.some(({ outcome }) => outcome === 'FAIL');
  parts.emit({ event: 'stage', stage: 'validate', status: hasFailed ? 'failed' : 'completed' });
  return verdicts;
}

function resultOf(parts: Parts, side: Side, { verdicts, reverted, heldMs }: SwitchResult): CutoverResult {
  return {
    side,
    state: parts.journal.authority().state,
    holdMs: heldMs,
    verdicts,
    reverted: reverted === null ? null : messageOf(reverted),
  };
}

function messageOf(reverted: unknown): string {
  return reverted instanceof Error ? reverted.message : JSON.stringify(reverted);
}

/** Back to the legacy, at any time until `finish`: an unfinished run is undone, a finished switch is first switched back. */
export function rollback(parts: Parts, signal: AbortSignal): Promise<RunOutcome> {
  return owning(parts, 'rollback', signal, async (owner, ctx) => {
    requireRun(parts, 'rollback');
    assertNoneLeft(
      parts,
      'rollback',
      ({ status }) => !ENDED.includes(status),
      'no slice on its way or on the new side',
    );
    await parts.data.installEpoch(ctx);
    const isOnNext = parts.journal.authority().side === 'next';
    if (isOnNext) {
      owner.checkPlan(parts.planHash, parts.planSpec);
      const switched = await returnToLegacy(ctx, parts, owner);
      if (switched.reverted !== null) return { status: 'live', verdicts: switched.verdicts };
    }
    await undoSteps(owner, runSteps(parts, owner), () => ctx, { reason: 'rollback', emit: parts.emit });
    return { status: 'rolled_back', verdicts: [] };
  });
}

async function returnToLegacy(ctx: Context, parts: Parts, owner: Owner): Promise<SwitchResult> {
  const switched = await switchToLegacy(ctx, cutoverParts(parts, owner));
  if (switched.reverted !== null)
    ctx.report.warn(`the rollback was given up, the new side serves on: ${messageOf(switched.reverted)}`);
  return switched;
}
