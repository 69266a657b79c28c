import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expectThat, monotonicMs, stateOf, type Bench, type WorkerCounts } from './invariants-bench.ts';
import type { InvariantCase } from './invariants.ts';

/** Requests that wait in the kernel for a worker. */
const QUEUED = 40;
/** Requests on connections that the killed workers had accepted. */
const INSIDE = 4;
const WORKER_REPORTS_MS = 3_000;

const isIdle = ({ ledger }: WorkerCounts) => ledger.held + ledger.inFlight.legacy + ledger.inFlight.next === 0;
const isBalanced = ({ ledger }: WorkerCounts) =>
  ledger.accepted === ledger.completed + ledger.clientAborted + ledger.refused + ledger.failed;

/** Sum of what all incarnations accepted, once each of them is idle and adds up. */
async function acceptedWhenIdle(bench: Bench): Promise<number> {
  const sinceMs = monotonicMs();
  await bench.until(
    () => bench.liveWorkers().every((worker) => worker.atMs > sinceMs && isIdle(worker) && isBalanced(worker)),
    'every worker is idle and accepted = completed + aborted + refused + failed',
    WORKER_REPORTS_MS,
  );
  return bench.workers().reduce((sum, { ledger }) => sum + ledger.accepted, 0);
}

/** Runs `work` under a client of its own and holds the gateway's count against the client's and `others`' requests. */
export async function expectCounted(bench: Bench, work: () => Promise<number>): Promise<string> {
  const before = await acceptedWhenIdle(bench);
  await bench.startClient();
  const others = await work();
  // What the comparison reads through the gateway must not be counted, so the count is taken before it.
  let accepted = 0;
  const summary = await bench.stopClient(0, async () => {
    accepted = (await acceptedWhenIdle(bench)) - before;
  });
  const requests = summary.requests + others;
  expectThat(accepted === requests, `the gateway accepted ${accepted} requests, ${requests} were sent`);
  return `${accepted} requests, ${bench.workers().length} incarnations`;
}

const everyRequestCounted: InvariantCase = {
  name: 'every request that a client sent is counted once, with one outcome',
  from: 'none',
  hasOwnClient: true,
  play: (bench) =>
    expectCounted(bench, async () => {
      await sleep(1500);
      return 0;
    }),
};

const workersKilled: InvariantCase = {
  name: 'workers killed with a full queue: what waits in the kernel is served, only what is inside is cut',
  from: 'none',
  cutAllowed: 3,
  async play(bench) {
    const inside = await Promise.all(Array.from({ length: INSIDE }, () => connect(bench)));
    for (const socket of inside) expectThat((await answerOn(socket)) === 200, 'a connection is not served');
    const workers = bench.liveWorkers();
    for (const { pid } of workers) bench.stop(pid);
    await bench.until(() => workers.every(({ pid }) => stateOf(pid) === 'T'), 'the workers stop', 2000);
    const cut = inside.map((socket) => answerOn(socket));
    const queued = await Promise.all(Array.from({ length: QUEUED }, () => connect(bench)));
    const served = queued.map((socket) => answerOn(socket));
    for (const { pid } of workers) {
      process.kill(pid, 'SIGKILL');
      await bench.until(() => stateOf(pid) === null, 'the worker ends', 2000);
      bench.wake(pid);
    }
    const startMs = performance.now();
    const queuedOk = (await Promise.all(served)).filter((status) => status === 200).length;
    const insideCut = (await Promise.all(cut)).filter((status) => status === null).length;
    expectThat(queuedOk === QUEUED, `${queuedOk} of ${QUEUED} queued requests were served`);
    expectThat(insideCut === INSIDE, `${insideCut} of ${INSIDE} requests inside the workers were cut`);
    return `${queuedOk} of ${QUEUED} queued served within ${Math.round(performance.now() - startMs)} ms, ${insideCut} inside cut`;
  },
};

async function connect(bench: Bench): Promise<Socket> {
  const socket = createConnection({ host: '127.0.0.1', port: bench.system.ports.gateway });
  await once(socket, 'connect');
  return socket;
}

/** One request on an open connection; null when it was cut. */
function answerOn(socket: Socket): Promise<number | null> {
  return new Promise((resolve) => {
    let text = '';
    const finish = (status: number | null) => {
      socket.removeAllListeners();
      // A later reset of a connection that nobody uses any more is no news.
      socket.on('error', () => socket.destroy());
      resolve(status);
    };
    socket.setTimeout(20_000, () => finish(null));
    socket.on('error', () => finish(null)).on('close', () => finish(null));
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      if (text.endsWith('}')) finish(Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0));
    });
    socket.write('GET /health HTTP/1.1\r\nHost: notes\r\n\r\n');
  });
}

export const GATEWAY_CASES: readonly InvariantCase[] = [everyRequestCounted, workersKilled];
