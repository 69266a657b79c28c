import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { natsIsMissing, startNats, type ThrowawayNats } from 'changeover/testing';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sharedFrame, type Frame } from '../pipeline/frames.ts';
import { pipeline, type Pipeline, type PipelineOptions } from '../pipeline/pipeline.ts';
import type { StageOptions } from '../pipeline/stage.ts';
import { jetStreamQueue, type JetStreamOptions } from './jet-stream-queue.ts';

const log = pino({ level: 'silent' });
let missing: string | null;
let nats: ThrowawayNats;
let stream: string;
let number = 0;
const ends: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  missing = await natsIsMissing();
  if (missing === null) nats = await startNats();
});
afterAll(() => nats.stop());
beforeEach((context) => {
  if (missing !== null) context.skip(missing);
  stream = `queue-${++number}`;
});
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** A pipeline of one stage, whose queue is on the server. */
function lineOf<T>(
  work: StageOptions<T, undefined>['work'],
  {
    queue = {},
    stage = {},
    build = {},
  }: {
    queue?: Partial<JetStreamOptions<T>>;
    stage?: Partial<StageOptions<T, undefined>>;
    build?: PipelineOptions;
  } = {},
): Pipeline<T> {
  const shared = jetStreamQueue<T>({ connection: { servers: nats.address }, stream, ackWaitMs: 600, ...queue });
  const line = pipeline<T>('line')
    .stage<undefined>('work', { queue: shared, retryMs: 1, work, ...stage })
    .build({ log, ...build });
  ends.push(() => line.stop(AbortSignal.timeout(100)));
  line.start();
  return line;
}

const nothing = () => undefined;
const pusher = <T>(options: Parameters<typeof lineOf<T>>[1] = {}) =>
  lineOf<T>(nothing, { ...options, build: { only: [] } });

/** The server, as somebody else sees it. */
async function stranger() {
  const connection = await connect({ servers: nats.address });
  ends.push(() => connection.close());
  const manager = await jetstreamManager(connection);
  const left = async () => (await manager.streams.info(stream)).state.messages;
  return { connection, manager, client: jetstream(connection), left };
}

