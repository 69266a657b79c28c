import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';

import { openRig, type Rig } from '../testing/gateway/index.ts';
import { createGateway, type Gateway } from './index.ts';

let rig: Rig<Gateway>;
beforeAll(async () => {
  rig = await openRig(import.meta.resolve('./index.ts'), (parts) => createGateway({ ...parts, workers: 1 }));
});
afterAll(() => rig[Symbol.asyncDispose]());

interface Echo {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly rawHeaders: readonly string[];
  readonly bytes: number;
  readonly sha256: string;
  readonly remotePort: number;
}

/** Node's own client, because `fetch` forbids half of what is sent here. */
function send(path: string, options: { method?: string; headers?: readonly string[] | Record<string, string> } = {}) {
  const { method = 'GET', headers = {} } = options;
  return request({ host: '127.0.0.1', port: rig.port, path, method, headers, agent: false });
}

async function answerTo(message: ReturnType<typeof send>): Promise<IncomingMessage> {
  const [response] = (await once(message, 'response')) as [IncomingMessage];
  return response;
}

async function echo(
  path: string,
  options: Parameters<typeof send>[1] & { body?: string | Buffer } = {},
): Promise<Echo> {
  const message = send(path, options);
  message.end(options.body);
  return JSON.parse(await text(await answerTo(message))) as Echo;
}

it.each(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND'])(
  '%s arrives with its path and query as sent',
  async (method) => {
    const seen = await echo('/a%2Fb/../c?x=1&y=%20%25', { method });
    expect(seen).toMatchObject({ method, url: '/a%2Fb/../c?x=1&y=%20%25' });
  },
);

it('HEAD is answered with the head alone', async () => {
  const message = send('/bytes?n=10&length', { method: 'HEAD' }).end();
  const response = await answerTo(message);
  expect(response.headers['content-length']).toBe('10');
  expect(await text(response)).toBe('');
});

it('end-to-end headers keep their order, spelling and duplicates; hop-by-hop headers and those named by Connection stay here', async () => {
  const seen = await echo('/echo', {
    headers: ['Host', 'front.example', 'X-MiXeD', '1', 'X-Twice', 'a', 'X-Twice', 'b', 'Cookie', 'a=é'].concat([
      'Connection',
      'keep-alive, X-Secret',
      'X-Secret',
      's',
      'Keep-Alive',
      'timeout=5',
      'TE',
      'trailers',
      'Proxy-Authorization',
      'p',
    ]),
  });
  const names = seen.rawHeaders.filter((_, index) => index % 2 === 0);
  expect(names.filter((name) => /^x-(mixed|twice)$/i.test(name))).toEqual(['X-MiXeD', 'X-Twice', 'X-Twice']);
  expect(seen.headers).toMatchObject({ host: 'front.example', cookie: 'a=é' });
  for (const name of ['x-secret', 'keep-alive', 'te', 'proxy-authorization'])
    expect(seen.headers).not.toHaveProperty(name);
});

it('forwarding headers are set, and those of a proxy in front are continued', async () => {
  const direct = await echo('/echo', { headers: { Host: 'front.example' } });
  expect(direct.headers).toMatchObject({
    'x-forwarded-for': '127.0.0.1',
    'x-forwarded-proto': 'http',
    'x-forwarded-host': 'front.example',
    forwarded: 'for=127.0.0.1;host="front.example";proto=http',
  });
  const behind = await echo('/echo', {
    headers: {
      'X-Forwarded-For': '10.0.0.1',
      'X-Forwarded-Proto': 'https',
      Forwarded: 'for=10.0.0.1',
      Connection: 'X-Forwarded-For',
    },
  });
  expect(behind.headers['x-forwarded-for']).toBe('10.0.0.1, 127.0.0.1');
  expect(behind.headers['x-forwarded-proto']).toBe('https');
  expect(behind.headers['forwarded']).toMatch(/^for=10.0.0.1, for=127.0.0.1;/);
});

