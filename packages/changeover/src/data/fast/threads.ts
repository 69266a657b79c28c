import { Worker } from 'node:worker_threads';
import type { Report, Task } from './messages.ts';

/** From source or built, as this file is. */
const PROGRAM = new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url);
/** A thread without work ends after this time: the next table, or the verification after a copy, has begun by then. */
const IDLE_MS = 3000;

export type Final = Exclude<Report, { kind: 'opened' | 'progress' | 'written' }>;

/** What happens while a thread does one task. */
export interface Watch {
  progress?(rows: number, bytes: number): void;
  /** Everything is written; when this returns, it is committed. */
  written?(): void;
}

/** Threads that wait for more work, without a connection: to start one takes longer than many a table. */
export class Threads {
  readonly #idle = new Map<Thread, NodeJS.Timeout>();

  take(): Thread {
    for (const [thread, timer] of this.#idle) {
      clearTimeout(timer);
      this.#idle.delete(thread);
      if (!thread.isLost) return thread.ref();
    }
    return new Thread();
  }

  give(thread: Thread): void {
    const end = () => {
      this.#idle.delete(thread);
      thread.send({ kind: 'stop' });
    };
    this.#idle.set(thread.unref(), setTimeout(end, IDLE_MS).unref());
  }
}

export class Thread {
  readonly #worker: Worker;
  readonly #exit: Promise<void>;
  #backends: readonly string[] = [];
  #settle: { readonly resolve: (report: Final) => void; readonly reject: (error: unknown) => void } | null = null;
  #watch: Watch = {};
  #failure: Error | null = null;

  constructor() {
    // Buffers of 64 KiB come and go, and each keeps its memory until the next collection of the young: it comes early in a small heap.
    this.#worker = new Worker(PROGRAM, { resourceLimits: { maxYoungGenerationSizeMb: 2 } });
    this.#worker.on('message', (report: Report) => {
      this.#take(report);
    });
    this.#worker.on('error', (error) => {
      this.#failure = error instanceof Error ? error : new Error(String(error));
    });
    this.#exit = new Promise((resolve) => {
      this.#worker.once('exit', () => {
        this.#failure ??= new Error('the thread ended');
        this.#end((settle) => {
          settle.resolve({ kind: 'failed', reason: this.#failure?.message ?? '' });
        });
        resolve();
      });
    });
  }

  get isLost(): boolean {
    return this.#failure !== null;
  }

  get isBusy(): boolean {
    return this.#settle !== null;
  }

  /** Process ids of its connections to the target. */
  get backends(): readonly string[] {
    return this.#backends;
  }

  ref(): this {
    this.#worker.ref();
    return this;
  }

  unref(): this {
    this.#worker.unref();
    return this;
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
    const isEnded = await within(this.#exit, timeoutMs);
    if (!isEnded) await this.#worker.terminate();
    return isEnded;
  }

  /** Gives up its connections. False where it could not within `timeoutMs`. */
  async closed(timeoutMs: number): Promise<boolean> {
    const closed = this.run({ kind: 'close' }, {});
    return (await within(closed, timeoutMs)) && (await closed).kind === 'closed';
  }

  #take(report: Report): void {
    switch (report.kind) {
      case 'opened':
        this.#backends = report.backends;
        return;
      case 'progress':
        this.#watch.progress?.(report.rows, report.bytes);
        return;
      case 'written':
        try {
          this.#watch.written?.();
          this.send({ kind: 'commit' });
        } catch (error) {
          // It stays busy: what it began is not ended yet.
          this.#settle?.reject(error);
          this.send({ kind: 'stop' });
        }
        return;
      default:
        this.#end((settle) => {
          settle.resolve(report);
        });
    }
  }

  #end(how: (settle: { readonly resolve: (report: Final) => void }) => void): void {
    const settle = this.#settle;
    this.#settle = null;
    if (settle !== null) how(settle);
  }
}

async function within(promise: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => {
      resolve(false);
    }, timeoutMs);
  });
  const isInTime = await Promise.race([promise.then(() => true), late]);
  clearTimeout(timer);
  return isInTime;
}
