import { once } from 'node:events';
import type { Socket } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';

import { openRig, type Rig } from '../testing/gateway/index.ts';
import { createGateway, type Gateway } from './index.ts';

let rig: Rig<Gateway>;
beforeAll(async () => {
  rig = await openRig(import.meta.resolve('./index.ts'), (parts) => createGateway({ ...parts, workers: 1 }));
});
afterAll(() => rig[Symbol.asyncDispose]());

/** Everything that comes back for these bytes until the gateway closes or falls silent. */
async function exchange(bytes: string, silentMs = 300): Promise<{ text: string; isClosed: boolean }> {
  const socket: Socket = await rig.connect();
  let text = '';
  let isClosed = false;
  socket.on('data', (chunk) => (text += chunk.toString('latin1')));
  socket.on('error', () => undefined);
  socket.on('close', () => (isClosed = true));
  socket.write(bytes, 'latin1');
  const closed = once(socket, 'close');
  await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, silentMs))]);
  socket.destroy();
  return { text, isClosed };
}

const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n';

const CORPUS: Readonly<Record<string, string>> = {
  'Content-Length with Transfer-Encoding': `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${SMUGGLED}`,
  'Transfer-Encoding with Content-Length': `POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n${SMUGGLED}`,
  'two Content-Lengths that differ': `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 35\r\n\r\n${SMUGGLED}`,
  'two Content-Lengths that agree': `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc`,
  'a list as Content-Length': `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 3\r\n\r\nabc`,
  'a signed Content-Length': `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc`,
  'a hexadecimal Content-Length': `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x3\r\n\r\nabc`,
  'a negative Content-Length': `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n`,
  'an empty Content-Length': `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: \r\n\r\n`,
  'a Content-Length beyond all numbers': `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n`,
  'a Content-Length in HTTP/1.0 with Transfer-Encoding': `POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  'an unknown Transfer-Encoding': `POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`,
  'another coding before chunked': `POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`,
  'chunked that is not last': `POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`,
  'chunked twice': `POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  'a Transfer-Encoding hidden by a vertical tab': `POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n`,
  'a blank before the colon': `POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n`,
  'a folded header': `GET / HTTP/1.1\r\nHost: x\r\nX-Long: one\r\n two\r\n\r\n`,
  'a folded Transfer-Encoding': `POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n`,
  'a bare CR in a value': `GET / HTTP/1.1\r\nHost: x\r\nX-Bare: a\rX-Injected: b\r\n\r\n`,
  'a bare CR as line end': `GET / HTTP/1.1\rHost: x\r\r`,
  'a NUL in a value': `GET / HTTP/1.1\r\nHost: x\r\nX-Nul: a\0b\r\n\r\n`,
  'a header without a colon': `GET / HTTP/1.1\r\nHost: x\r\nNoColon\r\n\r\n`,
  'no Host': `GET / HTTP/1.1\r\nX: y\r\n\r\n`,
  'two Hosts': `GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n`,
  'a target of another host': `GET http://elsewhere/ HTTP/1.1\r\nHost: x\r\n\r\n`,
  'a target without a path': `GET foo HTTP/1.1\r\nHost: x\r\n\r\n`,
  CONNECT: `CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n`,
  'an unknown version': `GET / HTTP/3.7\r\nHost: x\r\n\r\n`,
  'a blank in the target': `GET /a b HTTP/1.1\r\nHost: x\r\n\r\n`,
  'no HTTP at all': `\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03`,
  'an Expect that nobody knows': `GET / HTTP/1.1\r\nHost: x\r\nExpect: the-best\r\n\r\n`,
  'an upgrade with a body': `GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\nabc`,
};

it.each(Object.entries(CORPUS))('%s is answered 400, closed, counted, and reaches nobody', async (_name, bytes) => {
  const before = await rig.gateway.stats(rig.ctx);
  const seen = rig.legacy.seen.length;
  const { text, isClosed } = await exchange(bytes);
  expect(text).toMatch(/^HTTP\/1.1 400 /);
  expect(text.match(/HTTP\/1\.1/g)).toHaveLength(1);
  expect(isClosed).toBe(true);
  expect(rig.legacy.seen.length).toBe(seen);
  await expect.poll(async () => (await rig.gateway.stats(rig.ctx)).rejected).toBe(before.rejected + 1);
});

const CHUNKED = 'POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n';

it.each([
  'zz\r\nabc\r\n0\r\n\r\n',
  '0x3\r\nabc\r\n0\r\n\r\n',
  '3 \r\nabcX\r\n',
  '3\nabc\n0\n\n',
  '-1\r\n\r\n',
  'fffffffffffffffff\r\n',
])('a chunk like %j ends the connection, and what follows is no request', async (chunk) => {
  const before = await rig.settled();
  const { text, isClosed } = await exchange(`${CHUNKED}${chunk}${SMUGGLED}`);
  expect(isClosed).toBe(true);
  expect(text).not.toContain(' 200 ');
  expect(rig.legacy.seen.map(({ url }) => url)).not.toContain('/smuggled');
  const after = await rig.settled();
  expect(after.rejected - before.rejected).toBe(1);
  // The head had been good, so the request was accepted, and it has its outcome.
  expect(after.accepted - before.accepted).toBe(after.clientAborted - before.clientAborted);
  expect(after.inFlight.legacy).toBe(0);
});

it('a head that is too long is answered 431', async () => {
  const { text, isClosed } = await exchange(`GET / HTTP/1.1\r\nHost: x\r\nX-Long: ${'l'.repeat(70_000)}\r\n\r\n`);
  expect(text).toMatch(/^HTTP\/1.1 431 /);
  expect(isClosed).toBe(true);
});

it('a malformed message behind a good one on the same connection does not damage the answer of the good one', async () => {
  const { text } = await exchange(`GET /slow?ms=100 HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nBroken\r\n\r\n`, 600);
  const answers = text.match(/HTTP\/1\.1 \d+/g) ?? [];
  expect(answers.length).toBeLessThanOrEqual(2);
  expect(text).not.toMatch(/HTTP\/1.1 200.*HTTP\/1.1 200/s);
});

it('well-formed oddities pass: an absolute target of this host, HTTP/1.0, chunk extensions, bytes above 127 in a header', async () => {
  const absolute = await exchange('GET http://x/echo?a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  expect(absolute.text).toContain('"url":"/echo?a"');
  const old = await exchange('GET /echo HTTP/1.0\r\n\r\n');
  expect(old.text).toMatch(/^HTTP\/1.1 200 /);
  const extended = await exchange(`${CHUNKED}3;a=b\r\nabc\r\n0\r\n\r\n`);
  expect(extended.text).toContain('"bytes":3');
  const latin = await exchange('GET /echo HTTP/1.1\r\nHost: x\r\nX-Name: caf\xe9\r\nConnection: close\r\n\r\n');
  expect(latin.text).toMatch(/^HTTP\/1.1 200 /);
});

it('requests sent in one go on one connection are answered in their order', async () => {
  const { text } = await exchange(
    'GET /slow?ms=80 HTTP/1.1\r\nHost: x\r\n\r\nGET /echo?second HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
    1_000,
  );
  expect(text.indexOf('slow')).toBeGreaterThan(0);
  expect(text.indexOf('/echo?second')).toBeGreaterThan(text.indexOf('slow'));
});
