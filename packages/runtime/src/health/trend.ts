/** One look at something over time. */
export interface Point {
  readonly atMs: number;
  readonly value: number;
}

/** Fewer points say nothing about where it goes. */
const MIN_POINTS = 5;

/**
 * The line of least squares through the points: where it stands now and how it moves.
 *
 * @returns null with too few points, or with points of one moment.
 */
function trendOf(points: readonly Point[]): { readonly perMs: number; at(ms: number): number } | null {
  if (points.length < MIN_POINTS) return null;
  const meanAt = points.reduce((sum, { atMs }) => sum + atMs, 0) / points.length;
  const meanValue = points.reduce((sum, { value }) => sum + value, 0) / points.length;
  let across = 0;
  let along = 0;
  for (const { atMs, value } of points) {
    across += (atMs - meanAt) * (value - meanValue);
    along += (atMs - meanAt) ** 2;
  }
  if (along === 0) return null;
  const perMs = across / along;
  return { perMs, at: (ms) => meanValue + perMs * (ms - meanAt) };
}

/** Milliseconds from `nowMs` until the line reaches `limit`; null where it does not go there. */
export function timeUntil(points: readonly Point[], limit: number, nowMs: number): number | null {
  const trend = trendOf(points);
  if (trend === null || trend.perMs <= 0) return null;
  const now = trend.at(nowMs);
  return now >= limit ? 0 : (limit - now) / trend.perMs;
}
