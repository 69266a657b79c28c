import { readFile } from 'node:fs/promises';
import type { DecisionBrief, PlanReport, Status } from '../../plan/api.ts';
import { holdOf, type Authority } from '../../plan/authority.ts';
import type { Context } from '../../plan/context.ts';
import { STAGES, type Footprint, type Side, type Verdict } from '../../plan/words.ts';
import { LEGACY_BOOT } from '../cutover/parts.ts';
import type { Run, StepRecord } from '../runs.ts';
import { heldBack } from './held.ts';
import { heartbeatFile } from './keeper.ts';
import type { Parts } from './parts.ts';
import { ENDED, requireRun } from './run.ts';
import { allFindings, runSteps } from './run-steps.ts';

/** What a run would do; reads only. */
export async function planReport(ctx: Context, parts: Parts): Promise<PlanReport> {
  const { plan, data, settings } = parts;
  const tables = await data.describe(ctx);
  const bootMs = parts.journal.get(LEGACY_BOOT);
  const legacyMustStop = data.fencedBy('legacy') === 'unit';
  return {
    name: plan.name,
    hash: parts.planHash,
    findings: await allFindings(ctx, parts),
    footprint: [...(await data.footprint(ctx)), ...ownFootprint(parts)],
    settings: settings === null ? null : await settings.report(ctx),
    tables,
    pauses: [
      {
        what: legacyMustStop
          ? 'cutover: requests are held while the legacy is stopped and the last changes are applied'
          : 'cutover: requests are held while the last changes are applied',
        expectedMs: null,
        deadlineMs: plan.cutover.holdDeadlineMs,
        whenMissed: 'the legacy serves on, nothing is lost',
      },
      {
        what: legacyMustStop ? 'rollback: the same, and the legacy boots' : 'rollback: the same',
        expectedMs: typeof bootMs === 'number' ? bootMs : null,
        deadlineMs: plan.cutover.rollbackHoldDeadlineMs,
        whenMissed: 'the new side serves on, nothing is lost',
      },
    ],
    schema: (await data.schema?.rules(ctx)) ?? [],
    notReturned: tables.flatMap((table) => table.givenUp.map((what) => `${table.name}: ${what}`)),
  };
}

function ownFootprint(parts: Parts): Footprint[] {
  const { host, port } = parts.gateway.listen;
  return [
    {
      where: `${host}:${port}`,
      adds: 'the gateway: one supervisor, its workers and the keeper',
      right: 'to listen on that port',
      removal: 'changeover uninstall',
    },
    {
      where: parts.stateDir,
      adds: 'journal, snapshots, logs of units',
      right: 'to write that folder',
      removal: 'changeover uninstall',
    },
  ];
}

export async function statusOf(ctx: Context, parts: Parts): Promise<Status> {
  const { journal, plan } = parts;
  const run = journal.currentRun();
  const authority = journal.authority();
  const owner = journal.ownerInfo();
  const isRunning = await parts.gateway.isRunning(ctx);
  const messages = run === null ? [] : journal.messages(run.id);
  const isPrepared = run !== null && ['running', 'ready', 'live', 'paused'].includes(run.status);
  const lags = isPrepared ? await parts.data.lags(ctx) : [];
  return {
    plan: plan.name,
    slice: parts.slice,
    slices: parts.slice === null ? parts.slices() : [],
    planHash: parts.planHash,
    run:
      run === null
        ? null
        : {
            id: run.id,
            status: run.status,
            startedAtMs: run.startedAtMs,
            progress: run.progress,
            remainingMs: run.remainingMs,
          },
    stages: stagesOf(run, run === null ? [] : journal.steps(run.id)),
    authority,
    hold: holdOf(authority),
    writable: await writableSides(ctx, parts, authority),
    owner: owner?.isHeld === true ? { pid: owner.pid, command: owner.command, sinceMs: owner.sinceMs } : null,
    keeper: await keeperOf(parts),
    gateway: isRunning ? await parts.gateway.stats(ctx) : null,
    units: [...(await unitsOf(ctx, parts, 'legacy')), ...(await unitsOf(ctx, parts, 'next'))],
    pendingChanges: null,
    lags,
    heldBack: owner?.isHeld === true ? heldBack(journal) : null,
    notReturnable: isPrepared && authority.side === 'next' ? await parts.data.notReturnable(ctx) : [],
    errors: messages.filter(({ level }) => level === 'error').map(({ text }) => text),
    warnings: [
      ...messages.filter(({ level }) => level === 'warning').map(({ text }) => text),
      ...lags.flatMap(({ store, warning }) => (warning === null ? [] : [`${store}: ${warning}`])),
    ],
    nextCommand: nextCommand(run, authority) + (parts.slice === null ? '' : ` --slice ${quotedWord(parts.slice)}`),
  };
}

