import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { sharedFrame, FrameRing } from './frames.ts';
import type { Item, Outcome } from './item.ts';
import { pipeline } from './pipeline.ts';
import { MemoryQueue, type Overflow } from './queue.ts';
import { SpillFile } from './spill-file.ts';
import { Threads } from './threads.ts';

const log = pino({ level: 'silent' });
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'runtime-pipeline-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const itemOf = (value: number, ends: Outcome[] = []): Item<number> => ({
  value,
  settle: (outcome) => ends.push(outcome),
});

describe('a queue', () => {
  const queueOf = (overflow: Overflow, capacity = 2) => new MemoryQueue<number>({ stage: 'test', capacity, overflow });

  it('lets who brings wait when it is full, and go on when there is room', async () => {
    const queue = queueOf('block');
    await queue.push(itemOf(1));
    await queue.push(itemOf(2));
    let isIn = false;
    const third = queue.push(itemOf(3)).then(() => (isIn = true));
    await sleep(10);
    expect(isIn).toBe(false);
    expect((await queue.take())?.value).toBe(1);
    await third;
    expect(queue.status()).toMatchObject({ size: 2, enqueued: 3, dequeued: 1, dropped: 0 });
  });

  it('lets who waits give up', async () => {
    const queue = queueOf('block', 1);
    await queue.push(itemOf(1));
    await expect(queue.push(itemOf(2), AbortSignal.timeout(10))).rejects.toThrow();
    expect((await queue.take())?.value).toBe(1);
    expect(queue.status().size).toBe(0);
  });

  it('refuses, with the number that it holds', async () => {
    const queue = queueOf('reject');
    await queue.push(itemOf(1));
    await queue.push(itemOf(2));
    await expect(queue.push(itemOf(3))).rejects.toThrow('the queue before test holds 2 items and takes no more');
  });

  it('drops the oldest or the newest, counts it and tells its origin', async () => {
    for (const [overflow, left] of [
      ['drop-oldest', [2, 3]],
      ['drop-newest', [1, 2]],
    ] as const) {
      const queue = queueOf(overflow);
      const ends: Outcome[] = [];
      for (const value of [1, 2, 3]) await queue.push(itemOf(value, ends));
      expect([(await queue.take())?.value, (await queue.take())?.value]).toEqual(left);
      expect(queue.status().dropped).toBe(1);
      expect(ends).toEqual(['dropped']);
    }
  });

  it('is pressed from 80 % until it is down to 20 %', async () => {
    const queue = queueOf('block', 10);
    const pressed: boolean[] = [];
    for (let value = 0; value < 10; value++) {
      await queue.push(itemOf(value));
      pressed.push(queue.status().isPressed);
    }
    for (let value = 0; value < 10; value++) {
      await queue.take();
      pressed.push(queue.status().isPressed);
    }
    expect(pressed.map((is) => (is ? '#' : '.')).join('')).toBe('.......########' + '##' + '...');
  });

  it('keeps the order through its file, whatever comes and goes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.boolean(), { maxLength: 60 }), async (pushes) => {
        const file = new SpillFile(path.join(folder, `${Math.random()}.queue`), { isDurable: false });
        const queue = new MemoryQueue<number>({ stage: 'test', capacity: 3, overflow: 'spill', file });
        let next = 0;
        const taken: number[] = [];
        for (const isPush of pushes) {
          if (isPush) await queue.push(itemOf(next++));
          else if (queue.status().size > 0) taken.push((await queue.take())?.value ?? -1);
        }
        while (queue.status().size > 0) taken.push((await queue.take())?.value ?? -1);
        file.close();
        expect(taken).toEqual(Array.from({ length: next }, (_, index) => index));
      }),
      { numRuns: 30 },
    );
  });
});

