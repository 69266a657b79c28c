const UNITS_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/**
 * A length of time as authors write it: a number is milliseconds, a text carries its unit.
 *
 * @example
 * ```ts
 * const deadline: Duration = '5s';
 * ```
 */
export type Duration = number | `${number}${keyof typeof UNITS_MS}`;

export const DURATION_PATTERN = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;

/**
 * The milliseconds of a duration, rounded to whole ones. Throws a RangeError for what is not a duration; a validated plan has none of these.
 *
 * @example
 * ```ts
 * parseDuration('1.5s'); // 1500
 * ```
 */
export function parseDuration(duration: Duration): number {
  if (typeof duration === 'number') {
    if (Number.isFinite(duration) && duration >= 0) return Math.round(duration);
  } else {
    const [, amount, unit] = DURATION_PATTERN.exec(duration) ?? [];
    if (amount !== undefined) return Math.round(Number(amount) * UNITS_MS[unit as keyof typeof UNITS_MS]);
  }
  throw new RangeError(`${JSON.stringify(duration)} is not a duration such as "5s", "250ms" or 5000`);
}

/**
 * A duration in the form that authors write, in the largest unit that keeps it whole.
 *
 * @example
 * ```ts
 * formatDuration(90_000); // '90s'
 * ```
 */
export function formatDuration(ms: number): string {
  const whole = Math.round(ms);
  for (const unit of ['d', 'h', 'm', 's'] as const) {
    if (whole >= UNITS_MS[unit] && whole % UNITS_MS[unit] === 0) return `${whole / UNITS_MS[unit]}${unit}`;
  }
  return `${whole}ms`;
}
