import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';

import { openRig, readFrame, writeFrame, type Frame, type Rig } from '../testing/gateway/index.ts';
import { createGateway, type Gateway } from './index.ts';

let rig: Rig<Gateway>;
beforeAll(async () => {
  rig = await openRig(import.meta.resolve('./index.ts'), (parts) => createGateway({ ...parts, workers: 2 }));
});
beforeEach(() => rig.follow({ state: 'LIVE_OLD', side: 'legacy', operatorHold: false }));
afterAll(() => rig[Symbol.asyncDispose]());

/** A WebSocket client of whole frames. */
class WebSocketClient {
  readonly socket: Socket;
  readonly frames: Frame[] = [];
  isClosed = false;
  #buffer: Buffer;

  constructor(socket: Socket, head: Buffer) {
    this.socket = socket;
    this.#buffer = head;
    socket.on('data', (chunk: Buffer) => {
      this.#buffer = Buffer.concat([this.#buffer, chunk]);
      for (let frame = readFrame(this.#buffer); frame !== null; frame = readFrame(this.#buffer)) {
        this.frames.push(frame);
        this.#buffer = this.#buffer.subarray(frame.bytes);
      }
    });
    socket.on('error', () => undefined);
    socket.on('close', () => (this.isClosed = true));
  }

  send(payload: Buffer): void {
    this.socket.write(writeFrame(2, payload, randomBytes(4)));
  }

  /** Bytes that are no whole frame. */
  get rest(): number {
    return this.#buffer.length;
  }
}

const HANDSHAKE = {
  Connection: 'Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
};

async function openWebSocket(): Promise<WebSocketClient> {
  const message = request({ host: '127.0.0.1', port: rig.port, path: '/ws', headers: HANDSHAKE }).end();
  const [response, socket, head] = (await once(message, 'upgrade')) as [IncomingMessage, Socket, Buffer];
  expect(response.headers['sec-websocket-accept']).toBe('s3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
  return new WebSocketClient(socket, head);
}

async function openEvents(): Promise<{ response: IncomingMessage; text: () => string; ended: Promise<unknown> }> {
  const message = request({ host: '127.0.0.1', port: rig.port, path: '/events' }).end();
  const [response] = (await once(message, 'response')) as [IncomingMessage];
  let received = '';
  response.on('data', (chunk: Buffer) => (received += chunk.toString()));
  return { response, text: () => received, ended: once(response, 'close') };
}

it('a WebSocket carries frames of every size both ways and is counted apart', async () => {
  const before = await rig.settled();
  const client = await openWebSocket();
  const payloads = [0, 1, 125, 126, 65_535, 65_536, 3_000_000].map((bytes) => randomBytes(bytes));
  for (const payload of payloads) client.send(payload);
  await expect.poll(() => client.frames.length).toBe(payloads.length);
  expect(client.frames.map(({ payload }) => payload.length)).toEqual(payloads.map(({ length }) => length));
  expect(client.frames.every(({ payload }, index) => payload.equals(payloads[index] ?? Buffer.alloc(0)))).toBe(true);
  expect(await rig.settled()).toMatchObject({ streams: 1, inFlight: { legacy: 0, next: 0 } });
  client.socket.destroy();
  const after = await rig.settled();
  expect(after.streams).toBe(0);
  expect(after.completed - before.completed).toBe(1);
});

it('a backend that declines the upgrade is heard', async () => {
  const message = request({ host: '127.0.0.1', port: rig.port, path: '/no', headers: HANDSHAKE }).end();
  const [response] = (await once(message, 'response')) as [IncomingMessage];
  expect([response.statusCode, await text(response)]).toEqual([403, 'no']);
});

it('an event stream passes event by event', async () => {
  const events = await openEvents();
  await expect.poll(events.text).toContain('id: 3');
  expect((await rig.settled()).streams).toBe(1);
  events.response.destroy();
  await expect.poll(async () => (await rig.gateway.stats(rig.ctx)).streams).toBe(0);
});

it('a switch closes WebSockets with 1012 and ends event streams with retry, without delaying the drain', async () => {
  const before = await rig.settled();
  const [client, events] = [await openWebSocket(), await openEvents()];
  client.send(Buffer.from('hello'));
  await expect.poll(() => client.frames.length).toBe(1);
  await rig.follow({ state: 'HOLD' });
  await rig.gateway.drained(rig.ctx, 'legacy', rig.ctx.clock.monotonicMs() + 1_000);
  await expect.poll(() => client.isClosed).toBe(true);
  const last = client.frames.at(-1);
  expect([last?.opcode, last?.payload.readUInt16BE(0), client.rest]).toEqual([8, 1012, 0]);
  await events.ended;
  expect(events.response.complete).toBe(true);
  expect(events.text()).toMatch(/\n\nretry: 500\n\n$/);
  // What the client does next waits at the gate and lands on the new side.
  const again = openEvents();
  await sleep(50);
  await rig.follow({ state: 'RELEASE', side: 'next' });
  (await again).response.destroy();
  expect(rig.next.seen.at(-1)?.url).toBe('/events');
  const after = await rig.settled();
  expect(after.streamsClosed - before.streamsClosed).toBe(2);
  expect(after.failed).toBe(0);
});

it('a close frame never lands inside another frame', async () => {
  const client = await openWebSocket();
  const payload = randomBytes(4_000_000);
  // Not read until the switch is on, so that the frame is under way in the gateway when it comes.
  client.socket.pause();
  client.send(payload);
  await sleep(150);
  await rig.follow({ state: 'HOLD' });
  client.socket.resume();
  await expect.poll(() => client.isClosed, { timeout: 3_000 }).toBe(true);
  // Whole frames and a close, or cut off in the middle because the reader was too slow: never a frame that was damaged.
  const intact = client.frames.filter(({ opcode }) => opcode === 2);
  expect(intact.every((frame) => frame.payload.equals(payload))).toBe(true);
  if (client.rest === 0) expect(client.frames.at(-1)?.opcode).toBe(8);
});

it('an operator who holds by hand closes nothing', async () => {
  const client = await openWebSocket();
  await rig.follow({ operatorHold: true });
  client.send(Buffer.from('still here'));
  await expect.poll(() => client.frames.length).toBe(1);
  await rig.follow({ operatorHold: false });
  client.socket.destroy();
});

it('a WebSocket that is asked for during a hold opens on the new side with the writes', async () => {
  await rig.follow({ state: 'HOLD' });
  const opening = openWebSocket();
  await rig.follow({ state: 'RELEASE', side: 'next' });
  await expect.poll(async () => (await rig.gateway.stats(rig.ctx)).held).toBe(1);
  await rig.follow({ state: 'LIVE_NEW' });
  const client = await opening;
  expect(rig.next.seen.at(-1)).toMatchObject({ method: 'UPGRADE' });
  client.socket.destroy();
});
