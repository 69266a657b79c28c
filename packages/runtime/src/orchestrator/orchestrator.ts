import { RuntimeError, reasonOf } from '../errors.ts';
import { scoreOf } from '../health/score.ts';
import { passes, SYSTEM_CLOCK, type Clock } from '../observe/clock.ts';
import { Events, type Listener } from '../observe/events.ts';
import { createLogger, type Logger } from '../observe/logs.ts';
import type { Runtime, RuntimeState } from '../services/create-runtime.ts';
import { LastMinute } from './last-minute.ts';
import { LoadMeter, type Load } from './load.ts';
import { settingsOfEnvironment, type OrchestratorSettings } from './orchestrator-settings.ts';
import { Recovery } from './recovery.ts';
import { factorsOf, pipelineStatusOf, type ObservedPipeline, type SystemHealth } from './system-health.ts';

const MS_PER_SECOND = 1000;
const WARN_BELOW = 0.7;
/** A timer that is never due: between two systems nothing else keeps the process alive. */
const NEVER_MS = 2 ** 31 - 1;

/** What an orchestrator runs: services, not started yet, and the pipelines within them. */
export interface Assembly {
  readonly runtime: Runtime;
  readonly pipelines?: readonly ObservedPipeline[];
}

/** What the callbacks of an orchestrator are given. Times are ISO 8601, UTC. */
export interface OrchestratorEvents {
  readonly state: { readonly from: RuntimeState; readonly to: RuntimeState };
  /** One error; beyond `error_threshold_per_minute` one for all that follow until it is quiet again, as `error rate`. */
  readonly system_error: {
    /** Service, `pipeline.stage`, `runtime` where the system ended, `error rate`, or what `reportError` was given. */
    readonly component: string;
    readonly error: string;
    readonly timestamp: string;
  };
  /** With every look. */
  readonly health_update: SystemHealth;
  /** When the score falls below 0.7, or CPU or memory rise above their thresholds; again after it was good in between. */
  readonly performance_warning: {
    readonly score: number;
    readonly timestamp: string;
    /** In sentences. */
    readonly reasons: readonly string[];
  };
}

/** What a legacy interface is made of: it outlives the system that runs now. */
export interface Orchestrated<System> {
  /** That runs now, another one after a recovery. @throws RuntimeError RUN_RUNTIME_STATE while there is none. */
  readonly system: System;
  start(): Promise<void>;
  stop(): Promise<readonly Error[]>;
  getHealthStatus(): SystemHealth;
}

type Commands<System> = Readonly<Record<string, (system: System, ...args: never[]) => unknown>>;
type ArgumentsOf<Command> = Command extends (system: never, ...args: infer Args) => unknown ? Args : never;
type ResultOf<Command> = Command extends (system: never, ...args: never[]) => infer Result ? Result : never;

export interface OrchestratorOptions<System extends Assembly, Own extends Commands<System>, Legacy> {
  /** Puts a system together, without starting it: for each start, and after an error once more with the one that has ended. */
  readonly build: (previous: System | null) => System | Promise<System>;
  /** What `trigger` can do. */
  readonly commands?: Own;
  /** What `getLegacyInterface` answers; made once. */
  readonly legacyInterface?: (orchestrated: Orchestrated<System>) => Legacy;
  /** Read anew at each look. Default: the defaults, with what the environment says. */
  readonly settings?: { readonly current: OrchestratorSettings };
  /** Default: that of the runtime. */
  readonly log?: Logger;
  readonly clock?: Clock;
}

/**
 * A whole system and its life: it is built, started, looked at, stopped, and where a critical part of it could not be kept running it is stopped,
 * built and started again, so often and no more.
 *
 * @example
 * const orchestrator = new Orchestrator({
 *   build: () => ({ runtime: createRuntime({ services: [database, api] }) }),
 *   commands: { ring: ({ runtime }, door: string) => runtime.use(api).ring(door) },
 * });
 * orchestrator.registerEventCallback('performance_warning', ({ score, reasons }) => console.warn(score, reasons));
 * await orchestrator.start();
 * await orchestrator.trigger('ring', 'front');
 * await orchestrator.ended;
 */
export class Orchestrator<
  System extends Assembly,
  Own extends Commands<System> = Commands<System>,
  Legacy = null,
