import { RuntimeError } from '../errors.ts';
import { passes, type Clock } from '../observe/clock.ts';
import type { Item } from './item.ts';
import type { Queue, QueueStatus } from './queue.ts';
import type { SpillFile, Spilled } from './spill-file.ts';

export interface DurableQueueOptions {
  /** Stage before which it stands, for messages. */
  readonly stage: string;
  readonly capacity: number;
  readonly file: SpillFile;
  /** Pause after which an item whose way ended in failure is given out again; null: it is forgotten. */
  readonly retryFailedMs: number | null;
  readonly clock: Clock;
}

/**
 * A queue whose items are in a file before `push` resolves and until they are settled: what was accepted is worked on, whatever kills the
 * process, at least once.
 */
export class DurableQueue<T> implements Queue<T> {
  readonly #options: DurableQueueOptions;
  readonly #takers: ((item: Item<T> | null) => void)[] = [];
  /** Have failed, and are given out again. */
  readonly #again: Spilled[] = [];
  readonly #closing = new AbortController();
  /** Have failed, and rest. */
  #resting = 0;
  #enqueued = 0;
  #dequeued = 0;

  constructor(options: DurableQueueOptions) {
    this.#options = options;
  }

  push(item: Item<T>): Promise<void> {
    const { stage, capacity, file } = this.#options;
    if (this.#closing.signal.aborted)
      return Promise.reject(new RuntimeError('RUN_PIPELINE_CLOSED', { pipeline: stage, state: 'closed' }));
    if (this.#size >= capacity) return Promise.reject(new RuntimeError('RUN_QUEUE_FULL', { stage, capacity }));
    file.add(item.value);
    this.#enqueued += 1;
    item.settle('done');
    this.#offer();
    return Promise.resolve();
  }

  take(): Promise<Item<T> | null> {
    const item = this.#next();
    if (item !== null || this.#closing.signal.aborted) return Promise.resolve(item);
    return new Promise((resolve) => this.#takers.push(resolve));
  }

  close(): void {
    this.#closing.abort();
    for (const taker of this.#takers.splice(0)) taker(null);
  }

  status(): QueueStatus {
    const { capacity } = this.#options;
    const size = this.#size;
    return {
      size,
      spilled: size,
      capacity,
      enqueued: this.#enqueued,
      dequeued: this.#dequeued,
      dropped: 0,
      isPressed: size >= capacity / 2,
    };
  }

  get #size(): number {
    return this.#options.file.size + this.#again.length + this.#resting;
  }

  #offer(): void {
    const taker = this.#takers.shift();
    if (taker !== undefined) taker(this.#next());
  }

  #next(): Item<T> | null {
    const taken = this.#again.shift() ?? this.#options.file.take();
    if (taken === null) return null;
    this.#dequeued += 1;
    return {
      value: taken.value as T,
      settle: (outcome) => {
        const { retryFailedMs } = this.#options;
        if (outcome === 'failed' && retryFailedMs !== null) void this.#postpone(taken, retryFailedMs);
        else taken.forget();
      },
    };
  }

  /** After a close it just stays in the file, for the next start. */
  async #postpone(taken: Spilled, ms: number): Promise<void> {
    this.#resting += 1;
    if (!(await passes(this.#options.clock, ms, this.#closing.signal))) return;
    this.#resting -= 1;
    this.#again.push(taken);
    this.#offer();
  }
}
