import type { ChildProcess } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

import { ChangeoverError } from '../errors.ts';
import type { Context } from '../plan/context.ts';
import type { GatewayPort, GatewayStats } from '../plan/ports.ts';
import type { Json, Side } from '../plan/words.ts';
import { isAlive, monotonicMs, signalProcess, type ProcessIdentity } from './identity.ts';
import {
  gatewayFolder,
  logFile,
  reportsFolder,
  sliceReportsFolder,
  sliceReportsFolders,
  supervisorLock,
} from './layout.ts';
import { emptyLedger, openRequests } from './ledger.ts';
import { bindListener } from './listener.ts';
import { acquireLock } from './lock.ts';
import { readReports, type WorkerReport } from './report.ts';
import { resolveSettings, settingsHash, specOf, type GatewayOptions, type GatewaySettings } from './settings.ts';
import {
  LOOK_NOW,
  liveSupervisor,
  readSupervisorRecord,
  removeSupervisorRecord,
  startSupervisor,
} from './succession.ts';

const POLL_MS = 2;
const START_POLL_MS = 20;
/** After its deadline the supervisor kills what is left; after this much more we do, and then nothing can be left. */
const STOP_GRACE_MS = 3_000;
const LOG_LINES = 15;

/** The counts of all workers together, those that have ended included. */
export interface TrafficStats extends GatewayStats {
  /** Malformed requests, answered 400, 408 or 431 and never admitted. */
  readonly rejected: number;
}

export interface Gateway extends GatewayPort {
  stats(ctx: Context): Promise<TrafficStats>;
}

/**
 * The gateway in front of both sides. Its processes live on their own: this object only starts, asks and ends them, and any number
 * of such objects in any number of processes may do so.
 *
 * @example
 * const gateway = createGateway({
 *   listen: { host: '127.0.0.1', port: 5000 },
 *   targets: { legacy: 'http://127.0.0.1:5001', next: 'http://127.0.0.1:5002' },
 *   entry: { supervisor: ['supervisor.ts'], worker: ['worker.ts'] },
 * });
 *
 * Throws `CHG_TRAFFIC_TARGET_INVALID`.
 *
 * @param slice Whose acknowledgements and requests in flight it asks about. Default: those of all requests that are of no slice.
 */
export function createGateway(options: GatewayOptions, slice: string | null = null): Gateway {
  // Resolved here once so that a wrong target fails when the plan is read and not in a process of its own.
  resolveSettings(options, '');
  return new LocalGateway(options, slice);
}

class LocalGateway implements Gateway {
  readonly listen: { readonly host: string; readonly port: number };
  readonly spec: Json;
  readonly #options: GatewayOptions;
  /** Highest version that was waited for: an older report says nothing about a drain. */
  #acknowledgedVersion = 0;

  readonly #slice: string | null;

  constructor(options: GatewayOptions, slice: string | null) {
    this.#slice = slice;
    this.#options = options;
    this.listen = options.listen;
    this.spec = specOf(options);
  }

  async start(ctx: Context): Promise<void> {
    const settings = this.#settings(ctx);
    const running = liveSupervisor(settings);
    if (running !== null && running.settingsHash !== settingsHash(settings)) {
      throw new ChangeoverError('CHG_TRAFFIC_RUNNING_DIFFERENTLY', { ...this.listen, pid: running.pid });
    }
    const logStart = logLength(settings);
    let supervisor: ChildProcess | null = null;
    if (running === null && this.#live(settings).length === 0) {
      // Bound and let go again, so that a busy port is told here and now with its holder.
      (await bindListener(settings.listen)).close();
      supervisor = startSupervisor(settings, null);
    }
    const startedAtMs = monotonicMs();
    while (!this.#admits(settings)) {
      const waitedMs = Math.round(monotonicMs() - startedAtMs);
      const hasEnded = supervisor !== null && (supervisor.exitCode !== null || supervisor.signalCode !== null);
      if (waitedMs > settings.startDeadlineMs || (hasEnded && liveSupervisor(settings) === null)) {
        const lines = lastLines(settings, logStart);
        // Nothing that fails again and again is left behind.
        if (supervisor !== null) await this.stop(ctx);
        throw new ChangeoverError('CHG_TRAFFIC_NO_WORKER', { ...this.listen, waitedMs, ...lines });
      }
      await ctx.clock.sleep(START_POLL_MS, ctx.signal);
    }
  }

