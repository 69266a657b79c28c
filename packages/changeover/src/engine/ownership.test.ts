import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { NO_FAULTS } from '../plan/context.ts';
import { startChild } from '../testing/child.ts';
import type { Child } from '../testing/child.ts';
import { smallDisk } from '../testing/small-disk.ts';
import { tempFolder } from '../testing/temp.ts';
import type { TempFolder } from '../testing/temp.ts';
import { openAuthoritySource } from './authority.ts';
import { systemClock } from './clock.ts';
import { openJournal } from './journal.ts';
import type { Journal } from './journal.ts';
import { startTimeOf } from './process-table.ts';

const RUNNER = new URL('journal.child.ts', import.meta.url).pathname;
const options = { clock: systemClock(), faults: NO_FAULTS };

let temp: TempFolder;
let journal: Journal;
const children: Child[] = [];

beforeEach(async () => {
  temp = await tempFolder();
  journal = openJournal(temp.path, options);
});
afterEach(async () => {
  for (const child of children.splice(0)) await child.kill();
  journal.close();
  await temp.remove();
});

function runner(verb: string, args: string[] = [], env: Record<string, string> = {}): Child {
  const child = startChild(RUNNER, { args: [temp.path, verb, ...args], env });
  children.push(child);
  return child;
}

async function until(isTrue: () => boolean): Promise<void> {
  await expect.poll(isTrue, { interval: 10, timeout: 5000 }).toBe(true);
}

const isStopped = (pid: number) =>
  execFileSync('ps', ['-o', 'stat=', '-p', String(pid)])
    .toString()
    .startsWith('T');

describe('two owners', () => {
  test('the second is refused with the first one named, and what to do', async () => {
    const first = runner('write');
    await first.line(/writing/);
    const refusal = await journal.acquire({ command: 'changeover run' }).catch((error: unknown) => error);
    expect(refusal).toMatchObject({ code: 'CHG_ENGINE_OWNED', exitCode: 1 });
    expect(String(refusal)).toMatch(`owned by process ${first.pid} (\`test write\`, on `);
    expect((refusal as { hint: string }).hint).toContain(`kill ${first.pid}`);
    expect(journal.ownerInfo()).toMatchObject({ pid: first.pid, startTime: startTimeOf(first.pid), isHeld: true });
  });

  test('the kernel frees the ownership of a process killed with SIGKILL', async () => {
    const first = runner('write');
    await first.line(/writing/);
    const { epoch } = journal.authority();
    await first.kill();
    expect(journal.ownerInfo()).toMatchObject({ pid: first.pid, isHeld: false });
    const owner = await journal.acquire({ command: 'next' });
    expect(owner.epoch).toBe(epoch + 1);
    expect(journal.get('count')).toBeGreaterThan(0);
  });

  test('of two that start at once one owns and the other does nothing', async () => {
    const both = [runner('keep'), runner('keep')];
    await until(() => both.every((child) => /keeping|OWNED/.test(child.output())));
    expect(both.filter((child) => child.output().includes('keeping'))).toHaveLength(1);
    expect(both.filter((child) => child.output().includes('CHG_ENGINE_OWNED'))).toHaveLength(1);
  });

  test('within one process the second is refused too', async () => {
    const owner = await journal.acquire({ command: 'one' });
    await expect(journal.acquire({ command: 'two' })).rejects.toMatchObject({ code: 'CHG_ENGINE_OWNED' });
    const other = openJournal(temp.path, options);
    await expect(other.acquire({ command: 'three' })).rejects.toMatchObject({ code: 'CHG_ENGINE_OWNED' });
    other.close();
    // Closing the other handle must not have dropped the lock.
    await expect(runner('keep').line(/OWNED/)).resolves.toContain('`one`');
    owner.release();
    (await journal.acquire({ command: 'four' })).release();
  });
});

describe('giving way', () => {
  test('a polite owner sees who waits and hands over at once, as often as it is asked', async () => {
    const keeper = runner('keep');
    await keeper.line(/keeping/);
    const startedMs = performance.now();
    const owner = await journal.acquire({ command: 'changeover status', waitMs: 5000 });
    expect(performance.now() - startedMs).toBeLessThan(500);
    await keeper.exited;
    expect(keeper.output()).toContain('done');
    expect(owner.isWanted()).toBe(false);
    const waiting = runner('keep', ['wait=5000']);
    await until(() => owner.isWanted());
    owner.release();
    await waiting.line(/keeping/);
  });

  test('one who waits is served before one who comes back', async () => {
    const owner = await journal.acquire({ command: 'keeper' });
    const waiting = runner('keep', ['wait=5000']);
    await until(() => owner.isWanted());
    owner.release();
    const again = await journal.acquire({ command: 'keeper', waitMs: 5000 });
    expect(waiting.output()).toContain('keeping');
    again.release();
  });

  test('a claim of a process that was killed while it waited does not count', async () => {
    const owner = await journal.acquire({ command: 'keeper' });
    const waiting = runner('keep', ['wait=60000']);
    await until(() => owner.isWanted());
    await waiting.kill();
    expect(owner.isWanted()).toBe(false);
  });

  test('waiting ends with the signal, and leaves no claim', async () => {
    const owner = await journal.acquire({ command: 'keeper' });
    const other = openJournal(temp.path, options);
    const waiting = other.acquire({ command: 'status', waitMs: 5000, signal: AbortSignal.timeout(60) });
    await expect(waiting).rejects.toMatchObject({ code: 'CHG_ENGINE_INTERRUPTED', exitCode: 130 });
    expect(owner.isWanted()).toBe(false);
    other.close();
  });
});

