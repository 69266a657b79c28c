import { RuntimeError, reasonOf } from '../errors.ts';
import { HealthMonitor } from '../health/monitor.ts';
import { passes, SYSTEM_CLOCK, type Clock } from '../observe/clock.ts';
import { Events } from '../observe/events.ts';
import { createLogger, type Logger } from '../observe/logs.ts';
import { Metrics } from '../observe/metrics.ts';
import { Graph } from './graph.ts';
import type { AnyService, Service } from './service.ts';
import { Supervised, type ServiceState } from './supervised.ts';

const STOP_ALL_MS = 30_000;
const CONDITION_POLL_MS = 5;

export type RuntimeState = 'initializing' | 'starting' | 'running' | 'stopping' | 'stopped' | 'error';

export interface RuntimeEvents {
  readonly state: { readonly from: RuntimeState; readonly to: RuntimeState };
  readonly service: { readonly service: string; readonly from: ServiceState; readonly to: ServiceState };
  readonly restart: { readonly service: string; readonly inMs: number; readonly reason: string };
  /** A service had too many restarts: the runtime ends where it is critical, and is degraded where it is not. */
  readonly escalated: { readonly service: string; readonly isCritical: boolean; readonly reason: string };
}

export interface RuntimeOptions {
  readonly services: readonly AnyService[];
  /** For all services together. Default 30,000. */
  readonly stopTimeoutMs?: number;
  readonly log?: Logger;
  readonly metrics?: Metrics;
  readonly clock?: Clock;
}

export interface ServiceInfo {
  readonly name: string;
  readonly state: ServiceState;
  readonly isCritical: boolean;
  readonly needs: readonly string[];
  readonly restarts: number;
  readonly lastError: string | null;
}

/**
 * Services that start when what they need is there, each as soon as it can, are watched and started again, and stop in the reverse order.
 *
 * @example
 * const runtime = createRuntime({ services: [database, api] });
 * await runtime.start();
 * process.once('SIGTERM', () => void runtime.stop());
 * await runtime.ended;
 * @throws RuntimeError RUN_SERVICE_CYCLE, RUN_SERVICE_UNKNOWN, RUN_SERVICE_TWICE.
 */
export function createRuntime(options: RuntimeOptions): Runtime {
  return new Runtime(options);
}

export class Runtime {
  readonly health: HealthMonitor;
  readonly metrics: Metrics;
  readonly events: Events<RuntimeEvents>;
  readonly log: Logger;
  /** Resolves when everything has stopped; rejects where a critical service could not be kept running. */
  readonly ended: Promise<void>;
  readonly #clock: Clock;
  readonly #graph: Graph;
  readonly #services: ReadonlyMap<string, Supervised>;
  readonly #stopTimeoutMs: number;
  readonly #end = Promise.withResolvers<undefined>();
  /** Aborts when the runtime stops: a pause before a restart yields to it. */
  readonly #stopping = new AbortController();
  #state: RuntimeState = 'initializing';
  #stopped: Promise<readonly Error[]> | null = null;

  constructor(options: RuntimeOptions) {
    const { services, stopTimeoutMs = STOP_ALL_MS, clock = SYSTEM_CLOCK } = options;
    this.#graph = new Graph(services);
    this.#clock = clock;
    this.#stopTimeoutMs = stopTimeoutMs;
    this.log = options.log ?? createLogger();
    this.metrics = options.metrics ?? new Metrics();
    const onFailure = (error: unknown) => {
      this.log.error({ err: error }, 'a listener failed');
    };
    this.events = new Events(onFailure);
    this.health = new HealthMonitor({ clock, metrics: this.metrics, onFailure });
    this.ended = this.#end.promise;
    // Whoever does not wait for the end has the state, the events and the log.
    this.ended.catch(() => undefined);
    const supervisor = {
      runtime: this,
      clock,
      instanceOf: <T>(other: Service<T>) => this.#service(other.name).instance as T,
      changed: (service: string, from: ServiceState, to: ServiceState) => {
        const isUp = to === 'running' || to === 'completed' ? 1 : 0;
        this.metrics.gauge('service_up', '1 where the service runs or has done its work', { service }, isUp);
        this.events.emit('service', { service, from, to });
      },
      failed: (name: string, error: unknown) => void this.#recover(this.#service(name), error),
    };
    this.#services = new Map(
      services.map((one) => [one.name, new Supervised(one, this.#graph.needsOf(one.name), supervisor)]),
    );
  }

  get state(): RuntimeState {
    return this.#state;
  }

  services(): ServiceInfo[] {
    return [...this.#services.values()].map(({ name, state, isCritical, restartCount, lastError }) => ({
      name,
      state,
      isCritical,
      needs: this.#graph.needsOf(name).map(({ service }) => service),
      restarts: restartCount,
      lastError,
    }));
  }

