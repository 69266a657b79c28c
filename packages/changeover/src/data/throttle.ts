import { availableParallelism } from 'node:os';
import type { Context, Pace, Progress } from '../plan/context.ts';
import type { Speed } from '../plan/rate.ts';
import type { ThrottleLimits } from '../plan/throttle.ts';
import { RateLimit } from './rate-limit.ts';
import { SourceShare } from './source-share.ts';

/** More threads than this are of no use to one table: the target's disk and log are the limit by then. */
export const MAX_LANES = Math.min(availableParallelism(), 4);
/** How often the source and the replicas are asked. */
const LOOK_EVERY_MS = 500;
/** A source that does not answer for so long is waited for, and that is told. */
const PATIENCE_MS = 2_000;
/** How often it is looked whether work may go on. */
const POLL_MS = 250;
const MAX_REST_MS = 5_000;

/** What the stores of one direction tell, asked anew each time. Each is named as messages call it. */
export interface Gauges {
  latencies(): Promise<readonly { readonly store: string; readonly ms: number }[]>;
  replicaLags(): Promise<readonly { readonly store: string; readonly ms: number }[]>;
}

interface Held {
  readonly why: string;
  readonly forMs: number;
}

/**
 * Holds bulk work back in favour of those who use the stores: by a rate, by the latency of the source, and by the lag of replicas. Whoever
 * works asks before each piece (`Pace`), and says afterwards what it read. One for each direction, for as long as the process works.
 */
export class Throttle {
  readonly #limits: ThrottleLimits;
  readonly #maxLanes: number;
  readonly #share: SourceShare;
  #rate: RateLimit | null = null;
  #speed: Speed | null;
  #looking: Promise<void> | null = null;
  #nextLookMs = -Infinity;
  #slowest = '';
  #lags: Awaited<ReturnType<Gauges['replicaLags']>> = [];
  /** When the piece began that is being worked on. */
  #begunMs: number | null = null;
  #restUntilMs = -Infinity;
  #held: string | null = null;

  constructor(limits: ThrottleLimits, maxLanes = MAX_LANES) {
    this.#limits = limits;
    this.#maxLanes = maxLanes;
    this.#speed = limits.maxRate;
    this.#share = new SourceShare(limits.sourceLatencyMs);
  }

  limitRate(speed: Speed): void {
    this.#speed = speed;
    this.#rate = null;
  }

