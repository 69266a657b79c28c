import { ChangeoverError } from '../errors.ts';
import type { ChangeoverEvent } from '../plan/api.ts';
import type { Context } from '../plan/context.ts';
import { passesButForChanging, STAGES } from '../plan/words.ts';
import type { Json, Stage, Verdict } from '../plan/words.ts';
import type { Owner } from './ownership.ts';
import { ProgressMeter } from './progress.ts';
import { withRetries } from './retry.ts';
import type { Run, StepRecord, UndoDecision } from './runs.ts';
import type { Probed, Step } from './steps.ts';
import { messageOf, undoRun } from './undo.ts';

export interface ExecuteOptions {
  /** The last stage to do. Default: all that have steps. */
  readonly until?: Stage;
  /** Stops after the journal knows where; the same call goes on later. */
  readonly signal: AbortSignal;
  readonly emit: (event: ChangeoverEvent) => void;
}

/**
 * Does the steps of the current run that are not done yet, stage by stage, and returns the verdicts of their checks. Every step commits
 * its intent, acts, and commits its outcome; after a crash the same call goes on from there.
 *
 * Throws `CHG_ENGINE_STEP_FAILED` after it has undone everything the run added (while the legacy serves),
 * `CHG_ENGINE_STEP_STOPPED` when nothing could be undone because the new side serves, `CHG_ENGINE_STEP_UNKNOWN` and
 * `CHG_ENGINE_UNDO_FAILED` with the run paused, and `CHG_ENGINE_INTERRUPTED` when `signal` aborts.
 */
export async function executeSteps(
  owner: Owner,
  steps: readonly Step[],
  makeContext: () => Context,
  options: ExecuteOptions,
): Promise<readonly Verdict[]> {
  assertUnique(steps);
  const run = requireRun(owner);
  if (run.undoing !== null) await finishUndo(owner, run, run.undoing, steps, makeContext, options);

  const { emit, until = lastStage(steps) } = options;
  const isLegacyServing = owner.journal.authority().side === 'legacy';
  owner.reserve();
  owner.setRunStatus(run.id, isLegacyServing ? 'running' : 'live');
  const meter = new ProgressMeter(steps, until, makeContext().clock, {
    emit,
    record: (fraction, remainingMs) => {
      owner.progress(run.id, fraction, remainingMs);
    },
  });
  const records = new Map(owner.journal.steps(run.id).map((record) => [record.name, record]));
  const verdicts: Verdict[] = [];

  for (const stage of STAGES.slice(0, STAGES.indexOf(until) + 1)) {
    const own = steps.filter((step) => step.stage === stage);
    if (own.length === 0) continue;
    emit({ event: 'stage', stage, status: 'started' });
    for (const step of own) {
      const record = records.get(step.name);
      if (record?.status === 'done') {
        meter.skip(step);
        emit({ event: 'step', stage, step: step.name, status: 'skipped' });
        continue;
      }
      const execution: Execution = { owner, run, step, ctx: stepContext(makeContext(), step, meter, options), emit };
      try {
        verdicts.push(...(await executeStep(execution, record)));
      } catch (error) {
        if (!(error instanceof StepFailure)) throw error;
        emit({ event: 'step', stage, step: step.name, status: 'failed' });
        emit({ event: 'stage', stage, status: 'failed' });
        throw await settleFailure(execution, error, steps, makeContext);
      }
      meter.complete(step);
      emit({ event: 'step', stage, step: step.name, status: 'completed' });
    }
    emit({ event: 'stage', stage, status: 'completed' });
  }
  return verdicts;
}

/**
 * Undoes a run that did not fail: what `rollback` does while the legacy serves. Safe to repeat. Throws
 * `CHG_ENGINE_UNDO_FAILED` with the run paused.
 */
export async function undoSteps(
  owner: Owner,
  steps: readonly Step[],
  makeContext: () => Context,
  { reason, emit }: { readonly reason: string; readonly emit: (event: ChangeoverEvent) => void },
): Promise<void> {
  const { id } = requireRun(owner);
  owner.decideUndo(id, { reason, step: null, endsAs: 'rolled_back' });
  makeContext().faults.at('engine.undo.decided');
  await undoRun(owner, requireRun(owner), steps, makeContext, { emit, cause: new Error(reason) });
}

/** What a step's own functions threw, as opposed to the journal or a crash point. */
class StepFailure extends Error {
  override readonly cause: unknown;

  constructor(cause: unknown) {
    super(messageOf(cause));
    this.cause = cause;
  }
}

interface Execution {
  readonly owner: Owner;
  readonly run: Run;
  readonly step: Step;
  readonly ctx: Context;
  readonly emit: (event: ChangeoverEvent) => void;
}

async function executeStep(execution: Execution, record: StepRecord | undefined): Promise<readonly Verdict[]> {
  const { owner, run, step, ctx, emit } = execution;
  const { name, stage } = step;
  assertGoingOn(execution);
  emit({ event: 'step', stage, step: name, status: 'started' });

  const isDone = record !== undefined && (await probe(execution, record.before)) === 'done';
  if (!isDone) {
    const before = record?.before ?? (await ofStep(execution, async () => (await step.before?.(ctx)) ?? null));
    ctx.faults.at('engine.step.planned');
    owner.intendStep(run.id, { name, stage, before });
    ctx.faults.at('engine.step.intended');
    await ofStep(execution, () => withRetries(ctx, step.retry, () => step.do(ctx, before)));
    ctx.faults.at('engine.step.acted');
  }
  const verdicts = await ofStep(execution, () => verify(execution));
  owner.completeStep(run.id, name);
  ctx.faults.at('engine.step.recorded');
  return verdicts;
}