/** A side may write when its stores do not refuse and, where only its absence is a fence, when one of its units runs. */
async function writableSides(ctx: Context, parts: Parts, authority: Authority): Promise<Side[]> {
  const run = parts.journal.currentRun();
  // Before a run has fenced the new stores nobody uses them; they may not even exist.
  if (run === null || !['running', 'ready', 'live', 'paused'].includes(run.status)) return [authority.side];
  const sides: Side[] = [];
  for (const side of ['legacy', 'next'] as const) {
    if (parts.data.fencedBy(side) === 'unit') {
      if (authority.side === side) sides.push(side);
    } else if (!(await parts.data.isFenced(ctx, side))) {
      sides.push(side);
    }
  }
  // Where all rows are of slices there is no store to ask.
  if (sides.length === 2 && (await parts.data.describe(ctx)).length === 0) return [authority.side];
  return sides;
}

function stagesOf(run: Run | null, steps: readonly StepRecord[]): Status['stages'] {
  return STAGES.map((stage) => {
    const own = steps.filter((step) => step.stage === stage);
    if (stage === 'cutover' || stage === 'validate') {
      return {
        stage,
        status: run?.status === 'live' || run?.status === 'finished' ? ('completed' as const) : ('pending' as const),
      };
    }
    if (stage === 'cleanup')
      return { stage, status: run?.status === 'finished' ? ('completed' as const) : ('pending' as const) };
    if (own.length === 0)
      return { stage, status: isPast(stage, steps) ? ('completed' as const) : ('pending' as const) };
    if (own.every(({ status }) => status === 'undone')) return { stage, status: 'undone' as const };
    if (own.some(({ status }) => status === 'failed' || status === 'undo_failed'))
      return { stage, status: 'failed' as const };
    if (own.some(({ status }) => status === 'started' || status === 'undoing'))
      return { stage, status: 'running' as const };
    return {
      stage,
      status: isPast(stage, steps) || run?.status !== 'running' ? ('completed' as const) : ('running' as const),
    };
  });
}

/** A stage is over when a later one has begun. */
function isPast(stage: (typeof STAGES)[number], steps: readonly StepRecord[]): boolean {
  return steps.some((step) => STAGES.indexOf(step.stage) > STAGES.indexOf(stage));
}

async function unitsOf(ctx: Context, parts: Parts, side: Side): Promise<Status['units']> {
  const units = side === 'legacy' ? [...parts.plan.legacy.units, ...parts.plan.legacy.writers] : parts.plan.next.units;
  return Promise.all(units.map(async (unit) => ({ name: unit.name, side, status: await unit.status(ctx) })));
}

