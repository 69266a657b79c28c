import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';

export interface QuotaOptions {
  /** Requests in each window. */
  readonly requests: number;
  /** Length of the window in milliseconds. */
  readonly perMs: number;
  /** How long a key that went over it is refused, in milliseconds. Default: until the window ends. */
  readonly blockMs?: number;
}

export interface QuotaAnswer {
  readonly isAllowed: boolean;
  readonly left: number;
  /** Milliseconds until the window ends. */
  readonly resetMs: number;
}

/** Requests of each key, such as an address or an account, in windows of time. In the memory of this process. */
export class Quota {
  readonly limit: number;
  readonly #limiter: RateLimiterMemory;

  constructor({ requests, perMs, blockMs = 0 }: QuotaOptions) {
    this.limit = requests;
    this.#limiter = new RateLimiterMemory({ points: requests, duration: perMs / 1000, blockDuration: blockMs / 1000 });
  }

  async consume(key: string): Promise<QuotaAnswer> {
    try {
      const { remainingPoints, msBeforeNext } = await this.#limiter.consume(key);
      return { isAllowed: true, left: remainingPoints, resetMs: msBeforeNext };
    } catch (refusal) {
      if (!(refusal instanceof RateLimiterRes)) throw refusal;
      return { isAllowed: false, left: 0, resetMs: refusal.msBeforeNext };
    }
  }
}