it('the status, its words, and the headers of an answer come through, without its hop-by-hop headers', async () => {
  const response = await answerTo(send('/headers').end());
  expect(response.statusCode).toBe(299);
  expect(response.statusMessage).toBe('Rather Fine');
  expect(response.headers['set-cookie']).toEqual(['a=1', 'b=2']);
  expect(response.rawHeaders).toContain('X-MiXeD');
  expect(response.headers['x-mixed']).toBe('Case \u00e9');
  expect(response.headers).not.toHaveProperty('x-hop');
});

it('an answer without a body and an answer with trailers come through', async () => {
  expect((await fetch(`${rig.url}/empty`)).status).toBe(204);
  const response = await answerTo(send('/trailers').end());
  expect(await text(response)).toBe('body');
  expect(response.trailers).toEqual({ 'x-checksum': 'abc' });
});

it('the head of an answer does not wait for its body', async () => {
  const message = send('/head').end();
  const startedAtMs = performance.now();
  const response = await answerTo(message);
  expect(performance.now() - startedAtMs).toBeLessThan(250);
  expect(await text(response)).toBe('body');
});

it('a body of any framing arrives whole: with a length, in chunks, empty', async () => {
  const body = Buffer.alloc(300_000, 'abcdefg');
  const sha256 = createHash('sha256').update(body).digest('hex');
  expect(
    await echo('/echo', { method: 'POST', body, headers: { 'Content-Length': String(body.length) } }),
  ).toMatchObject({
    sha256,
    bytes: body.length,
  });
  const chunked = await echo('/echo', { method: 'POST', body, headers: { 'Transfer-Encoding': 'chunked' } });
  expect(chunked).toMatchObject({ sha256 });
  expect(chunked.headers['transfer-encoding']).toBe('chunked');
  expect(await echo('/echo', { method: 'POST', headers: { 'Content-Length': '0' } })).toMatchObject({ bytes: 0 });
  expect(await echo('/echo', { method: 'DELETE', body: 'why', headers: { 'Content-Length': '3' } })).toMatchObject({
    bytes: 3,
  });
});

it('a client that expects 100-continue is told to go on, and the body arrives', async () => {
  const message = send('/echo', { method: 'POST', headers: { Expect: '100-continue', 'Content-Length': '4' } });
  message.flushHeaders();
  await once(message, 'continue');
  message.end('body');
  const seen = JSON.parse(await text(await answerTo(message))) as Echo;
  expect(seen.bytes).toBe(4);
  expect(seen.headers).not.toHaveProperty('expect');
});

it.each(['keep-alive', 'close'])(
  'an answer given before the upload has ended reaches a client with Connection: %s',
  async (connection) => {
    const socket = await rig.connect();
    let answer = '';
    socket.on('data', (chunk) => (answer += chunk.toString()));
    const head = ['POST /early HTTP/1.1', 'Host: x', 'Content-Length: 5000000', `Connection: ${connection}`];
    socket.write(`${head.join('\r\n')}\r\n\r\nfirst bytes`);
    // The answer is there, and still the client sends all of what it announced.
    await expect.poll(() => answer).toMatch(/^HTTP\/1.1 413 .*too much/s);
    await new Promise<void>((resolve, reject) => {
      socket.write(Buffer.alloc(5_000_000 - 'first bytes'.length), (error) => {
        if (error) reject(error);
        else resolve();
      });
    });
    socket.destroy();
  },
);

function workerRss(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
}

it('100 MB up and down pass with flat memory, even when the reader is slow', async () => {
  const [worker] = (await rig.gateway.stats(rig.ctx)).workers;
  const pid = worker?.pid ?? 0;
  const bytes = 100 * 1024 * 1024;
  const before = workerRss(pid);
  let peak = 0;
  const watch = setInterval(() => (peak = Math.max(peak, workerRss(pid))), 20);

  const response = await answerTo(send(`/bytes?n=${bytes}`).end());
  let received = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    received += chunk.length;
    if (received < 2_000_000) await sleep(5);
  }
  expect(received).toBe(bytes);

  const upload = send('/echo', { method: 'POST', headers: { 'Content-Length': String(bytes) } });
  const part = Buffer.alloc(1024 * 1024, 'z');
  for (let sent = 0; sent < bytes; sent += part.length) if (!upload.write(part)) await once(upload, 'drain');
  upload.end();
  expect(JSON.parse(await text(await answerTo(upload)))).toMatchObject({ bytes });
  clearInterval(watch);
  expect(peak - before).toBeLessThan(90 * 1024 * 1024);
});