describe('an owner that was overtaken', () => {
  // A stop in the middle of a commit keeps the journal's file locked: then there is nothing to overtake, and it is tried anew.
  test('stopped, overtaken and woken, it changes nothing', { retry: 5 }, async () => {
    const stale = runner('write');
    await stale.line(/writing/);
    await stale.kill('SIGSTOP');
    await until(() => isStopped(stale.pid));
    // What an operator does who takes the lock for a stale file: now the kernel keeps nobody out.
    rmSync(path.join(temp.path, 'owner.lock'));
    const other = openJournal(temp.path, options);
    const owner = await other.acquire({ command: 'changeover rollback' });
    const count = journal.get('count');
    await stale.kill('SIGCONT');
    const { code } = await stale.exited;
    expect(code).toBe(1);
    expect(stale.output()).toContain(`CHG_ENGINE_FENCED`);
    expect(stale.output()).toContain(`process ${process.pid} (\`changeover rollback\``);
    expect(journal.get('count')).toBe(count);
    owner.put('count', 'mine');
    expect(journal.get('count')).toBe('mine');
    other.close();
  });

  test('every way of writing is refused, and none changes anything', async () => {
    const stale = await journal.acquire({ command: 'stale' });
    const { id } = stale.createRun({ plan: 'p', hash: 'h', spec: {}, configFile: 'c' });
    rmSync(path.join(temp.path, 'owner.lock'));
    const other = openJournal(temp.path, options);
    await other.acquire({ command: 'new' });
    const before = { run: journal.currentRun(), authority: journal.authority() };
    const undo = { reason: 'r', step: null, endsAs: 'rolled_back' } as const;
    const writes: (() => void)[] = [
      () => {
        stale.check();
      },
      () => {
        stale.reserve();
      },
      () => stale.setAuthority(before.authority.version, { side: 'next' }),
      () => stale.createRun({ plan: 'p', hash: 'h', spec: {}, configFile: 'c' }),
      () => {
        stale.setRunStatus(id, 'finished');
      },
      () => stale.acceptPlan('x', {}),
      () => {
        stale.progress(id, 1, 0);
      },
      () => {
        stale.intendStep(id, { name: 's', stage: 'data', before: null });
      },
      () => {
        stale.completeStep(id, 's');
      },
      () => {
        stale.failStep(id, 's', 'e', undo);
      },
      () => {
        stale.decideUndo(id, undo);
      },
      () => {
        stale.intendStepUndo(id, 's');
      },
      () => {
        stale.completeStepUndo(id, 's');
      },
      () => {
        stale.failStepUndo(id, 's', 'e');
      },
      () => {
        stale.message(id, 'log', 'm');
      },
      () => {
        stale.put('fact', 1);
      },
    ];
    for (const write of writes) expect(write).toThrow('took over with epoch 2; nothing was changed');
    expect({ run: journal.currentRun(), authority: journal.authority() }).toEqual(before);
    expect(journal.steps(id)).toEqual([]);
    expect(journal.messages(id)).toEqual([]);
    other.close();
  });

  test('after its release it can write no more', async () => {
    const owner = await journal.acquire({ command: 'one' });
    owner.release();
    owner.release();
    expect(() => {
      owner.put('fact', 1);
    }).toThrow('nothing was changed');
  });
});

describe('taking over', () => {
  test('kills the stopped owner that was seen, known by pid and start time', async () => {
    const silent = runner('write');
    await silent.line(/writing/);
    await silent.kill('SIGSTOP');
    const { epoch } = journal.ownerInfo() ?? { epoch: -1 };
    const owner = await journal.takeOver({ command: 'changeover keeper', epoch });
    expect(owner.epoch).toBe(epoch + 1);
    expect(await silent.exited).toMatchObject({ signal: 'SIGKILL' });
  });

  test('kills an owner that was stopped before it could write its name', async () => {
    const before = await journal.acquire({ command: 'before' });
    const { epoch } = before;
    before.release();
    const nameless = runner('write', [], { CHANGEOVER_FAULT: 'engine.owner.locked:stop' });
    await until(() => journal.ownerInfo()?.isHeld === true && isStopped(nameless.pid));
    const owner = await journal.takeOver({ command: 'changeover keeper', epoch });
    expect(owner.epoch).toBe(epoch + 1);
    expect(await nameless.exited).toMatchObject({ signal: 'SIGKILL' });
  });

  // An owner that writes without a pause may keep the file locked for longer than a reader waits on a busy disk.
  test('leaves an owner alone that came after the one that was seen', { retry: 5 }, async () => {
    const gone = await journal.acquire({ command: 'gone' });
    gone.release();
    const living = runner('write');
    await living.line(/writing/);
    const refused = journal.takeOver({ command: 'changeover keeper', epoch: gone.epoch, waitMs: 100 });
    await expect(refused).rejects.toMatchObject({ code: 'CHG_ENGINE_OWNED' });
    process.kill(living.pid, 0);
  });
});