describe('a queue on a NATS server', () => {
  it('lets one process push and another one work, with pictures in shared memory', async () => {
    const seen: { name: string; frame: Frame }[] = [];
    const here = pusher<{ name: string; frame: Frame }>();
    const there = lineOf<{ name: string; frame: Frame }>((item) => void seen.push(item));
    const bytes = Uint8Array.from({ length: 200_000 }, (_, index) => index % 251);
    await here.push({ name: 'Zoë', frame: sharedFrame(bytes, 5) });
    await expect.poll(() => there.status().done).toBe(1);
    expect(seen[0]).toMatchObject({ name: 'Zoë', frame: { at: 5 } });
    expect(seen[0]?.frame.bytes.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(Buffer.from(seen[0]?.frame.bytes ?? []).equals(bytes)).toBe(true);
    const { left } = await stranger();
    await expect.poll(left).toBe(0);
  });

  it('carries items from a stage here to a stage elsewhere, and takes them off the first when they are in the second', async () => {
    const stages = (seen: number[]) =>
      pipeline<number>('two')
        .stage('split', { work: (value) => [value, value + 1] })
        .stage('keep', {
          queue: jetStreamQueue({ connection: { servers: nats.address }, stream }),
          work: (value) => void seen.push(value),
        });
    const [none, seen]: [number[], number[]] = [[], []];
    const here = stages(none).build({ log, only: ['split'] });
    const there = stages(seen).build({ log, only: ['keep'] });
    here.start();
    there.start();
    for (const value of [10, 20, 30]) await here.push(value);
    await expect.poll(() => seen.toSorted()).toEqual([10, 11, 20, 21, 30, 31]);
    await expect(there.push(1)).rejects.toMatchObject({ code: 'RUN_STAGE_ELSEWHERE' });
    await here.stop();
    await there.stop();
    expect(none).toEqual([]);
    expect(() => stages(none).build({ only: ['kept'] })).toThrow(
      expect.objectContaining({ code: 'RUN_STAGE_UNKNOWN' }),
    );
  });

  it('has an item until its way through all stages has ended', async () => {
    const gate = Promise.withResolvers<undefined>();
    const line = pipeline<number>('two')
      .stage('first', {
        queue: jetStreamQueue({ connection: { servers: nats.address }, stream }),
        work: (value) => value,
      })
      .stage('second', { work: () => gate.promise })
      .build({ log });
    line.start();
    await line.push(1);
    await expect.poll(() => line.status().stages[1]?.busy).toBe(1);
    const { left } = await stranger();
    expect(await left()).toBe(1);
    gate.resolve(undefined);
    await line.stop();
    expect(await left()).toBe(0);
  });

  it('takes an item of one id once, and says that it is in', async () => {
    const here = pusher<{ id: string }>({ queue: { idOf: ({ id }) => id } });
    for (const id of ['a\r\nX: 1', 'b', 'a\r\nX: 1', 'ü']) await here.push({ id });
    const { left } = await stranger();
    expect(await left()).toBe(3);
    expect(here.status().stages[0]?.queue.enqueued).toBe(3);
  });

  it('refuses, drops or lets wait when it is full', async () => {
    const rejecting = pusher<number>({ stage: { capacity: 3, overflow: 'reject' } });
    for (const value of [1, 2, 3]) await rejecting.push(value);
    await expect(rejecting.push(4)).rejects.toThrow('the queue before work holds 3 items and takes no more');
    const dropping = pusher<number>({ stage: { capacity: 3, overflow: 'drop-newest' } });
    await dropping.push(5);
    expect(dropping.status().stages[0]?.queue).toMatchObject({ dropped: 1, enqueued: 0 });
    await expect
      .poll(() => dropping.health())
      .toMatchObject({ status: 'degraded', reason: '3 items wait before work' });
    const waiting = pusher<number>({ stage: { capacity: 3 } });
    await expect(waiting.push(6, AbortSignal.timeout(50))).rejects.toThrow('timeout');
    let isIn = false;
    const pushed = waiting.push(7).then(() => (isIn = true));
    await sleep(50);
    expect(isIn).toBe(false);
    const seen: number[] = [];
    lineOf<number>((value) => void seen.push(value), { stage: { capacity: 3 } });
    await pushed;
    await expect.poll(() => seen).toEqual([1, 2, 3, 7]);
  });

  it('refuses what it cannot do at once, with the reason', async () => {
    for (const overflow of ['drop-oldest', 'spill'] as const)
      expect(() => pusher({ stage: { overflow } })).toThrow(`the queue before work cannot ${overflow}`);
    expect(() => pusher({ queue: { stream: 'a.b' } })).toThrow('letters, digits, _ and -');
    const { manager } = await stranger();
    await manager.streams.add({ name: stream, subjects: [stream], retention: 'limits', storage: 'memory' });
    const here = pusher<number>();
    await expect(here.push(1)).rejects.toThrow(
      `the stream ${stream} cannot be the queue before work: it is there already, and its retention is limits instead of workqueue`,
    );
    expect(here.health().reason).toContain('its retention is limits');
    await manager.streams.delete(stream);
    await here.push(1);
    expect(here.health().status).toBe('healthy');
    await manager.streams.delete(stream);
    // The server answers before its files are gone, and would take those of a stream that is made at once along.
    await sleep(1000);
    await here.push(2);
    expect((await manager.streams.info(stream)).state.messages).toBe(1);
  });

  it('takes over a queue that was made with other numbers', async () => {
    await pusher<number>({ stage: { capacity: 5 } }).push(1);
    const other = pusher<number>({ stage: { capacity: 1, overflow: 'reject' }, queue: { ackWaitMs: 7_000 } });
    await expect(other.push(2)).rejects.toMatchObject({ code: 'RUN_QUEUE_FULL' });
    const { manager } = await stranger();
    expect((await manager.consumers.info(stream, 'takers')).config.ack_wait).toBe(7e9);
  });

  it('refuses an item that the server would not take, and goes on', async () => {
    const here = pusher<Uint8Array>();
    await expect(here.push(new Uint8Array(2 ** 20))).rejects.toMatchObject({
      code: 'RUN_TRANSPORT_TOO_LARGE',
      message: expect.stringMatching(/has 1048\d\d\d bytes, and the NATS server takes 1048576/) as string,
    });
    // What is left for the header and the id.
    await here.push(new Uint8Array(2 ** 20 - 200));
    expect(here.status().accepted).toBe(1);
  });

  it('ends as failed what others write into its subject, and goes on', async () => {
    const seen: number[] = [];
    const failed: unknown[] = [];
    const line = lineOf<number>((value) => void seen.push(value));
    line.events.on('failed', ({ error }) => failed.push((error as { code: string }).code));
    await line.push(1);
    const { client, left } = await stranger();
    const hostile = [
      '',
      'hello',
      '{"value":1}',
      'CHQ1',
      'CHQ1\0\0\0\x02{}',
      'CHQ1\xff\xff\xff\xff{}',
      '\0'.repeat(500_000),
    ];
    for (const bytes of hostile) await client.publish(stream, Buffer.from(bytes, 'latin1'));
    await line.push(2);
    await expect.poll(() => seen).toEqual([1, 2]);
    expect(failed).toEqual(hostile.map(() => 'RUN_TRANSPORT_BYTES'));
    await expect.poll(left).toBe(0);
  });

  it('does not give an item that takes longer than the ack wait to a second taker', async () => {
    const began: number[] = [];
    const work = async (value: number) => {
      began.push(value);
      await sleep(3_000);
      return undefined;
    };
    const first = lineOf<number>(work, { queue: { ackWaitMs: 1_500 } });
    const second = lineOf<number>(work, { queue: { ackWaitMs: 1_500 } });
    await first.push(1);
    await expect.poll(() => first.status().done + second.status().done).toBe(1);
    const { left } = await stranger();
    await expect.poll(left).toBe(0);
    expect(began).toEqual([1]);
  });

  it('ends what it took when it is stopped, and leaves the rest to others', async () => {
    const ended: number[] = [];
    const work = async (value: number) => {
      await sleep(20);
      ended.push(value);
      return undefined;
    };
    const first = lineOf<number>(work, { stage: { workers: 3 } });
    for (let value = 0; value < 30; value++) await first.push(value);
    await expect.poll(() => ended.length).toBeGreaterThan(5);
    await first.stop();
    const before = ended.length;
    expect(before).toBeLessThan(30);
    const { left } = await stranger();
    expect(await left()).toBe(30 - before);
    const second = lineOf<number>(work, { stage: { workers: 3 } });
    await expect.poll(() => ended.length).toBe(30);
    await second.stop();
    expect(ended.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 30 }, (_, index) => index));
    expect(await left()).toBe(0);
  });

  it('gives back at once what a stop without patience left undone', async () => {
    const first = lineOf<number>(() => new Promise<never>(() => undefined), { queue: { ackWaitMs: 60_000 } });
    await first.push(1);
    await expect.poll(() => first.status().stages[0]?.busy).toBe(1);
    await first.stop(AbortSignal.timeout(10));
    const seen: number[] = [];
    lineOf<number>((value) => void seen.push(value), { queue: { ackWaitMs: 60_000 } });
    await expect.poll(() => seen).toEqual([1]);
  });
});

