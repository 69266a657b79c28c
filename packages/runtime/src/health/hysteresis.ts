import type { HealthStatus } from './check.ts';

/** One bad look is no illness, and one good one no recovery: several in a row are. In between it is degraded. */
export class Hysteresis {
  readonly #unhealthyAfter: number;
  readonly #healthyAfter: number;
  #status: HealthStatus | null = null;
  #failures = 0;
  #successes = 0;

  constructor(unhealthyAfter: number, healthyAfter: number) {
    this.#unhealthyAfter = unhealthyAfter;
    this.#healthyAfter = healthyAfter;
  }

  /** The first look decides alone: there is nothing yet that it could be weighed against. */
  next(seen: HealthStatus): HealthStatus {
    this.#failures = seen === 'unhealthy' ? this.#failures + 1 : 0;
    this.#successes = seen === 'healthy' ? this.#successes + 1 : 0;
    this.#status = this.#status === null ? seen : this.#after(seen, this.#status);
    return this.#status;
  }

  #after(seen: HealthStatus, before: HealthStatus): HealthStatus {
    if (seen === 'unhealthy')
      return before === 'unhealthy' || this.#failures >= this.#unhealthyAfter ? 'unhealthy' : 'degraded';
    if (seen === 'healthy') {
      if (this.#successes >= this.#healthyAfter || before === 'healthy') return 'healthy';
      return before === 'unhealthy' ? 'unhealthy' : 'degraded';
    }
    return 'degraded';
  }
}
