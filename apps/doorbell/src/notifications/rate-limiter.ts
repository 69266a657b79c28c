import type { Settings } from '../settings.ts';

const MS_PER_SECOND = 1000;
const BURST_WINDOW_MS = 10_000;
const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;

/** Limits how many messages of one kind leave in ten seconds, a minute and an hour; a kind that meets a limit is quiet for a while. */
export class RateLimiter {
  readonly #limits: Settings['notifications']['rate_limiting'];
  readonly #clock: () => number;
  readonly #sent = new Map<string, number[]>();
  readonly #quietUntil = new Map<string, number>();

  constructor(limits: Settings['notifications']['rate_limiting'], clock: () => number = () => performance.now()) {
    this.#limits = limits;
    this.#clock = clock;
  }

  /** Counts one message of `key`; false where it is one too many. */
  admit(key: string): boolean {
    if (!this.#limits.enabled) return true;
    const now = this.#clock();
    if (now < (this.#quietUntil.get(key) ?? 0)) return false;
    const sent = (this.#sent.get(key) ?? []).filter((at) => now - at < HOUR_MS);
    const within = (window: number) => sent.filter((at) => now - at < window).length;
    const admitted =
      within(BURST_WINDOW_MS) < this.#limits.burst_allowance &&
      within(MINUTE_MS) < this.#limits.max_per_minute &&
      sent.length < this.#limits.max_per_hour;
    if (admitted) sent.push(now);
    else this.#quietUntil.set(key, now + this.#limits.cooldown_period * MS_PER_SECOND);
    this.#sent.set(key, sent);
    return admitted;
  }
}
