import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ChangeoverEvent } from '../plan/api.ts';
import { NO_FAULTS } from '../plan/context.ts';
import type { Clock, Context, Progress } from '../plan/context.ts';
import type { CrashPoint } from '../plan/crash-points.ts';
import { CRASH_POINTS } from '../plan/crash-points.ts';
import { startChild } from '../testing/child.ts';
import { tempFolder } from '../testing/temp.ts';
import type { TempFolder } from '../testing/temp.ts';
import { systemClock } from './clock.ts';
import { executeSteps, undoSteps } from './execute.ts';
import { openJournal } from './journal.ts';
import type { Journal } from './journal.ts';
import type { Owner } from './ownership.ts';
import type { Step } from './steps.ts';

const RUNNER = new URL('journal.child.ts', import.meta.url).pathname;
const PLAN = { plan: 'test', hash: 'h1', spec: {}, configFile: '/test.ts' };

let temp: TempFolder;
let journal: Journal;
let owner: Owner;
let events: ChangeoverEvent[];
let done: string[];

beforeEach(async () => {
  temp = await tempFolder();
  journal = openJournal(temp.path, { clock: systemClock(), faults: NO_FAULTS });
  owner = await journal.acquire({ command: 'test' });
  events = [];
  done = [];
});
afterEach(async () => {
  journal.close();
  await temp.remove();
});

function context(clock: Clock = systemClock()): Context {
  const report = { progress: () => undefined, warn: () => undefined, log: () => undefined };
  const { signal } = new AbortController();
  const runId = journal.currentRun()?.id ?? 'none';
  const { epoch } = owner;
  const { path: root } = temp;
  return { root, stateDir: root, runId, epoch, liveSide: null, signal, faults: NO_FAULTS, clock, report };
}

function step(name: string, given: Partial<Step> = {}): Step {
  return {
    name,
    stage: 'data',
    weight: 1,
    title: name,
    do: () => {
      done.push(name);
      return Promise.resolve();
    },
    probe: () => Promise.resolve(done.includes(name) ? 'done' : 'not-done'),
    undo: () => {
      done.push(`undo ${name}`);
      return Promise.resolve();
    },
    ...given,
  };
}

const failing = (name: string, message: string, given: Partial<Step> = {}): Step =>
  step(name, {
    do: () => {
      done.push(name);
      return Promise.reject(new Error(message));
    },
    ...given,
  });

function execute(steps: Step[], { signal = new AbortController().signal, clock = systemClock() } = {}) {
  return executeSteps(owner, steps, () => context(clock), {
    signal,
    emit: (event) => {
      events.push(event);
    },
  });
}

const undo = (steps: Step[]) =>
  undoSteps(owner, steps, () => context(), {
    reason: 'rollback',
    emit: (event) => {
      events.push(event);
    },
  });

const statuses = () => journal.steps(journal.currentRun()?.id ?? '').map(({ name, status }) => `${name} ${status}`);
const runStatus = () => journal.currentRun()?.status;

