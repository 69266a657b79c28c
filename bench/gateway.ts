/**
 * What the gateway costs: CPU time per small GET of one worker, against the barest forwarder that Node and undici allow and against
 * http-proxy-3, each in a process of its own, in interleaved rounds.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { createProxyServer } from 'http-proxy-3';
import { Pool } from 'undici';

import type { AuthoritySource } from '../packages/changeover/src/plan/authority.ts';
import type { Context } from '../packages/changeover/src/plan/context.ts';
import { createGateway, runSupervisor } from '../packages/changeover/src/traffic/index.ts';
import { runWorker } from '../packages/changeover/src/traffic/worker.ts';

const ROUNDS = 15;
const REQUESTS = 4_000;
const CONNECTIONS = 16;
/** Until V8 has compiled what runs often; the first thousands cost twice as much. */
const WARM_UP_REQUESTS = 40_000;
const BODY = JSON.stringify({
  status: 'online',
  known_faces: 12,
  blacklist_faces: 3,
  timestamp: '2026-11-21T08:13:34.497533',
});

export interface GatewayBench {
  /** CPU time of our worker per request divided by that of the bare forwarder; the goal is at most 1.05. */
  readonly cpuVsDispatch: number;
  readonly cpuVsHttpProxy3: number;
}

/** Takes about half a minute. Ratios are medians over rounds in which all three did the same work within a second of each other. */
export async function benchGateway(): Promise<GatewayBench> {
  const folder = mkdtempSync(join(tmpdir(), 'changeover-bench-'));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  const start = async (role: string, target = ''): Promise<Started> => {
    const started = await startRole(role, target);
    stack.defer(() => {
      started.child.kill('SIGKILL');
    });
    return started;
  };
  const target = `http://127.0.0.1:${(await start('backend')).port}`;
  const gateway = await openGateway(folder, target);
  stack.defer(gateway.stop);
  const load = await start('load');
  const subjects: Subject[] = [gateway.subject, await start('dispatch', target), await start('http-proxy-3', target)];
  for (const { port } of subjects) await run(load, port, port === subjects[2]?.port ? REQUESTS : WARM_UP_REQUESTS);

  const rounds: number[][] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const costs: number[] = [];
    // Another order each time, so that none of them always follows the same neighbour.
    for (const index of rotated(subjects.length, round)) {
      const subject = subjects[index];
      if (subject === undefined) continue;
      const before = cpuMicros(subject.pid);
      await run(load, subject.port, REQUESTS);
      costs[index] = (cpuMicros(subject.pid) - before) / REQUESTS;
    }
    rounds.push(costs);
  }
  const figures = subjects.map((_, index) => median(rounds.map((costs) => costs[index] ?? NaN)).toFixed(1));
  process.stderr.write(
    `CPU us per GET: gateway ${figures[0]}, bare dispatch ${figures[1]}, http-proxy-3 ${figures[2]}\n`,
  );
  return {
    cpuVsDispatch: median(rounds.map((costs) => (costs[0] ?? NaN) / (costs[1] ?? NaN))),
    cpuVsHttpProxy3: median(rounds.map((costs) => (costs[0] ?? NaN) / (costs[2] ?? NaN))),
  };
}

interface Subject {
  readonly port: number;
  readonly pid: number;
}

interface Started extends Subject {
  readonly child: ChildProcess;
  /** Next line of its output. */
  line(): Promise<string>;
}

async function startRole(role: string, target: string): Promise<Started> {
  const child = spawn(process.execPath, [SELF, role], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, TARGET: target },
  });
  const lines = createInterface({ input: child.stdout });
  const line = async (): Promise<string> => ((await once(lines, 'line')) as [string])[0];
  const { port = 0 } = JSON.parse(await line()) as { port?: number };
  return { child, line, port, pid: child.pid ?? 0 };
}

async function openGateway(folder: string, target: string): Promise<{ subject: Subject; stop: () => Promise<void> }> {
  const port = await freePort();
  process.env['AUTHORITY'] = join(folder, 'authority');
  writeFileSync(join(folder, 'authority'), '');
  const gateway = createGateway({
    listen: { host: '127.0.0.1', port },
    workers: 1,
    targets: { legacy: target, next: target },
    entry: { supervisor: [SELF, 'supervisor'], worker: [SELF, 'worker'] },
  });
  const ctx = contextFor(folder);
  await gateway.start(ctx);
  const [worker] = (await gateway.stats(ctx)).workers;
  return { subject: { port, pid: worker?.pid ?? 0 }, stop: () => gateway.stop(ctx) };
}

/** Only what the gateway asks of a context. */
function contextFor(stateDir: string): Context {
  const { signal } = new AbortController();
  return {
    root: stateDir,
    stateDir,
    runId: 'bench',
    epoch: 1,
    liveSide: null,
    signal,
    faults: { at: () => undefined },
    clock: {
      wallMs: () => Date.now(),
      monotonicMs: () => performance.now(),
      bootId: () => 'bench',
      sleep: (ms) => sleep(ms),
    },
    report: { progress: () => undefined, warn: () => undefined, log: () => undefined },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function run(load: Started, port: number, requests: number): Promise<void> {
  const answered = load.line();
  load.child.stdin?.write(`${JSON.stringify({ port, requests })}\n`);
  const { failed } = JSON.parse(await answered) as { failed: number };
  if (failed !== 0) throw new Error(`${failed} requests to port ${port} failed`);
}

/**
 * CPU time of all threads, as `process.cpuUsage` counts it, but read from outside: asking the process over HTTP would show V8 other
 * sockets than those that it has compiled its code for.
 */
function cpuMicros(pid: number): number {
  const nanos = readdirSync(`/proc/${pid}/task`).map((thread) =>
    Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]),
  );
  return nanos.reduce((sum, value) => sum + value, 0) / 1_000;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? NaN)
    : ((sorted[middle - 1] ?? NaN) + (sorted[middle] ?? NaN)) / 2;
}