it('reads share connections to the backend, and a write never uses one that was used before', async () => {
  const reads = new Set<number>();
  const writes = new Set<number>();
  for (let turn = 0; turn < 5; turn += 1) {
    reads.add((await echo('/echo')).remotePort);
    const { remotePort } = await echo('/echo', { method: 'POST', body: 'x', headers: { 'Content-Length': '1' } });
    expect(reads).not.toContain(remotePort);
    writes.add(remotePort);
  }
  expect(reads.size).toBe(1);
  expect(writes.size).toBe(5);
});

it('requests go on when the backend closes its idle connections under them', async () => {
  for (let turn = 0; turn < 20; turn += 1) {
    await echo('/echo');
    rig.legacy.cutConnections();
    const [read, write] = await Promise.all([
      echo('/echo'),
      echo('/echo', { method: 'POST', body: 'x', headers: { 'Content-Length': '1' } }),
    ]);
    expect([read.method, write.bytes]).toEqual(['GET', 1]);
  }
});

it('a backend that drops a request gives 502 with its side and a remedy; a write is tried once, a read at most twice', async () => {
  const count = (method: string): number =>
    rig.legacy.seen.filter((one) => one.url === '/drop' && one.method === method).length;
  const write = await fetch(`${rig.url}/drop`, { method: 'POST', body: 'x' });
  expect(write.status).toBe(502);
  expect(await write.json()).toMatchObject({
    error: { code: 'CHG_TRAFFIC_BACKEND_FAILED', side: 'legacy', hint: /status/ },
  });
  expect(count('POST')).toBe(1);
  expect((await fetch(`${rig.url}/drop`)).status).toBe(502);
  expect(count('GET')).toBeLessThanOrEqual(2);
});

it('an answer that stops in the middle is cut off, not completed', async () => {
  const response = await fetch(`${rig.url}/half`);
  await expect(response.text()).rejects.toThrow();
});

it('when a reader leaves, its request ends at the backend; a write that is there whole is carried out', async () => {
  const abortedBefore = rig.legacy.aborted();
  const reader = send('/slow?ms=5000').end();
  reader.on('error', () => undefined);
  await expect.poll(() => rig.legacy.working()).toBe(1);
  reader.destroy();
  await expect.poll(() => rig.legacy.aborted()).toBe(abortedBefore + 1);

  const writer = send('/slow?ms=700', { method: 'POST', headers: { 'Content-Length': '1' } });
  writer.on('error', () => undefined);
  writer.end('x');
  await expect.poll(() => rig.legacy.working()).toBe(1);
  writer.destroy();
  const stats = await rig.settled();
  expect(stats.inFlight.legacy).toBe(1);
  await expect.poll(() => rig.legacy.working()).toBe(0);
  expect(rig.legacy.aborted()).toBe(abortedBefore + 1);
  await expect.poll(async () => (await rig.gateway.stats(rig.ctx)).inFlight.legacy).toBe(0);
});

it('an upload whose client leaves is not left hanging at the backend', async () => {
  const abortedBefore = rig.legacy.aborted();
  const upload = send('/slow?ms=60000', { method: 'POST', headers: { 'Content-Length': '1000000' } });
  upload.on('error', () => undefined);
  upload.write(Buffer.alloc(1000));
  await expect.poll(() => rig.legacy.working()).toBe(1);
  upload.destroy();
  await expect.poll(() => rig.legacy.aborted()).toBe(abortedBefore + 1);
});

it('every request of this file ended in exactly one outcome', async () => {
  const stats = await rig.settled();
  expect(stats.accepted).toBe(stats.completed + stats.clientAborted + stats.refused + stats.failed);
  expect(stats).toMatchObject({ refused: 0, clientAborted: 3, failed: 3, held: 0, inFlight: { legacy: 0, next: 0 } });
});
