const counting = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

export function showCount(count: number): string {
  return counting.format(count);
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${showCount(count)} ${count === 1 ? one : many}`;
}

const SIZES = ['B', 'kB', 'MB', 'GB', 'TB'] as const;

export function showBytes(bytes: number): string {
  const power = Math.min(SIZES.length - 1, Math.floor(Math.log10(Math.max(bytes, 1)) / 3));
  const size = bytes / 1000 ** power;
  return `${power > 0 && size < 100 ? size.toFixed(1) : Math.round(size)} ${SIZES[power] ?? 'B'}`;
}

/** A length of time as people read it: `40 ms`, `1.2 s`, `2 min 5 s`, `3 h 10 min`, `2 d 4 h`. */
export function showDuration(ms: number): string {
  const whole = Math.max(0, ms);
  if (whole < 1_000) return `${Math.round(whole)} ms`;
  if (whole < 9_950) return `${(whole / 1_000).toFixed(1).replace('.0', '')} s`;
  const seconds = Math.round(whole / 1_000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return pair(seconds, 60, 'min', 's');
  if (seconds < 86_400) return pair(Math.round(seconds / 60), 60, 'h', 'min');
  return pair(Math.round(seconds / 3_600), 24, 'd', 'h');
}

function pair(amount: number, base: number, large: string, small: string): string {
  const rest = amount % base;
  return `${showCount(Math.floor(amount / base))} ${large}${rest === 0 ? '' : ` ${rest} ${small}`}`;
}

/** An amount of a progress unit; bytes get their sizes. */
export function showAmount(amount: number, unit: string): string {
  return unit === 'bytes' ? showBytes(amount) : `${showCount(amount)} ${unit}`;
}

export function showPercent(fraction: number): string {
  // Rounded down: 100 % is said when it is done, not before.
  return `${Math.floor(Math.min(1, Math.max(0, fraction)) * 100)} %`;
}

/** The local time of a moment, to the second. */
export function showTime(ms: number): string {
  const time = new Date(ms);
  const two = (part: number) => String(part).padStart(2, '0');
  const day = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  return `${day} ${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
}
