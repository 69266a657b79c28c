import { setTimeout as wait } from 'node:timers/promises';

/** Time, so that tests can make it pass. */
export interface Clock {
  /** Milliseconds that only ever grow. */
  now(): number;
  /** Rejects when `signal` aborts. Does not keep the process alive. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Sleeps, and says whether the whole time has passed: false where `signal` aborted before. */
export async function passes(clock: Clock, ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await clock.sleep(ms, signal);
    return !signal.aborted;
  } catch (error) {
    if (signal.aborted) return false;
    throw error;
  }
}

export const SYSTEM_CLOCK: Clock = {
  now: () => performance.now(),
  sleep: (ms, signal) => wait(ms, undefined, { ref: false, ...(signal === undefined ? {} : { signal }) }),
};
