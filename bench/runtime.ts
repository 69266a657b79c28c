/** What the runtime adds to a process: to its start, to an answer about its health, and to each request. */
import { once } from 'node:events';
import { Agent, request, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import fastify, { type FastifyInstance } from 'fastify';
import { createHttp, createLogger, createRuntime, service, started } from '../packages/runtime/src/runtime.ts';

const SERVICES = 50;
const STARTS = 7;
const ANSWERS = 400;
const WARM_UP_ANSWERS = 200;
const ROUNDS = 9;
const REQUESTS = 2000;
const CONNECTIONS = 16;
const HEALTH_INTERVAL_MS = 10_000;

export interface RuntimeFigures {
  /** Start of 50 services, each with a health check and the half of them needing another one, none with work of its own. Median. */
  readonly start50Ms: number;
  /** `/health` of those services, from what was seen last: inside the process. Median. */
  readonly healthInProcessMs: number;
  /** The same over a socket that is open already. Median. */
  readonly healthOverSocketMs: number;
  /** Requests a second through `createHttp`, divided by those through a bare Fastify with the same route: below 1 is what it costs. */
  readonly requestsVsFastify: number;
}

export async function benchRuntime(): Promise<RuntimeFigures> {
  const starts: number[] = [];
  for (let number = 0; number < STARTS; number++) {
    const runtime = manyServices();
    const startedMs = performance.now();
    await runtime.start();
    starts.push(performance.now() - startedMs);
    await runtime.stop();
  }

  await using stack = new AsyncDisposableStack();
  const runtime = manyServices();
  stack.defer(async () => {
    await runtime.stop();
  });
  await runtime.start();
  const ours = await listen(stack, await createHttp({ runtime }));
  const bare = await listen(stack, fastify());
  const agent = stack.adopt(new Agent({ keepAlive: true, maxSockets: CONNECTIONS }), (one) => {
    one.destroy();
  });
  const inProcess = await timed(async () => {
    const { statusCode } = await ours.app.inject('/health');
    if (statusCode !== 200) throw new Error(`/health answered ${statusCode}`);
  });
  const overSocket = await timed(() => get(`${ours.url}/health`, agent));
  const ratios: number[] = [];
  for (let round = 0; round < ROUNDS + 1; round++) {
    const pair = round % 2 === 0 ? [ours, bare] : [bare, ours];
    const times = new Map<string, number>();
    for (const { url } of pair) times.set(url, await many(`${url}/hello`, agent));
    // The first round is for the compiler.
    if (round > 0) ratios.push((times.get(bare.url) ?? Number.NaN) / (times.get(ours.url) ?? Number.NaN));
  }
  return {
    start50Ms: median(starts),
    healthInProcessMs: median(inProcess),
    healthOverSocketMs: median(overSocket),
    requestsVsFastify: median(ratios),
  };
}

function manyServices() {
  const services: ReturnType<typeof service>[] = [];
  for (let number = 0; number < SERVICES; number++) {
    const before = number % 2 === 1 ? services[number - 1] : undefined;
    services.push(
      service(`service-${number}`, {
        needs: before === undefined ? [] : [started(before)],
        start: () => number,
        health: { check: () => undefined, intervalMs: HEALTH_INTERVAL_MS },
      }),
    );
  }
  return createRuntime({ services, log: createLogger({ level: 'silent' }) });
}

async function listen(stack: AsyncDisposableStack, app: FastifyInstance) {
  app.get('/hello', () => ({ hello: 'world' }));
  await app.listen({ host: '127.0.0.1', port: 0 });
  stack.defer(() => app.close());
  return { app, url: `http://127.0.0.1:${(app.server.address() as AddressInfo).port}` };
}

async function get(url: string, agent: Agent): Promise<void> {
  const [response] = (await once(request(url, { agent }).end(), 'response')) as [IncomingMessage];
  response.resume();
  await once(response, 'end');
  if (response.statusCode !== 200) throw new Error(`${url} answered ${response.statusCode}`);
}

/** Milliseconds for many requests, some at a time. */
async function many(url: string, agent: Agent): Promise<number> {
  const startedMs = performance.now();
  let left = REQUESTS;
  const worker = async () => {
    while (left-- > 0) await get(url, agent);
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, worker));
  return performance.now() - startedMs;
}

async function timed(act: () => Promise<void>): Promise<number[]> {
  const times: number[] = [];
  for (let number = 0; number < ANSWERS + WARM_UP_ANSWERS; number++) {
    const startedMs = performance.now();
    await act();
    if (number >= WARM_UP_ANSWERS) times.push(performance.now() - startedMs);
  }
  return times;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
