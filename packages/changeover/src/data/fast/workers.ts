import type { Context } from '../../plan/context.ts';
import { Session } from '../stores/postgres/session.ts';
import { MAX_LANES } from '../throttle.ts';
import type { Task, WorkerSetup } from './messages.ts';
import { targetAddress } from './postgres-target.ts';
import type { Final, Thread, Threads } from './threads.ts';

/** A worker that is asked to end rolls back and closes; one that cannot is ended after this time, with its backends. */
const STOP_MS = 500;
const BACKEND_POLL_MS = 10;
/** How often a thread that has too many beside it looks whether it may go on. */
const LANE_POLL_MS = 100;

/** The threads that work on one table, until `stop`. */
export class Workers {
  readonly #ctx: Context;
  readonly #threads: Threads;
  readonly #setup: WorkerSetup;
  readonly #workers: Thread[] = [];
  #pause: NodeJS.Timeout | undefined;

  /** @param setup All but what the threads share. */
  constructor(ctx: Context, threads: Threads, setup: Omit<WorkerSetup, 'stop' | 'held' | 'isRated'>) {
    this.#ctx = ctx;
    this.#threads = threads;
    const isRated = ctx.pace?.isRated === true;
    this.#setup = { ...setup, isRated, stop: new SharedArrayBuffer(4), held: new SharedArrayBuffer(4) };
  }

  /** Does one task in a thread that is kept for further ones; others get ready meanwhile. */
  async first(task: Task): Promise<Final> {
    for (let index = 1; index < MAX_LANES; index++) this.#worker(index);
    return this.#worker(0).run(task, {});
  }

  /**
   * Several lanes, each with its thread, take one piece after the other. The first failure ends all of them, as does the context's signal;
   * `signal` says so to the others.
   */
  async each<T>(
    pieces: readonly T[],
    act: (piece: T, worker: Thread, signal: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const queue = [...pieces];
    const failed = new AbortController();
    const signal = AbortSignal.any([this.#ctx.signal, failed.signal]);
    const lane = async (index: number) => {
      for (;;) {
        await this.#turn(index, queue, signal);
        const piece = queue.shift();
        signal.throwIfAborted();
        if (piece === undefined) return;
        await act(piece, this.#worker(index), signal);
      }
    };
    const stopped: Promise<void>[] = [];
    const stop = () => {
      stopped.push(this.stop());
    };
    signal.addEventListener('abort', stop, { once: true });
    const lanes = Array.from({ length: Math.min(MAX_LANES, queue.length) }, (_, index) =>
      lane(index).catch((error: unknown) => {
        failed.abort(error);
      }),
    );
    await Promise.all(lanes);
    signal.removeEventListener('abort', stop);
    await Promise.all(stopped);
    signal.throwIfAborted();
  }

  /** The threads read nothing more for so long. */
  pause(ms: number): void {
    clearTimeout(this.#pause);
    this.#hold(ms > 0);
    if (ms > 0)
      this.#pause = setTimeout(() => {
        this.#hold(false);
      }, ms);
  }

  /** Ends the work of all threads. When it resolves, none of their transactions can commit any more. */
  async stop(): Promise<void> {
    const workers = this.#workers.splice(0);
    this.pause(0);
    Atomics.store(new Int32Array(this.#setup.stop), 0, 1);
    const backends = await Promise.all(workers.map((worker) => this.#end(worker)));
    if (backends.flat().length > 0) await this.#endBackends(backends.flat());
  }

  /** A thread without a task is kept for another table. Resolves with the backends of one that did not end by itself. */
  async #end(worker: Thread): Promise<readonly string[]> {
    if (!worker.isBusy && (await worker.closed(STOP_MS))) {
      this.#threads.give(worker);
      return [];
    }
    worker.send({ kind: 'stop' });
    return (await worker.ended(STOP_MS)) ? [] : worker.backends;
  }

  #hold(isHeld: boolean): void {
    Atomics.store(new Int32Array(this.#setup.held), 0, isHeld ? 1 : 0);
  }

  /** Fewer threads while the source is slow: the others wait until it is not, or nothing is left. */
  async #turn(index: number, queue: readonly unknown[], signal: AbortSignal): Promise<void> {
    const { pace, clock } = this.#ctx;
    if (pace === undefined) return;
    while (index >= pace.lanes && queue.length > 0) await clock.sleep(LANE_POLL_MS, signal);
    if (queue.length > 0) await pace.ready(signal);
  }

  #worker(index: number): Thread {
    let worker = this.#workers[index];
    if (worker === undefined) {
      worker = this.#threads.take();
      worker.send({ kind: 'open', setup: this.#setup });
      this.#workers[index] = worker;
    }
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
