import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { once } from 'node:events';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { NO_FAULTS } from '../../plan/context.ts';
import type { Context } from '../../plan/context.ts';
import type { Unit } from '../../plan/ports.ts';
import { startChild } from '../../testing/child.ts';
import type { Child } from '../../testing/child.ts';
import { freePort } from '../../testing/ports.ts';
import { tempFolder } from '../../testing/temp.ts';
import type { TempFolder } from '../../testing/temp.ts';
import { systemClock } from '../clock.ts';
import { entryOf } from '../process-table.ts';
import { command } from './command.ts';
import type { CommandOptions } from './command.ts';
import { LAUNCH, readRecord, unitFiles, writeRecord } from './record.ts';

const SERVER = new URL('unit.child.ts', import.meta.url).pathname;
const RUNNER = new URL('../journal.child.ts', import.meta.url).pathname;

let temp: TempFolder;
let port: number;
let warnings: string[];
const units: Unit[] = [];
const children: Child[] = [];

beforeEach(async () => {
  temp = await tempFolder();
  port = await freePort();
  warnings = [];
});
afterEach(async () => {
  for (const unit of units.splice(0)) await unit.stop(context());
  for (const child of children.splice(0)) await child.kill();
  await temp.remove();
});

function context(signal = new AbortController().signal): Context {
  const warn = (message: string): void => {
    warnings.push(message);
  };
  return {
    root: temp.path,
    stateDir: path.join(temp.path, 'state'),
    runId: 'run',
    epoch: 1,
    liveSide: null,
    signal,
    faults: NO_FAULTS,
    clock: systemClock(),
    report: { progress: () => undefined, warn, log: () => undefined },
  };
}

function serverUnit(behaviour = 'good', options: CommandOptions = {}): Unit {
  const run = `"${process.execPath}" "${SERVER}" ${port} ${behaviour}`;
  const unit = command(run, {
    name: 'server',
    url: `http://127.0.0.1:${port}`,
    health: '/',
    stopTimeoutMs: 2000,
    ...options,
  });
  units.push(unit);
  return unit;
}

async function ask(where = '/'): Promise<{ pid: number; active: boolean; folder: string }> {
  return (await (await fetch(`http://127.0.0.1:${port}${where}`)).json()) as {
    pid: number;
    active: boolean;
    folder: string;
  };
}

const started = () => readFileSync(path.join(temp.path, 'started'), 'utf8').trim().split('\n').map(Number);
const active = { passive: false };

