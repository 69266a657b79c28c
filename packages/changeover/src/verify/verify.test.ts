import { createServer, type RequestListener, type Server } from 'node:http';
import { connect, createServer as createSocketServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { NO_FAULTS, type Context } from '../plan/context.ts';
import type { CheckTarget, DataPort, TenantCount } from '../plan/ports.ts';
import type { Direction, Verdict } from '../plan/words.ts';
import { counts, http, isolation, rows } from './index.ts';
import { MAX_BODY_BYTES } from './http.ts';

const closing: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function listening(server: Server | ReturnType<typeof createSocketServer>): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => sockets.add(socket));
  closing.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const serve = (listener: RequestListener) => listening(createServer(listener));

const serveJson = (body: unknown, status = 200) =>
  serve((_, response) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });

function context(signal: AbortSignal = new AbortController().signal): Context {
  return {
    root: '/nowhere',
    stateDir: '/nowhere',
    runId: 'run',
    epoch: 1,
    liveSide: null,
    signal,
    faults: NO_FAULTS,
    clock: {
      wallMs: () => Date.now(),
      monotonicMs: () => performance.now(),
      bootId: () => 'boot',
      sleep: (ms) => sleep(ms),
    },
    report: { progress: () => undefined, warn: () => undefined, log: () => undefined },
  };
}

type Reading = Partial<Pick<DataPort, 'verify' | 'countByTenant'>>;

const target = (url: string | null, data: Reading = {}): CheckTarget => ({
  side: 'next',
  url,
  direction: 'reverse',
  data: data as DataPort,
});

async function only(verdicts: Promise<Verdict[]>): Promise<Verdict> {
  const [verdict, ...more] = await verdicts;
  if (verdict === undefined || more.length > 0) throw new Error('expected one verdict');
  return verdict;
}

const ask = (check: ReturnType<typeof http>, url: string | null) => only(check.run(context(), target(url)));