describe('a pipeline', () => {
  it('does not run a part of its stages where no queue leads to the others', () => {
    const line = pipeline<number>('line')
      .stage('first', { work: (value) => value })
      .stage('second', { work: (value) => value });
    expect(() => line.build({ log, only: ['first'] })).toThrow('stage second of the pipeline line cannot be reached');
    expect(() => line.build({ log, only: ['third'] })).toThrow('has no stage third; it has: first, second');
  });

  it('takes each item through all stages, several at a time', async () => {
    const seen: string[] = [];
    const line = pipeline<number>('line')
      .stage('double', { workers: 4, work: async (value) => (await sleep(1), value * 2) })
      .stage('spell', { work: (value) => `#${value}` })
      .stage('keep', { work: (text) => void seen.push(text) })
      .build({ log });
    line.start();
    for (let value = 0; value < 50; value++) await line.push(value);
    await line.stop();
    expect(seen.toSorted()).toEqual(Array.from({ length: 50 }, (_, value) => `#${value * 2}`).toSorted());
    expect(line.status()).toMatchObject({ accepted: 50, done: 50, failed: 0, dropped: 0, state: 'stopped' });
  });

  it('takes what a list holds as items of their own, and ends one of nothing', async () => {
    const seen: number[] = [];
    const line = pipeline<number>('line')
      .stage('repeat', { work: (times) => Array.from({ length: times }, () => times) })
      .stage('keep', { work: (value) => void seen.push(value) })
      .build({ log });
    line.start();
    for (const times of [0, 1, 3]) await line.push(times);
    await line.stop();
    expect(seen).toEqual([1, 3, 3, 3]);
  });

  it('tries again what failed, and tells what failed for good', async () => {
    const failed = vi.fn();
    let tries = 0;
    const line = pipeline<string>('line')
      .stage('shaky', {
        retryMs: 1,
        attempts: 3,
        work: (word) => {
          tries += 1;
          if (word === 'bad' || tries < 3) throw new Error(`not ${word}`);
        },
      })
      .build({ log });
    line.events.on('failed', failed);
    line.start();
    await line.push('good');
    await line.push('bad');
    await line.stop();
    expect(line.status()).toMatchObject({ done: 1, failed: 1, stages: [{ retried: 4 }] });
    expect(failed).toHaveBeenCalledWith(expect.objectContaining({ stage: 'shaky', item: 'bad' }));
  });

  it('gives up an item that hangs, and goes on with the next', async () => {
    const line = pipeline<string>('line')
      .stage('hanging', {
        timeoutMs: 10,
        attempts: 1,
        work: (word) => (word === 'hang' ? new Promise<undefined>(() => undefined) : undefined),
      })
      .build({ log });
    const stuck = vi.fn();
    line.events.on('stuck', stuck);
    line.start();
    for (const word of ['hang', 'go', 'hang', 'go']) await line.push(word);
    await line.stop();
    expect(line.status()).toMatchObject({ done: 2, failed: 2, stages: [{ stuck: 2 }] });
    expect(stuck).toHaveBeenCalledTimes(2);
  });

  it('does not let a slow stage fill the memory: who brings has to wait', async () => {
    const line = pipeline<number>('line')
      .stage('fast', { capacity: 2, work: (value) => value })
      .stage('slow', { capacity: 2, work: () => sleep(5) })
      .build({ log });
    line.start();
    let most = 0;
    for (let value = 0; value < 40; value++) {
      await line.push(value);
      most = Math.max(most, ...line.status().stages.map(({ queue }) => queue.size));
    }
    expect(most).toBeLessThanOrEqual(2);
    await line.stop();
    expect(line.status()).toMatchObject({ accepted: 40, done: 40, dropped: 0 });
  });

  it('says that it is degraded while items wait, and how many it dropped', async () => {
    const gate = Promise.withResolvers<undefined>();
    const line = pipeline<number>('line')
      .stage('live', { capacity: 5, overflow: 'drop-oldest', work: () => gate.promise })
      .build({ log });
    line.start();
    for (let value = 0; value < 10; value++) await line.push(value);
    expect(line.health()).toMatchObject({ status: 'degraded', reason: '5 items wait before live' });
    gate.resolve(undefined);
    await line.stop();
    const { accepted, done, dropped } = line.status();
    expect([accepted, done + dropped]).toEqual([10, 10]);
    expect(dropped).toBe(4);
  });

  it('refuses items before its start and after its end', async () => {
    const line = pipeline<number>('line')
      .stage('any', { work: () => undefined })
      .build({ log });
    await expect(line.push(1)).rejects.toThrow('the pipeline line takes no more items: it is new');
    line.start();
    await line.stop();
    await expect(line.push(1)).rejects.toThrow('it is stopped');
  });

  it('keeps what failed where it is durable, tries it again later, and again after a restart', async () => {
    const options = { durable: path.join(folder, 'items'), log, retryFailedMs: 20 };
    let isBroken = true;
    const done: number[] = [];
    const line = () =>
      pipeline<number>('test')
        .stage('pass', { work: (item) => item })
        .stage('store', {
          attempts: 1,
          work: (item) => {
            if (isBroken && item === 1) throw new Error('no store');
            done.push(item);
          },
        })
        .build(options);
    const first = line();
    first.start();
    for (const item of [1, 2, 3]) await first.push(item);
    await vi.waitFor(() => {
      expect(first.status()).toMatchObject({ done: 2 });
      expect(first.status().failed).toBeGreaterThan(1);
    });
    expect(first.status().stages[0]?.queue.size).toBeLessThanOrEqual(1);
    await first.stop();
    expect(done).toEqual([2, 3]);
    isBroken = false;
    const second = line();
    second.start();
    await vi.waitFor(() => {
      expect(done).toEqual([2, 3, 1]);
    });
    await second.stop();
    const third = line();
    third.start();
    expect(third.status().stages[0]?.queue.size).toBe(0);
    await third.stop();
  });

  it('works on everything that was accepted, though its process is killed again and again', async () => {
    const file = path.join(folder, 'presses.queue');
    const results = path.join(folder, 'results');
    const accepted = new Set<number>();
    for (let round = 0; round < 4; round++) {
      const child = fork(new URL('./durable.child.ts', import.meta.url), [file, results, String(round * 1000)], {
        execArgv: ['--conditions=@changeover/source'],
        env: {},
      });
      child.on('message', (id: number) => accepted.add(id));
      await once(child, 'message');
      await sleep(60);
      child.kill('SIGKILL');
      await once(child, 'close');
    }
    const seen = new Set<number>();
    const line = pipeline<number>('line')
      .stage('record', { work: (id) => void seen.add(id) })
      .build({ log, durable: file });
    line.start();
    await line.stop();
    const stored = new SpillFile(results);
    for (let one = stored.take(); one !== null; one = stored.take()) seen.add(one.value as number);
    stored.close();
    expect(accepted.size).toBeGreaterThan(10);
    expect([...accepted].filter((id) => !seen.has(id))).toEqual([]);
  });
});