describe('a run', () => {
  test('does its steps in the order of the stages, once, and tells of each', async () => {
    owner.createRun(PLAN);
    const steps = [
      step('later', { stage: 'integrate' }),
      step('one'),
      step('two'),
      step('first', { stage: 'prepare' }),
    ];
    await execute(steps);
    await execute(steps);
    expect(done).toEqual(['first', 'one', 'two', 'later']);
    expect(
      events.flatMap((event) => (event.event === 'stage' ? [`${event.stage} ${event.status}`] : [])).slice(0, 6),
    ).toEqual([
      'prepare started',
      'prepare completed',
      'data started',
      'data completed',
      'integrate started',
      'integrate completed',
    ]);
    expect(events.filter((event) => event.event === 'step' && event.status === 'skipped')).toHaveLength(4);
    expect(journal.currentRun()?.progress).toBeCloseTo(0.9, 10);
  });

  test('stops after the stage it was asked for', async () => {
    owner.createRun(PLAN);
    const steps = [step('first', { stage: 'prepare' }), step('data'), step('later', { stage: 'integrate' })];
    await executeSteps(owner, steps, () => context(), {
      until: 'data',
      signal: new AbortController().signal,
      emit: () => undefined,
    });
    expect(done).toEqual(['first', 'data']);
  });

  test('with two steps of one name, or without a run, does nothing', async () => {
    await expect(execute([step('one')])).rejects.toMatchObject({ code: 'CHG_ENGINE_RUN_MISSING', exitCode: 2 });
    owner.createRun(PLAN);
    await expect(execute([step('one'), step('one')])).rejects.toMatchObject({ code: 'CHG_ENGINE_STEP_DUPLICATE' });
    expect(done).toEqual([]);
  });

  test('hands undo what was before, even after the step was tried again', async () => {
    owner.createRun(PLAN);
    let looks = 0;
    const seen: unknown[] = [];
    const one = step('one', {
      before: () => Promise.resolve({ look: ++looks }),
      do: (_ctx, before) => {
        seen.push(before);
        return Promise.resolve();
      },
      undo: (_ctx, before) => {
        seen.push(before);
        return Promise.resolve();
      },
    });
    await execute([one]);
    await undo([one]);
    expect(seen).toEqual([{ look: 1 }, { look: 1 }]);
  });
});

