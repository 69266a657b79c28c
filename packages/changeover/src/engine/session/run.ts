import { ChangeoverError } from '../../errors.ts';
import type { RunOutcome, RunStatus } from '../../plan/api.ts';
import { isInTransition } from '../../plan/authority.ts';
import type { Context } from '../../plan/context.ts';
import type { Stage, Verdict } from '../../plan/words.ts';
import { recover } from '../cutover/recover.ts';
import { executeSteps } from '../execute.ts';
import type { Owner } from '../ownership.ts';
import type { Run } from '../runs.ts';
import { ownedContext, readContext } from './context.ts';
import { isLeftHeld, releaseRequests } from './hold.ts';
import { settleRun } from './keeper.ts';
import { cutoverParts, type Parts } from './parts.ts';
import { finishRestore, isRestoring } from './restore.ts';
import { runSteps } from './run-steps.ts';
import { assertKnown, assertMayMove } from './slices.ts';

/** How long a command waits for the keeper, or for another command, to give way. */
const OWNER_WAIT_MS = 15_000;

export const ENDED: readonly RunStatus[] = ['failed', 'rolled_back', 'finished'];

/** Owns the journal for one verb, and first settles what a dead runner left. */
export async function owning<Result>(
  parts: Parts,
  verb: string,
  signal: AbortSignal,
  act: (owner: Owner, ctx: Context) => Promise<Result>,
): Promise<Result> {
  const owner = await parts.journal.acquire({ command: `changeover ${verb}`, waitMs: OWNER_WAIT_MS, signal });
  try {
    const ctx = ownedContext(parts, owner, signal);
    if (isInTransition(parts.journal.authority().state)) {
      ctx.report.log('a switch was left unfinished; it is settled first');
      await recover(ctx, cutoverParts(parts, owner));
    }
    settleRun(parts, owner);
    if (isRestoring(parts)) {
      ctx.report.log('a restore was left unfinished; it is finished first');
      await finishRestore(ctx, parts, owner);
    } else if (isLeftHeld(parts)) await releaseRequests(ctx, parts, owner);
    const { actor, planHash, journal } = parts;
    journal.audit({ actor, planHash, question: verb, answer: 'yes' });
    return await act(owner, ctx);
  } finally {
    owner.release();
  }
}

/** Does the run, or goes on with it, up to READY. */
export async function runToReady(parts: Parts, until: Stage | undefined, signal: AbortSignal): Promise<RunOutcome> {
  await assertKnown(readContext(parts, signal), parts);
  return owning(parts, 'run', signal, async (owner) => {
    assertMayMove(parts, 'run', parts.restStatus());
    const run = currentOrNew(parts, owner);
    if (run.status === 'live' || run.status === 'ready') return { status: run.status, verdicts: [] };
    // The run may have been created just now, so the context is made again with its id.
    const ctx = ownedContext(parts, owner, signal);
    await parts.data.installEpoch(ctx);
    const verdicts = await executeSteps(owner, runSteps(parts, owner), () => ctx, {
      ...(until === undefined ? {} : { until }),
      signal,
      emit: parts.emit,
    });
    if (until !== undefined && until !== 'integrate') return { status: 'running', verdicts };
    owner.setRunStatus(run.id, 'ready');
    return { status: 'ready', verdicts };
  });
}

function currentOrNew(parts: Parts, owner: Owner): Run {
  const current = parts.journal.currentRun();
  if (current !== null && !ENDED.includes(current.status)) {
    owner.checkPlan(parts.planHash, parts.planSpec);
    return current;
  }
  const { side } = parts.journal.authority();
  if (side === 'next') {
    throw new ChangeoverError('CHG_ENGINE_NOT_READY', {
      verb: 'run',
      expected: 'the legacy to serve',
      state: 'the new side serves already',
    });
  }
  return owner.createRun({
    plan: parts.plan.name,
    hash: parts.planHash,
    spec: parts.planSpec,
    configFile: parts.configFile,
  });
}

type VerbOnRun = 'cutover' | 'rollback' | 'finish' | 'uninstall';

const NEEDED: Readonly<Record<VerbOnRun, { readonly statuses: readonly RunStatus[]; readonly expected: string }>> = {
  cutover: { statuses: ['ready', 'live'], expected: 'a run that is READY' },
  rollback: { statuses: ['running', 'ready', 'paused', 'live', 'failed'], expected: 'a run that is not finished' },
  finish: { statuses: ['live'], expected: 'a run whose new side serves' },
  uninstall: { statuses: ['finished', 'rolled_back', 'failed'], expected: 'a run that is finished or rolled back' },
};

/** The run that a verb is about; refuses with what the verb needs. */
export function requireRun(parts: Parts, verb: VerbOnRun): Run {
  const run = parts.journal.currentRun();
  const { statuses, expected } = NEEDED[verb];
  if (run !== null && statuses.includes(run.status)) return run;
  throw new ChangeoverError('CHG_ENGINE_NOT_READY', {
    verb,
    expected,
    state: run === null ? 'there is no run yet' : `the run is ${run.status.replace('_', ' ')}`,
  });
}

/** The checks of the plan against the side that serves, through the gateway. */
export async function runChecks(ctx: Context, parts: Parts): Promise<Verdict[]> {
  const { side } = parts.journal.authority();
  const { host, port } = parts.gateway.listen;
  const isRunning = await parts.gateway.isRunning(ctx);
  const target = {
    side,
    url: isRunning ? `http://${host}:${port}` : null,
    data: parts.data,
    direction: side === 'legacy' ? 'forward' : 'reverse',
  } as const;
  const verdicts: Verdict[] = [];
  for (const check of parts.plan.checks) {
    for (const verdict of await check.run(ctx, target)) {
      parts.emit({ event: 'verdict', verdict });
      verdicts.push(verdict);
    }
  }
  return verdicts;
}
