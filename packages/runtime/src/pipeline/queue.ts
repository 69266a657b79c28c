import { RuntimeError } from '../errors.ts';
import type { Logger } from '../observe/logs.ts';
import type { Item } from './item.ts';
import type { SpillFile } from './spill-file.ts';

/**
 * What happens to an item that finds the queue full. `block`: who brings it waits. `reject`: who brings it is refused. `drop-oldest` and
 * `drop-newest`: one is lost, and counted. `spill`: it waits in a file.
 */
export type Overflow = 'block' | 'reject' | 'drop-oldest' | 'drop-newest' | 'spill';

const HIGH_WATER = 0.8;
const LOW_WATER = 0.2;

export interface QueueStatus {
  readonly size: number;
  /** Of `size`, those that wait in a file. */
  readonly spilled: number;
  readonly capacity: number;
  readonly enqueued: number;
  readonly dequeued: number;
  readonly dropped: number;
  /** From 80 % full until it is down to 20 %. */
  readonly isPressed: boolean;
  /** Why it does not work just now, where it lies on another machine. */
  readonly problem?: string;
}

/** What stands before a stage. An implementation must not assume that items are taken by one taker, or in one process. */
export interface Queue<T> {
  /**
   * Resolves when the item is in, or was dropped by the policy.
   *
   * @throws RuntimeError RUN_QUEUE_FULL by the policy `reject`; RUN_PIPELINE_CLOSED; the reason of `signal`.
   */
  push(item: Item<T>, signal?: AbortSignal): Promise<void>;
  /** The next item; null when the queue is closed and empty. */
  take(): Promise<Item<T> | null>;
  /** Nothing more comes in; what is in can still be taken. */
  close(): void;
  status(): QueueStatus;
  /** Called when nothing of it is needed any more; what was taken and not settled goes back. */
  release?(): Promise<void>;
}

/** A queue that several processes share: what is in it is in it for all of them, and outlives them. */
export interface SharedQueue<T> {
  /** What this process has of it. */
  open(options: {
    readonly stage: string;
    /** Default: that of the queue. */
    readonly capacity: number | undefined;
    readonly overflow: Overflow;
    readonly log: Logger;
  }): Queue<T>;
}

export interface QueueOptions {
  /** Stage before which it stands, for messages. */
  readonly stage: string;
  readonly capacity: number;
  readonly overflow: Overflow;
  /** Needed for `spill`. */
  readonly file?: SpillFile;
}

/** A queue in the memory of this process, with what does not fit in a file where the policy says so. */
export class MemoryQueue<T> implements Queue<T> {
  readonly #options: QueueOptions;
  readonly #items: Item<T>[] = [];
  readonly #takers: ((item: Item<T> | null) => void)[] = [];
  readonly #waiting: (() => void)[] = [];
  #isClosed = false;
  #isPressed = false;
  #enqueued = 0;
  #dequeued = 0;
  #dropped = 0;

  constructor(options: QueueOptions) {
    this.#options = options;
  }

  async push(item: Item<T>, signal?: AbortSignal): Promise<void> {
    const { stage, capacity, overflow, file } = this.#options;
    if (overflow === 'block') while (!this.#isClosed && this.#items.length >= capacity) await this.#room(signal);
    if (this.#isClosed) throw new RuntimeError('RUN_PIPELINE_CLOSED', { pipeline: stage, state: 'closed' });
    // What waits in the file came before.
    if (file !== undefined && overflow === 'spill' && (file.size > 0 || this.#items.length >= capacity)) {
      file.add(item.value);
      this.#enqueued += 1;
      item.settle('done');
      return;
    }
    if (this.#items.length >= capacity) {
      if (overflow === 'reject') throw new RuntimeError('RUN_QUEUE_FULL', { stage, capacity });
      this.#dropped += 1;
      const [oldest] = overflow === 'drop-oldest' ? this.#items.splice(0, 1) : [item];
      oldest?.settle('dropped');
      if (overflow === 'drop-newest') return;
    }
    this.#enqueued += 1;
    this.#put(item);
  }

  async take(): Promise<Item<T> | null> {
    const item = this.#items.shift() ?? this.#spilled();
    if (item !== null) {
      this.#taken();
      return item;
    }
    if (this.#isClosed) return null;
    return new Promise((resolve) => this.#takers.push(resolve));
  }

  close(): void {
    this.#isClosed = true;
    for (const taker of this.#takers.splice(0)) taker(null);
    for (const wake of this.#waiting.splice(0)) wake();
  }

  status(): QueueStatus {
    const spilled = this.#options.file?.size ?? 0;
    return {
      size: this.#items.length + spilled,
      spilled,
      capacity: this.#options.capacity,
      enqueued: this.#enqueued,
      dequeued: this.#dequeued,
      dropped: this.#dropped,
      isPressed: this.#isPressed,
    };
  }

  #put(item: Item<T>): void {
    const taker = this.#takers.shift();
    if (taker !== undefined) {
      this.#dequeued += 1;
      taker(item);
      return;
    }
    this.#items.push(item);
    if (this.#items.length >= this.#options.capacity * HIGH_WATER) this.#isPressed = true;
  }

  #taken(): void {
    this.#dequeued += 1;
    if (this.#items.length <= this.#options.capacity * LOW_WATER) this.#isPressed = false;
    this.#waiting.shift()?.();
  }

  #spilled(): Item<T> | null {
    const spilled = this.#options.file?.take();
    if (spilled === undefined || spilled === null) return null;
    const { value, forget } = spilled;
    return { value: value as T, settle: forget };
  }

  #room(signal?: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    const wake = () => {
      signal?.removeEventListener('abort', abort);
      resolve(undefined);
    };
    const abort = () => {
      this.#waiting.splice(this.#waiting.indexOf(wake), 1);
      reject(signal?.reason);
    };
    if (signal?.aborted === true) return Promise.reject(signal.reason as Error);
    signal?.addEventListener('abort', abort, { once: true });
    this.#waiting.push(wake);
    return promise;
  }
}