describe('a step that fails', () => {
  test('has everything undone in the reverse order of start, and the plan can run again', async () => {
    const run = owner.createRun(PLAN);
    const steps = [step('one'), step('two'), failing('three', 'no space'), step('four')];
    await expect(execute(steps)).rejects.toMatchObject({
      code: 'CHG_ENGINE_STEP_FAILED',
      exitCode: 1,
      cause: new Error('no space'),
    });
    expect(done).toEqual(['one', 'two', 'three', 'undo three', 'undo two', 'undo one']);
    expect(statuses()).toEqual(['one undone', 'two undone', 'three undone']);
    expect(runStatus()).toBe('failed');
    expect(journal.messages(run.id)).toMatchObject([{ level: 'error', text: 'three: no space' }]);
    done.length = 0;
    owner.createRun(PLAN);
    await execute([step('one'), step('two'), step('three')]);
    expect(done).toEqual(['one', 'two', 'three']);
  });

  test('is tried as often as it says', async () => {
    owner.createRun(PLAN);
    let tries = 0;
    const flaky = step('flaky', {
      retry: { attempts: 3, delayMs: 1 },
      do: () => (++tries < 3 ? Promise.reject(new Error('busy')) : Promise.resolve()),
    });
    await execute([flaky]);
    expect(tries).toBe(3);
    expect(statuses()).toEqual(['flaky done']);
  });

  test('before its intent is undone only as far as the others acted', async () => {
    owner.createRun(PLAN);
    const steps = [step('one'), step('two', { before: () => Promise.reject(new Error('cannot look')) })];
    await expect(execute(steps)).rejects.toMatchObject({ code: 'CHG_ENGINE_STEP_FAILED' });
    expect(done).toEqual(['one', 'undo one']);
    expect(statuses()).toEqual(['one undone']);
  });

  test('only its check, counts as failed too, and an inconclusive one does not', async () => {
    owner.createRun(PLAN);
    const verdict = { check: 'rows equal', evidence: '9 of 10', measured: 10 } as const;
    const unsure = step('unsure', { verify: () => Promise.resolve([{ ...verdict, outcome: 'INCONCLUSIVE' }]) });
    expect(await execute([unsure])).toEqual([{ ...verdict, outcome: 'INCONCLUSIVE' }]);
    const wrong = step('wrong', { verify: () => Promise.resolve([{ ...verdict, outcome: 'FAIL' }]) });
    await expect(execute([unsure, wrong])).rejects.toThrow('rows equal: 9 of 10');
    expect(events).toContainEqual({ event: 'verdict', verdict: { ...verdict, outcome: 'FAIL' } });
    expect(done).toEqual(['unsure', 'wrong', 'undo wrong', 'undo unsure']);
  });

  test('while the new side serves is left as it is, asked again, and goes on', async () => {
    owner.createRun(PLAN);
    owner.setAuthority(journal.authority().version, { side: 'next', state: 'LIVE_NEW' });
    let isBroken = true;
    const steps = [
      step('one'),
      step('two', { do: () => (isBroken ? Promise.reject(new Error('no answer')) : Promise.resolve()) }),
    ];
    await expect(execute(steps)).rejects.toMatchObject({ code: 'CHG_ENGINE_STEP_STOPPED', exitCode: 3 });
    expect(done).toEqual(['one']);
    expect(runStatus()).toBe('paused');
    isBroken = false;
    await execute(steps);
    expect(statuses()).toEqual(['one done', 'two done']);
    expect(runStatus()).toBe('live');
  });

  test('and cannot be undone pauses with both errors, and goes on with the undo alone', async () => {
    owner.createRun(PLAN);
    let isStuck = true;
    const two = step('two', {
      undo: () => {
        done.push('undo two');
        return isStuck ? Promise.reject(new Error('disk gone')) : Promise.resolve();
      },
    });
    const steps = [step('one'), two, failing('three', 'no space')];
    const error = await execute(steps).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: 'CHG_ENGINE_UNDO_FAILED', exitCode: 3 });
    const { cause } = error as { cause: AggregateError };
    expect(cause.errors.map(String)).toEqual(['Error: no space', 'Error: disk gone']);
    expect(statuses()).toEqual(['one done', 'two undo_failed', 'three undone']);
    expect(runStatus()).toBe('paused');
    isStuck = false;
    await expect(execute(steps)).rejects.toThrow('the step three failed: no space');
    expect(done).toEqual(['one', 'two', 'three', 'undo three', 'undo two', 'undo two', 'undo one']);
    expect(runStatus()).toBe('failed');
  });

  test('whose journal was lost to another owner stops at once and undoes nothing', async () => {
    owner.createRun(PLAN);
    const other = openJournal(temp.path, { clock: systemClock(), faults: NO_FAULTS });
    const overtaken = step('two', {
      do: async () => {
        done.push('two');
        const { rm } = await import('node:fs/promises');
        await rm(path.join(temp.path, 'owner.lock'));
        await other.acquire({ command: 'new' });
      },
    });
    await expect(execute([step('one'), overtaken, step('three')])).rejects.toMatchObject({ code: 'CHG_ENGINE_FENCED' });
    expect(done).toEqual(['one', 'two']);
    other.close();
  });
});

describe('a step whose outcome is not in the journal', () => {
  const interrupted = () => {
    const { id } = owner.createRun(PLAN);
    owner.intendStep(id, { name: 'one', stage: 'data', before: 'then' });
    return id;
  };

  test('is not done again when its probe sees that it acted', async () => {
    interrupted();
    await execute([step('one', { probe: () => Promise.resolve('done') })]);
    expect(done).toEqual([]);
    expect(statuses()).toEqual(['one done']);
  });

  test('is done with the first state before when its probe sees that it did not', async () => {
    interrupted();
    const seen: unknown[] = [];
    await execute([
      step('one', {
        before: () => Promise.resolve('now'),
        do: (_ctx, before) => Promise.resolve(void seen.push(before)),
      }),
    ]);
    expect(seen).toEqual(['then']);
  });

  test.each([
    ['cannot see', () => Promise.resolve('unknown' as const), 'neither there nor absent'],
    ['fails', () => Promise.reject(new Error('connection refused')), 'connection refused'],
  ])('pauses the run when its probe %s, and never guesses', async (_how, probe, reason) => {
    interrupted();
    const steps = [step('one', { probe }), step('two')];
    for (let time = 0; time < 2; time++) {
      await expect(execute(steps)).rejects.toMatchObject({ code: 'CHG_ENGINE_STEP_UNKNOWN', exitCode: 3 });
      await expect(execute(steps)).rejects.toThrow(reason);
    }
    expect(done).toEqual([]);
    expect(runStatus()).toBe('paused');
    await undo([step('one'), step('two')]);
    expect(done).toEqual(['undo one']);
    expect(runStatus()).toBe('rolled_back');
  });
});

