import { monitorEventLoopDelay } from 'node:perf_hooks';
import { RuntimeError } from '../errors.ts';
import { passes, SYSTEM_CLOCK, type Clock } from '../observe/clock.ts';
import { Events } from '../observe/events.ts';
import type { Metrics } from '../observe/metrics.ts';
import { DEFAULTS, look, type CheckOptions, type HealthStatus, type Look } from './check.ts';
import { Hysteresis } from './hysteresis.ts';
import { scoreOf, type Factor, type Score } from './score.ts';
import { timeUntil, type Point } from './trend.ts';

const KEPT_POINTS = 60;
/** How far ahead a trend is believed. */
const HORIZON_MS = 10 * 60_000;
/** A check that takes this share of its timeout is on its way to fail. */
const SLOW_SHARE = 0.8;
/** A loop that is late by more than this answers nobody in time. */
const LATE_LOOP_MS = 100;
const NS_PER_MS = 1e6;

/** The last look at one part. */
export interface HealthOf {
  readonly name: string;
  /** After hysteresis. */
  readonly status: HealthStatus;
  readonly isCritical: boolean;
  readonly reason: string | null;
  readonly details: Readonly<Record<string, unknown>>;
  readonly needs: readonly string[];
  readonly tookMs: number;
  /** Milliseconds since the Unix epoch; null before the first look. */
  readonly checkedAt: number | null;
  readonly failures: number;
  readonly looks: number;
}

export interface Prediction {
  readonly name: string;
  /** In a sentence. */
  readonly message: string;
  /** Milliseconds until it is expected. */
  readonly inMs: number;
}

interface HealthEvents {
  readonly changed: {
    readonly name: string;
    readonly from: HealthStatus | null;
    readonly to: HealthStatus;
    readonly reason: string | null;
  };
}

interface Part {
  readonly options: CheckOptions;
  readonly hysteresis: Hysteresis;
  readonly stop: AbortController;
  readonly times: Point[];
  status: HealthStatus | null;
  last: Look | null;
  checkedAt: number | null;
  failures: number;
  looks: number;
}

/**
 * Health of all parts, looked at in the background and kept: an answer costs no check. What it predicts never decides whether the process
 * is alive.
 *
 * @example
 * const health = new HealthMonitor();
 * health.add('database', { check: () => pool.ping() });
 * health.overall();
 */
export class HealthMonitor {
  readonly events: Events<HealthEvents>;
  readonly #clock: Clock;
  readonly #metrics: Metrics | null;
  readonly #parts = new Map<string, Part>();
  readonly #loop = monitorEventLoopDelay({ resolution: 20 });

  constructor(
    options: { readonly clock?: Clock; readonly metrics?: Metrics; readonly onFailure?: (error: unknown) => void } = {},
  ) {
    this.#clock = options.clock ?? SYSTEM_CLOCK;
    this.#metrics = options.metrics ?? null;
    this.events = new Events(options.onFailure ?? rethrow);
    this.#loop.enable();
  }

  /** Looks at once, and then at intervals, until `remove`. Resolves with the first look. */
  async add(name: string, options: CheckOptions): Promise<HealthStatus> {
    this.remove(name);
    const { unhealthyAfter = DEFAULTS.unhealthyAfter, healthyAfter = DEFAULTS.healthyAfter } = options;
    const part: Part = {
      options,
      hysteresis: new Hysteresis(unhealthyAfter, healthyAfter),
      stop: new AbortController(),
      times: [],
      status: null,
      last: null,
      checkedAt: null,
      failures: 0,
      looks: 0,
    };
    this.#parts.set(name, part);
    const first = await this.#look(name, part);
    void this.#repeat(name, part);
    return first;
  }

  remove(name: string): void {
    this.#parts.get(name)?.stop.abort();
    this.#parts.delete(name);
  }

