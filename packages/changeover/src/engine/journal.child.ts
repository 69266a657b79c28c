/**
 * A runner that tests start and kill: `node journal.child.ts <stateDir> <verb> [name=value …]`. Its steps add lines to files beside the journal,
 * so that what acted twice or was not undone can be seen.
 */
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ChangeoverError } from '../errors.ts';
import type { Context } from '../plan/context.ts';
import { systemClock } from './clock.ts';
import { executeSteps, undoSteps } from './execute.ts';
import { faultsFromEnvironment } from './faults.ts';
import { openJournal } from './journal.ts';
import type { Owner } from './ownership.ts';
import type { Step } from './steps.ts';
import { command } from './units/command.ts';

const [stateDir = '', verb = '', ...pairs] = process.argv.slice(2);
const settings = new Map(pairs.map((pair) => pair.split('=') as [string, string]));
const clock = systemClock();
const faults = faultsFromEnvironment();
const journal = openJournal(stateDir, { clock, faults });
const worked = join(stateDir, 'worked.txt');

function contextOf(owner: Owner): Context {
  return {
    root: stateDir,
    stateDir,
    runId: journal.currentRun()?.id ?? 'none',
    epoch: owner.epoch,
    liveSide: null,
    signal: new AbortController().signal,
    faults,
    clock,
    report: { progress: () => undefined, warn: () => undefined, log: () => undefined },
  };
}

/** Adds its name to a file unless it stands there; undone by taking it out. */
function fileStep(name: string, stage: Step['stage']): Step {
  const lines = (): string[] => (existsSync(worked) ? readFileSync(worked, 'utf8').split('\n').filter(Boolean) : []);
  return {
    name,
    stage,
    weight: 1,
    title: `write ${name}`,
    before: () => Promise.resolve({ lines: lines().length }),
    do: () => {
      appendFileSync(worked, `${name}\n`);
      if (settings.get('fail') === name) return Promise.reject(new Error(`${name} broke`));
      return Promise.resolve();
    },
    probe: () => Promise.resolve(lines().includes(name) ? 'done' : 'not-done'),
    undo: (_ctx, before) => {
      writeFileSync(join(stateDir, `undone-${name}.json`), JSON.stringify(before));
      writeFileSync(
        worked,
        lines()
          .filter((line) => line !== name)
          .map((line) => `${line}\n`)
          .join(''),
      );
      return Promise.resolve();
    },
  };
}

const steps = [fileStep('first', 'prepare'), fileStep('second', 'config'), fileStep('third', 'data')];

const verbs: Readonly<Record<string, (owner: Owner) => Promise<void> | void>> = {
  async run(owner) {
    const current = journal.currentRun();
    if (current === null || ['failed', 'rolled_back'].includes(current.status)) {
      owner.createRun({ plan: 'test', hash: 'h1', spec: { name: 'test' }, configFile: '/test.ts' });
    }
    const signal = new AbortController().signal;
    await executeSteps(owner, steps, () => contextOf(owner), { signal, emit: () => undefined });
  },
  async undo(owner) {
    await undoSteps(owner, steps, () => contextOf(owner), { reason: 'asked', emit: () => undefined });
  },
  /** Writes as fast as it can until it is ended. */
  async write(owner) {
    for (let count = 1; ; count++) {
      owner.put('count', count);
      if (count === 1) console.log('writing');
      if (count % 50 === 0) await sleep(0);
    }
  },
  /** Owns, and gives way when somebody waits, as often as it happens. */
  async keep(owner) {
    console.log('keeping');
    while (!owner.isWanted()) await sleep(20);
  },
  authority(owner) {
    owner.setAuthority(journal.authority().version, { state: 'HOLD', raiseEpoch: true });
  },
  async start(owner) {
    const port = Number(settings.get('port'));
    await unitOf(port).start(contextOf(owner), { passive: false });
  },
  async stop(owner) {
    await unitOf(Number(settings.get('port'))).stop(contextOf(owner));
  },
};

function unitOf(port: number) {
  const server = new URL('units/unit.child.ts', import.meta.url).pathname;
  const run = `${process.execPath} ${server} ${port}`;
  return command(run, { name: 'server', ...(settings.has('hidden') ? {} : { url: `http://127.0.0.1:${port}` }) });
}

try {
  const owner = await journal.acquire({ command: `test ${verb}`, waitMs: Number(settings.get('wait') ?? 0) });
  console.log(`owning ${owner.epoch}`);
  await verbs[verb]?.(owner);
  owner.release();
  console.log('done');
} catch (error) {
  console.log(error instanceof ChangeoverError ? `${error.code}: ${error.message}` : String(error));
  process.exitCode = error instanceof ChangeoverError ? error.exitCode : 70;
} finally {
  journal.close();
}
