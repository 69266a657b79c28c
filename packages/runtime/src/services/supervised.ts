import { RuntimeError, reasonOf } from '../errors.ts';
import type { Clock } from '../observe/clock.ts';
import { within } from '../observe/deadline.ts';
import type { Runtime } from './create-runtime.ts';
import { RESTART, Restarts } from './restart.ts';
import type { AnyService, Need, Service, ServiceContext, ServiceOptions } from './service.ts';

export type ServiceState =
  | 'stopped'
  | 'starting'
  | 'running'
  | 'completed'
  /** Waits before it is started again. */
  | 'backoff'
  /** Had too many restarts, and rests. */
  | 'cooldown'
  | 'stopping'
  | 'failed';

const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 10_000;
const HEALTH_INTERVAL_MS = 10_000;

/** What a supervised service tells the runtime. */
export interface Supervisor {
  readonly runtime: Runtime;
  readonly clock: Clock;
  instanceOf<T>(other: Service<T>): T;
  changed(name: string, from: ServiceState, to: ServiceState): void;
  failed(name: string, error: unknown): void;
}

/** One service and its life. What it does about a failure is the runtime's business. */
export class Supervised {
  readonly name: string;
  readonly isCritical: boolean;
  readonly restarts: Restarts;
  readonly #options: ServiceOptions<unknown>;
  readonly #needs: readonly Need[];
  readonly #supervisor: Supervisor;
  #state: ServiceState = 'stopped';
  #instance: { readonly value: unknown } | null = null;
  #life = new AbortController();
  #starting: Promise<void> = Promise.resolve();
  #running: Promise<void> = Promise.resolve();
  /** Restarts since the process began. */
  restartCount = 0;
  lastError: string | null = null;

  constructor({ name, options }: AnyService, needs: readonly Need[], supervisor: Supervisor) {
    this.name = name;
    this.isCritical = options.critical ?? true;
    this.#options = options;
    this.#needs = needs;
    this.#supervisor = supervisor;
    this.restarts = new Restarts({ ...RESTART, ...options.restart });
  }

  get state(): ServiceState {
    return this.#state;
  }

  get instance(): unknown {
    if (this.#instance === null)
      throw new RuntimeError('RUN_SERVICE_NOT_RUNNING', { service: this.name, state: this.#state });
    return this.#instance.value;
  }

  set state(next: ServiceState) {
    const before = this.#state;
    if (before === next) return;
    this.#state = next;
    this.#supervisor.changed(this.name, before, next);
  }

  /** Starts it and resolves when its start has returned and its first look at its health is in. */
  async start(): Promise<void> {
    const starting = this.#start();
    this.#starting = starting.catch(() => undefined);
    await starting;
  }

  async #start(): Promise<void> {
    const { clock, runtime } = this.#supervisor;
    const options = this.#options;
    const { health: check, startTimeoutMs: timeoutMs = START_TIMEOUT_MS } = options;
    this.state = 'starting';
    const life = new AbortController();
    this.#life = life;
    const context: ServiceContext = {
      signal: life.signal,
      runtime,
      log: runtime.log.child({ service: this.name }),
      use: (other) => this.#supervisor.instanceOf(other),
      fail: (error) => {
        this.#fail(life, error);
      },
    };
    const late = () => new RuntimeError('RUN_SERVICE_START_TIMEOUT', { service: this.name, timeoutMs });
    try {
      const value = await within(clock, timeoutMs, late, () => options.start(context));
      // A stop may have come while it started: then nobody wants it any more.
      this.#instance = { value };
      if (life.signal.aborted) throw life.signal.reason;
      this.state = 'running';
      this.#running = this.#work(life, options.run?.(value, context));
      if (check !== undefined)
        await runtime.health.add(this.name, {
          ...check,
          intervalMs: check.intervalMs ?? HEALTH_INTERVAL_MS,
          critical: this.isCritical,
          needs: this.#needs.map((need) => need.service),
          check: ({ signal }) => check.check(value, { signal }),
        });
    } catch (error) {
      life.abort(error);
      this.lastError = reasonOf(error);
      await this.#release();
      this.state = 'failed';
      throw error;
    }
  }

  /** Stops it, and says so where it did not stop in time. Never rejects: what the stop threw is returned. */
  async stop(deadlineMs = Infinity): Promise<Error | null> {
    if (this.#state === 'stopped' || this.#state === 'failed') {
      this.state = 'stopped';
      return null;
    }
    const isStarting = this.#state === 'starting';
    this.state = 'stopping';
    this.#life.abort(new RuntimeError('RUN_SERVICE_NOT_RUNNING', { service: this.name, state: 'stopping' }));
    // What its start has opened by then is closed by the start itself.
    const failure = isStarting ? await this.#inTime(deadlineMs, () => this.#starting) : await this.#release(deadlineMs);
    this.state = 'stopped';
    return failure;
  }

  /** True when the condition of a need holds now. */
  meets(condition: 'started' | 'healthy' | 'completed'): boolean {
    if (this.#state === 'completed') return true;
    if (this.#state !== 'running' || condition === 'completed') return false;
    if (condition === 'started' || this.#options.health === undefined) return true;
    return this.#supervisor.runtime.health.all().some(({ name, status }) => name === this.name && status === 'healthy');
  }

  async #work(life: AbortController, work: Promise<void> | undefined): Promise<void> {
    if (work === undefined) return;
    try {
      await work;
      if (!life.signal.aborted) this.state = 'completed';
    } catch (error) {
      this.#fail(life, error);
    }
  }

  #fail(life: AbortController, error: unknown): void {
    // What fails while it is stopped, or once more after it has failed, is no news.
    if (life.signal.aborted) return;
    life.abort(error);
    this.lastError = reasonOf(error);
    if (this.#state === 'starting') return;
    void this.#release().then(() => {
      this.state = 'failed';
      this.#supervisor.failed(this.name, error);
    });
  }

  async #release(deadlineMs = Infinity): Promise<Error | null> {
    this.#supervisor.runtime.health.remove(this.name);
    const instance = this.#instance;
    this.#instance = null;
    if (instance === null) return null;
    return this.#inTime(deadlineMs, async (signal) => {
      await this.#options.stop?.(instance.value, { signal });
      await this.#running;
    });
  }

  /** What a part of the stop threw, or that it was late; null where neither. */
  async #inTime(deadlineMs: number, act: (signal: AbortSignal) => Promise<void>): Promise<Error | null> {
    const timeoutMs = Math.min(this.#options.stopTimeoutMs ?? STOP_TIMEOUT_MS, deadlineMs);
    const late = () => new RuntimeError('RUN_SERVICE_STOP_TIMEOUT', { service: this.name, timeoutMs });
    try {
      await within(this.#supervisor.clock, timeoutMs, late, act);
      return null;
    } catch (error) {
      this.#supervisor.runtime.log.error({ service: this.name, err: error }, 'a service did not stop cleanly');
      return error instanceof Error ? error : new Error(String(error));
    }
  }
}
