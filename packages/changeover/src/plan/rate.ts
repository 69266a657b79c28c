import { ChangeoverError } from '../errors.ts';

const UNITS = { rows: 1, B: 1, kB: 1_000, MB: 1_000_000, GB: 1_000_000_000 } as const;

/** How much may be read in a second, as authors write it: `20MB`, `20MB/s`, `5000rows`. */
export type Rate = `${number}${keyof typeof UNITS}${'' | '/s'}`;

export const RATE_PATTERN = /^(\d+(?:\.\d+)?)(rows|B|kB|MB|GB)(?:\/s)?$/;

/** A rate as a number of one unit. */
export interface Speed {
  readonly perSecond: number;
  readonly unit: 'rows' | 'bytes';
}

/**
 * Throws `CHG_PLAN_RATE` for what is not a rate above zero.
 *
 * @example
 * ```ts
 * parseRate('20MB/s'); // { perSecond: 20_000_000, unit: 'bytes' }
 * ```
 */
export function parseRate(text: string): Speed {
  const [, amount, unit] = RATE_PATTERN.exec(text) ?? [];
  const perSecond = Number(amount) * UNITS[unit as keyof typeof UNITS];
  if (!(perSecond > 0)) throw new ChangeoverError('CHG_PLAN_RATE', { rate: text });
  return { perSecond, unit: unit === 'rows' ? 'rows' : 'bytes' };
}
