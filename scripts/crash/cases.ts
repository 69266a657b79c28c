import { readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { refusedByLock, SETTINGS, type NotesSystem, type StatusLine, type VerbResult } from './system.ts';

/** More snapshots than the engine keeps, so that it drops one. */
const KEPT_SNAPSHOTS = 3;

/** The verb during which a crash point is passed, and therefore the process that is killed there. */
export const VERBS = ['run', 'cutover', 'rollback', 'failing run', 'stopped cutover', 'restore'] as const;
export type Verb = (typeof VERBS)[number];
/** The verbs of a move in which nothing else goes wrong. They come first in `VERBS`. */
export const PLAIN_VERBS: readonly Verb[] = ['run', 'cutover', 'rollback'];

export interface Case {
  readonly point: string;
  readonly verb: Verb;
  /** How often the point is passed before the kill. */
  readonly pass: number;
  /** `resume`: the same thing is done again until it is done. `rollback`: whatever was begun is taken back. */
  readonly afterwards: 'resume' | 'rollback';
}

export interface CaseResult {
  readonly lost: number;
  readonly duplicated: number;
  readonly bothWritable: number;
  /** Writes of the legacy, which never waits for a lock, that met one of ours. */
  readonly refusedByLock: number;
  /** What went against the promises, in words; empty when nothing did. */
  readonly problems: readonly string[];
}

class CaseProblem extends Error {}

/** Every point that each verb passes, found by doing the whole move once and listening. */
export async function survey(system: NotesSystem): Promise<Map<Verb, Map<string, number>>> {
  const passes = new Map<Verb, Map<string, number>>();
  const listen = async (verb: Verb, act: (env: Record<string, string>) => Promise<void>) => {
    const file = path.join(system.folder, `passes-${verb.replace(' ', '-')}.log`);
    await rm(file, { force: true });
    await act({ CHANGEOVER_FAULT_LOG: file });
    const counts = new Map<string, number>();
    for (const point of (await readFile(file, 'utf8')).split('\n'))
      if (point !== '') counts.set(point, (counts.get(point) ?? 0) + 1);
    passes.set(verb, counts);
  };
  await takeOldSnapshots(system);
  await listen('run', (env) => expectCode(system, ['run'], 0, env));
  await listen('stopped cutover', async (env) => {
    await bringTo(system, 'stopped cutover');
    await runVerb(system, 'stopped cutover', env);
    await allowCutover(system);
  });
  await listen('cutover', (env) => expectCode(system, ['cutover'], 0, env));
  await listen('rollback', (env) => expectCode(system, ['rollback'], 0, env));
  await listen('failing run', async (env) => {
    await bringTo(system, 'failing run');
    await runVerb(system, 'failing run', env);
  });
  await rm(failSetup(system), { force: true });
  await listen('restore', async (env) => {
    await bringTo(system, 'restore');
    await runVerb(system, 'restore', env);
  });
  await system.startClient();
  return passes;
}

/** Old snapshots are dropped when there are many: only then its points are passed. */
export async function takeOldSnapshots(system: NotesSystem): Promise<void> {
  for (let run = 0; run < KEPT_SNAPSHOTS; run++) {
    await expectCode(system, ['run', '--until', 'backup'], 0);
    await expectCode(system, ['rollback'], 0);
  }
}

/** Kills one verb at one point and sees that everything comes out right. Leaves the system on the legacy. */
export async function play(system: NotesSystem, given: Case, triesLeft = 2): Promise<CaseResult> {
  const { point, verb, pass, afterwards } = given;
  try {
    await bringTo(system, verb);
    const killed = await runVerb(system, verb, { CHANGEOVER_FAULT: `${point}#${pass}:kill` });
    // How often a point is passed, and whether there is something to apply just then, is a matter of time too.
    if (killed.code === 0 && triesLeft > 0) {
      await backToStart(system);
      return await play(system, { ...given, pass: 1 }, triesLeft - 1);
    }
    if (killed.signal !== 'SIGKILL')
      throw new CaseProblem(`was not killed but ended with ${String(killed.code)}:\n${killed.output.slice(-3000)}`);
    const writable = await system.writableSides();
    const settled = await system.settle();
    if (afterwards === 'resume') await resume(system, verb, settled);
    else await takeBack(system, verb);
    if (verb === 'restore') await system.startClient();
    const onTheWay = afterwards === 'resume' ? await finishAndReturn(system, verb) : [];
    return await conclude(system, onTheWay, writable.length > 1 ? 1 : 0);
  } catch (error) {
    if (!(error instanceof CaseProblem)) throw error;
    return { lost: 0, duplicated: 0, bothWritable: 0, refusedByLock: 0, problems: [error.message] };
  }
}

/** On the legacy, with no run under way, after a verb that did its work. */
async function backToStart(system: NotesSystem): Promise<void> {
  await allowCutover(system);
  const { run } = system.standing();
  if (run === 'ready' || run === 'live') await expectCode(system, ['rollback'], 0);
}

/** Takes back whatever the killed verb had begun; there may be nothing left to take back. */
async function takeBack(system: NotesSystem, verb: Verb): Promise<void> {
  await allowCutover(system);
  await rm(failSetup(system), { force: true });
  const { run } = system.standing();
  if (run === null || run === 'rolled_back' || run === 'failed') return;
  await expectCode(system, ['rollback'], 0);
  if (verb === 'restore') throw new CaseProblem('a restore left a run behind');
}

/** Does again what was killed, until it is done. */
async function resume(system: NotesSystem, verb: Verb, settled: Omit<StatusLine, 'units'>): Promise<void> {
  switch (verb) {
    case 'run':
      await expectCode(system, ['run'], 0);
      return;
    case 'cutover':
    case 'stopped cutover':
      await allowCutover(system);
      if (settled.side === 'legacy') await expectCode(system, ['cutover'], 0);
      return;
    case 'rollback':
      if (settled.run !== 'rolled_back') await expectCode(system, ['rollback'], 0);
      return;
    case 'failing run':
      await rm(failSetup(system), { force: true });
      // The killed undo is finished first; then the same plan may run again.
      await system.verb(['run']);
      await expectCode(system, ['run'], 0);
      return;
    case 'restore':
      await expectCode(system, ['restore', await newestSnapshot(system)], 0);
      return;
    default:
      verb satisfies never;
  }
}

/** Brings the system, which is on the legacy with no run, to where the verb begins. */
async function bringTo(system: NotesSystem, verb: Verb): Promise<void> {
  switch (verb) {
    case 'run':
      return;
    case 'failing run':
      await writeFile(failSetup(system), '');
      return;
    case 'cutover':
      await expectCode(system, ['run'], 0);
      return;
    case 'stopped cutover':
      if (system.standing().run !== 'ready') await expectCode(system, ['run'], 0);
      await writeFile(settingsFile(system), CHANGED_SETTINGS);
      return;
    case 'rollback':
      await expectCode(system, ['run', '--through'], 0);
      return;
    case 'restore':
      // Whatever was written after the snapshot goes with a restore, so nobody writes.
      await system.stopClient();
      return;
    default:
      verb satisfies never;
  }
}

async function runVerb(system: NotesSystem, verb: Verb, env: Readonly<Record<string, string>>): Promise<VerbResult> {
  switch (verb) {
    case 'run':
    case 'failing run':
      return system.verb(['run'], env);
    case 'cutover':
    case 'stopped cutover':
      return system.verb(['cutover'], env);
    case 'rollback':
      return system.verb(['rollback'], env);
    case 'restore':
      return system.verb(['restore', await newestSnapshot(system)], env);
    default:
      return verb satisfies never;
  }
}

/** From a run that is READY or live, or from a restore: over to the new side, look, and back. */
async function finishAndReturn(system: NotesSystem, verb: Verb): Promise<Loss[]> {
  if (verb === 'rollback') return [];
  // What a legacy writes into a file that a restore replaced is seen only by whoever opens the file anew.
  if (verb === 'restore') await expectCode(system, ['run'], 0);
  const { side } = system.standing();
  if (side === 'legacy') await expectCode(system, ['cutover'], 0);
  const onNext = await lossOn(system, 'next');
  await expectCode(system, ['rollback'], 0);
  return [onNext];
}

interface Loss {
  readonly lost: number;
  readonly duplicated: number;
  readonly refusedByLock: number;
  readonly problems: readonly string[];
}

async function lossOn(system: NotesSystem, side: 'legacy' | 'next'): Promise<Loss> {
  const { comparison, failed, failures } = await system.compare();
  const { missing, duplicated, resurrected, wrong } = comparison;
  const problems = [];
  const lost = missing.length + wrong.length;
  const doubled = duplicated.length + resurrected.length;
  if (lost + doubled > 0) problems.push(`on ${side}: ${JSON.stringify({ missing, duplicated, resurrected, wrong })}`);
  const refused = refusedByLock(failures);
  // The gateway was never killed, so no request may have failed.
  if (failed > refused)
    problems.push(`${failed} requests failed on the way to ${side}: ${failures.slice(0, 3).join('; ')}`);
  return { lost, duplicated: doubled, refusedByLock: refused, problems };
}

async function conclude(system: NotesSystem, onTheWay: readonly Loss[], bothWritable: number): Promise<CaseResult> {
  const losses = [...onTheWay, await lossOn(system, 'legacy')];
  const status = system.standing();
  const problems = losses.flatMap((loss) => loss.problems);
  if (status.side !== 'legacy' || status.state !== 'LIVE_OLD')
    problems.push(`ended with ${status.side} in ${status.state}`);
  if (bothWritable > 0) problems.push('both sides accepted a write');
  const sum = (count: (loss: Loss) => number) => losses.reduce((total, loss) => total + count(loss), 0);
  return {
    lost: sum((loss) => loss.lost),
    duplicated: sum((loss) => loss.duplicated),
    bothWritable,
    refusedByLock: sum((loss) => loss.refusedByLock),
    problems,
  };
}

async function newestSnapshot(system: NotesSystem): Promise<string> {
  const { output } = await system.verb(['restore']);
  const { snapshots } = JSON.parse(output.trim().split('\n').at(-1) ?? '') as {
    snapshots: { id: string; takenAtMs: number }[];
  };
  const newest = snapshots.toSorted((one, other) => other.takenAtMs - one.takenAtMs)[0];
  if (newest === undefined) throw new CaseProblem('there is no snapshot');
  return newest.id;
}

async function expectCode(
  system: NotesSystem,
  args: readonly string[],
  code: number,
  env: Readonly<Record<string, string>> = {},
): Promise<void> {
  const result = await system.verb(args, env);
  if (result.code !== code) {
    throw new CaseProblem(
      `${args.join(' ')} ended with ${String(result.code ?? result.signal)} and not ${code}:\n${result.output.slice(-3000)}`,
    );
  }
}

/** The legacy's settings are edited behind the run's back, which stops a cutover under the lock. */
const CHANGED_SETTINGS = 'PAGE_SIZE=20\nTITLE="Notes of the house"\n';
const settingsFile = (system: NotesSystem) => path.join(system.folder, 'legacy/.env');

async function allowCutover(system: NotesSystem): Promise<void> {
  await writeFile(settingsFile(system), SETTINGS);
}

/** A setup command of the plan fails while this file exists. */
function failSetup(system: NotesSystem): string {
  return path.join(system.folder, 'fail-setup');
}
