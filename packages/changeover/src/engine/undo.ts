import { ChangeoverError } from '../errors.ts';
import type { ChangeoverEvent } from '../plan/api.ts';
import type { Context } from '../plan/context.ts';
import type { Stage } from '../plan/words.ts';
import type { Owner } from './ownership.ts';
import { withRetries } from './retry.ts';
import type { Run, StepRecord } from './runs.ts';
import type { Step } from './steps.ts';

export interface UndoOptions {
  readonly emit: (event: ChangeoverEvent) => void;
}

/**
 * Undoes what a run added, in the reverse order of its start, and ends the run as it was decided. The decision is in the journal
 * before. It cannot be cancelled: half an undo is worse than a slow one. A step that cannot be undone pauses the run there;
 * `cause` is what led to the undo, and both are reported.
 */
export async function undoRun(
  owner: Owner,
  run: Run,
  steps: readonly Step[],
  makeContext: () => Context,
  { emit, cause }: UndoOptions & { readonly cause: unknown },
): Promise<void> {
  const ctx: Context = { ...makeContext(), signal: new AbortController().signal };
  const records = owner.journal.steps(run.id);
  const left = new Map<Stage, number>();
  for (const { stage, status } of records) if (status !== 'undone') left.set(stage, (left.get(stage) ?? 0) + 1);

  for (const record of records.toReversed()) {
    if (record.status === 'undone') continue;
    const { name, stage } = record;
    const step = steps.find((each) => each.name === name);
    if (step === undefined) {
      owner.setRunStatus(run.id, 'paused');
      throw new ChangeoverError('CHG_ENGINE_STEP_MISSING', { run: run.id, step: name }, { cause });
    }
    await undoStep(owner, ctx, step, record, cause);
    emit({ event: 'step', stage, step: name, status: 'undone' });
    const rest = (left.get(stage) ?? 0) - 1;
    left.set(stage, rest);
    if (rest === 0) emit({ event: 'stage', stage, status: 'undone' });
  }
  owner.setRunStatus(run.id, run.undoing?.endsAs ?? 'rolled_back');
  ctx.faults.at('engine.run.ended');
}

async function undoStep(owner: Owner, ctx: Context, step: Step, record: StepRecord, cause: unknown): Promise<void> {
  const { run, name, before } = record;
  owner.intendStepUndo(run, name);
  ctx.faults.at('engine.undo.intended');
  try {
    await withRetries(ctx, step.retry, async () => {
      await step.undo?.(ctx, before);
    });
  } catch (error) {
    const reason = messageOf(error);
    owner.failStepUndo(run, name, reason);
    owner.setRunStatus(run, 'paused');
    owner.message(run, 'error', `${name} could not be undone: ${reason}`);
    throw new ChangeoverError(
      'CHG_ENGINE_UNDO_FAILED',
      { step: name, reason },
      { cause: new AggregateError([cause, error], `${messageOf(cause)}; then ${name} could not be undone: ${reason}`) },
    );
  }
  ctx.faults.at('engine.undo.acted');
  owner.completeStepUndo(run, name);
  ctx.faults.at('engine.undo.recorded');
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
