import { parseDuration, type Duration } from '../plan/duration.ts';
import type { Context } from '../plan/context.ts';
import type { Verdict } from '../plan/words.ts';

/** No data is never PASS: a verdict that rests on nothing says so instead. */
export function neverFromNothing(verdict: Verdict): Verdict {
  return verdict.outcome === 'PASS' && verdict.measured === 0
    ? { ...verdict, outcome: 'INCONCLUSIVE', evidence: `nothing was compared: ${verdict.evidence}` }
    : verdict;
}

export function inconclusive(check: string, evidence: string): Verdict {
  return { check, outcome: 'INCONCLUSIVE', evidence, measured: 0 };
}

/** What an error says, with what led to it. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error && typeof error.code === 'string' ? `${error.code}: ` : '';
  const message = error.message === '' ? error.name : error.message;
  return error.cause === undefined ? `${code}${message}` : `${code}${message} (${reasonOf(error.cause)})`;
}

/**
 * Does a reading that may take too long or be impossible. Either is INCONCLUSIVE, with the reason; only an aborted run is thrown on,
 * because it says nothing about the system.
 */
export async function attempt(
  check: string,
  ctx: Context,
  timeout: Duration | undefined,
  read: (ctx: Context) => Promise<Verdict[]>,
): Promise<Verdict[]> {
  const limitMs = timeout === undefined ? null : parseDuration(timeout);
  const limit = limitMs === null ? null : AbortSignal.timeout(limitMs);
  const signal = limit === null ? ctx.signal : AbortSignal.any([ctx.signal, limit]);
  try {
    return await untilAborted(read({ ...ctx, signal }), signal);
  } catch (error) {
    ctx.signal.throwIfAborted();
    return [inconclusive(check, limit?.aborted ? `no answer within ${String(limitMs)} ms` : reasonOf(error))];
  }
}

// A reader that does not look at its signal must not hold up the run.
function untilAborted<Value>(reading: Promise<Value>, signal: AbortSignal): Promise<Value> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      reject(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
    };
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    reading.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', abort);
    });
  });
}
