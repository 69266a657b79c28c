import type { Context, Progress } from '../plan/context.ts';
import { telling } from './progress.ts';
import { TimeLeft, type Judgement } from './time-left.ts';

/** A copy that took less has nothing to say about its estimates. */
const MIN_JUDGED_MS = 5_000;

/** One table before its copy: rows counted, bytes estimated. */
export interface TableSize {
  readonly rows: number;
  /** Null where the store cannot tell. */
  readonly bytes: number | null;
  /** What one row costs besides its bytes, in bytes. */
  readonly rowCost: number;
}

/**
 * The copy of several tables, as one piece of work of which each table has its share: a row costs something and each of its bytes does, so a
 * table whose last rows are the largest is not nearly done when most of its rows are.
 */
export class CopyMeter {
  readonly #ctx: Context;
  readonly #total: number;
  readonly #part: { readonly start: number; readonly share: number };
  #before = 0;
  #rows = 0;
  #bytes = 0;
  /** What was done when the first thing was told. */
  #from: number | null = null;
  #isMoving = false;
  #left: TimeLeft;

  /** @param part Of the step, from 0 to 1. */
  constructor(ctx: Context, sizes: readonly TableSize[], part: { readonly start: number; readonly share: number }) {
    this.#ctx = ctx;
    this.#total = Math.max(
      1,
      sizes.reduce((sum, size) => sum + workOf(size), 0),
    );
    this.#part = part;
    this.#left = new TimeLeft(ctx.clock);
  }

  /** The context under which the next table tells its rows and bytes. */
  table(size: TableSize): Context {
    const start = this.#before;
    const work = workOf(size);
    this.#before += work;
    const sums = { rows: 0, bytes: 0 };
    return telling(this.#ctx, (progress) => {
      const done = progress.done;
      const bytes = progress.bytes?.done ?? 0;
      this.#rows += done - sums.rows;
      this.#bytes += bytes - sums.bytes;
      Object.assign(sums, { rows: done, bytes });
      const now = workOf({ ...size, rows: done, bytes: size.bytes === null ? null : bytes });
      const own = work === 0 ? 1 : Math.min(1, now / work);
      return this.#told(progress, size, (start + work * own) / this.#total);
    });
  }

  /** What was copied and how far the estimates were off; null where it was too short to say. */
  summary(): string | null {
    const { tookMs, judgements } = this.#left.judge();
    if (tookMs < MIN_JUDGED_MS || judgements.length === 0) return null;
    const amounts = `${this.#rows} rows, ${(this.#bytes / 1_000_000).toFixed(1)} MB in ${(tookMs / 1000).toFixed(1)} s`;
    return `copied ${amounts}; the time left was off by ${judgements.map(judged).join(', ')}`;
  }

  judge(): readonly Judgement[] {
    return this.#left.judge().judgements;
  }

  #told(progress: Progress, size: TableSize, fraction: number): Progress {
    // What an earlier process copied is told in one piece, and threads and connections take their time to start: neither says anything of the rate.
    this.#from ??= fraction;
    if (!this.#isMoving) this.#left = new TimeLeft(this.#ctx.clock, fraction);
    this.#isMoving ||= fraction > this.#from;
    const bytes = progress.bytes?.done;
    return {
      ...progress,
      part: this.#part,
      fraction,
      leftMs: this.#left.at(fraction),
      ...(bytes === undefined
        ? {}
        : { bytes: { done: bytes, total: size.bytes === null ? null : Math.max(size.bytes, bytes) } }),
    };
  }
}

function workOf({ rows, bytes, rowCost }: TableSize): number {
  return rows * rowCost + (bytes ?? 0);
}

function judged({ at, off }: Judgement): string {
  return `${off < 0 ? '−' : '+'}${Math.round(Math.abs(off) * 100)} % at ${at * 100} %`;
}
