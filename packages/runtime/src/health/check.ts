import { RuntimeError, reasonOf } from '../errors.ts';
import type { Clock } from '../observe/clock.ts';
import { within } from '../observe/deadline.ts';

export type HealthStatus = 'healthy' | 'degraded' | 'unhealthy';

/** What a check says. */
export interface HealthReport {
  readonly status: HealthStatus;
  /** Why, in a sentence; told where it is not healthy. */
  readonly reason?: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

export interface CheckOptions {
  /**
   * Throws, or says what it sees: a `HealthReport`, or `false` for unhealthy. Anything else, such as nothing, is healthy. It should heed the
   * signal, which aborts at the timeout.
   */
  check(context: { readonly signal: AbortSignal }): unknown;
  /** Default 10,000. */
  readonly intervalMs?: number;
  /** Default 5,000. */
  readonly timeoutMs?: number;
  /** Failures in a row before it counts as unhealthy; until then it is degraded. Default 3. */
  readonly unhealthyAfter?: number;
  /** Successes in a row before it counts as healthy again. Default 2. */
  readonly healthyAfter?: number;
  /** Whether the whole is not ready without it. Default true. */
  readonly critical?: boolean;
  /** Names of checks that it needs, shown with it. */
  readonly needs?: readonly string[];
}

/** One look, made. */
export interface Look {
  readonly status: HealthStatus;
  readonly reason: string | null;
  readonly details: Readonly<Record<string, unknown>>;
  readonly tookMs: number;
}

/** Makes one look: what throws, says no or takes too long is unhealthy, with the reason. */
export async function look(name: string, options: CheckOptions, clock: Clock): Promise<Look> {
  const timeoutMs = options.timeoutMs ?? DEFAULTS.timeoutMs;
  const startedMs = clock.now();
  const seen = (status: HealthStatus, reason: string | null, details: Look['details'] = {}): Look => ({
    status,
    reason,
    details,
    tookMs: clock.now() - startedMs,
  });
  const late = () => new RuntimeError('RUN_HEALTH_TIMEOUT', { service: name, timeoutMs });
  try {
    const report = await within(clock, timeoutMs, late, (signal) => options.check({ signal }));
    if (report === false) return seen('unhealthy', 'the check says no');
    if (!isReport(report)) return seen('healthy', null);
    return seen(report.status, report.reason ?? null, report.details);
  } catch (error) {
    return seen('unhealthy', reasonOf(error));
  }
}

function isReport(value: unknown): value is HealthReport {
  return typeof value === 'object' && value !== null && 'status' in value && typeof value.status === 'string';
}

export const DEFAULTS = { intervalMs: 10_000, timeoutMs: 5000, unhealthyAfter: 3, healthyAfter: 2 } as const;
