import type { ChangeoverEvent } from '../plan/api.ts';
import type { Clock, Progress } from '../plan/context.ts';
import { STAGES, STAGE_WEIGHTS } from '../plan/words.ts';
import type { Stage } from '../plan/words.ts';
import type { Step } from './steps.ts';

const EMIT_EVERY_MS = 100;
const RECORD_EVERY_MS = 500;
/** Before that much was seen of a run, a rate says nothing. */
const MIN_OBSERVED_MS = 500;
/** How fast the rate forgets. */
const RATE_MEMORY_MS = 20_000;
/** How much of a new estimate is believed at once. */
const TRUST = 0.2;

type ProgressEvent = Extract<ChangeoverEvent, { readonly event: 'progress' }>;

export interface ProgressSinks {
  readonly emit: (event: ProgressEvent) => void;
  /** Writes it to the journal. */
  readonly record: (fraction: number, remainingMs: number | null) => void;
}

/**
 * How far a run is, from 0 to 1: its stages by `STAGE_WEIGHTS`, in each the steps by their weight, in each step what it tells of
 * itself. Never goes back.
 */
export class ProgressMeter {
  readonly #shares: ReadonlyMap<string, { readonly start: number; readonly share: number }>;
  readonly #estimate: RemainingTime;
  readonly #clock: Clock;
  readonly #sinks: ProgressSinks;
  #fraction = 0;
  #emittedMs = -Infinity;
  #recordedMs = -Infinity;

  constructor(steps: readonly Step[], until: Stage, clock: Clock, sinks: ProgressSinks) {
    this.#shares = sharesOf(steps);
    this.#estimate = new RemainingTime(endOf(until));
    this.#clock = clock;
    this.#sinks = sinks;
  }

  /** A step that an earlier process did: it says nothing about today's rate. */
  skip(step: Step): void {
    this.#advance(step, 1);
    this.#estimate.restart();
  }

  update(step: Step, progress: Progress): void {
    const { part, fraction, ...told } = progress;
    const { done, total } = told;
    const { start, share } = part ?? { start: 0, share: 1 };
    const own = fraction ?? (total === null || total <= 0 ? 0 : done / total);
    this.#advance(step, start + share * Math.min(1, Math.max(0, own)));
    const nowMs = this.#clock.monotonicMs();
    const isLast = total !== null && done >= total;
    if (!isLast && nowMs - this.#emittedMs < EMIT_EVERY_MS) return;
    this.#emittedMs = nowMs;
    const remainingMs = this.#estimate.at(nowMs, this.#fraction);
    const { stage, name } = step;
    this.#sinks.emit({ event: 'progress', stage, step: name, fraction: this.#fraction, ...told, remainingMs });
    if (nowMs - this.#recordedMs < RECORD_EVERY_MS) return;
    this.#recordedMs = nowMs;
    this.#sinks.record(this.#fraction, remainingMs);
  }

  complete(step: Step): void {
    this.#advance(step, 1);
    this.#sinks.record(this.#fraction, this.#estimate.at(this.#clock.monotonicMs(), this.#fraction));
  }

  #advance(step: Step, part: number): void {
    const place = this.#shares.get(step.name);
    if (place !== undefined) this.#fraction = Math.max(this.#fraction, place.start + place.share * part);
  }
}

function sharesOf(steps: readonly Step[]): Map<string, { start: number; share: number }> {
  const shares = new Map<string, { start: number; share: number }>();
  for (const stage of STAGES) {
    const own = steps.filter((step) => step.stage === stage);
    const sum = own.reduce((total, step) => total + step.weight, 0);
    let start = endOf(stage) - STAGE_WEIGHTS[stage];
    for (const step of own) {
      const share = sum > 0 ? (STAGE_WEIGHTS[stage] * step.weight) / sum : 0;
      shares.set(step.name, { start, share });
      start += share;
    }
  }
  return shares;
}

function endOf(stage: Stage): number {
  return STAGES.slice(0, STAGES.indexOf(stage) + 1).reduce((sum, each) => sum + STAGE_WEIGHTS[each], 0);
}

/**
 * Time left from the rate of the last 20 seconds. Between two estimates it counts down with the clock, and a worse estimate
 * raises it only by and by, so that a person sees it fall.
 */
export class RemainingTime {
  readonly #target: number;
  #last: { readonly atMs: number; readonly fraction: number } | null = null;
  #rate: number | null = null;
  #shownMs: number | null = null;

  constructor(target: number) {
    this.#target = target;
  }

  restart(): void {
    this.#last = null;
  }

  at(nowMs: number, fraction: number): number | null {
    if (this.#last === null) {
      this.#last = { atMs: nowMs, fraction };
      return this.#shownMs;
    }
    const elapsedMs = nowMs - this.#last.atMs;
    if (elapsedMs < MIN_OBSERVED_MS) return this.#shownMs;
    const rate = (fraction - this.#last.fraction) / elapsedMs;
    this.#last = { atMs: nowMs, fraction };
    this.#rate =
      this.#rate === null ? rate : this.#rate + (rate - this.#rate) * (1 - Math.exp(-elapsedMs / RATE_MEMORY_MS));
    if (this.#rate <= 0) return this.#shownMs;
    const estimateMs = Math.max(0, this.#target - fraction) / this.#rate;
    const expectedMs = this.#shownMs === null ? estimateMs : Math.max(0, this.#shownMs - elapsedMs);
    this.#shownMs = Math.round(expectedMs + (estimateMs - expectedMs) * TRUST);
    return this.#shownMs;
  }
}
