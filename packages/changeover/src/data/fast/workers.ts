import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { Context } from '../../plan/context.ts';
import { Session } from '../stores/postgres/session.ts';
import type { Report, Task, WorkerSetup } from './messages.ts';
import { targetAddress } from './postgres-target.ts';

/** More threads than this are of no use to one table: the target's disk and log are the limit by then. */
const MAX_WORKERS = 4;
/** A worker that is asked to end rolls back and closes; one that cannot is ended after this time, with its backends. */
const STOP_MS = 500;
const BACKEND_POLL_MS = 10;

/** From source or built, as this file is. */
const PROGRAM = new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url);

export type Final = Exclude<Report, { kind: 'started' | 'progress' | 'written' | 'stopped' }>;

/** What happens while a worker does one task. */
export interface Watch {
  progress?(rows: number, bytes: number): void;
  /** Everything is written; when this returns, it is committed. */
  written?(): void;
}

/** The threads that work on one table, until `stop`. */
export class Workers {
  readonly #ctx: Context;
  readonly #setup: WorkerSetup;
  readonly #workers: OneWorker[] = [];

  /** @param setup All but what the threads share. */
  constructor(ctx: Context, setup: Omit<WorkerSetup, 'stop'>) {
    this.#ctx = ctx;
    this.#setup = { ...setup, stop: new SharedArrayBuffer(4) };
  }

  /** Does one task in a thread of its own, which is kept for further ones. */
  async first(task: Task): Promise<Final> {
    return this.#worker(0).run(task, {});
  }

  /**
   * Several lanes, each with its thread, take one piece after the other. The first failure ends all of them, as does the context's signal;
   * `signal` says so to the others.
   */
  async each<T>(
    pieces: readonly T[],
    act: (piece: T, worker: OneWorker, signal: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const queue = [...pieces];
    const failed = new AbortController();
    const signal = AbortSignal.any([this.#ctx.signal, failed.signal]);
    const lane = async (index: number) => {
      for (let piece = queue.shift(); piece !== undefined; piece = queue.shift()) {
        signal.throwIfAborted();
        await act(piece, this.#worker(index), signal);
      }
    };
    const stopped: Promise<void>[] = [];
    const stop = () => {
      stopped.push(this.stop());
    };
    signal.addEventListener('abort', stop, { once: true });
    const count = Math.min(availableParallelism(), MAX_WORKERS, queue.length);
    const lanes = Array.from({ length: count }, (_, index) =>
      lane(index).catch((error: unknown) => {
        failed.abort(error);
      }),
    );
    await Promise.all(lanes);
    await Promise.all(stopped);
    signal.throwIfAborted();
  }

  /** Ends all threads. When it resolves, none of their transactions can commit any more. */
  async stop(): Promise<void> {
    const workers = this.#workers.splice(0);
    Atomics.store(new Int32Array(this.#setup.stop), 0, 1);
    for (const worker of workers) worker.send({ kind: 'stop' });
    const ended = await Promise.all(workers.map((worker) => worker.ended(STOP_MS)));
    if (ended.includes(false)) await this.#endBackends(workers.flatMap(({ backends }) => backends));
  }

  #worker(index: number): OneWorker {
    const worker = this.#workers[index] ?? new OneWorker(this.#setup);
    this.#workers[index] = worker;
    return worker;
  }

  async #endBackends(backends: readonly string[]): Promise<void> {
    const { url, store } = targetAddress(this.#setup.target);
    const session = new Session(url, store, this.#ctx.clock);
    try {
      const own = 'FROM pg_stat_activity WHERE pid = ANY($1::int[])';
      await session.query(`SELECT pg_terminate_backend(pid) ${own}`, [backends]);
      while ((await session.query(`SELECT ${own}`, [backends])).length > 0)
        await this.#ctx.clock.sleep(BACKEND_POLL_MS);
    } finally {
      await session.close();
    }
  }
}

export class OneWorker {
  readonly #worker: Worker;
  readonly #exit: Promise<void>;
  #backends: readonly string[] = [];
  #settle: { readonly resolve: (report: Final) => void; readonly reject: (error: unknown) => void } | null = null;
  #watch: Watch = {};
  #failure: Error | null = null;

  constructor(setup: WorkerSetup) {
    // Buffers of 64 KiB come and go, and each keeps its memory until the next collection of the young: it comes early in a small heap.
    const resourceLimits = { maxYoungGenerationSizeMb: 2 };
    this.#worker = new Worker(PROGRAM, { workerData: setup, resourceLimits });
    this.#worker.on('message', (report: Report) => {
      this.#take(report);
    });
    this.#worker.on('error', (error) => {
      this.#failure = error instanceof Error ? error : new Error(String(error));
    });
    this.#exit = new Promise((resolve) => {
      this.#worker.once('exit', () => {
        this.#failure ??= new Error('the thread ended');
        this.#settle?.resolve({ kind: 'failed', reason: this.#failure.message });
        resolve();
      });
    });
  }

  get backends(): readonly string[] {
    return this.#backends;
  }

  /** One task at a time. A task that failed is a report; what `watch` throws is thrown here, and the task is not committed. */
  async run(task: Task, watch: Watch): Promise<Final> {
    if (this.#failure !== null) return { kind: 'failed', reason: this.#failure.message };
    this.#watch = watch;
    const { promise, resolve, reject } = Promise.withResolvers<Final>();
    this.#settle = { resolve, reject };
    this.send(task);
    return promise;
  }

  send(task: Task): void {
    this.#worker.postMessage(task);
  }

  /** True when it ended by itself within `timeoutMs`; else it is ended. */
  async ended(timeoutMs: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => {
        resolve(false);
      }, timeoutMs);
    });
    const isEnded = await Promise.race([this.#exit.then(() => true), late]);
    clearTimeout(timer);
    if (!isEnded) await this.#worker.terminate();
    return isEnded;
  }

  #take(report: Report): void {
    switch (report.kind) {
      case 'started':
        this.#backends = report.backends;
        return;
      case 'stopped':
        return;
      case 'progress':
        this.#watch.progress?.(report.rows, report.bytes);
        return;
      case 'written':
        try {
          this.#watch.written?.();
          this.send({ kind: 'commit' });
        } catch (error) {
          this.#settle?.reject(error);
          this.send({ kind: 'stop' });
        }
        return;
      default:
        this.#settle?.resolve(report);
    }
  }
}