describe('an interrupted run', () => {
  test('keeps the intent of the step that was under way, undoes nothing, and goes on', async () => {
    owner.createRun(PLAN);
    const controller = new AbortController();
    const slow = step('two', {
      do: async (ctx) => {
        done.push('two begins');
        controller.abort();
        await ctx.clock.sleep(10_000, ctx.signal);
      },
    });
    await expect(execute([step('one'), slow, step('three')], { signal: controller.signal })).rejects.toMatchObject({
      code: 'CHG_ENGINE_INTERRUPTED',
      exitCode: 130,
    });
    expect(statuses()).toEqual(['one done', 'two started']);
    expect(runStatus()).toBe('running');
    await execute([step('one'), step('two'), step('three')]);
    expect(done).toEqual(['one', 'two begins', 'two', 'three']);
  });

  test('records a step that ended all the same, and starts no other', async () => {
    owner.createRun(PLAN);
    const controller = new AbortController();
    const deaf = step('one', {
      do: () => {
        controller.abort();
        return Promise.resolve();
      },
    });
    await expect(execute([deaf, step('two')], { signal: controller.signal })).rejects.toMatchObject({
      code: 'CHG_ENGINE_INTERRUPTED',
    });
    expect(statuses()).toEqual(['one done']);
  });

  test('cannot interrupt an undo', async () => {
    owner.createRun(PLAN);
    const controller = new AbortController();
    const careful = step('one', {
      undo: async (ctx) => {
        controller.abort();
        await ctx.clock.sleep(20, ctx.signal);
        done.push('undo one');
      },
    });
    await expect(execute([careful, failing('two', 'broke')], { signal: controller.signal })).rejects.toMatchObject({
      code: 'CHG_ENGINE_STEP_FAILED',
    });
    expect(done).toEqual(['one', 'two', 'undo two', 'undo one']);
  });
});

test('a rollback that was interrupted is finished before anything else, and the run never goes forward again', async () => {
  const { id } = owner.createRun(PLAN);
  const steps = [step('one'), step('two')];
  await execute(steps);
  owner.decideUndo(id, { reason: 'rollback', step: null, endsAs: 'rolled_back' });
  owner.intendStepUndo(id, 'two');
  await expect(execute(steps)).rejects.toMatchObject({ code: 'CHG_ENGINE_ROLLED_BACK' });
  expect(done).toEqual(['one', 'two', 'undo two', 'undo one']);
  expect(runStatus()).toBe('rolled_back');
});

test('a step that the plan no longer has stops the undo there', async () => {
  owner.createRun(PLAN);
  await execute([step('one'), step('two')]);
  await expect(undo([step('one')])).rejects.toMatchObject({ code: 'CHG_ENGINE_STEP_MISSING', exitCode: 3 });
  expect(statuses()).toEqual(['one done', 'two done']);
  expect(runStatus()).toBe('paused');
});

