import { setTimeout as wait } from 'node:timers/promises';

/** Time, so that tests can make it pass. */
export interface Clock {
  /** Milliseconds that only ever grow. */
  now(): number;
  /** Rejects when `signal` aborts. Does not keep the process alive. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const SYSTEM_CLOCK: Clock = {
  now: () => performance.now(),
  sleep: (ms, signal) => wait(ms, undefined, { ref: false, ...(signal === undefined ? {} : { signal }) }),
};