async function keeperOf(parts: Parts): Promise<Status['keeper']> {
  let text: string;
  try {
    text = await readFile(heartbeatFile(parts.journalDir), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  const { pid, atMonotonicMs } = JSON.parse(text) as { pid: number; atMonotonicMs: number };
  return { pid, aliveMsAgo: Math.max(0, Math.round(parts.clock.monotonicMs() - atMonotonicMs)) };
}

/** As one types it in a shell. */
function quotedWord(word: string): string {
  return /^[\w./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

function nextCommand(run: Run | null, authority: Authority): string {
  if (run === null) return 'changeover run';
  if (run.undoing !== null && run.status !== 'rolled_back' && run.status !== 'failed') return 'changeover rollback';
  switch (run.status) {
    case 'running':
    case 'paused':
      return 'changeover run';
    case 'ready':
      return 'changeover cutover';
    case 'live':
      return authority.side === 'next' ? 'changeover finish (or changeover rollback)' : 'changeover rollback';
    case 'failed':
    case 'rolled_back':
      return 'changeover run';
    case 'finished':
      return 'changeover uninstall';
    default:
      return run.status satisfies never;
  }
}

/** The questions that the screen answers before a decision. */
export async function briefOf(ctx: Context, parts: Parts, decision: DecisionBrief['decision']): Promise<DecisionBrief> {
  // What follows the end of a run is refused before anybody is asked; what else the verb needs, it may still bring about itself.
  const status = parts.journal.currentRun()?.status;
  if (status !== undefined && ENDED.includes(status) && decision !== 'run' && decision !== 'restore')
    requireRun(parts, decision);
  const authority = parts.journal.authority();
  const writable = await writableSides(ctx, parts, authority);
  const lost = await parts.data.notReturnable(ctx);
  const lostText =
    lost.length === 0
      ? 'nothing'
      : lost.map(({ table, rows, reason }) => `${rows} rows of ${table} (${reason})`).join('; ');
  const base = {
    decision,
    serves: nameOf(authority.side),
    writes: writable.length === 0 ? 'nobody' : writable.map(nameOf).join(' and '),
    evidence: [],
  };
  const { plan } = parts;
  const seconds = (ms: number) => `${(ms / 1000).toLocaleString('en')} s`;
  const stop = parts.data.fencedBy('legacy') === 'unit' ? ' and its process is stopped' : '';
  const boot = parts.journal.get(LEGACY_BOOT);
  switch (decision) {
    case 'run':
      return {
        ...base,
        changes: planSteps(parts),
        undoneBy: 'changeover rollback, at any time until finish',
        lost: 'nothing: the legacy serves and writes all the time',
        duration: 'until READY; the legacy is not held',
      };
    case 'cutover':
      return {
        ...base,
        changes: [`requests are held, the legacy is fenced${stop}, the new side serves and writes`],
        undoneBy: 'changeover rollback, at any time until finish, with everything written since',
        lost: 'nothing',
        duration: `a hold of milliseconds to ${seconds(plan.cutover.holdDeadlineMs)}; a missed deadline leaves the legacy serving`,
        evidence: await evidenceOf(ctx, parts),
      };
    case 'rollback':
      return {
        ...base,
        changes:
          authority.side === 'next'
            ? [
                'requests are held, what was written since the cutover is in the legacy, the legacy serves and writes',
                'then what the run added is removed',
              ]
            : ['what the run added is removed; the legacy serves and writes all the time'],
        undoneBy: 'changeover run',
        lost: lostText,
        duration:
          authority.side === 'next'
            ? `a hold of at most ${seconds(plan.cutover.rollbackHoldDeadlineMs)}${typeof boot === 'number' ? `; the legacy booted in ${boot} ms when it was last rehearsed` : ''}`
            : 'no hold',
      };
    case 'finish':
      return {
        ...base,
        changes: [
          'the reverse sync ends and the legacy no longer follows',
          'the capture is removed from the stores',
          ...(await parts.data.footprint(ctx))
            .filter(({ adds }) => adds.startsWith('finish: '))
            .map(({ adds }) => adds),
        ],
        undoneBy: 'nothing: there is no rollback after finish',
        lost: lostText === 'nothing' ? 'the way back' : `the way back; ${lostText} were never on the legacy`,
        duration: 'no hold',
      };
    case 'uninstall':
      return {
        ...base,
        changes: [
          `the gateway on ${parts.gateway.listen.host}:${parts.gateway.listen.port} ends: point clients at the side that serves first`,
          `journal, snapshots and logs in ${parts.stateDir} are deleted`,
        ],
        undoneBy: 'nothing',
        lost: 'the audit and the snapshots',
        duration: 'no hold; requests under way are finished',
      };
    case 'restore':
      return {
        ...base,
        changes: [
          'the backed-up paths are put back as they were when the snapshot was taken',
          'requests are held and the legacy is stopped while its files are exchanged',
        ],
        undoneBy: 'nothing, unless another snapshot is taken first',
        lost: 'everything that was changed in these paths since; `changeover restore ID --dry-run` lists it',
        duration: 'as long as the copy takes; requests are held for a restart of the legacy',
      };
    default:
      return decision satisfies never;
  }
}

/** Where it cannot be read (a stopped process may hold a store), that is what the operator is told; the verb then says who holds it. */
async function evidenceOf(ctx: Context, parts: Parts): Promise<Verdict[]> {
  try {
    return await parts.data.verify(ctx, 'forward', 'changed');
  } catch (error) {
    if (ctx.signal.aborted) throw error;
    const evidence = error instanceof Error ? error.message : String(error);
    return [{ check: 'rows equal', outcome: 'INCONCLUSIVE', evidence, measured: 0 }];
  }
}

function nameOf(side: Side): string {
  return side === 'legacy' ? 'the legacy' : 'the new side';
}

/** The titles of the steps, without needing to own anything: they are only listed, none is done. */
function planSteps(parts: Parts): string[] {
  const nobody = { put: () => undefined, setAuthority: () => parts.journal.authority() };
  return runSteps(parts, nobody).map(({ stage, title }) => `${stage}: ${title}`);
}
