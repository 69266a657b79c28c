/** How a service that failed is started again. */
export interface RestartPolicy {
  /** Before the first restart; doubled each time. Default 200. */
  readonly backoffMs: number;
  /** Default 30,000. */
  readonly maxBackoffMs: number;
  /** Restarts within the window; one more is too many. Default 5; 0 is never. */
  readonly limit: number;
  /** Default 60,000. */
  readonly windowMs: number;
  /** How long an optional service with too many restarts rests before it is tried again. Default 60,000. */
  readonly cooldownMs: number;
}

export const RESTART: RestartPolicy = {
  backoffMs: 200,
  maxBackoffMs: 30_000,
  limit: 5,
  windowMs: 60_000,
  cooldownMs: 60_000,
};

/** Counts the restarts of one service over a sliding window: a start that succeeds does not wipe out what was before. */
export class Restarts {
  readonly #policy: RestartPolicy;
  readonly #random: () => number;
  #atMs: number[] = [];

  constructor(policy: RestartPolicy, random: () => number = Math.random) {
    this.#policy = policy;
    this.#random = random;
  }

  get policy(): RestartPolicy {
    return this.#policy;
  }

  /** Milliseconds to wait before the next restart, which counts; null where it would be one too many. */
  next(nowMs: number): number | null {
    const { backoffMs, maxBackoffMs, limit, windowMs } = this.#policy;
    this.#atMs = this.#atMs.filter((at) => nowMs - at < windowMs);
    if (this.#atMs.length >= limit) return null;
    const most = Math.min(maxBackoffMs, backoffMs * 2 ** this.#atMs.length);
    this.#atMs.push(nowMs);
    // Between half and all of it: many that failed at once do not come back at once.
    return most / 2 + (this.#random() * most) / 2;
  }

  /** After a rest the window begins anew. */
  forget(): void {
    this.#atMs = [];
  }
}
