import { SYSTEM_CLOCK, type Clock } from '../observe/clock.ts';

export interface AdaptiveLimitOptions {
  /** Default 20. */
  readonly initial?: number;
  /** Default 4. */
  readonly min?: number;
  /** Default 1000. */
  readonly max?: number;
  /** How much slower than usual is still fine. Default 1.5. */
  readonly tolerance?: number;
  readonly clock?: Clock;
}

/** Looks over which the usual time is averaged. */
const LONG_WINDOW = 600;
/** Samples that are looked at together: one slow answer says nothing. */
const SHORT_WINDOW = 10;
const SMOOTHING = 0.2;

/**
 * How many requests may be under way at a time, found by their times: where they grow, the limit falls; where they do not, it rises. After
 * Netflix's Gradient2 (https://github.com/Netflix/concurrency-limits).
 *
 * @example
 * const admitted = limit.acquire();
 * if (admitted === null) return refuse();
 * try { await answer(); } finally { admitted.release(); }
 */
export class AdaptiveLimit {
  readonly #min: number;
  readonly #max: number;
  readonly #tolerance: number;
  readonly #clock: Clock;
  #limit: number;
  #inFlight = 0;
  #mostInFlight = 0;
  #long: number | null = null;
  #looks = 0;
  #short: number[] = [];

  constructor(options: AdaptiveLimitOptions = {}) {
    const { initial = 20, min = 4, max = 1000, tolerance = 1.5, clock = SYSTEM_CLOCK } = options;
    this.#limit = initial;
    this.#min = min;
    this.#max = max;
    this.#tolerance = tolerance;
    this.#clock = clock;
  }

  get limit(): number {
    return Math.floor(this.#limit);
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Null where the limit is reached. `release(false)`: its time says nothing, since it failed at once or waited for a client. */
  acquire(): { release(counts?: boolean): void } | null {
    if (this.#inFlight >= this.limit) return null;
    this.#inFlight += 1;
    this.#mostInFlight = Math.max(this.#mostInFlight, this.#inFlight);
    const startedMs = this.#clock.now();
    let isOpen = true;
    return {
      release: (counts = true) => {
        if (!isOpen) return;
        isOpen = false;
        this.#inFlight -= 1;
        if (counts) this.#sample(this.#clock.now() - startedMs);
      },
    };
  }

  #sample(tookMs: number): void {
    this.#short.push(Math.max(tookMs, 0.01));
    if (this.#short.length < SHORT_WINDOW) return;
    const short = this.#short.reduce((sum, one) => sum + one, 0) / this.#short.length;
    this.#short = [];
    this.#looks = Math.min(this.#looks + 1, LONG_WINDOW);
    this.#long = this.#long === null ? short : this.#long + (short - this.#long) / this.#looks;
    // After a long bad time the usual time has grown; it comes down faster than the window would let it.
    if (this.#long > short * 2) this.#long *= 0.95;
    const most = this.#mostInFlight;
    this.#mostInFlight = this.#inFlight;
    // Few requests say nothing about how many there could be.
    if (most < this.#limit / 2) return;
    const gradient = Math.min(1, Math.max(0.5, (this.#tolerance * this.#long) / short));
    const next = this.#limit * gradient + Math.sqrt(this.#limit);
    const smoothed = this.#limit * (1 - SMOOTHING) + next * SMOOTHING;
    this.#limit = Math.min(this.#max, Math.max(this.#min, smoothed));
  }
}