/** The journal has an intent and no success: whether it acted, the step alone can say. */
async function probe({ owner, run, step, ctx }: Execution, before: Json): Promise<Probed> {
  const unknown = (reason: string, cause?: unknown): Error => {
    owner.setRunStatus(run.id, 'paused');
    return new ChangeoverError('CHG_ENGINE_STEP_UNKNOWN', { step: step.name, reason }, { cause });
  };
  let answer: Probed;
  try {
    answer = await step.probe(ctx, before);
  } catch (cause) {
    if (ctx.signal.aborted) throw new ChangeoverError('CHG_ENGINE_INTERRUPTED', { step: step.name }, { cause });
    throw unknown(messageOf(cause), cause);
  }
  if (answer === 'unknown') throw unknown('its traces are neither there nor absent');
  return answer;
}

async function verify({ step, ctx, emit }: Execution): Promise<readonly Verdict[]> {
  const verdicts = (await step.verify?.(ctx)) ?? [];
  for (const verdict of verdicts) emit({ event: 'verdict', verdict });
  const failed = verdicts.find(
    (verdict) => verdict.outcome === 'FAIL' || (step.needsProof === true && !passesButForChanging(verdict)),
  );
  if (failed === undefined) return verdicts;
  const { check, evidence } = failed;
  throw new ChangeoverError('CHG_ENGINE_VERIFY_FAILED', { step: step.name, check, evidence });
}

/** Runs a function of the step. What it throws after a cancellation is no failure: its intent stays for the next process. */
async function ofStep<T>({ step, ctx }: Execution, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (ctx.signal.aborted) throw new ChangeoverError('CHG_ENGINE_INTERRUPTED', { step: step.name }, { cause: error });
    throw new StepFailure(error);
  }
}

/** Decides on a failed step, carries it out, and returns what the caller throws. */
async function settleFailure(
  { owner, run, step, ctx, emit }: Execution,
  failure: StepFailure,
  steps: readonly Step[],
  makeContext: () => Context,
): Promise<Error> {
  const { side, state } = owner.journal.authority();
  // While the new side serves, undoing would take the ground from under it.
  const mayUndo = side === 'legacy' && state === 'LIVE_OLD';
  const reason = failure.message;
  ctx.faults.at('engine.step.failed');
  owner.failStep(run.id, step.name, reason, mayUndo ? { reason, step: step.name, endsAs: 'failed' } : null);
  owner.message(run.id, 'error', `${step.name}: ${reason}`);
  const fields = { step: step.name, reason };
  if (!mayUndo) {
    owner.setRunStatus(run.id, 'paused');
    return new ChangeoverError('CHG_ENGINE_STEP_STOPPED', fields, { cause: failure.cause });
  }
  ctx.faults.at('engine.undo.decided');
  await undoRun(owner, requireRun(owner), steps, makeContext, { emit, cause: failure.cause });
  return new ChangeoverError('CHG_ENGINE_STEP_FAILED', fields, { cause: failure.cause });
}

/** A run that was turned back never goes forward again: its undo is finished, and the caller told how the run ended. */
async function finishUndo(
  owner: Owner,
  run: Run,
  undoing: UndoDecision,
  steps: readonly Step[],
  makeContext: () => Context,
  { emit }: ExecuteOptions,
): Promise<never> {
  const { reason, step } = undoing;
  await undoRun(owner, run, steps, makeContext, { emit, cause: new Error(reason) });
  if (step === null) throw new ChangeoverError('CHG_ENGINE_ROLLED_BACK', { run: run.id, reason });
  throw new ChangeoverError('CHG_ENGINE_STEP_FAILED', { step, reason });
}

function stepContext(base: Context, step: Step, meter: ProgressMeter, { signal }: ExecuteOptions): Context {
  return {
    ...base,
    signal,
    report: {
      warn: (message) => {
        base.report.warn(`${step.name}: ${message}`);
      },
      log: (message) => {
        base.report.log(`${step.name}: ${message}`);
      },
      progress: (progress) => {
        base.report.progress(progress);
        meter.update(step, progress);
      },
    },
  };
}

function assertGoingOn({ step, ctx }: Execution): void {
  if (ctx.signal.aborted) {
    throw new ChangeoverError('CHG_ENGINE_INTERRUPTED', { step: step.name }, { cause: ctx.signal.reason });
  }
}

function requireRun(owner: Owner): Run {
  const run = owner.journal.currentRun();
  if (run === null) throw new ChangeoverError('CHG_ENGINE_RUN_MISSING', {});
  return run;
}

function assertUnique(steps: readonly Step[]): void {
  const names = steps.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new ChangeoverError('CHG_ENGINE_STEP_DUPLICATE', { step: twice });
}

function lastStage(steps: readonly Step[]): Stage {
  return STAGES.findLast((stage) => steps.some((step) => step.stage === stage)) ?? 'prepare';
}
