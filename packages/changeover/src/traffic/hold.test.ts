import { once } from 'node:events';
import { Agent, request, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';

import { openRig, type Backend, type Rig } from '../testing/gateway/index.ts';
import { createGateway, type Gateway } from './index.ts';
import type { GatewayOptions } from './settings.ts';

function open(changes: Partial<GatewayOptions>): Promise<Rig<Gateway>> {
  return openRig(import.meta.resolve('./index.ts'), (parts) => createGateway({ ...parts, ...changes }));
}

let single: Rig<Gateway>;
let double: Rig<Gateway>;
let tight: Rig<Gateway>;
beforeAll(async () => {
  [single, double, tight] = await Promise.all([
    open({ workers: 1 }),
    open({ workers: 2, silentMs: 1500 }),
    open({ workers: 1, maxHeldRequests: 5, maxHeldBytes: 30_000, maxHeldMs: 400 }),
  ]);
});
afterAll(() => Promise.all([single, double, tight].map((rig) => rig[Symbol.asyncDispose]())));

const soon = (rig: Rig<Gateway>, ms = 5_000): number => rig.ctx.clock.monotonicMs() + ms;

interface Answer {
  readonly status: number;
  readonly retryAfter: string | undefined;
  readonly body: string;
}

async function send(rig: Rig<Gateway>, method: string, path: string, agent: Agent | false = false): Promise<Answer> {
  const message = request({ host: '127.0.0.1', port: rig.port, method, path, agent });
  message.end(method === 'GET' ? undefined : 'x');
  const [response] = (await once(message, 'response')) as [IncomingMessage];
  return {
    status: response.statusCode ?? 0,
    retryAfter: response.headers['retry-after'],
    body: await text(response),
  };
}

const urlsOf = (backend: Backend, from: number): string[] => backend.seen.slice(from).map(({ url }) => url);

async function untilHeld(rig: Rig<Gateway>, count: number): Promise<void> {
  await expect.poll(async () => (await rig.gateway.stats(rig.ctx)).held, { interval: 2 }).toBe(count);
}

it('with 200 clients and ten switches nothing slips past a hold, and every request gets one answer', async () => {
  const rig = double;
  const agent = new Agent({ keepAlive: true, maxSockets: 200 });
  let isOver = false;
  let sent = 0;
  const statuses = new Map<number, number>();
  const client = async (number: number): Promise<void> => {
    while (!isOver) {
      sent += 1;
      const { status } = await send(rig, number % 3 === 0 ? 'POST' : 'GET', `/slow?ms=${number % 20}`, agent);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      await sleep(20);
    }
  };
  const clients = Promise.all(Array.from({ length: 200 }, (_, number) => client(number)));
  await sleep(200);

  for (let turn = 0; turn < 10; turn += 1) {
    const side = turn % 2 === 0 ? 'legacy' : 'next';
    const old = side === 'legacy' ? rig.legacy : rig.next;
    await rig.follow({ state: 'HOLD' });
    await rig.gateway.drained(rig.ctx, side, soon(rig));
    expect(old.working()).toBe(0);
    const seen = old.seen.length;
    await sleep(20);
    await rig.follow({ state: 'RELEASE', side: side === 'legacy' ? 'next' : 'legacy' });
    await sleep(10);
    await rig.follow({ state: 'LIVE_NEW' });
    await sleep(30);
    // After the release too the old side hears nothing any more.
    expect(old.seen.length).toBe(seen);
  }
  isOver = true;
  await clients;
  agent.destroy();
  const stats = await rig.settled();
  expect(Object.fromEntries(statuses)).toEqual({ 200: sent });
  expect(stats).toMatchObject({ accepted: sent, completed: sent, held: 0, inFlight: { legacy: 0, next: 0 } });
  expect(stats.maxHoldMs).toBeGreaterThan(15);
  expect(rig.legacy.seen.length + rig.next.seen.length).toBe(sent);
});

it('while writes are held reads go to the new side; then the writes follow in the order of their arrival', async () => {
  const rig = single;
  const { legacy, next } = rig;
  const [legacyFrom, nextFrom] = [legacy.seen.length, next.seen.length];
  await rig.follow({ state: 'HOLD' });
  const writes: Promise<Answer>[] = [];
  for (let number = 0; number < 20; number += 1) {
    writes.push(send(rig, 'POST', `/echo?n=${number}`));
    await untilHeld(rig, number + 1);
  }
  const read = send(rig, 'GET', '/echo?read');
  await rig.follow({ state: 'RELEASE', side: 'next' });
  expect((await read).status).toBe(200);
  expect(urlsOf(next, nextFrom)).toEqual(['/echo?read']);
  await rig.follow({ state: 'LIVE_NEW' });
  for (const answer of await Promise.all(writes)) expect(answer.status).toBe(200);
  expect(urlsOf(next, nextFrom + 1)).toEqual(Array.from({ length: 20 }, (_, n) => `/echo?n=${n}`));
  expect(urlsOf(legacy, legacyFrom)).toEqual([]);
  await rig.follow({ state: 'LIVE_OLD', side: 'legacy' });
});

it('a held upload is not read, and arrives whole after the release', async () => {
  const rig = single;
  await rig.follow({ state: 'HOLD' });
  const bytes = 20_000_000;
  const headers = { 'Content-Length': bytes };
  const message = request({ host: '127.0.0.1', port: rig.port, method: 'POST', path: '/echo', headers });
  const answered = once(message, 'response') as Promise<[IncomingMessage]>;
  message.end(Buffer.alloc(bytes));
  await sleep(300);
  // What the kernel and Node buffer has left this process, and no more.
  expect(message.writableLength).toBeGreaterThan(bytes / 2);
  await rig.follow({ state: 'LIVE_OLD' });
  const [response] = await answered;
  expect(JSON.parse(await text(response))).toMatchObject({ bytes });
});

it('a client that leaves while it is held is counted as gone and never reaches a side', async () => {
  const rig = single;
  const before = await rig.settled();
  const from = rig.legacy.seen.length;
  await rig.follow({ state: 'HOLD' });
  const message = request({ host: '127.0.0.1', port: rig.port, path: '/echo' }).end();
  message.on('error', () => undefined);
  await untilHeld(rig, 1);
  message.destroy();
  await untilHeld(rig, 0);
  await rig.follow({ state: 'LIVE_OLD' });
  const after = await rig.settled();
  expect(after.clientAborted - before.clientAborted).toBe(1);
  expect(after.accepted - before.accepted).toBe(1);
  expect(urlsOf(rig.legacy, from)).toEqual([]);
});

it('more requests than the hold may take, and such that wait too long, are refused with Retry-After and counted', async () => {
  const rig = tight;
  await rig.follow({ state: 'HOLD' });
  const got = await Promise.all(Array.from({ length: 8 }, () => send(rig, 'POST', '/echo?')));
  expect(got.map(({ status }) => status)).toEqual(Array(8).fill(503));
  expect(got.filter(({ body }) => body.includes('CHG_TRAFFIC_HOLD_FULL'))).toHaveLength(3);
  expect(got.filter(({ body }) => body.includes('CHG_TRAFFIC_HELD_TOO_LONG'))).toHaveLength(5);
  expect(got.every(({ retryAfter }) => retryAfter === '1')).toBe(true);
  const stats = await rig.settled();
  expect(stats).toMatchObject({ accepted: 8, refused: 8, held: 0 });
  expect(stats.maxHoldMs).toBeGreaterThan(390);
});

it('the bytes that a hold may take are limited too', async () => {
  const rig = tight;
  await rig.follow({ state: 'HOLD' });
  const headers = { 'X-Padding': 'p'.repeat(9_000) };
  const ask = async (): Promise<number> => (await fetch(`${rig.url}/echo`, { headers })).status;
  const answers = Promise.all(Array.from({ length: 4 }, ask));
  await untilHeld(rig, 3);
  await rig.follow({ state: 'LIVE_OLD' });
  expect((await answers).toSorted()).toEqual([200, 200, 200, 503]);
});

it('an authority that cannot be read holds everything until it can', async () => {
  const rig = double;
  const from = [rig.legacy.seen.length, rig.next.seen.length] as const;
  rig.authority.corrupt();
  await sleep(100);
  const held = Promise.all([send(rig, 'GET', '/echo'), send(rig, 'POST', '/echo')]);
  await untilHeld(rig, 2);
  expect([rig.legacy.seen.length, rig.next.seen.length]).toEqual(from);
  await expect(rig.gateway.acknowledged(rig.ctx, rig.authority.now.version, soon(rig, 100))).rejects.toMatchObject({
    code: 'CHG_TRAFFIC_NOT_ACKNOWLEDGED',
    message: expect.stringContaining('cannot read it') as string,
  });
  await rig.follow({ state: 'LIVE_OLD', side: 'legacy' });
  expect((await held).map(({ status }) => status)).toEqual([200, 200]);
});

it('a drain that misses its deadline says how many requests are left', async () => {
  const rig = double;
  const slow = Promise.all([send(rig, 'POST', '/slow?ms=700'), send(rig, 'GET', '/slow?ms=700')]);
  await expect.poll(() => rig.legacy.working()).toBe(2);
  await rig.follow({ state: 'HOLD' });
  await expect(rig.gateway.drained(rig.ctx, 'legacy', soon(rig, 100))).rejects.toMatchObject({
    code: 'CHG_TRAFFIC_NOT_DRAINED',
    fields: { count: 2, side: 'legacy' },
  });
  await rig.gateway.drained(rig.ctx, 'next', soon(rig, 100));
  await rig.gateway.drained(rig.ctx, 'legacy', soon(rig, 3_000));
  expect((await slow).map(({ status }) => status)).toEqual([200, 200]);
  await rig.follow({ state: 'LIVE_OLD' });
});

it('a worker stopped with SIGSTOP is killed when it does not follow a hold, and the others serve what waits', async () => {
  const rig = double;
  const from = rig.legacy.seen.length;
  const [stopped] = (await rig.gateway.stats(rig.ctx)).workers;
  process.kill(stopped?.pid ?? 0, 'SIGSTOP');
  await sleep(50);
  const startedAtMs = performance.now();
  await rig.follow({ state: 'HOLD' });
  expect(performance.now() - startedAtMs).toBeGreaterThan(200);
  expect((await rig.gateway.stats(rig.ctx)).workers.map(({ pid }) => pid)).not.toContain(stopped?.pid);
  const answers = Promise.all(Array.from({ length: 20 }, () => send(rig, 'POST', '/echo')));
  await sleep(100);
  await rig.follow({ state: 'RELEASE', side: 'next' });
  await rig.follow({ state: 'LIVE_NEW' });
  expect((await answers).map(({ status }) => status)).toEqual(Array(20).fill(200));
  expect(urlsOf(rig.legacy, from)).toEqual([]);
});