  /** Ends all looking. */
  stop(): void {
    for (const name of [...this.#parts.keys()]) this.remove(name);
    this.#loop.disable();
  }

  /** @throws RuntimeError RUN_SERVICE_UNKNOWN. */
  of(name: string): HealthOf {
    const part = this.#parts.get(name);
    if (part === undefined)
      throw new RuntimeError('RUN_SERVICE_UNKNOWN', {
        service: name,
        known: [...this.#parts.keys()].join(', ') || 'none',
      });
    return {
      name,
      status: part.status ?? 'unhealthy',
      isCritical: part.options.critical ?? true,
      reason: part.last === null ? 'not looked at yet' : part.last.reason,
      details: part.last?.details ?? {},
      needs: part.options.needs ?? [],
      tookMs: part.last?.tookMs ?? 0,
      checkedAt: part.checkedAt,
      failures: part.failures,
      looks: part.looks,
    };
  }

  all(): HealthOf[] {
    return [...this.#parts.keys()].map((name) => this.of(name));
  }

  /** Unhealthy where something critical is; degraded where anything is not healthy; else healthy. */
  overall(): HealthStatus {
    const all = this.all();
    if (all.some(({ isCritical, status }) => isCritical && status === 'unhealthy')) return 'unhealthy';
    return all.every(({ status }) => status === 'healthy') ? 'healthy' : 'degraded';
  }

  /** From 0 to 1, with what lowers it. */
  score(): Score {
    const factors: Factor[] = this.all().map(({ name, status, isCritical, reason }) => ({
      name,
      factor: FACTORS[status][isCritical ? 'critical' : 'optional'],
      because: `${name} is ${status}${reason === null ? '' : `: ${reason}`}`,
    }));
    const lateMs = this.#loop.percentile(99) / NS_PER_MS;
    factors.push({
      name: 'event loop',
      factor: lateMs > LATE_LOOP_MS ? LATE_LOOP_MS / lateMs : 1,
      because: `one in a hundred turns of the event loop is ${Math.round(lateMs)} ms late`,
    });
    return scoreOf(factors);
  }

  /** What goes the wrong way: checks whose time grows towards their timeout. */
  predictions(): Prediction[] {
    return [...this.#parts].flatMap(([name, { options, times }]) => {
      const timeoutMs = options.timeoutMs ?? DEFAULTS.timeoutMs;
      const inMs = timeUntil(times, timeoutMs * SLOW_SHARE, this.#clock.now());
      if (inMs === null || inMs > HORIZON_MS) return [];
      const seconds = Math.round(inMs / 1000);
      return [
        {
          name,
          message: `the check of ${name} takes longer and longer: it reaches ${timeoutMs} ms in about ${seconds} s`,
          inMs,
        },
      ];
    });
  }

  async #repeat(name: string, part: Part): Promise<void> {
    const { intervalMs = DEFAULTS.intervalMs } = part.options;
    while (await passes(this.#clock, intervalMs, part.stop.signal)) await this.#look(name, part);
  }

  async #look(name: string, part: Part): Promise<HealthStatus> {
    const seen = await look(name, part.options, this.#clock);
    const before = part.status;
    const status = part.hysteresis.next(seen.status);
    if (part.stop.signal.aborted) return status;
    Object.assign(part, { last: seen, status, checkedAt: Date.now() });
    part.looks += 1;
    if (seen.status === 'unhealthy') part.failures += 1;
    part.times.push({ atMs: this.#clock.now(), value: seen.tookMs });
    if (part.times.length > KEPT_POINTS) part.times.shift();
    this.#metrics?.gauge('service_health', '1 healthy, 0.5 degraded, 0 unhealthy', { service: name }, LEVEL[status]);
    this.#metrics?.time('health_check_seconds', 'Time of a health check', { service: name }, seen.tookMs / 1000);
    if (status !== before) this.events.emit('changed', { name, from: before, to: status, reason: seen.reason });
    return status;
  }
}

const LEVEL = { healthy: 1, degraded: 0.5, unhealthy: 0 } as const;
const FACTORS = {
  healthy: { critical: 1, optional: 1 },
  degraded: { critical: 0.7, optional: 0.9 },
  unhealthy: { critical: 0, optional: 0.7 },
} as const;

function rethrow(error: unknown): never {
  throw error;
}