  /**
   * The same context for work that is held back. While it is, its last progress is told again with the reason.
   *
   * @param maxWaitMs After that long `ready` resolves with false. Default: it waits for as long as it takes.
   */
  under(ctx: Context, gauges: Gauges, { maxWaitMs = Infinity } = {}): Context {
    let last: Progress = { what: 'waiting', done: 0, total: null, unit: 'rows' };
    const tell = () => {
      ctx.report.progress(this.#held === null ? last : { ...last, held: this.#held });
    };
    const progress = (told: Progress) => {
      last = told;
      tell();
    };
    const lanes = () => Math.max(1, Math.round(this.#share.value * this.#maxLanes));
    const pace: Pace = {
      isRated: this.#speed !== null,
      get lanes() {
        return lanes();
      },
      ready: (signal = ctx.signal) => this.#ready(ctx, gauges, { maxWaitMs, signal, tell }),
      spent: (rows, bytes) => {
        const nowMs = ctx.clock.monotonicMs();
        this.#rateAt(nowMs)?.spend(rows, bytes, nowMs);
        const debt = this.#debtAt(nowMs);
        if (debt !== null) this.#held = debt.why;
        return debt?.forMs ?? 0;
      },
    };
    // Inherited, because the epoch and the side are looked up anew each time.
    return Object.create(ctx, {
      report: { value: { ...ctx.report, progress }, enumerable: true },
      pace: { value: pace, enumerable: true },
    }) as Context;
  }

  async #ready(
    ctx: Context,
    gauges: Gauges,
    {
      maxWaitMs,
      signal,
      tell,
    }: { readonly maxWaitMs: number; readonly signal: AbortSignal; readonly tell: () => void },
  ): Promise<boolean> {
    const sinceMs = ctx.clock.monotonicMs();
    this.#rest(sinceMs);
    for (let isFirst = true; ; isFirst = false) {
      signal.throwIfAborted();
      const isAnswered = await this.#look(ctx, gauges);
      const nowMs = ctx.clock.monotonicMs();
      const held = this.#heldAt(nowMs, isAnswered);
      if (held === null) {
        // A rate holds back after every piece: the reason stays for as long as each piece has to wait.
        if (isFirst && this.#held !== null) {
          this.#held = null;
          tell();
        }
        this.#begunMs = nowMs;
        return true;
      }
      this.#held = held.why;
      tell();
      if (nowMs - sinceMs >= maxWaitMs) return false;
      await ctx.clock.sleep(Math.min(held.forMs, POLL_MS, Math.max(1, sinceMs + maxWaitMs - nowMs)), signal);
    }
  }

  /** Less than one thread of work: after each piece a rest, as long as it takes to make the share what it should be. */
  #rest(nowMs: number): void {
    const share = this.#share.value * this.#maxLanes;
    if (this.#begunMs === null || share >= 1) return;
    this.#restUntilMs = nowMs + Math.min(MAX_REST_MS, (nowMs - this.#begunMs) * (1 / share - 1));
    this.#begunMs = null;
  }

  #heldAt(nowMs: number, isAnswered: boolean): Held | null {
    const { replicaLagMs } = this.#limits;
    const lagging = this.#lags.find(({ ms }) => ms > replicaLagMs);
    if (lagging !== undefined)
      return {
        why: `the replica lag of ${lagging.store} (${seconds(lagging.ms)}, at most ${seconds(replicaLagMs)})`,
        forMs: POLL_MS,
      };
    if (!isAnswered) return { why: `the source, which does not answer`, forMs: POLL_MS };
    const { lastMs, limitMs } = this.#share;
    if (this.#restUntilMs > nowMs)
      return {
        why: `the latency of ${this.#slowest} (${Math.round(lastMs)} ms, at most ${limitMs} ms)`,
        forMs: this.#restUntilMs - nowMs,
      };
    return this.#debtAt(nowMs);
  }

  #debtAt(nowMs: number): Held | null {
    const rate = this.#rateAt(nowMs);
    const forMs = rate?.waitMs(nowMs) ?? 0;
    return rate === null || forMs === 0 ? null : { why: `the rate of at most ${rateText(rate.speed)}`, forMs };
  }

  #rateAt(nowMs: number): RateLimit | null {
    if (this.#speed !== null) this.#rate ??= new RateLimit(this.#speed, nowMs);
    return this.#rate;
  }

  /** False while the source has not answered yet; it is not asked a second time meanwhile. */
  async #look(ctx: Context, gauges: Gauges): Promise<boolean> {
    if (this.#looking === null && ctx.clock.monotonicMs() < this.#nextLookMs) return true;
    this.#looking ??= this.#ask(gauges).finally(() => {
      this.#looking = null;
      this.#nextLookMs = ctx.clock.monotonicMs() + LOOK_EVERY_MS;
    });
    const over = new AbortController();
    const late = ctx.clock.sleep(PATIENCE_MS, over.signal).then(
      () => false,
      // Only because the answer is there.
      () => true,
    );
    try {
      const isAnswered = await Promise.race([this.#looking.then(() => true), late]);
      if (!isAnswered) this.#share.take(PATIENCE_MS);
      return isAnswered;
    } finally {
      over.abort();
    }
  }

  async #ask(gauges: Gauges): Promise<void> {
    const [latencies, lags] = [await gauges.latencies(), await gauges.replicaLags()];
    this.#lags = lags;
    const slowest = latencies.toSorted((a, b) => b.ms - a.ms)[0];
    if (slowest === undefined) return;
    this.#slowest = slowest.store;
    this.#share.take(slowest.ms);
  }
}

function seconds(ms: number): string {
  return Number.isFinite(ms) ? `${Math.round(ms / 100) / 10} s` : 'stopped';
}

function rateText({ perSecond, unit }: Speed): string {
  return unit === 'rows' ? `${perSecond} rows/s` : `${perSecond / 1_000_000} MB/s`;
}