describe('threads', () => {
  it('that fail when their task is over do not end the process', async () => {
    const threads = new Threads<{ kind: 'fine' | 'late'; id: number }, number>({
      file: new URL('./leaking.child.ts', import.meta.url),
    });
    const { signal } = new AbortController();
    expect(await threads.work({ kind: 'late', id: 1 }, { signal })).toBe(1);
    await sleep(300);
    expect(await threads.work({ kind: 'fine', id: 2 }, { signal })).toBe(2);
    await threads.close();
  });

  it('that crash, hang or eat memory fail their item alone, and the next one is done', async () => {
    const threads = new Threads<{ kind: 'fine' | 'crash' | 'hang' | 'leak'; id: number }, number>({
      file: new URL('./leaking.child.ts', import.meta.url),
      maxMemoryMb: 32,
    });
    const seen: number[] = [];
    const line = pipeline<{ kind: 'fine' | 'crash' | 'hang' | 'leak'; id: number }>('line')
      .stage('threads', { attempts: 1, timeoutMs: 1500, work: threads.work, close: () => threads.close() })
      .stage('keep', { work: (id) => void seen.push(id) })
      .build({ log });
    line.start();
    const kinds = ['fine', 'crash', 'fine', 'hang', 'fine', 'leak', 'fine'] as const;
    for (const [id, kind] of kinds.entries()) await line.push({ kind, id });
    await line.stop();
    expect(seen).toEqual([0, 2, 4, 6]);
    expect(line.status()).toMatchObject({ accepted: 7, done: 4, failed: 3 });
  });
});

describe('frames', () => {
  it('give up the oldest for the newest, and know how old they are', () => {
    const ring = new FrameRing(3);
    for (let at = 0; at < 5; at++) ring.add(sharedFrame(Uint8Array.of(at), at * 10));
    expect([ring.size, ring.seen]).toEqual([3, 5]);
    expect(ring.latest(5, 42)?.bytes[0]).toBe(4);
    expect(ring.latest(5, 60)).toBeNull();
    expect(ring.between(20, 30).map(({ bytes }) => bytes[0])).toEqual([2, 3]);
  });
});
