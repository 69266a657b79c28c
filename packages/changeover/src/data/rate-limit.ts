import type { Speed } from '../plan/rate.ts';

/** What was not used is kept for this long, so that a pause is not followed by a burst. */
const BURST_MS = 250;

/**
 * A token bucket that may go into debt: how large a piece of work is, is known after it was done. Then nothing more is done until the debt is
 * paid, so that over time the rate holds exactly, whatever the sizes of the pieces.
 */
export class RateLimit {
  readonly speed: Speed;
  #tokens = 0;
  #atMs: number;

  constructor(speed: Speed, nowMs: number) {
    this.speed = speed;
    this.#atMs = nowMs;
  }

  spend(rows: number, bytes: number, nowMs: number): void {
    this.#refill(nowMs);
    this.#tokens -= this.speed.unit === 'rows' ? rows : bytes;
  }

  /** Time until the debt is paid; 0 where there is none. */
  waitMs(nowMs: number): number {
    this.#refill(nowMs);
    return this.#tokens >= 0 ? 0 : (-this.#tokens / this.speed.perSecond) * 1000;
  }

  #refill(nowMs: number): void {
    const earned = ((nowMs - this.#atMs) / 1000) * this.speed.perSecond;
    this.#tokens = Math.min(this.#tokens + earned, (this.speed.perSecond * BURST_MS) / 1000);
    this.#atMs = nowMs;
  }
}
