import { Piscina } from 'piscina';
import type { Analysis, FaceTask } from './faces-worker.ts';

export type { Analysis, Face } from './faces-worker.ts';

/** Pictures waiting for the worker; more are refused, so that a flood of uploads does not fill the memory. */
const MAX_WAITING = 64;
/** No picture takes so long: a thread that is still busy then is ended, and another one takes its place. */
const MAX_TASK_MS = 60_000;

export interface FacesOptions {
  /** The program of the thread; default the one beside this file. */
  readonly file?: URL;
  /** A thread that needs more fails with its picture. Default 1024. */
  readonly maxMemoryMb?: number;
  /** Of it for what is short-lived; less is cleared more often. Default Node's own, 48. */
  readonly maxYoungMemoryMb?: number;
  /** Pictures that are searched at a time; each thread has models of its own, about 400 MB. Default 1. */
  readonly threads?: number;
}

/** Finds faces in worker threads, which are started by the first pictures. */
export class Faces {
  readonly #pool: Piscina<FaceTask, Analysis | Uint8Array | null>;
  readonly #maxThreads: number;

  constructor({
    file = new URL('./faces-worker.ts', import.meta.url),
    maxMemoryMb = 1024,
    maxYoungMemoryMb,
    threads = 1,
  }: FacesOptions = {}) {
    this.#maxThreads = threads;
    this.#pool = new Piscina({
      filename: file.href,
      minThreads: 0,
      maxThreads: threads,
      idleTimeout: Infinity,
      maxQueue: MAX_WAITING,
      // What was preloaded into the process (watchers, inspectors) is not meant for its threads.
      execArgv: [],
      // They decode what strangers send: bounded, and a crash of one fails its picture alone.
      resourceLimits: {
        maxOldGenerationSizeMb: maxMemoryMb,
        ...(maxYoungMemoryMb === undefined ? {} : { maxYoungGenerationSizeMb: maxYoungMemoryMb }),
      },
    });
    // A thread that was ended with its picture may still run out of memory on its way out; nobody waits for it any more.
    this.#pool.on('error', (error) => {
      console.error('A thread for faces ended:', error);
    });
  }

  /** Threads that have been started and have not ended. */
  get threads(): number {
    return this.#pool.threads.length;
  }

  /**
   * All faces of a JPEG or PNG, the surest first. Rejects with the reason when it cannot be decoded, and when it takes longer than `timeoutMs`:
   * then the thread that is busy with it is ended, as nothing else stops it. Default a minute.
   */
  async analyse(image: Uint8Array, timeoutMs = MAX_TASK_MS): Promise<Analysis> {
    // Not part of its time: where loading takes longer than a picture may, each new thread would be ended before it was of use.
    await this.#warmOne();
    return (await this.#pool.run({ kind: 'analyse', image }, { signal: AbortSignal.timeout(timeoutMs) })) as Analysis;
  }

  /** Any readable picture as JPEG of `quality` 1–100; `enlarge`: with a shorter side of 220 pixels where it was below 180. */
  async normalise(image: Uint8Array, options: { quality: number; enlarge?: boolean }): Promise<Uint8Array> {
    const { quality, enlarge = false } = options;
    const signal = AbortSignal.timeout(MAX_TASK_MS);
    return (await this.#pool.run({ kind: 'normalise', image, quality, enlarge }, { signal })) as Uint8Array;
  }

  /** Starts the workers and loads their models, so that the first visitors do not wait for them; nothing where that is done. */
  async warm(): Promise<void> {
    await Promise.all(Array.from({ length: this.#maxThreads }, () => this.#warmOne()));
  }

  async #warmOne(): Promise<void> {
    await this.#pool.run({ kind: 'warm' }, { signal: AbortSignal.timeout(MAX_TASK_MS) });
  }

  async close(): Promise<void> {
    await this.#pool.destroy();
  }
}

/** Euclidean distance of two encodings; infinite where they are not of one length. */
export function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity;
  let sum = 0;
  for (let index = 0; index < a.length; index++) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0);
    sum += difference * difference;
  }
  return Math.sqrt(sum);
}