  /** What the start of a service returned. @throws RuntimeError RUN_SERVICE_NOT_RUNNING. */
  use<T>(service: Service<T>): T {
    return this.#service(service.name).instance as T;
  }

  /** True when every critical service runs and none of them is unhealthy. */
  isReady(): boolean {
    const isUp = ({ isCritical, state }: Supervised) => !isCritical || state === 'running' || state === 'completed';
    return (
      this.#state === 'running' && [...this.#services.values()].every(isUp) && this.health.overall() !== 'unhealthy'
    );
  }

  /**
   * Resolves when every service has started. A critical one that does not start stops all others again; an optional one is tried again later.
   *
   * @throws RuntimeError RUN_SERVICE_START_FAILED, with the cause; RUN_RUNTIME_STATE.
   */
  async start(): Promise<void> {
    if (this.#state !== 'initializing')
      throw new RuntimeError('RUN_RUNTIME_STATE', { action: 'start', state: this.#state });
    this.#become('starting');
    const starts = new Map<string, Promise<void>>();
    const begin = (name: string): Promise<void> => {
      const known = starts.get(name);
      if (known !== undefined) return known;
      const promise = this.#startInTurn(this.#service(name), begin);
      starts.set(name, promise);
      return promise;
    };
    try {
      await Promise.all(this.#graph.names.map(begin));
    } catch (error) {
      await this.#stopAll();
      this.#become('error');
      this.#end.reject(error);
      throw error;
    }
    if (this.#stopping.signal.aborted) return;
    this.#become('running');
  }

  /**
   * Stops in the reverse order, those that do not need each other at the same time. Resolves when everything has stopped, or has had its
   * time, with what went wrong.
   */
  async stop(): Promise<readonly Error[]> {
    const errors = await this.#stopAll();
    if (this.#state !== 'error') this.#become('stopped');
    this.#end.resolve(undefined);
    return errors;
  }

  /** Stops and starts one service, and those that restart with it. @throws RuntimeError RUN_SERVICE_UNKNOWN, and what its start throws. */
  async restart(name: string): Promise<void> {
    const one = this.#service(name);
    const dependents = this.#restartingWith(name);
    for (const dependent of dependents.toReversed()) await this.#service(dependent).stop();
    await one.stop();
    await one.start();
    one.restartCount += 1;
    await this.#startAgain(dependents);
  }

  async #startInTurn(one: Supervised, begin: (name: string) => Promise<void>): Promise<void> {
    const needs = this.#graph.needsOf(one.name);
    await Promise.all(needs.map(({ service }) => begin(service)));
    try {
      await this.#conditions(one.name);
      this.#stopping.signal.throwIfAborted();
      await one.start();
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      const reason = reasonOf(error);
      if (one.isCritical) {
        this.#stopping.abort();
        throw new RuntimeError('RUN_SERVICE_START_FAILED', { service: one.name, reason }, { cause: error });
      }
      this.log.warn({ service: one.name, err: error }, 'an optional service did not start');
      void this.#recover(one, error);
    }
  }

  /** Waits until what a service needs is as it needs it; what has failed for good will never be. */
  async #conditions(name: string): Promise<void> {
    for (const { service, condition } of this.#graph.needsOf(name)) {
      const other = this.#service(service);
      while (!other.meets(condition)) {
        if (other.state === 'failed' || other.state === 'stopped')
          throw new RuntimeError('RUN_SERVICE_NOT_RUNNING', { service, state: other.state });
        await this.#clock.sleep(CONDITION_POLL_MS, this.#stopping.signal);
      }
    }
  }

  /** Starts a failed service again by its policy, and those that restart with it. */
  async #recover(one: Supervised, error: unknown): Promise<void> {
    const { name, restarts, isCritical } = one;
    let reason = reasonOf(error);
    const dependents = this.#restartingWith(name);
    for (const dependent of dependents.toReversed()) await this.#service(dependent).stop();
    for (;;) {
      if (this.#stopping.signal.aborted) return;
      const next = restarts.next(this.#clock.now());
      if (next === null) {
        this.events.emit('escalated', { service: name, isCritical, reason });
        if (isCritical) {
          await this.#fail(one, reason);
          return;
        }
        restarts.forget();
      }
      one.state = next === null ? 'cooldown' : 'backoff';
      const inMs = next ?? restarts.policy.cooldownMs;
      this.log.warn({ service: name, reason, inMs }, 'a service failed and is started again');
      this.events.emit('restart', { service: name, inMs, reason });
      if (!(await passes(this.#clock, inMs, this.#stopping.signal))) return;
      try {
        await this.#conditions(name);
        await one.start();
        one.restartCount += 1;
        this.metrics.count('service_restarts_total', 'Restarts of a service', { service: name });
        break;
      } catch (failure) {
        reason = reasonOf(failure);
      }
    }
    await this.#startAgain(dependents);
  }

  async #startAgain(dependents: readonly string[]): Promise<void> {
    for (const name of dependents) {
      const one = this.#service(name);
      try {
        await this.#conditions(name);
        await one.start();
      } catch (error) {
        if (this.#stopping.signal.aborted) return;
        void this.#recover(one, error);
      }
    }
  }

  async #fail({ name, restarts }: Supervised, reason: string): Promise<void> {
    const { limit, windowMs } = restarts.policy;
    const error = new RuntimeError('RUN_SERVICE_ESCALATED', { service: name, restarts: limit, windowMs, reason });
    this.log.fatal({ err: error }, 'a critical service could not be kept running');
    await this.#stopAll();
    this.#become('error');
    this.#end.reject(error);
  }

  /** Those that need `name` and restart with it, directly or through others, in the order of their start. */
  #restartingWith(name: string): string[] {
    const found = new Set<string>();
    for (const other of this.#graph.names) {
      const needs = this.#graph.needsOf(other).filter(({ restarts }) => restarts);
      const isTouched = needs.some(({ service }) => service === name || found.has(service));
      if (isTouched && this.#service(other).state === 'running') found.add(other);
    }
    return [...found];
  }

  #stopAll(): Promise<readonly Error[]> {
    this.#stopped ??= this.#stopInReverse();
    return this.#stopped;
  }

  async #stopInReverse(): Promise<readonly Error[]> {
    this.#stopping.abort();
    this.#become('stopping');
    const untilMs = this.#clock.now() + this.#stopTimeoutMs;
    const errors: Error[] = [];
    const stops = new Map<string, Promise<void>>();
    const stop = (name: string): Promise<void> => {
      const known = stops.get(name);
      if (known !== undefined) return known;
      const promise = (async () => {
        await Promise.all(this.#graph.dependentsOf(name).map(stop));
        const failure = await this.#service(name).stop(Math.max(0, untilMs - this.#clock.now()));
        if (failure !== null) errors.push(failure);
      })();
      stops.set(name, promise);
      return promise;
    };
    await Promise.all(this.#graph.names.map(stop));
    this.health.stop();
    return errors;
  }

  #service(name: string): Supervised {
    const found = this.#services.get(name);
    if (found === undefined)
      throw new RuntimeError('RUN_SERVICE_UNKNOWN', { service: name, known: this.#graph.names.join(', ') });
    return found;
  }

  #become(to: RuntimeState): void {
    const from = this.#state;
    if (from === to) return;
    this.#state = to;
    this.events.emit('state', { from, to });
  }
}
