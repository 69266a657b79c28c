import type { Clock } from '../plan/context.ts';

/** Half of the time so far is looked at; older points are thinned out beyond so many. */
const MAX_POINTS = 200;
/** Before that much was seen, a rate says nothing: threads, caches and the sizes of batches are still finding their pace. */
const MIN_OBSERVED_MS = 2_000;
/** Fractions of the work at which the estimate is kept, to be judged at the end. */
const JUDGED_AT = [0.1, 0.5, 0.9] as const;

/** How far an estimate was off: `off` is 0.1 where the whole was said to take a tenth longer than it did. */
export interface Judgement {
  readonly at: number;
  readonly off: number;
}

/**
 * Time left by the rate of the later half of the time so far: the start, with its connections and cold caches, is soon forgotten, and a rate
 * that changed counts in full after as long again. It says at the end how far it was off.
 */
export class TimeLeft {
  readonly #clock: Clock;
  readonly #startMs: number;
  readonly #from: number;
  #points: { readonly atMs: number; readonly fraction: number }[];
  readonly #said: { readonly at: number; readonly totalMs: number }[] = [];

  /** @param from Fraction of the work that was done before. */
  constructor(clock: Clock, from = 0) {
    this.#clock = clock;
    this.#startMs = clock.monotonicMs();
    this.#from = from;
    this.#points = [{ atMs: this.#startMs, fraction: from }];
  }

  /** In milliseconds; null until it can be estimated. */
  at(fraction: number): number | null {
    const nowMs = this.#clock.monotonicMs();
    const elapsedMs = nowMs - this.#startMs;
    this.#points.push({ atMs: nowMs, fraction });
    if (this.#points.length > MAX_POINTS) this.#points = this.#points.filter((_, index) => index % 2 === 0);
    if (elapsedMs < MIN_OBSERVED_MS) return null;
    const since = this.#points.findLast(({ atMs }) => nowMs - atMs >= elapsedMs / 2);
    if (since === undefined || fraction <= since.fraction) return null;
    const leftMs = ((1 - fraction) * (nowMs - since.atMs)) / (fraction - since.fraction);
    for (const at of JUDGED_AT)
      if (this.#share(fraction) >= at && !this.#said.some((one) => one.at === at))
        this.#said.push({ at, totalMs: elapsedMs + leftMs });
    return leftMs;
  }

  /** When the work is done. Only what was long enough to be estimated is judged. */
  judge(): { readonly tookMs: number; readonly judgements: readonly Judgement[] } {
    const tookMs = this.#clock.monotonicMs() - this.#startMs;
    return { tookMs, judgements: this.#said.map(({ at, totalMs }) => ({ at, off: totalMs / tookMs - 1 })) };
  }

  #share(fraction: number): number {
    return (fraction - this.#from) / (1 - this.#from);
  }
}