function rotated(length: number, by: number): number[] {
  return Array.from({ length }, (_, index) => (index + by) % length);
}

// From here on: what the child processes do.

const SELF = fileURLToPath(import.meta.url);

function serve(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      resolve((server.address() as AddressInfo).port);
    });
  });
}

async function backend(): Promise<void> {
  const headers = [
    'Content-Type',
    'application/json',
    'Content-Length',
    String(BODY.length),
    'Cache-Control',
    'no-store',
  ];
  say({ port: await serve(createServer((_request, response) => response.writeHead(200, headers).end(BODY))) });
}

/** Forwards and nothing else: no gate, no counts, no forwarding headers. */
async function dispatch(): Promise<void> {
  const pool = new Pool(process.env['TARGET'] ?? '', {
    pipelining: 1,
    connections: null,
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  const dropped = new Set(['connection', 'keep-alive', 'transfer-encoding']);
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    const headers: string[] = [];
    for (let index = 0; index < request.rawHeaders.length; index += 2) {
      const name = request.rawHeaders[index] ?? '';
      if (!dropped.has(name.toLowerCase())) headers.push(name, request.rawHeaders[index + 1] ?? '');
    }
    let abort: (() => void) | undefined;
    response.on('close', () => {
      if (!response.writableFinished) abort?.();
    });
    const hasBody =
      request.headers['content-length'] !== undefined || request.headers['transfer-encoding'] !== undefined;
    pool.dispatch(
      { path: request.url ?? '/', method: request.method ?? 'GET', headers, body: hasBody ? request : null },
      {
        onRequestStart: (controller) => {
          abort = () => {
            controller.abort(new Error('the client left'));
          };
        },
        onResponseStart: (controller, status) => {
          const raw = controller.rawHeaders as Buffer[];
          const back: string[] = [];
          for (let index = 0; index < raw.length; index += 2) {
            const name = raw[index]?.toString('latin1') ?? '';
            if (!dropped.has(name.toLowerCase())) back.push(name, raw[index + 1]?.toString('latin1') ?? '');
          }
          response.writeHead(status, back);
        },
        onResponseData: (controller, chunk) => {
          if (response.write(chunk)) return;
          controller.pause();
          response.once('drain', () => {
            controller.resume();
          });
        },
        onResponseEnd: () => response.end(),
        onResponseError: () => response.destroy(),
      },
    );
  });
  say({ port: await serve(server) });
}

async function httpProxy3(): Promise<void> {
  const proxy = createProxyServer({ target: process.env['TARGET'] ?? '' });
  const server = createServer((request, response) => {
    proxy.web(request, response);
  });
  say({ port: await serve(server) });
}

/** Follows a file that never changes, at the price of a real one. */
async function worker(): Promise<void> {
  const path = process.env['AUTHORITY'] ?? '';
  const source: AuthoritySource = {
    changed: () => statSync(path).size > 0,
    read: () => ({
      side: 'legacy',
      state: 'LIVE_OLD',
      epoch: 1,
      version: 1,
      leaseUntilMs: null,
      leaseBoot: null,
      operatorHold: false,
      reason: null,
    }),
    close: () => undefined,
  };
  await runWorker({ source });
  process.exit();
}

/** Orders come as lines. */
async function generateLoad(): Promise<void> {
  say({});
  for await (const line of createInterface({ input: process.stdin })) {
    const { port, requests } = JSON.parse(line) as { port: number; requests: number };
    say({ failed: await askRepeatedly(port, requests) });
  }
}

/** A closed loop over keep-alive connections that reads no more of an answer than it must. Returns how many were not answered 200. */
async function askRepeatedly(port: number, requests: number): Promise<number> {
  let left = requests;
  let failed = 0;
  const head = [
    'GET /api/status HTTP/1.1',
    `Host: 127.0.0.1:${port}`,
    'User-Agent: bench',
    'Accept: */*',
    'Accept-Encoding: gzip',
  ];
  const request = `${head.join('\r\n')}\r\n\r\n`;
  // One connection until the server closes it; http-proxy-3 does so after every answer, by default.
  const useConnection = async (): Promise<void> => {
    const socket = connect(port, '127.0.0.1').setNoDelay(true);
    let text = '';
    const next = (): void => {
      text = '';
      if (left <= 0) socket.end();
      else if (socket.writable) socket.write(request);
    };
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      if (!text.endsWith(BODY)) return;
      left -= 1;
      if (!text.startsWith('HTTP/1.1 200 ')) failed += 1;
      next();
    });
    await once(socket, 'connect');
    next();
    await once(socket, 'close');
  };
  const repeat = async (): Promise<void> => {
    while (left > 0) await useConnection();
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, repeat));
  return failed;
}

function say(message: Readonly<Record<string, number>>): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

const ROLES: Readonly<Record<string, () => Promise<void>>> = {
  backend,
  dispatch,
  'http-proxy-3': httpProxy3,
  worker,
  supervisor: () => runSupervisor(),
  load: generateLoad,
};

if (import.meta.main) {
  const role = process.argv[2];
  if (role === undefined) process.stdout.write(`${JSON.stringify(await benchGateway())}\n`);
  else await ROLES[role]?.();
}
