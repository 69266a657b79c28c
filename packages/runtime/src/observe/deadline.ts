import type { Clock } from './clock.ts';

/** What `act` returned in time, or the failure that `late` makes. The signal that `act` is given aborts at the deadline. */
export async function within<T>(
  clock: Clock,
  timeoutMs: number,
  late: () => Error,
  act: (signal: AbortSignal) => T | Promise<T>,
): Promise<T> {
  const over = new AbortController();
  const ended = new AbortController();
  const timer = clock.sleep(timeoutMs, ended.signal).then(
    () => {
      const error = late();
      over.abort(error);
      throw error;
    },
    () => new Promise<never>(() => undefined),
  );
  try {
    return await Promise.race([act(over.signal), timer]);
  } finally {
    ended.abort();
  }
}