describe('http', () => {
  it('passes for a status of 200 to 299 when nothing else is expected', async () => {
    const url = await serve((request, response) => {
      response.writeHead(request.url === '/base/api/status?full=1' ? 204 : 404).end();
    });
    expect(await ask(http('/api/status?full=1'), `${url}/base/`)).toEqual({
      check: 'GET /api/status?full=1',
      outcome: 'PASS',
      evidence: expect.stringMatching(/^204 after \d+ ms$/) as string,
      measured: 1,
    });
  });

  it('fails for another status and says which', async () => {
    const url = await serveJson({ error: 'secret detail' }, 500);
    const verdict = await ask(http('/api/status', { expect: 200 }), url);
    expect(verdict).toMatchObject({ outcome: 'FAIL', measured: 1 });
    expect(verdict.evidence).toMatch(/^expected 200, received 500 after \d+ ms$/);
    expect(await ask(http('/gone', 500), url)).toMatchObject({ outcome: 'PASS' });
    expect(
      await ask(
        http('/gone', () => true),
        url,
      ),
    ).toMatchObject({ outcome: 'FAIL' });
  });

  it('does not follow a redirect', async () => {
    const url = await serve((_, response) => response.writeHead(302, { location: '/login' }).end());
    expect(await ask(http('/api/status'), url)).toMatchObject({ outcome: 'FAIL' });
    expect(await ask(http('/api/status', 302), url)).toMatchObject({ outcome: 'PASS' });
  });

  it('judges the JSON by a condition, which may be asynchronous', async () => {
    const url = await serveJson({ processing: false, queue: 0 });
    const idle = http('/api/status', (status: { processing: boolean }) => !status.processing);
    expect(await ask(idle, url)).toMatchObject({
      outcome: 'PASS',
      evidence: '200, and `(status) => !status.processing`',
    });
    const empty = http('/api/status', { expect: (status: { queue: number }) => Promise.resolve(status.queue > 0) });
    expect(await ask(empty, url)).toMatchObject({
      outcome: 'FAIL',
      evidence: '200, but `(status) => Promise.resolve(status.queue > 0)` is false',
    });
  });

  it('fails when the condition throws, or says neither true nor false', async () => {
    const url = await serveJson(null);
    const throwing = http('/', (body: { a: { b: boolean } }) => body.a.b);
    expect((await ask(throwing, url)).evidence).toMatch(/threw Cannot read properties of null/);
    const vague = http('/', (() => 'yes') as unknown as () => boolean);
    expect(await ask(vague, url)).toMatchObject({
      outcome: 'FAIL',
      evidence: expect.stringMatching(/neither true nor false but string$/) as string,
    });
  });

  it('fails for what is not JSON, without showing it', async () => {
    const url = await serve((_, response) => response.setHeader('content-type', 'text/html').end('<p>hunter2</p>'));
    const verdict = await ask(
      http('/', () => true),
      url,
    );
    expect(verdict).toMatchObject({
      outcome: 'FAIL',
      evidence: '200, but expected JSON, received 14 characters of text/html',
    });
    const empty = await serve((_, response) => response.end());
    expect(
      (
        await ask(
          http('/', () => true),
          empty,
        )
      ).evidence,
    ).toBe('200, but expected JSON, received an empty body');
  });

  it('is inconclusive when the answer does not come, or not whole, in time', async () => {
    const silent = await serve(() => undefined);
    expect(await ask(http('/', { timeout: '80ms' }), silent)).toEqual({
      check: 'GET /',
      outcome: 'INCONCLUSIVE',
      evidence: 'no whole answer within 80 ms',
      measured: 0,
    });
    const dripping = await serve((_, response) => response.write('{'));
    expect(await ask(http('/', { expect: () => true, timeout: '80ms' }), dripping)).toMatchObject({
      outcome: 'INCONCLUSIVE',
    });
    expect(await ask(http('/', { timeout: '80ms' }), dripping)).toMatchObject({ outcome: 'PASS' });
  });

  it('fails when nobody listens and when the connection breaks', async () => {
    const url = await serve(() => undefined);
    for (const close of closing.splice(0)) await close();
    expect((await ask(http('/'), url)).evidence).toMatch(/ECONNREFUSED/);
    const breaking = await listening(
      createSocketServer((socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}')),
    );
    expect(
      await ask(
        http('/', () => true),
        breaking,
      ),
    ).toMatchObject({ outcome: 'FAIL' });
    const nonsense = await listening(createSocketServer((socket) => socket.end('not http at all\r\n\r\n')));
    expect(await ask(http('/'), nonsense)).toMatchObject({ outcome: 'FAIL' });
  });

  it('is inconclusive for a body too long to judge, and stops reading it', async () => {
    let sent = 0;
    const url = await serve((_, response) => {
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(1024 * 1024, 'x'))) sent += 1;
        sent += 1;
      };
      response.on('drain', more);
      more();
    });
    expect(
      await ask(
        http('/', () => true),
        url,
      ),
    ).toMatchObject({ outcome: 'INCONCLUSIVE', measured: 0 });
    expect(sent).toBeLessThan(MAX_BODY_BYTES / 1024 / 1024 + 64);
    expect(await ask(http('/'), url)).toMatchObject({ outcome: 'PASS' });
  });

  it('is inconclusive when there is no address, and leaves no connection open', async () => {
    expect(await ask(http('/'), null)).toMatchObject({ outcome: 'INCONCLUSIVE' });
    const server = createServer((_, response) => response.end('{}'));
    const url = await listening(server);
    await ask(http('/'), url);
    await ask(
      http('/', () => true),
      url,
    );
    const openConnections = () =>
      new Promise<number>((resolve) => {
        server.getConnections((_, count) => {
          resolve(count);
        });
      });
    await expect.poll(openConnections, { timeout: 1_000 }).toBe(0);
  });

  it('is thrown on when the run is aborted: that says nothing about the system', async () => {
    const url = await serve(() => undefined);
    const controller = new AbortController();
    const running = http('/').run(context(controller.signal), target(url));
    setTimeout(() => {
      controller.abort(new Error('interrupted'));
    }, 20);
    await expect(running).rejects.toThrow('interrupted');
  });

  it('sends method and headers, and keeps secret headers out of the plan', async () => {
    const url = await serve((request, response) => {
      response.end(JSON.stringify({ method: request.method, token: request.headers.authorization }));
    });
    const check = http('/', {
      method: 'POST',
      headers: { authorization: 'Bearer hunter2' },
      expect: (seen: { method: string; token: string }) => seen.method === 'POST' && seen.token.length === 14,
      name: 'who am I',
    });
    expect(await ask(check, url)).toMatchObject({ check: 'who am I', outcome: 'PASS' });
    expect(JSON.stringify(check.spec)).not.toContain('hunter2');
    expect(JSON.stringify(check.spec)).toContain('seen.method');
  });

  it('refuses a path without a slash', () => {
    expect(() => http('api/status')).toThrow(/must begin with a slash/);
  });
});