describe('a unit', () => {
  test('starts healthy, is known by pid and start time, and is gone when it was stopped', async () => {
    const unit = serverUnit();
    expect(await unit.status(context())).toEqual({ state: 'stopped', pid: null, startTime: null });
    await unit.start(context(), active);
    const { pid } = await ask();
    expect(await unit.status(context())).toMatchObject({ state: 'running', pid });
    await unit.stop(context());
    expect(entryOf(pid)).toBeNull();
    expect(await unit.status(context())).toEqual({ state: 'stopped', pid: null, startTime: null });
    await unit.stop(context());
    expect(readdirSync(path.join(temp.path, 'state', 'units'))).toEqual(['server.log']);
    expect(readFileSync(path.join(temp.path, 'state', 'units', 'server.log'), 'utf8')).toBe('listening\n');
  });

  test('started twice runs once', async () => {
    const unit = serverUnit('good', { env: { STARTED_LOG: path.join(temp.path, 'started') } });
    await unit.start(context(), active);
    await unit.start(context(), active);
    expect(started()).toHaveLength(1);
  });

  test('that somebody else started is found by its port, and can be stopped', async () => {
    const other = startChild(SERVER, { args: [String(port)] });
    children.push(other);
    await other.line(/listening/);
    const unit = serverUnit();
    expect(await unit.status(context())).toMatchObject({ state: 'running', pid: other.pid });
    await unit.start(context(), active);
    expect((await ask()).pid).toBe(other.pid);
    await unit.stop(context());
    expect(await other.exited).toMatchObject({ signal: 'SIGTERM' });
  });

  test('outlives the process that started it, and is stopped by another one', async () => {
    const starter = startChild(RUNNER, { args: [path.join(temp.path, 'state'), 'start', `port=${port}`] });
    children.push(starter);
    expect(await starter.exited, starter.output()).toMatchObject({ code: 0 });
    const unit = serverUnit();
    expect(await unit.status(context())).toMatchObject({ state: 'running', pid: (await ask()).pid });
    await unit.stop(context());
    expect(await unit.status(context())).toMatchObject({ state: 'stopped' });
  });

  test('that goes to the background by itself is found by its port', async () => {
    const unit = command(`"${process.execPath}" "${SERVER}" ${port} >/dev/null 2>&1 & exit 0`, {
      name: 'daemon',
      url: `http://127.0.0.1:${port}`,
    });
    units.push(unit);
    await unit.start(context(), active);
    expect((await unit.status(context())).pid).toBe((await ask()).pid);
  });

  test('with children of its own is paused, resumed and stopped to the last of them', async () => {
    const unit = command('sleep 60 & sleep 61 & wait', { name: 'family' });
    units.push(unit);
    await unit.start(context(), active);
    const { pid } = await unit.status(context());
    const members = () =>
      execFileSync('ps', ['-A', '-o', 'pgid=,stat='])
        .toString()
        .split('\n')
        .filter((line) => Number(line.trim().split(/\s+/)[0]) === pid && !line.includes('Z'));
    await unit.pause(context());
    expect(members()).toHaveLength(3);
    expect(members().every((line) => /\sT/.test(line))).toBe(true);
    expect(await unit.status(context())).toMatchObject({ state: 'paused', pid });
    await unit.resume(context());
    expect(await unit.status(context())).toMatchObject({ state: 'running', pid });
    await unit.pause(context());
    await unit.stop(context());
    expect(members()).toEqual([]);
  });

  test('that does not end at SIGTERM is killed, and said to be', async () => {
    const unit = serverUnit('stubborn', { stopTimeoutMs: 200 });
    await unit.start(context(), active);
    const { pid } = await ask();
    await unit.stop(context());
    expect(entryOf(pid)).toBeNull();
    expect(warnings).toEqual([expect.stringContaining('did not end within 200 ms of SIGTERM and is killed')]);
  });

  test('gets its environment, and none of the faults of this process', async () => {
    process.env.CHANGEOVER_FAULT = 'engine.unit.planned:kill';
    try {
      const unit = command('env > env.txt; sleep 60', { name: 'env', env: { COLOR: 'a b"c' } });
      units.push(unit);
      await unit.start(context(), { passive: false, env: { SIZE: '3' } });
    } finally {
      delete process.env.CHANGEOVER_FAULT;
    }
    const env = readFileSync(path.join(temp.path, 'env.txt'), 'utf8').split('\n');
    expect(env).toContain('COLOR=a b"c');
    expect(env).toContain('SIZE=3');
    expect(env.some((line) => line.startsWith('CHANGEOVER_FAULT'))).toBe(false);
  });

  test.each(['../../escape', 'a/b c', '.hidden', 'x'.repeat(300), 'naïve;rm -rf', 'http://127.0.0.1:1'])(
    'of the hostile name %j keeps its files in its folder',
    async (name) => {
      const unit = command('sleep 60', { name });
      units.push(unit);
      await unit.start(context(), active);
      expect(readdirSync(temp.path)).toEqual(['state']);
      expect(readdirSync(path.join(temp.path, 'state'))).toEqual(['units']);
      expect(readdirSync(path.join(temp.path, 'state', 'units'))).toHaveLength(3);
      expect(await unit.status(context())).toMatchObject({ state: 'running' });
    },
  );

  test('keeps no environment value in its description, but notices a changed one', () => {
    const spec = (secret: string) =>
      JSON.stringify(command('run', { env: { TOKEN: secret }, passive: { env: { KEY: secret } } }).spec);
    expect(spec('s3cret')).not.toContain('s3cret');
    expect(spec('s3cret')).not.toBe(spec('other'));
    expect(spec('s3cret')).toBe(spec('s3cret'));
  });
});