describe.each([
  'engine.owner.locked',
  'engine.owner.recorded',
  'engine.authority.changing',
  'engine.authority.changed',
])('a process killed at %s', (point) => {
  test('leaves a journal that the next one goes on with, and readers that see a whole authority', async () => {
    const source = openAuthoritySource(temp.path);
    const killed = runner('authority', [], { CHANGEOVER_FAULT: `${point}:kill` });
    expect(await killed.exited).toMatchObject({ signal: 'SIGKILL' });
    const left = source.read();
    const owner = await journal.acquire({ command: 'next' });
    expect(owner.epoch).toBe(left.epoch + 1);
    expect(left.state).toBe(point === 'engine.authority.changed' ? 'HOLD' : 'LIVE_OLD');
    source.close();
  });
});

test('eight processes that make the journal at once all find the same one', async () => {
  journal.close();
  await temp.remove();
  temp = await tempFolder();
  mkdirSync(path.join(temp.path, 'deep'));
  const stateDir = path.join(temp.path, 'deep', 'state');
  const all = Array.from({ length: 8 }, () => startChild(RUNNER, { args: [stateDir, 'none', 'wait=20000'] }));
  children.push(...all);
  await Promise.all(all.map((child) => child.exited));
  expect(all.map((child) => child.output().split('\n').at(-2))).toEqual(Array.from({ length: 8 }, () => 'done'));
  journal = openJournal(stateDir, options);
  expect(journal.authority().epoch).toBe(8);
});

function fill(folder: string): void {
  const file = openSync(path.join(folder, 'ballast'), 'w');
  for (const size of [1 << 16, 1 << 12, 1]) {
    try {
      for (;;) writeSync(file, Buffer.alloc(size, 1));
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
    }
  }
  closeSync(file);
}

describe('a full disk', () => {
  test('cannot stop a switch that has begun, nor its recovery after SIGKILL', async (context) => {
    const folder = path.join(temp.path, 'disk');
    mkdirSync(folder);
    const disk = smallDisk(folder, 8);
    if (disk === null) return context.skip('mounting a small disk needs root');
    try {
      const small = openJournal(folder, options);
      const owner = await small.acquire({ command: 'changeover cutover' });
      let { version } = owner.setAuthority(small.authority().version, { state: 'HOLD' });
      fill(folder);
      for (let switches = 0; switches < 20; switches++) {
        for (const state of [
          'QUIESCE',
          'LOCK',
          'FENCE',
          'COMMIT_NEW',
          'OPEN',
          'RELEASE',
          'LIVE_NEW',
          'HOLD',
        ] as const) {
          ({ version } = owner.setAuthority(version, {
            state,
            lease: { untilMs: version, boot: 'b' },
            reason: 'r'.repeat(300),
          }));
        }
      }
      owner.release();
      // The log stays, as after a SIGKILL: this handle is open.
      for (let round = 0; round < 3; round++) {
        const child = startChild(RUNNER, {
          args: [folder, 'authority'],
          env: { CHANGEOVER_FAULT: 'engine.authority.changed:kill' },
        });
        children.push(child);
        expect(await child.exited, child.output()).toMatchObject({ signal: 'SIGKILL' });
      }
      small.close();
    } finally {
      disk.unmount();
    }
  });

  test('refuses a new hold and a new run, says what to do, and goes on when there is room', async (context) => {
    const folder = path.join(temp.path, 'disk');
    mkdirSync(folder);
    const disk = smallDisk(folder, 8);
    if (disk === null) return context.skip('mounting a small disk needs root');
    try {
      const small = openJournal(folder, options);
      const owner = await small.acquire({ command: 'changeover run' });
      fill(folder);
      const { version } = small.authority();
      expect(() => owner.setAuthority(version, { state: 'HOLD' })).toThrow('no space is left on its disk');
      const newRun = { plan: 'p', hash: 'h', spec: {}, configFile: 'c' };
      expect(() => owner.createRun(newRun)).toThrow('no space is left on its disk');
      expect(small.authority()).toMatchObject({ state: 'LIVE_OLD', version });
      rmSync(path.join(folder, 'ballast'));
      owner.createRun(newRun);
      expect(owner.setAuthority(version, { state: 'HOLD' }).state).toBe('HOLD');
      small.close();
      await sleep(0);
    } finally {
      disk.unmount();
    }
  });
});
