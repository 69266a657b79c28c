import { RuntimeError } from '../errors.ts';
import type { HealthReport } from '../health/check.ts';
import { SYSTEM_CLOCK, type Clock } from '../observe/clock.ts';
import { Events } from '../observe/events.ts';
import { createLogger, type Logger } from '../observe/logs.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Item, Outcome } from './item.ts';
import { MemoryQueue, type Queue, type QueueStatus } from './queue.ts';
import { RunningStage } from './running-stage.ts';
import { SpillFile } from './spill-file.ts';
import { DurableQueue } from './durable-queue.ts';
import type { StageOptions, StageStatus } from './stage.ts';

const CAPACITY = 100;
const DURABLE_CAPACITY = 100_000;

export interface PipelineEvents {
  readonly failed: { readonly stage: string; readonly item: unknown; readonly error: unknown };
  readonly stuck: { readonly stage: string; readonly timeoutMs: number };
}

export interface PipelineOptions {
  /** A file in which accepted items stay until their way has ended. Default: they are gone with the process. */
  readonly durable?: string;
  /** Pause after which a durable item that failed in all its attempts goes on its way again, from the first stage. Default: it is forgotten. */
  readonly retryFailedMs?: number;
  /**
   * Stages that run in this process; those before and behind them run in others, and share a queue with them. None: this process only pushes.
   * Default: all.
   */
  readonly only?: readonly string[];
  readonly log?: Logger;
  readonly metrics?: Metrics;
  readonly clock?: Clock;
}

type AnyStage = readonly [name: string, options: StageOptions<never, unknown>];

/**
 * Stages one after the other, each with a bounded queue before it.
 *
 * @example
 * const bell = pipeline<Press>('bell')
 *   .stage('capture', { work: (press) => camera.capture(press) })
 *   .stage('store', { work: (picture) => storage.add(picture) })
 *   .build({ durable: 'data/presses.queue' });
 * bell.start();
 * await bell.push({ at: Date.now() });
 */
export function pipeline<In>(name: string): PipelineBuilder<In, In> {
  return new PipelineBuilder(name, []);
}

export class PipelineBuilder<In, Out> {
  readonly #name: string;
  readonly #stages: readonly AnyStage[];

  constructor(name: string, stages: readonly AnyStage[]) {
    this.#name = name;
    this.#stages = stages;
  }

  stage<Next>(name: string, options: StageOptions<Out, Next>): PipelineBuilder<In, Next> {
    return new PipelineBuilder(this.#name, [...this.#stages, [name, options as StageOptions<never, unknown>]]);
  }

  build(options: PipelineOptions = {}): Pipeline<In> {
    return new Pipeline(this.#name, this.#stages, options);
  }
}

export class Pipeline<In> {
  readonly name: string;
  readonly events: Events<PipelineEvents>;
  readonly #stages: readonly RunningStage[];
  readonly #files: SpillFile[] = [];
  readonly #queues: Queue<never>[] = [];
  readonly #first: Queue<never> | null;
  readonly #firstName: string;
  readonly #metrics: Metrics | null;
  #state: 'new' | 'running' | 'draining' | 'stopped' = 'new';
  #accepted = 0;
  readonly #ended: Record<Outcome, number> = { done: 0, dropped: 0, failed: 0 };

  constructor(name: string, stages: readonly AnyStage[], options: PipelineOptions) {
    const { log = createLogger(), clock = SYSTEM_CLOCK } = options;
    this.name = name;
    this.#metrics = options.metrics ?? null;
    this.events = new Events((error) => {
      log.error({ err: error }, 'a listener failed');
    });
    const [first] = stages;
    if (first === undefined) throw new TypeError(`the pipeline ${name} has no stage`);
    this.#firstName = first[0];
    const here = placed(name, stages, options.only);
    const queues = stages.map((stage, index) => {
      const isNeeded = here[index] === true || (index === 0 ? stage[1].queue !== undefined : here[index - 1]);
      if (!isNeeded) return null;
      const queue = this.#queue(stage, index === 0 ? options : {}, log, clock);
      this.#queues.push(queue);
      return queue;
    });
    this.#first = queues[0] ?? null;
    this.#stages = stages.flatMap(([stage, own], index) => {
      const queue = queues[index] ?? null;
      if (queue === null) return [];
      // A stage that runs elsewhere is here as the queue to it, which nobody takes from.
      const options = here[index] ? own : { ...own, workers: 0, close: () => Promise.resolve() };
      return new RunningStage({
        name: stage,
        options,
        queue,
        next: queues[index + 1] ?? null,
        clock,
        log: log.child({ pipeline: name, stage }),
        metrics: this.#metrics,
        onEnd: (outcome) => {
          this.#ended[outcome] += 1;
        },
        onFailed: (item, error) => {
          log.error({ pipeline: name, stage, err: error }, 'an item failed');
          this.events.emit('failed', { stage, item, error });
        },
        onStuck: (timeoutMs) => {
          this.events.emit('stuck', { stage, timeoutMs });
        },
      });
    });
  }

  get state(): string {
    return this.#state;
  }