describe('a start that fails says why', () => {
  const failure = async (unit: Unit) => {
    const error: unknown = await unit.start(context(), active).catch((caught: unknown) => caught);
    return String(error);
  };

  test('it ended, with its code and last lines', async () => {
    expect(await failure(serverUnit('dies'))).toMatch(
      /CHG|the unit server ended while it was being started: exit code 4; its last lines:\n {2}\| reading settings\n {2}\| no such camera/,
    );
  });

  test('the lines of an earlier start are not among them', async () => {
    const unit = serverUnit('dies');
    await failure(unit);
    expect((await failure(unit)).match(/no such camera/g)).toHaveLength(1);
  });

  test('it is sick', async () => {
    expect(await failure(serverUnit('sick', { startTimeoutMs: 2000 }))).toMatch(
      /is not healthy: .* answered 500: out of film for \d+ ms; its last lines:\n {2}\| listening/,
    );
  });

  test('it hangs', async () => {
    expect(await failure(serverUnit('silent', { startTimeoutMs: 100 }))).toMatch(
      /runs, but .* gave no answer within \d+ ms/,
    );
  });

  test('its port is used by another service', async () => {
    const other = createServer((_request, response) => response.writeHead(404).end('not here')).listen(
      port,
      '127.0.0.1',
    );
    await once(other, 'listening');
    const unit = command('sleep 60', { url: `http://127.0.0.1:${port}`, startTimeoutMs: 100 });
    expect(await failure(unit)).toMatch(
      `the port ${port} of the unit 127.0.0.1:${port} is used by process ${process.pid} (`,
    );
    expect(await failure(unit)).toContain('404: not here');
    other.close();
    other.closeAllConnections();
  });

  test('it cannot be started where it should', async () => {
    const unit = command('true', { name: 'lost', cwd: 'no such folder' });
    expect(await failure(unit)).toMatch(/ended while it was being started: .*no such folder/);
    expect(await failure(command('no-such-program-here', { name: 'typo' }))).toMatch(
      /exit code 127; its last lines:\n.*no-such-program-here/,
    );
  });

  test('its record was damaged', async () => {
    await mkdir(path.join(temp.path, 'state', 'units'), { recursive: true });
    await writeFile(path.join(temp.path, 'state', 'units', 'broken.json'), '{"pid":');
    const unit = command('sleep 60', { name: 'broken' });
    await expect(unit.start(context(), active)).rejects.toMatchObject({ code: 'CHG_ENGINE_UNIT_RECORD' });
  });
});

describe('a passive unit', () => {
  const hooks = { passive: { env: { PASSIVE: '1' }, activate: '/activate', passivate: '/passivate' } };

  test('is started so, and told by its hooks', async () => {
    const unit = serverUnit('good', hooks);
    await unit.start(context(), { passive: true });
    const { pid } = await ask();
    expect((await ask()).active).toBe(false);
    await unit.activate(context());
    expect(await ask()).toMatchObject({ active: true, pid });
    await unit.passivate(context());
    expect(await ask()).toMatchObject({ active: false, pid });
  });

  test('without hooks is started again with the other environment, once', async () => {
    const env = { STARTED_LOG: path.join(temp.path, 'started') };
    const unit = serverUnit('good', { env, passive: { env: { PASSIVE: '1' } } });
    await unit.start(context(), { passive: true });
    await unit.passivate(context());
    expect(started()).toHaveLength(1);
    await unit.activate(context());
    await unit.activate(context());
    expect((await ask()).active).toBe(true);
    expect(started()).toHaveLength(2);
  });

  test('that refuses, or does not run, is an error', async () => {
    const unit = serverUnit('unwilling', hooks);
    await expect(unit.activate(context())).rejects.toMatchObject({ code: 'CHG_ENGINE_UNIT_NOT_RUNNING' });
    await unit.passivate(context());
    await unit.start(context(), { passive: true });
    await expect(unit.activate(context())).rejects.toThrow('did not activate: POST');
  });
});

describe('quiescing', () => {
  const idle = (status: { processing: boolean }) => !status.processing;
  const quiesce = (where: string): CommandOptions => ({ quiesce: { until: { path: where, idle }, pollMs: 5 } });

  test('resolves when the unit says that it is idle', async () => {
    const unit = serverUnit('good', quiesce('/busy'));
    await unit.start(context(), active);
    await unit.quiesce(context(), systemClock().monotonicMs() + 5000);
  });

  test.each([
    ['stays busy', '/always-busy', '{"processing":true}'],
    ['answers something else', '/', 'Cannot read'],
  ])('of a unit that %s is refused at the deadline, with its answer', async (_what, where, shown) => {
    const broken = {
      quiesce: {
        until: {
          path: where,
          idle: (status: { a: { b: boolean }; processing?: boolean }) =>
            status.processing === undefined ? status.a.b : false,
        },
      },
    };
    const unit = serverUnit('good', broken);
    await unit.start(context(), active);
    const error: unknown = await unit
      .quiesce(context(), systemClock().monotonicMs() + 150)
      .catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: 'CHG_ENGINE_NOT_IDLE' });
    expect(String(error)).toContain(shown);
  });

  test('that was not declared is warned of, and needless for a unit that does not run', async () => {
    const unit = serverUnit();
    await unit.quiesce(context(), 0);
    expect(warnings).toEqual([]);
    await unit.start(context(), active);
    await unit.quiesce(context(), 0);
    expect(warnings).toEqual([expect.stringContaining('declares no quiesce')]);
  });
});

