import type { Duration } from '../plan/duration.ts';
import type { Check } from '../plan/ports.ts';
import { attempt, inconclusive, neverFromNothing } from './verdict.ts';

export interface ReadingOptions {
  /** Longest time that the reading may take; after it the verdict is INCONCLUSIVE. Default: as long as it needs. */
  readonly timeout?: Duration;
}

/**
 * Compares how many rows and files each table and folder has on both sides, and the keys that changed since the last full comparison.
 * A plan without data, and a table without rows, is INCONCLUSIVE.
 *
 * @example
 * ```ts
 * const checks = [counts()];
 * ```
 */
export function counts(options: ReadingOptions = {}): Check {
  return reading('counts', 'changed', options);
}

/**
 * Compares every row of every table, and every file, on both sides by its hash. Reads both sides whole, so it takes as long as that.
 * A plan without data, and a table without rows, is INCONCLUSIVE.
 *
 * @example
 * ```ts
 * const checks = [rows({ timeout: '10m' })];
 * ```
 */
export function rows(options: ReadingOptions = {}): Check {
  return reading('rows', 'full', options);
}

function reading(name: string, scope: 'full' | 'changed', { timeout }: ReadingOptions): Check {
  return {
    name,
    spec: { check: name, timeout: timeout ?? null },
    run: (ctx, { data, direction }) =>
      attempt(name, ctx, timeout, async (limited) => {
        const verdicts = await data.verify(limited, direction, scope);
        return verdicts.length === 0 ? [inconclusive(name, 'the plan moves no data')] : verdicts.map(neverFromNothing);
      }),
  };
}