test('progress only grows, ends at the weight of the stages done, and its time left falls', async () => {
  owner.createRun(PLAN);
  let nowMs = 0;
  const clock: Clock = { ...systemClock(), monotonicMs: () => nowMs };
  const working = (name: string, stage: Step['stage'], weight: number): Step =>
    step(name, {
      stage,
      weight,
      do: (ctx) => {
        for (let done = 0; done <= 100; done += 5) {
          nowMs += 500 * weight;
          ctx.report.progress({ what: name, done, total: 100, unit: 'rows' } satisfies Progress);
        }
        return Promise.resolve();
      },
    });
  await execute([working('a', 'data', 1), working('b', 'data', 3), working('c', 'integrate', 2)], { clock });
  const progress = events.filter((event) => event.event === 'progress');
  const fractions = progress.map(({ fraction }) => fraction);
  expect(fractions).toEqual(fractions.toSorted((a, b) => a - b));
  expect(fractions.at(-1)).toBeCloseTo(0.9, 10);
  // One step of four in a stage of 0.3 that begins at 0.4.
  expect(progress.findLast(({ step: name }) => name === 'a')?.fraction).toBeCloseTo(0.4 + 0.3 / 4, 10);
  const times = progress.flatMap(({ remainingMs }) => remainingMs ?? []);
  expect(times.length).toBeGreaterThan(50);
  expect(times.at(-1)).toBeLessThan(5000);
  const rises = times.filter((time, index) => time > (times[index - 1] ?? Infinity));
  expect(rises.length).toBeLessThan(times.length / 10);
});

/** Points of a plain run and of one whose second step fails, at each of which a process is killed. */
const FORWARD = [
  'engine.run.created',
  'engine.step.planned',
  'engine.step.intended',
  'engine.step.acted',
  'engine.step.recorded',
] as const;
const BACKWARD = [
  'engine.step.failed',
  'engine.undo.decided',
  'engine.undo.intended',
  'engine.undo.acted',
  'engine.undo.recorded',
  'engine.run.ended',
] as const;

describe('a runner killed with SIGKILL', () => {
  const worked = () =>
    existsSync(path.join(temp.path, 'worked.txt')) ? readFileSync(path.join(temp.path, 'worked.txt'), 'utf8') : '';
  const runner = async (verb: string, point: CrashPoint | null, ...args: string[]) => {
    const env =
      point === null
        ? {}
        : {
            CHANGEOVER_FAULT: `${point}#${args.includes('fail=third') ? 1 : 2}:kill`.replace('created#2', 'created#1'),
          };
    await using child = startChild(RUNNER, { args: [temp.path, verb, ...args], env });
    const exit = await child.exited;
    return { ...exit, output: child.output() };
  };
  beforeEach(() => {
    owner.release();
  });

  test.each(FORWARD)('at %s goes on and has every step acted once', async (point) => {
    expect(await runner('run', point)).toMatchObject({ signal: 'SIGKILL' });
    expect(await runner('run', null)).toMatchObject({ code: 0 });
    expect(worked()).toBe('first\nsecond\nthird\n');
    expect(statuses()).toEqual(['first done', 'second done', 'third done']);
  });

  test.each(BACKWARD)('at %s of a failed run finishes the undo, and the plan can run again', async (point) => {
    expect(await runner('run', point, 'fail=third')).toMatchObject({ signal: 'SIGKILL' });
    const again = await runner('run', null, ...(point === 'engine.step.failed' ? ['fail=none'] : []));
    // Killed before the decision, the step is asked: it had acted. Killed after the end, a new run was free to start.
    const goesForward = point === 'engine.step.failed' || point === 'engine.run.ended';
    expect(again.output).toContain(goesForward ? 'done' : 'CHG_ENGINE_STEP_FAILED: the step third failed: third broke');
    expect(worked()).toBe(goesForward ? 'first\nsecond\nthird\n' : '');
    if (!goesForward) expect(readFileSync(path.join(temp.path, 'undone-third.json'), 'utf8')).toBe('{"lines":2}');
    expect(await runner('run', null)).toMatchObject({ code: 0 });
    expect(worked()).toBe('first\nsecond\nthird\n');
  });

  test("none of the engine's own points in a run is left out here", () => {
    const own = CRASH_POINTS.filter((point) => /^engine\.(run|step|undo)\./.test(point));
    expect([...FORWARD, ...BACKWARD].toSorted()).toEqual(own.toSorted());
  });
});
