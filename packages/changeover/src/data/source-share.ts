/** One slow answer may be an accident; the second one in a row is not. */
const SLOW_ANSWERS = 2;
const BACK_OFF = 0.5;
const GROWTH = 0.1;
/** Less than this would never end. */
const LEAST = 0.02;

/**
 * How much of what we could read we do read, from 0 to 1: halved while the source is slower than its limit, and given back step by step while it
 * is not (additive increase, multiplicative decrease, as TCP does: RFC 5681).
 */
export class SourceShare {
  readonly limitMs: number;
  #value = 1;
  #slow = 0;
  #lastMs = 0;

  constructor(limitMs: number) {
    this.limitMs = limitMs;
  }

  get value(): number {
    return this.#value;
  }

  /** The latency that was measured last. */
  get lastMs(): number {
    return this.#lastMs;
  }

  take(latencyMs: number): void {
    this.#lastMs = latencyMs;
    this.#slow = latencyMs > this.limitMs ? this.#slow + 1 : 0;
    if (this.#slow === 0) this.#value = Math.min(1, this.#value + GROWTH);
    else if (this.#slow >= SLOW_ANSWERS) this.#value = Math.max(LEAST, this.#value * BACK_OFF);
  }
}
