import type { Factor } from '../health/score.ts';
import type { Pipeline } from '../pipeline/pipeline.ts';
import type { Runtime, RuntimeState } from '../services/create-runtime.ts';
import type { Load } from './load.ts';
import type { OrchestratorSettings } from './orchestrator-settings.ts';

/** What the health of a system is read from, whatever its items are. */
export type ObservedPipeline = Pick<Pipeline<never>, 'name' | 'events' | 'status'>;

/** A queue before a stage, with the names of the guide. */
export interface QueueLine {
  /** `pipeline.stage`. */
  readonly type: string;
  readonly size: number;
  readonly max_size: number;
  readonly usage_percent: number;
  readonly total_enqueued: number;
  readonly total_dequeued: number;
  readonly total_dropped: number;
  readonly backpressure_active: boolean;
}

export interface SystemPipelineStatus {
  readonly pipeline_status: 'running' | 'stopped';
  /** Services and stages of pipelines, these as `pipeline.stage`. */
  readonly stages: Readonly<
    Record<string, { readonly enabled: boolean; readonly running: boolean; readonly critical: boolean }>
  >;
  readonly queue_status: { readonly backlog_warning: boolean; readonly queues: readonly QueueLine[] };
  readonly worker_status: {
    readonly workers: number;
    readonly busy: number;
    readonly high_cpu: boolean;
    readonly high_memory: boolean;
    readonly cpu_percent: number;
    readonly process_cpu_percent: number;
    readonly memory_percent: number;
    readonly process_memory_bytes: number;
  };
  readonly errors_last_minute: number;
}

export interface SystemHealth {
  readonly state: RuntimeState;
  /** Seconds since the system runs; 0 while it does not. */
  readonly uptime: number;
  readonly pipelineStatus: SystemPipelineStatus;
  /** Since the orchestrator was made, also over recoveries. */
  readonly errorCount: number;
  readonly warningCount: number;
  readonly lastError: string | null;
  /** 0–1; 0 while the system does not run. */
  readonly performanceScore: number;
  /** Why the score is below 1. */
  readonly performanceFactors: readonly Factor[];
}

export interface Seen {
  readonly runtime: Runtime | null;
  readonly pipelines: readonly ObservedPipeline[];
  readonly state: RuntimeState;
  readonly load: Load;
  readonly errorsLastMinute: number;
  readonly settings: OrchestratorSettings;
}

export function pipelineStatusOf({ runtime, pipelines, state, load, errorsLastMinute, settings }: Seen) {
  const stages: Record<string, SystemPipelineStatus['stages'][string]> = {};
  for (const one of runtime?.services() ?? []) {
    const running = one.state === 'running' || one.state === 'completed';
    stages[one.name] = { enabled: true, running, critical: one.isCritical };
  }
  const all = pipelines.flatMap((pipeline) => {
    const { name, state: line, stages: own } = pipeline.status();
    return own.map((stage) => ({ ...stage, type: `${name}.${stage.name}`, isRunning: line === 'running' }));
  });
  for (const { type, isRunning } of all) stages[type] = { enabled: true, running: isRunning, critical: true };
  const queues = all.map(({ type, queue }): QueueLine => ({
    type,
    size: queue.size,
    max_size: queue.capacity,
    usage_percent: Math.round((queue.size / Math.max(1, queue.capacity)) * 1000) / 10,
    total_enqueued: queue.enqueued,
    total_dequeued: queue.dequeued,
    total_dropped: queue.dropped,
    backpressure_active: queue.isPressed,
  }));
  const status: SystemPipelineStatus = {
    pipeline_status: state === 'running' ? 'running' : 'stopped',
    stages,
    queue_status: {
      backlog_warning: queues.some(({ size }) => size > settings.queue_backlog_threshold),
      queues,
    },
    worker_status: {
      workers: all.reduce((sum, { workers }) => sum + workers, 0),
      busy: all.reduce((sum, { busy }) => sum + busy, 0),
      high_cpu: load.cpuPercent > settings.cpu_threshold,
      high_memory: load.memoryPercent > settings.memory_threshold,
      cpu_percent: load.cpuPercent,
      process_cpu_percent: load.processCpuPercent,
      memory_percent: load.memoryPercent,
      process_memory_bytes: load.processMemoryBytes,
    },
    errors_last_minute: errorsLastMinute,
  };
  return status;
}

/** What a status takes from the score, beside what the health of the parts takes. */
export function factorsOf(status: SystemPipelineStatus): Factor[] {
  const { errors_last_minute: errors, queue_status: queue, worker_status: worker } = status;
  const longest = queue.queues.toSorted((a, b) => b.size - a.size)[0];
  return [
    { name: 'errors', factor: errors > 0 ? 0.5 : 1, because: `there were ${errors} errors in the last minute` },
    {
      name: 'queue backlog',
      factor: queue.backlog_warning ? 0.8 : 1,
      because: `${longest?.size ?? 0} items wait before ${longest?.type ?? 'no stage'}`,
    },
    {
      name: 'cpu',
      factor: worker.high_cpu ? 0.9 : 1,
      because: `the machine uses ${worker.cpu_percent} % of its cores`,
    },
  ];
}