> implements Orchestrated<System> {
  readonly #options: OrchestratorOptions<System, Own, Legacy>;
  readonly #settings: { readonly current: OrchestratorSettings };
  readonly #clock: Clock;
  readonly #events: Events<OrchestratorEvents>;
  readonly #recovery = new Recovery();
  readonly #meter = new LoadMeter();
  readonly #errors = new LastMinute();
  readonly #warned = new Set<string>();
  #load: Load = this.#meter.measure();
  #state: RuntimeState = 'initializing';
  #system: System | null = null;
  #legacy: { readonly made: Legacy } | null = null;
  #end = Promise.withResolvers<undefined>();
  #life = new AbortController();
  /** The start or the recovery that goes on: a stop waits for it. */
  #work: Promise<void> = Promise.resolve();
  #stopped: Promise<readonly Error[]> | null = null;
  #isRecovering = false;
  #runningSinceMs: number | null = null;
  #errorCount = 0;
  #warningCount = 0;
  #lastError: string | null = null;
  #isFlooded = false;

  constructor(options: OrchestratorOptions<System, Own, Legacy>) {
    this.#options = options;
    this.#settings = options.settings ?? settingsOfEnvironment();
    this.#clock = options.clock ?? SYSTEM_CLOCK;
    this.#events = new Events((error) => {
      this.#log.error({ err: error }, 'a callback failed');
    });
  }

  get #log(): Logger {
    return this.#options.log ?? this.#system?.runtime.log ?? createLogger();
  }

  get state(): RuntimeState {
    return this.#state;
  }

  get system(): System {
    if (this.#system === null) throw new RuntimeError('RUN_RUNTIME_STATE', { action: 'be used', state: this.#state });
    return this.#system;
  }

  /** Of this start: resolves when it was stopped; rejects where it ended in an error from which there is no recovery, or no more. */
  get ended(): Promise<void> {
    return this.#end.promise;
  }

  /** Restarts within the window of `restart_window_seconds`. */
  get restartAttempts(): number {
    return this.#recovery.attempts;
  }

  /**
   * Builds and starts the system; again after a stop. A first start that fails is not tried again: who called it knows at once.
   *
   * @throws RuntimeError RUN_RUNTIME_STATE where it runs already, and what the building and the start throw.
   */
  async start(): Promise<void> {
    const isOver = this.#state === 'initializing' || this.#state === 'stopped' || this.#state === 'error';
    if (!isOver || this.#isRecovering)
      throw new RuntimeError('RUN_RUNTIME_STATE', {
        action: 'start',
        state: this.#isRecovering ? 'recovering' : this.#state,
      });
    this.#life = new AbortController();
    this.#end = Promise.withResolvers();
    // Whoever does not wait for the end has the state, the callbacks and the log.
    this.#end.promise.catch(() => undefined);
    this.#stopped = null;
    this.#recovery.forget();
    const starting = this.#bringUp(this.#life.signal);
    this.#work = starting.catch(() => undefined);
    try {
      await starting;
    } catch (error) {
      this.#life.abort();
      this.#end.reject(error);
      throw error;
    }
    if (this.#life.signal.aborted) return;
    const { signal } = this.#life;
    // What a start takes is no news; the next look warns where it goes on.
    this.#load = this.#meter.measure();
    this.#events.emit('health_update', this.getHealthStatus());
    void this.#repeat(
      (settings) => settings.health_check_interval,
      signal,
      () => {
        this.#look();
      },
    );
    void this.#repeat(
      (settings) => settings.metrics_collection_interval,
      signal,
      () => {
        this.#collect();
      },
    );
  }

  /** Stops what runs and what is about to; resolves with what went wrong. */
  stop(): Promise<readonly Error[]> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  /** From what was seen last: an answer costs no check. */
  getHealthStatus(): SystemHealth {
    const seen = {
      runtime: this.#system?.runtime ?? null,
      pipelines: this.#system?.pipelines ?? [],
      state: this.#state,
      load: this.#load,
      errorsLastMinute: this.#errors.count(this.#clock.now()),
      settings: this.#settings.current,
    };
    const pipelineStatus = pipelineStatusOf(seen);
    const { score, factors } =
      this.#state === 'running'
        ? scoreOf([...(seen.runtime?.health.score().factors ?? []), ...factorsOf(pipelineStatus)])
        : scoreOf([{ name: 'state', factor: 0, because: `the system is ${this.#state}` }]);
    const since = this.#runningSinceMs;
    return {
      state: this.#state,
      uptime: since === null ? 0 : (this.#clock.now() - since) / MS_PER_SECOND,
      pipelineStatus,
      errorCount: this.#errorCount,
      warningCount: this.#warningCount,
      lastError: this.#lastError,
      performanceScore: score,
      performanceFactors: factors,
    };
  }

  /** Returns what takes the callback away again. One that throws is logged, and stops nothing. */
  registerEventCallback<Type extends keyof OrchestratorEvents>(
    type: Type,
    callback: Listener<OrchestratorEvents[Type]>,
  ): () => void {
    return this.#events.on(type, callback);
  }

  /**
   * Does a command of the application with the system that runs.
   *
   * @throws RuntimeError RUN_COMMAND_UNKNOWN, RUN_RUNTIME_STATE while the system does not run, and what the command throws.
   */
  trigger<Name extends keyof Own & string>(name: Name, ...args: ArgumentsOf<Own[Name]>): ResultOf<Own[Name]> {
    const commands: Commands<System> = this.#options.commands ?? {};
    const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
    if (command === undefined)
      throw new RuntimeError('RUN_COMMAND_UNKNOWN', {
        command: name,
        known: Object.keys(commands).join(', ') || 'none',
      });
    if (this.#state !== 'running') throw new RuntimeError('RUN_RUNTIME_STATE', { action: name, state: this.#state });
    return command(this.system, ...(args as never[])) as ResultOf<Own[Name]>;
  }

  /** The interface that clients of the legacy know, as the application gives it; null where it gives none. */
  getLegacyInterface(): Legacy {
    this.#legacy ??= { made: this.#options.legacyInterface?.(this) ?? (null as Legacy) };
    return this.#legacy.made;
  }

  /** Counts an error that only the application sees, and tells of it. */
  reportError(component: string, error: unknown): void {
    const now = this.#clock.now();
    this.#errorCount += 1;
    this.#lastError = reasonOf(error);
    this.#errors.add(now);
    const { error_threshold_per_minute: threshold, alert_on_errors } = this.#settings.current;
    const count = this.#errors.count(now);
    if (count <= threshold) {
      this.#isFlooded = false;
      this.#tell(component, this.#lastError);
    } else if (!this.#isFlooded) {
      this.#isFlooded = true;
      if (alert_on_errors) this.#tell('error rate', `${count} errors in a minute; the last one: ${this.#lastError}`);
    }
  }

  async #bringUp(stopping: AbortSignal): Promise<void> {
    const isStopping = () => stopping.aborted;
    this.#become('starting');
    try {
      const system = await this.#options.build(this.#system);
      this.#system = system;
      if (isStopping()) return;
      this.#listen(system);
      await system.runtime.start();
      if (isStopping()) return;
      // A critical service may have given up while the others were starting.
      if (system.runtime.state === 'running') {
        this.#runningSinceMs = this.#clock.now();
        this.#become('running');
      }
      void this.#watch(system.runtime, stopping);
    } catch (error) {
      if (isStopping()) return;
      this.reportError('runtime', error);
      this.#become('error');
      throw error;
    }
  }

  #listen({ runtime, pipelines = [] }: System): void {
    runtime.events.on('restart', ({ service, reason }) => {
      this.reportError(service, reason);
    });
    runtime.health.events.on('changed', ({ name, to, reason }) => {
      if (to === 'unhealthy') this.reportError(name, reason ?? 'unhealthy');
      else if (to === 'degraded') this.#warningCount += 1;
    });
    for (const pipeline of pipelines) {
      pipeline.events.on('failed', ({ stage, error }) => {
        this.reportError(`${pipeline.name}.${stage}`, error);
      });
      pipeline.events.on('stuck', () => {
        this.#warningCount += 1;
      });
    }
  }

  /** Waits for the end of a runtime that nobody has asked to stop. */
  async #watch({ ended }: Runtime, stopping: AbortSignal): Promise<void> {
    try {
      await ended;
      // Stopped past the orchestrator: nobody wants it any more.
      if (!stopping.aborted) await this.stop();
    } catch (error) {
      if (stopping.aborted) return;
      this.reportError('runtime', error);
      this.#runningSinceMs = null;
      this.#become('error');
      this.#work = this.#recover(error, stopping);
    }
  }

  /** What ran has been stopped by then. */
  async #recover(first: unknown, stopping: AbortSignal): Promise<void> {
    this.#isRecovering = true;
    const alive = setInterval(() => undefined, NEVER_MS);
    try {
      for (let error = first; ;) {
        const inMs = this.#recovery.next(this.#clock.now(), this.#settings.current);
        if (inMs === null) {
          this.#log.fatal({ err: error }, 'the system ended and is not started again');
          this.#life.abort();
          this.#end.reject(error);
          return;
        }
        this.#log.error({ err: error, inMs }, 'the system ended and is started again');
        if (!(await passes(this.#clock, inMs, stopping))) return;
        try {
          await this.#bringUp(stopping);
          return;
        } catch (failure) {
          error = failure;
        }
      }
    } finally {
      this.#isRecovering = false;
      clearInterval(alive);
    }
  }

  async #stop(): Promise<readonly Error[]> {
    if (this.#state === 'initializing') {
      this.#end.resolve(undefined);
      this.#become('stopped');
      return [];
    }
    this.#life.abort();
    const hadEnded = this.#state === 'error' && !this.#isRecovering;
    this.#become('stopping');
    const errors = hadEnded ? [] : ((await this.#system?.runtime.stop()) ?? []);
    await this.#work;
    // A start that was under way may have built another one meanwhile.
    const late = hadEnded ? [] : ((await this.#system?.runtime.stop()) ?? []);
    this.#runningSinceMs = null;
    this.#become('stopped');
    this.#end.resolve(undefined);
    return [...new Set([...errors, ...late])];
  }

  #look(): void {
    this.#load = this.#meter.measure();
    if (this.#errors.count(this.#clock.now()) === 0) this.#isFlooded = false;
    const health = this.getHealthStatus();
    this.#warn(health);
    this.#events.emit('health_update', { ...health, warningCount: this.#warningCount });
  }

  #warn({ performanceScore: score, performanceFactors, pipelineStatus }: SystemHealth): void {
    const { high_cpu, high_memory, cpu_percent, memory_percent } = pipelineStatus.worker_status;
    const { alert_on_high_cpu, alert_on_high_memory } = this.#settings.current;
    const because = performanceFactors.map((factor) => factor.because).join('; ');
    const found = [
      { kind: 'score', isOn: score < WARN_BELOW, reason: because },
      { kind: 'cpu', isOn: high_cpu && alert_on_high_cpu, reason: `the CPU is at ${cpu_percent} %` },
      { kind: 'memory', isOn: high_memory && alert_on_high_memory, reason: `the memory is at ${memory_percent} %` },
    ];
    const fresh = found.filter(({ kind, isOn }) => isOn && !this.#warned.has(kind));
    for (const { kind, isOn } of found)
      if (isOn) this.#warned.add(kind);
      else this.#warned.delete(kind);
    if (fresh.length === 0) return;
    this.#warningCount += fresh.length;
    const reasons = fresh.map(({ reason }) => reason);
    this.#log.warn({ score, reasons }, 'the system is not as good as it should be');
    this.#events.emit('performance_warning', { score, timestamp: new Date().toISOString(), reasons });
  }

  #collect(): void {
    const { performanceScore, pipelineStatus } = this.getHealthStatus();
    const { cpu_percent, memory_percent } = pipelineStatus.worker_status;
    const metrics = this.#system?.runtime.metrics;
    metrics?.gauge('system_cpu_percent', 'Percent of all cores of the machine', {}, cpu_percent);
    metrics?.gauge('system_memory_percent', 'Percent of the memory that the process may use', {}, memory_percent);
    metrics?.gauge('performance_score', 'From 0 to 1', {}, performanceScore);
    metrics?.gauge('system_errors_last_minute', 'Errors', {}, pipelineStatus.errors_last_minute);
  }

  async #repeat(
    interval: (settings: OrchestratorSettings) => number,
    signal: AbortSignal,
    act: () => void,
  ): Promise<void> {
    while (await passes(this.#clock, interval(this.#settings.current) * MS_PER_SECOND, signal)) act();
  }

  #tell(component: string, error: string): void {
    this.#events.emit('system_error', { component, error, timestamp: new Date().toISOString() });
  }

  #become(to: RuntimeState): void {
    const from = this.#state;
    if (from === to) return;
    this.#state = to;
    this.#events.emit('state', { from, to });
  }
}