describe('counts and rows', () => {
  const verdict = (outcome: Verdict['outcome'], measured: number): Verdict => ({
    check: 'events: rows equal',
    outcome,
    evidence: `${measured} rows`,
    measured,
  });

  it('read the data in the direction of the side that serves, changed or in full', async () => {
    const asked: [Direction, string][] = [];
    const verify: DataPort['verify'] = (_, direction, scope) => {
      asked.push([direction, scope]);
      return Promise.resolve([verdict('PASS', 12), verdict('FAIL', 3)]);
    };
    expect(await counts().run(context(), target(null, { verify }))).toEqual([verdict('PASS', 12), verdict('FAIL', 3)]);
    await rows().run(context(), target(null, { verify }));
    expect(asked).toEqual([
      ['reverse', 'changed'],
      ['reverse', 'full'],
    ]);
  });

  it('never pass on nothing', async () => {
    const nothing = { verify: () => Promise.resolve([]) };
    expect(await rows().run(context(), target(null, nothing))).toMatchObject([
      { outcome: 'INCONCLUSIVE', measured: 0 },
    ]);
    const empty = { verify: () => Promise.resolve([verdict('PASS', 0)]) };
    expect(await counts().run(context(), target(null, empty))).toMatchObject([
      { outcome: 'INCONCLUSIVE', evidence: 'nothing was compared: 0 rows' },
    ]);
  });

  it('are inconclusive when a store cannot be read, or not in time', async () => {
    const dead = await serve(() => undefined);
    const { port } = new URL(dead);
    for (const close of closing.splice(0)) await close();
    const unreachable = {
      verify: () =>
        new Promise<Verdict[]>((_, reject) => {
          connect(Number(port), '127.0.0.1').on('error', reject);
        }),
    };
    const refused = await only(counts().run(context(), target(null, unreachable)));
    expect(refused).toMatchObject({ check: 'counts', outcome: 'INCONCLUSIVE', measured: 0 });
    expect(refused.evidence).toMatch(/ECONNREFUSED/);
    const slow = { verify: () => new Promise<Verdict[]>(() => undefined) };
    expect(await rows({ timeout: '30ms' }).run(context(), target(null, slow))).toMatchObject([
      { outcome: 'INCONCLUSIVE', evidence: 'no answer within 30 ms' },
    ]);
  });

  it('are thrown on when the run is aborted', async () => {
    const controller = new AbortController();
    const slow = { verify: () => new Promise<Verdict[]>(() => undefined) };
    const running = rows().run(context(controller.signal), target(null, slow));
    controller.abort(new Error('interrupted'));
    await expect(running).rejects.toThrow('interrupted');
  });
});

describe('isolation', () => {
  const counted = (...list: TenantCount[]): Reading => ({ countByTenant: () => Promise.resolve(list) });
  const count = (table: string, tenant: string | null, source: number, target: number) => ({
    table,
    tenant,
    source,
    target,
  });
  const run = (data: Reading, tables?: readonly string[]) =>
    isolation({ tenant: 'network_id', ...(tables === undefined ? {} : { tables }) }).run(context(), target(null, data));

  it('passes when each tenant has as many rows here as there', async () => {
    expect(await run(counted(count('streams', 'a', 3, 3), count('streams', 'b', 4, 4)))).toEqual([
      {
        check: 'streams: isolation by network_id',
        outcome: 'PASS',
        evidence: '7 rows of 2 tenants on both sides',
        measured: 7,
      },
    ]);
  });

  it('fails and names the tenants between which rows went over', async () => {
    expect(
      await run(counted(count('streams', 'a', 3, 2), count('streams', 'b', 4, 5), count('clients', 'a', 1, 1))),
    ).toMatchObject([
      { outcome: 'FAIL', evidence: 'a: 3 rows, 2 on the other side; b: 4 rows, 5 on the other side' },
      { check: 'clients: isolation by network_id', outcome: 'PASS' },
    ]);
    expect(await run(counted(count('streams', 'a', 1, 0), count('streams', null, 0, 1)))).toMatchObject([
      { outcome: 'FAIL', evidence: 'a: 1 rows, 0 on the other side; no tenant: 0 rows, 1 on the other side' },
    ]);
  });

  it('is inconclusive without rows, without such a column, for a table that is not there, and while rows are written', async () => {
    expect(await run(counted(count('streams', 'a', 0, 0)))).toMatchObject([{ outcome: 'INCONCLUSIVE' }]);
    expect(await run(counted())).toMatchObject([
      { outcome: 'INCONCLUSIVE', evidence: 'no table has a column network_id' },
    ]);
    expect(await run(counted(count('streams', 'a', 1, 1)), ['clients'])).toMatchObject([
      { check: 'clients: isolation by network_id', outcome: 'INCONCLUSIVE' },
    ]);
    const moving = { ...count('streams', 'a', 3, 2), isChanging: true };
    expect(await run(counted(moving, count('streams', 'b', 4, 4)))).toMatchObject([
      { outcome: 'INCONCLUSIVE', evidence: '1 tenants are still changing' },
    ]);
    expect(await run(counted(moving, count('streams', 'b', 4, 5)))).toMatchObject([
      { outcome: 'FAIL', evidence: 'b: 4 rows, 5 on the other side' },
    ]);
  });
});
