import { Piscina } from 'piscina';
import type { StageContext } from './stage.ts';

export interface ThreadsOptions {
  /** The program; its default export takes a task. */
  readonly file: URL;
  /** Default 1. */
  readonly threads?: number;
  /** Tasks that wait for a thread; more are refused. Default: twice the threads. */
  readonly maxWaiting?: number;
  /** A thread that needs more fails with its task, and another one takes its place. Default 512. */
  readonly maxMemoryMb?: number;
}

/**
 * Work in threads of its own, which cannot hold up or bring down the process: a task whose time is over ends its thread, as does one that needs
 * too much memory.
 *
 * @example
 * const faces = new Threads<Frame, Face[]>({ file: new URL('./faces.worker.js', import.meta.url) });
 * pipeline<Frame>('bell').stage('faces', { work: faces.work, close: () => faces.close() });
 */
export class Threads<In, Out> {
  readonly #pool: Piscina<In, Out>;

  constructor({ file, threads = 1, maxWaiting = threads * 2, maxMemoryMb = 512 }: ThreadsOptions) {
    this.#pool = new Piscina<In, Out>({
      filename: file.href,
      minThreads: 0,
      maxThreads: threads,
      maxQueue: maxWaiting,
      idleTimeout: Infinity,
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: maxMemoryMb },
    });
    // A thread may fail when its task is over, or was given up. Nobody waits for that error, and without a listener it would end the process.
    this.#pool.on('error', () => undefined);
  }

  /** As a stage's `work`. */
  readonly work = (task: In, { signal }: Pick<StageContext, 'signal'>): Promise<Out> =>
    this.#pool.run(task, { signal });

  async close(): Promise<void> {
    await this.#pool.destroy();
  }
}