  async stop(ctx: Context): Promise<void> {
    const settings = this.#settings(ctx);
    const startedAtMs = monotonicMs();
    // Again and again: an orphaned worker may be starting a new supervisor right now.
    for (;;) {
      const processes = this.#processes(settings);
      if (processes.length === 0 && this.#declareStopped(settings)) return;
      const waitedMs = Math.round(monotonicMs() - startedAtMs);
      if (waitedMs > settings.stopDeadlineMs + 2 * STOP_GRACE_MS) {
        const pids = processes.map(({ pid }) => pid).join(', ');
        throw new ChangeoverError('CHG_TRAFFIC_NOT_STOPPED', { ...this.listen, waitedMs, pids });
      }
      const signal = waitedMs > settings.stopDeadlineMs + STOP_GRACE_MS ? 'SIGKILL' : 'SIGTERM';
      for (const one of processes) signalProcess(one, signal);
      await ctx.clock.sleep(START_POLL_MS, ctx.signal);
    }
  }

  /**
   * Makes processes that are still starting end by themselves: successors and workers look for the record, the former under this
   * lock, the latter after their report has appeared. False when there still is something to end.
   */
  #declareStopped(settings: GatewaySettings): boolean {
    const lock = acquireLock(supervisorLock(settings));
    if (lock === null) return false;
    removeSupervisorRecord(settings);
    lock.release();
    return this.#processes(settings).length === 0;
  }