describe('processes that share a queue on a NATS server', () => {
  const begin = (workers: number, workMs: number) => {
    const child = fork(path.join(import.meta.dirname, 'jet-stream.child.ts'), [
      nats.address,
      stream,
      String(workers),
      String(workMs),
    ]);
    ends.push(async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGKILL');
      await once(child, 'exit');
    });
    return child;
  };
  const record = (child: ChildProcess, ended: number[], began: number[] = []) => {
    child.on('message', (message: { began?: number; ended?: number }) => {
      if (message.began !== undefined) began.push(message.began);
      if (message.ended !== undefined) ended.push(message.ended);
    });
  };
  const all = (count: number) => Array.from({ length: count }, (_, index) => index);
  const distinct = (values: number[]) => [...new Set(values)].toSorted((a, b) => a - b);

  it('do everything that was accepted when one of them is killed', async () => {
    const [killed, other] = [begin(4, 20), begin(4, 20)];
    const [ended, byOther, began]: [number[], number[], number[]] = [[], [], []];
    record(killed, ended, began);
    record(other, byOther);
    const here = pusher<number>();
    for (let value = 0; value < 150; value++) await here.push(value);
    await expect.poll(() => ended.length).toBeGreaterThan(10);
    killed.kill('SIGKILL');
    await once(killed, 'exit');
    const lost = began.filter((value) => !ended.includes(value));
    expect(lost.length).toBeGreaterThan(0);
    await expect.poll(() => distinct([...ended, ...byOther])).toEqual(all(150));
    expect(byOther).toEqual(expect.arrayContaining(lost));
    const { left } = await stranger();
    await expect.poll(left).toBe(0);
    const gone = once(other, 'exit');
    other.send('stop');
    expect(await gone).toEqual([0, null]);
  });

  it('do everything that was accepted when the server is killed and comes again', async () => {
    const children = [begin(4, 2), begin(4, 2)];
    const ended: number[] = [];
    for (const child of children) record(child, ended);
    const here = pusher<number>();
    for (let value = 0; value < 300; value++) {
      await here.push(value);
      if (value === 100 || value === 200) await nats.crash();
    }
    await expect.poll(() => distinct(ended)).toEqual(all(300));
    // A killed server may find messages on its disk again that were settled: nobody gets them.
    const { manager } = await stranger();
    const counts = async () => {
      const { num_pending, num_ack_pending } = await manager.consumers.info(stream, 'takers');
      return num_pending + num_ack_pending;
    };
    await expect.poll(counts).toBe(0);
    expect(here.status()).toMatchObject({ accepted: 300 });
    expect(here.health().status).toBe('healthy');
  });

  it('lose no item to one that kills whoever takes it', async () => {
    const here = pusher<number>();
    for (const value of [1, -1, 2]) await here.push(value);
    const ended: number[] = [];
    for (let times = 0; times < 3; times++) {
      const child = begin(1, 0);
      record(child, ended);
      expect(await once(child, 'exit')).toEqual([null, 'SIGKILL']);
    }
    const failed: unknown[] = [];
    const line = lineOf<number>((value) => void ended.push(value), { queue: { deliveries: 3 } });
    line.events.on('failed', (failure) => failed.push(failure));
    await expect.poll(() => failed).toMatchObject([{ item: -1, error: { code: 'RUN_TRANSPORT_POISON' } }]);
    await expect.poll(() => distinct(ended)).toEqual([1, 2]);
    const { left } = await stranger();
    await expect.poll(left).toBe(0);
  });
});