  start(): void {
    if (this.#state !== 'new')
      throw new RuntimeError('RUN_PIPELINE_CLOSED', { pipeline: this.name, state: this.#state });
    this.#state = 'running';
    for (const stage of this.#stages) stage.start();
  }

  /**
   * Resolves when the item was accepted by the first queue; a durable pipeline has it on the disk by then.
   *
   * @throws RuntimeError RUN_PIPELINE_CLOSED, RUN_QUEUE_FULL; RUN_STAGE_ELSEWHERE; of a queue on a server RUN_TRANSPORT_….
   */
  async push(value: In, signal?: AbortSignal): Promise<void> {
    if (this.#state !== 'running')
      throw new RuntimeError('RUN_PIPELINE_CLOSED', { pipeline: this.name, state: this.#state });
    if (this.#first === null)
      throw new RuntimeError('RUN_STAGE_ELSEWHERE', { pipeline: this.name, stage: this.#firstName });
    const item: Item<In> = { value, settle: () => undefined };
    await this.#first.push(item as Item<never>, signal);
    this.#accepted += 1;
  }

  /**
   * Takes no more, and resolves when everything that was accepted has come to its end, stage by stage from the source to the sink; or when
   * `signal` aborts: then a durable pipeline has the rest on the disk. Of a queue that machines share, what this one took comes to its end, and
   * the rest stays for the others.
   */
  async stop(signal?: AbortSignal): Promise<void> {
    if (this.#state === 'stopped') return;
    this.#state = 'draining';
    for (const stage of this.#stages) await stage.drain(signal);
    this.#state = 'stopped';
    for (const stage of this.#stages) await stage.close();
    for (const queue of this.#queues) await queue.release?.();
    for (const file of this.#files) file.close();
  }

  status(): PipelineStatus {
    const stages = this.#stages.map((stage) => ({ ...stage.status(), queue: stage.queueStatus() }));
    const dropped = stages.reduce((sum, { queue }) => sum + queue.dropped, 0);
    return { name: this.name, state: this.#state, accepted: this.#accepted, ...this.#ended, dropped, stages };
  }

  /** For a health check: degraded while a queue is pressed or drops, with the stage. */
  health(): HealthReport {
    const { stages, accepted, dropped } = this.status();
    for (const { name, queue } of stages) {
      const labels = { pipeline: this.name, stage: name };
      this.#metrics?.gauge('pipeline_queue_size', 'Items that wait before a stage', labels, queue.size);
      this.#metrics?.gauge('pipeline_dropped', 'Items that a full queue dropped', labels, queue.dropped);
    }
    const away = stages.find(({ queue }) => queue.problem !== undefined);
    if (away !== undefined) {
      const reason = `the queue before ${away.name} cannot be reached: ${away.queue.problem ?? ''}`;
      return { status: 'degraded', reason, details: { accepted, dropped } };
    }
    const pressed = stages.find(({ queue }) => queue.isPressed);
    if (pressed === undefined) return { status: 'healthy', details: { accepted, dropped } };
    const reason = `${pressed.queue.size} items wait before ${pressed.name}`;
    return { status: 'degraded', reason, details: { accepted, dropped } };
  }

  #queue([stage, own]: AnyStage, options: PipelineOptions, log: Logger, clock: Clock): Queue<never> {
    const { capacity, overflow = 'block' } = own;
    if (own.queue !== undefined)
      return own.queue.open({ stage, capacity, overflow, log: log.child({ pipeline: this.name, stage }) });
    const { durable, retryFailedMs = null } = options;
    if (durable !== undefined) {
      const parts = { file: this.#file(durable), retryFailedMs, clock };
      return new DurableQueue({ stage, capacity: capacity ?? DURABLE_CAPACITY, ...parts });
    }
    const file = own.file === undefined ? {} : { file: this.#file(own.file) };
    return new MemoryQueue({ stage, capacity: capacity ?? CAPACITY, overflow, ...file });
  }

  #file(path: string): SpillFile {
    const file = new SpillFile(path);
    this.#files.push(file);
    return file;
  }
}

/** Which stages run here. Between one that does and one that does not there has to be a queue that both reach. */
function placed(pipeline: string, stages: readonly AnyStage[], only: readonly string[] | undefined): boolean[] {
  const names = stages.map(([stage]) => stage);
  for (const stage of only ?? [])
    if (!names.includes(stage))
      throw new RuntimeError('RUN_STAGE_UNKNOWN', { pipeline, stage, known: names.join(', ') });
  const here = names.map((stage) => only?.includes(stage) ?? true);
  stages.forEach(([stage, { queue }], index) => {
    if (index > 0 && queue === undefined && here[index] !== here[index - 1])
      throw new RuntimeError('RUN_STAGE_ELSEWHERE', { pipeline, stage });
  });
  return here;
}

export interface PipelineStatus extends Readonly<Record<Outcome, number>> {
  readonly name: string;
  readonly state: string;
  readonly accepted: number;
  readonly stages: readonly (StageStatus & { readonly queue: QueueStatus })[];
}