  isRunning(ctx: Context): Promise<boolean> {
    return Promise.resolve(this.#live(this.#settings(ctx)).some(({ isListening }) => isListening));
  }

  async acknowledged(ctx: Context, version: number, deadlineMs: number): Promise<void> {
    const settings = this.#settings(ctx);
    for (const worker of this.#live(settings)) signalProcess(worker, LOOK_NOW);
    for (;;) {
      const behind = this.#following(settings).filter(
        (report) => report.version < version || report.authorityError !== null,
      );
      if (behind.length === 0) {
        this.#acknowledgedVersion = Math.max(this.#acknowledgedVersion, version);
        return;
      }
      for (const report of behind) {
        // Stopped or hung: it may hold a request from before the hold and let it go whenever it wakes up.
        if (monotonicMs() - report.atMs > settings.silentMs) signalProcess(report, 'SIGKILL');
      }
      if (ctx.clock.monotonicMs() >= deadlineMs) {
        throw new ChangeoverError('CHG_TRAFFIC_NOT_ACKNOWLEDGED', {
          version,
          workers: behind.map(describe).join('; '),
        });
      }
      await ctx.clock.sleep(POLL_MS, ctx.signal);
    }
  }

  async drained(ctx: Context, side: Side, deadlineMs: number): Promise<void> {
    const settings = this.#settings(ctx);
    for (;;) {
      const live = this.#following(settings);
      const count = live.reduce((sum, { ledger }) => sum + ledger.inFlight[side], 0);
      if (count === 0 && live.every(({ version }) => version >= this.#acknowledgedVersion)) return;
      if (ctx.clock.monotonicMs() >= deadlineMs) throw new ChangeoverError('CHG_TRAFFIC_NOT_DRAINED', { count, side });
      await ctx.clock.sleep(POLL_MS, ctx.signal);
    }
  }

  stats(ctx: Context): Promise<TrafficStats> {
    const settings = this.#settings(ctx);
    const { live: workers, ended: former } = readReports(reportsFolder(settings));
    const slices = sliceReportsFolders(settings).map(readReports);
    const live = [...workers, ...slices.flatMap((reports) => reports.live)];
    const ended = [...former, ...slices.flatMap((reports) => reports.ended)];
    const all = [...live, ...ended].map(({ ledger }) => ledger);
    const sum = (pick: (ledger: WorkerReport['ledger']) => number, of = all): number =>
      of.reduce((total, ledger) => total + pick(ledger), 0);
    const now = live.map(({ ledger }) => ledger);
    const nowMs = monotonicMs();
    return Promise.resolve({
      workers: workers.map(({ pid, version, atMs }) => ({ pid, authorityVersion: version, aliveMsAgo: nowMs - atMs })),
      inFlight: {
        legacy: sum(({ inFlight }) => inFlight.legacy, now),
        next: sum(({ inFlight }) => inFlight.next, now),
      },
      held: sum(({ held }) => held, now),
      accepted: sum(({ accepted }) => accepted),
      completed: sum(({ completed }) => completed),
      clientAborted: sum(({ clientAborted }) => clientAborted),
      refused: sum(({ refused }) => refused),
      // Requests inside a worker that was killed were cut off; nobody else can count them.
      failed:
        sum(({ failed }) => failed) +
        sum(
          openRequests,
          ended.map(({ ledger }) => ledger),
        ),
      rejected: sum(({ rejected }) => rejected),
      streams: sum(({ streams }) => streams, now),
      streamsClosed: sum(({ streamsClosed }) => streamsClosed),
      maxHoldMs: Math.max(0, ...all.map(({ maxHoldMs }) => maxHoldMs)),
    });
  }

  #settings(ctx: Pick<Context, 'stateDir'>): GatewaySettings {
    return resolveSettings(this.#options, gatewayFolder(ctx.stateDir));
  }

  #live(settings: GatewaySettings): WorkerReport[] {
    return readReports(reportsFolder(settings)).live;
  }

  /** What is said of the authority that this object is about. A worker that says nothing of a slice yet has seen none of its versions. */
  #following(settings: GatewaySettings): WorkerReport[] {
    const live = this.#live(settings);
    if (this.#slice === null) return live;
    const own = new Map(readReports(sliceReportsFolder(settings, this.#slice)).live.map((one) => [one.pid, one]));
    return live.map((one) => own.get(one.pid) ?? { ...one, version: -1, ledger: emptyLedger() });
  }

  #admits(settings: GatewaySettings): boolean {
    const listening = this.#live(settings).filter(({ isListening }) => isListening).length;
    return liveSupervisor(settings) !== null && listening >= settings.workers;
  }

  #processes(settings: GatewaySettings): ProcessIdentity[] {
    const record = readSupervisorRecord(settings);
    // A supervisor ends what it keeps by itself; without one its workers and its keeper are told directly.
    if (record !== null && isAlive(record)) return [record];
    const keeper = record?.keeper ?? null;
    return [...this.#live(settings), ...(keeper === null ? [] : [keeper])].filter(isAlive);
  }
}

function describe({ pid, version, authorityError, atMs }: WorkerReport): string {
  const silentMs = Math.round(monotonicMs() - atMs);
  const state = authorityError === null ? `follows version ${version}` : `cannot read it (${authorityError})`;
  return `worker ${pid} ${state}, last heard ${silentMs} ms ago`;
}

function logLength(settings: GatewaySettings): Readonly<Record<'supervisor' | 'worker', number>> {
  const length = (who: 'supervisor' | 'worker'): number => {
    const path = logFile(settings, who);
    return existsSync(path) ? readFileSync(path).length : 0;
  };
  return { supervisor: length('supervisor'), worker: length('worker') };
}

/** What was written to the logs since `from`; the worker's if there is any, because then the supervisor was well. */
function lastLines(
  settings: GatewaySettings,
  from: Readonly<Record<'supervisor' | 'worker', number>>,
): { readonly log: string; readonly lines: string } {
  const [worker, supervisor] = (['worker', 'supervisor'] as const).map((who) => {
    const path = logFile(settings, who);
    const text = existsSync(path) ? readFileSync(path).subarray(from[who]).toString('utf8').trim() : '';
    return { log: path, lines: text.split('\n').slice(-LOG_LINES).join('\n') };
  });
  return worker !== undefined && worker.lines !== '' ? worker : (supervisor ?? { log: '', lines: '' });
}
