import { RuntimeError } from '../errors.ts';
import type { Clock } from '../observe/clock.ts';
import { within } from '../observe/deadline.ts';
import type { Logger } from '../observe/logs.ts';
import { traced, type Metrics } from '../observe/metrics.ts';
import { derived, type Item, type Outcome } from './item.ts';
import type { Queue, QueueStatus } from './queue.ts';
import type { StageOptions, StageStatus } from './stage.ts';

const TIMEOUT_MS = 30_000;
const ATTEMPTS = 3;
const RETRY_MS = 100;

interface Parts {
  readonly name: string;
  readonly options: StageOptions<never, unknown>;
  readonly queue: Queue<never>;
  /** Null behind the last stage. */
  readonly next: Queue<never> | null;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics | null;
  onEnd(outcome: Outcome): void;
  onFailed(item: unknown, error: unknown): void;
  onStuck(timeoutMs: number): void;
}

/** The workers of one stage. An item that fails or has no more time is tried again; none of them ends a worker. */
export class RunningStage {
  readonly #parts: Parts;
  readonly #busy = new Map<symbol, number>();
  readonly #stop = new AbortController();
  #workers: Promise<void>[] = [];
  #done = 0;
  #failed = 0;
  #retried = 0;
  #stuck = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  start(): void {
    this.#workers = Array.from({ length: this.#parts.options.workers ?? 1 }, () => this.#work());
  }

  /** Nothing more comes in; resolves when nothing is left, or when `signal` aborts. */
  async drain(signal?: AbortSignal): Promise<void> {
    this.#parts.queue.close();
    const isOver = Promise.all(this.#workers);
    if (signal === undefined) {
      await isOver;
      return;
    }
    const aborted = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener('abort', () => {
        resolve();
      });
    });
    await Promise.race([isOver, aborted]);
    if (signal.aborted) this.#stop.abort();
  }

  async close(): Promise<void> {
    await this.#parts.options.close?.();
  }

  queueStatus(): QueueStatus {
    return this.#parts.queue.status();
  }

  status(): StageStatus {
    const now = this.#parts.clock.now();
    return {
      name: this.#parts.name,
      busy: this.#busy.size,
      workers: this.#parts.options.workers ?? 1,
      done: this.#done,
      failed: this.#failed,
      retried: this.#retried,
      stuck: this.#stuck,
      oldestMs: Math.max(0, ...[...this.#busy.values()].map((since) => now - since)),
    };
  }

  async #work(): Promise<void> {
    for (;;) {
      const item = await this.#parts.queue.take();
      // After an abort the item stays unsettled: a durable queue gives it back at the next start.
      if (item === null || this.#stop.signal.aborted) return;
      await this.#one(item);
    }
  }

  async #one(item: Item<never>): Promise<void> {
    const { clock, next, metrics, name } = this.#parts;
    const token = Symbol(name);
    const startedMs = clock.now();
    this.#busy.set(token, startedMs);
    try {
      if (item.failure !== undefined) throw item.failure;
      const results = await this.#attempts(item.value);
      if (results === null) return;
      this.#done += 1;
      if (next === null) {
        item.settle('done');
        this.#parts.onEnd('done');
        return;
      }
      if (results.length === 0) this.#parts.onEnd('done');
      for (const result of derived(item, results)) {
        const settle = (outcome: Outcome) => {
          if (outcome === 'dropped') this.#parts.onEnd('dropped');
          result.settle(outcome);
        };
        await next.push({ value: result.value as never, settle }, this.#stop.signal);
      }
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      this.#failed += 1;
      item.settle('failed');
      this.#parts.onEnd('failed');
      this.#parts.onFailed(item.value, error);
    } finally {
      this.#busy.delete(token);
      const seconds = (clock.now() - startedMs) / 1000;
      metrics?.time('pipeline_stage_seconds', 'Time of an item in a stage', { stage: name }, seconds);
    }
  }

  /** Null where the stage is stopped meanwhile. */
  async #attempts(value: never): Promise<readonly unknown[] | null> {
    const { clock, options, log } = this.#parts;
    const attempts = options.attempts ?? ATTEMPTS;
    for (let attempt = 1; ; attempt++) {
      try {
        const result = await this.#attempt(value, attempt);
        return result === undefined ? [] : Array.isArray(result) ? (result as unknown[]) : [result];
      } catch (error) {
        if (this.#stop.signal.aborted) return null;
        if (attempt >= attempts) throw error;
        this.#retried += 1;
        log.warn({ err: error, attempt }, 'an item is tried again');
        await clock.sleep((options.retryMs ?? RETRY_MS) * 2 ** (attempt - 1));
      }
    }
  }

  #attempt(value: never, attempt: number): Promise<unknown> {
    const { clock, options, name, log } = this.#parts;
    const { timeoutMs = TIMEOUT_MS } = options;
    const late = () => {
      this.#stuck += 1;
      this.#parts.onStuck(timeoutMs);
      return new RuntimeError('RUN_STAGE_STUCK', { stage: name, timeoutMs });
    };
    return within(clock, timeoutMs, late, (signal) =>
      traced(name, {}, () => options.work(value, { signal, log, attempt })),
    );
  }
}
