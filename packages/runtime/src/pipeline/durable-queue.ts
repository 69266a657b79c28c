import { RuntimeError } from '../errors.ts';
import type { Item } from './item.ts';
import type { Queue, QueueStatus } from './queue.ts';
import type { SpillFile } from './spill-file.ts';

/**
 * A queue whose items are in a file before `push` resolves and until they are settled: what was accepted is worked on, whatever kills the
 * process, at least once.
 */
export class DurableQueue<T> implements Queue<T> {
  readonly #stage: string;
  readonly #capacity: number;
  readonly #file: SpillFile;
  readonly #takers: ((item: Item<T> | null) => void)[] = [];
  #isClosed = false;
  #enqueued = 0;
  #dequeued = 0;

  constructor(options: { readonly stage: string; readonly capacity: number; readonly file: SpillFile }) {
    this.#stage = options.stage;
    this.#capacity = options.capacity;
    this.#file = options.file;
  }

  push(item: Item<T>): Promise<void> {
    if (this.#isClosed)
      return Promise.reject(new RuntimeError('RUN_PIPELINE_CLOSED', { pipeline: this.#stage, state: 'closed' }));
    if (this.#file.size >= this.#capacity)
      return Promise.reject(new RuntimeError('RUN_QUEUE_FULL', { stage: this.#stage, capacity: this.#capacity }));
    this.#file.add(item.value);
    this.#enqueued += 1;
    item.settle('done');
    const taker = this.#takers.shift();
    if (taker !== undefined) taker(this.#next());
    return Promise.resolve();
  }

  take(): Promise<Item<T> | null> {
    const item = this.#next();
    if (item !== null || this.#isClosed) return Promise.resolve(item);
    return new Promise((resolve) => this.#takers.push(resolve));
  }

  close(): void {
    this.#isClosed = true;
    for (const taker of this.#takers.splice(0)) taker(null);
  }

  status(): QueueStatus {
    const size = this.#file.size;
    return {
      size,
      spilled: size,
      capacity: this.#capacity,
      enqueued: this.#enqueued,
      dequeued: this.#dequeued,
      dropped: 0,
      isPressed: size >= this.#capacity / 2,
    };
  }

  #next(): Item<T> | null {
    const taken = this.#file.take();
    if (taken === null) return null;
    this.#dequeued += 1;
    return { value: taken.value as T, settle: taken.forget };
  }
}
