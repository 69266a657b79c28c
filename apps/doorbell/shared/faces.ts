import { Piscina } from 'piscina';
import type { Analysis, FaceTask } from './faces-worker.ts';

export type { Analysis, Face } from './faces-worker.ts';

/** Pictures waiting for the worker; more are refused, so that a flood of uploads does not fill the memory. */
const MAX_WAITING = 64;

/** Finds faces in one worker thread, which is started by the first picture. */
export class Faces {
  readonly #pool = new Piscina<FaceTask, Analysis | Uint8Array | null>({
    filename: new URL('./faces-worker.ts', import.meta.url).href,
    minThreads: 0,
    maxThreads: 1,
    idleTimeout: Infinity,
    maxQueue: MAX_WAITING,
    // What was preloaded into the process (watchers, inspectors) is not meant for its threads.
    execArgv: [],
    // One thread decodes what strangers send: bounded, and a crash of it fails that picture alone.
    resourceLimits: { maxOldGenerationSizeMb: 1024 },
  });

  /** All faces of a JPEG or PNG, the surest first. Rejects with the reason when it cannot be decoded. */
  async analyse(image: Uint8Array): Promise<Analysis> {
    return (await this.#pool.run({ kind: 'analyse', image })) as Analysis;
  }

  /** Any readable picture as JPEG of `quality` 1–100; `enlarge`: with a shorter side of 220 pixels where it was below 180. */
  async normalise(image: Uint8Array, options: { quality: number; enlarge?: boolean }): Promise<Uint8Array> {
    const { quality, enlarge = false } = options;
    return (await this.#pool.run({ kind: 'normalise', image, quality, enlarge })) as Uint8Array;
  }

  /** Starts the worker and loads its models, so that the first visitor does not wait for them. */
  async warm(): Promise<void> {
    await this.#pool.run({ kind: 'warm' });
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