describe('a rehearsal', () => {
  test('boots a copy beside the unit, measures it, and leaves nothing', async () => {
    const run = `"${process.execPath}" "${SERVER}" $PORT`;
    const log = path.join(temp.path, 'started');
    const unit = command(run, {
      name: 'legacy',
      url: `http://127.0.0.1:${port}`,
      env: { PORT: String(port), STARTED_LOG: log },
      rehearse: { env: { PORT: '{port}', FOLDER: '{folder}/data', BOOT_MS: '200' } },
    });
    units.push(unit);
    await unit.start(context(), active);
    const { pid } = await ask();
    const measured = await unit.rehearse(context(), '/tmp/copies');
    expect(measured?.bootMs).toBeGreaterThan(200);
    expect(started()).toHaveLength(2);
    expect(entryOf(started()[1] ?? 0)).toBeNull();
    expect((await ask()).pid).toBe(pid);
    expect(await serverUnit().rehearse(context(), '/tmp/copies')).toBeNull();
  });
});

describe('a runner killed with SIGKILL', () => {
  const runner = async (verb: string, point: string | null, ...args: string[]) => {
    const env = {
      STARTED_LOG: path.join(temp.path, 'started'),
      ...(point === null ? {} : { CHANGEOVER_FAULT: `${point}:kill` }),
    };
    await using child = startChild(RUNNER, {
      args: [path.join(temp.path, 'state'), verb, `port=${port}`, ...args],
      env,
    });
    return { ...(await child.exited), output: child.output() };
  };

  test.each(['engine.unit.planned', 'engine.unit.spawned', 'engine.unit.recorded'])(
    'at %s never leads to a second copy',
    async (point) => {
      expect(await runner('start', point)).toMatchObject({ signal: 'SIGKILL' });
      expect(await runner('start', null)).toMatchObject({ code: 0 });
      const { pid } = await ask();
      expect(await serverUnit().status(context())).toMatchObject({ state: 'running', pid });
      const all = existsSync(path.join(temp.path, 'started')) ? started() : [];
      expect(all.filter((each) => entryOf(each) !== null)).toEqual([pid]);
      expect(all).toEqual([pid]);
    },
  );

  test.each(['engine.unit.spawned', 'engine.unit.recorded'])(
    'at %s leads to no second copy of a unit without a port either',
    async (point) => {
      expect(await runner('start', point, 'hidden=yes')).toMatchObject({ signal: 'SIGKILL' });
      expect(await runner('start', null, 'hidden=yes')).toMatchObject({ code: 0 });
      await expect.poll(() => existsSync(path.join(temp.path, 'started'))).toBe(true);
      await expect
        .poll(() =>
          ask().then(
            ({ pid }) => pid,
            () => null,
          ),
        )
        .toBe(started()[0]);
      expect(started()).toHaveLength(1);
      expect(await runner('stop', null, 'hidden=yes')).toMatchObject({ code: 0 });
      expect(entryOf(started()[0] ?? 0)).toBeNull();
    },
  );

  test('before its shell came to the claim runs nothing, however late the shell comes', async () => {
    const files = unitFiles(path.join(temp.path, 'state'), 'server');
    writeRecord(files, { token: 'late', pid: null, startTime: null, passive: false });
    expect(await command('sleep 60', { name: 'server' }).status(context())).toMatchObject({ state: 'stopped' });
    expect(readRecord(files)).toBeNull();
    const late = spawnSync('/bin/sh', ['-c', LAUNCH, 'unit', files.claim('late'), 'echo ran'], { encoding: 'utf8' });
    expect(late).toMatchObject({ status: 97, stdout: '' });
  });

  test.each(['engine.unit.stopping', 'engine.unit.stopped'])(
    'at %s leaves a unit that the next one stops',
    async (point) => {
      expect(await runner('start', null)).toMatchObject({ code: 0 });
      expect(await runner('stop', point)).toMatchObject({ signal: 'SIGKILL' });
      expect(await runner('stop', null)).toMatchObject({ code: 0 });
      expect(await serverUnit().status(context())).toMatchObject({ state: 'stopped' });
    },
  );
});