describe('a NATS server that is away', () => {
  it('is waited for, or the push rejects after its time; health says so, and a stop ends', async () => {
    const own = await startNats();
    ends.push(() => own.stop());
    const connection = { servers: own.address };
    const waiting = pusher<number>({ queue: { connection } });
    const rejecting = pusher<number>({ queue: { connection, pushTimeoutMs: 300 }, stage: { overflow: 'reject' } });
    const never = pusher<number>({
      queue: { connection: { servers: '127.0.0.1:1' }, pushTimeoutMs: 300 },
      stage: { overflow: 'reject' },
    });
    const unavailable = { code: 'RUN_TRANSPORT_UNAVAILABLE', status: 503 };
    await expect(never.push(1)).rejects.toMatchObject(unavailable);
    const taking = lineOf<number>(nothing, { queue: { connection } });
    await waiting.push(1);
    await rejecting.push(2);
    await expect.poll(() => taking.status().done).toBe(2);
    await own.stop();
    await expect(rejecting.push(3)).rejects.toMatchObject(unavailable);
    await expect(waiting.push(4, AbortSignal.timeout(300))).rejects.toThrow('timeout');
    for (const line of [waiting, rejecting, taking])
      expect(line.health()).toMatchObject({
        status: 'degraded',
        reason: expect.stringContaining('cannot be reached') as string,
      });
    await Promise.all([waiting.stop(), rejecting.stop(), taking.stop(), never.stop()]);
  });
});
