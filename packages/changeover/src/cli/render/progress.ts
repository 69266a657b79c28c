import type { ChangeoverEvent, Stage, Status } from '../../changeover.ts';
import { isPastTheSwitch } from '../stages.ts';
import { cleanLine, columns, padEnd, truncate, type Screen, type Style } from './text.ts';
import { showAmount, showBytes, showDuration, showPercent } from './units.ts';
import { showOutcome } from './verdicts.ts';

type ProgressEvent = Extract<ChangeoverEvent, { event: 'progress' }>;

export const STAGE_MARKS = (style: Style): Readonly<Record<Status['stages'][number]['status'], string>> => ({
  pending: style.dim('·'),
  running: style.accent('◐'),
  completed: style.good('✔'),
  failed: style.bad('✖'),
  undone: style.warn('↶'),
});

const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'] as const;

/** A bar that moves in eighths of a column, so that slow work is seen to move too. */
export function renderBar({ style }: Screen, fraction: number, columns: number): string {
  const eighths = Math.round(Math.min(1, Math.max(0, fraction)) * columns * 8);
  const bar = '█'.repeat(Math.floor(eighths / 8)) + (EIGHTHS[eighths % 8] ?? '');
  return style.accent(bar) + style.dim('─'.repeat(columns - bar.length));
}

/** Units per second over the last moments: recent figures count more, so that a stall is seen within seconds. */
export interface Rate {
  readonly perSecond: number | null;
  readonly atMs: number;
  readonly done: number;
}

const RATE_HALF_LIFE_MS = 3_000;

export function nextRate(rate: Rate | null, done: number, nowMs: number): Rate {
  if (rate === null || done < rate.done) return { perSecond: null, atMs: nowMs, done };
  const elapsedMs = nowMs - rate.atMs;
  // Two figures of one moment say nothing about speed.
  if (elapsedMs < 50) return rate;
  const measured = ((done - rate.done) * 1_000) / elapsedMs;
  const weight = 1 - 0.5 ** (elapsedMs / RATE_HALF_LIFE_MS);
  const perSecond = rate.perSecond === null ? measured : rate.perSecond + (measured - rate.perSecond) * weight;
  return { perSecond, atMs: nowMs, done };
}

/** What is known of a run while it goes on. */
export interface RunView {
  readonly stage: Stage | null;
  readonly stageStartedAtMs: number;
  readonly step: string | null;
  readonly progress: ProgressEvent | null;
  readonly rate: Rate | null;
  /** Of the bytes, where the work is counted in rows. */
  readonly bytesRate: Rate | null;
  /** When requests began to be held. */
  readonly heldSinceMs: number | null;
}

export const EMPTY_VIEW: RunView = {
  stage: null,
  stageStartedAtMs: 0,
  step: null,
  progress: null,
  rate: null,
  bytesRate: null,
  heldSinceMs: null,
};

/** The view after an event. */
export function nextView(view: RunView, event: ChangeoverEvent, nowMs: number): RunView {
  switch (event.event) {
    case 'stage':
      // The switch and what follows it take no share of a run's progress: they are counted in milliseconds, or wait for a person.
      return event.status === 'started'
        ? {
            ...EMPTY_VIEW,
            stage: event.stage,
            stageStartedAtMs: nowMs,
            progress: isPastTheSwitch(event.stage) ? null : wholeOf(view.progress),
          }
        : { ...view, stage: null, step: null };
    case 'step':
      return event.status === 'started' ? { ...view, step: event.step, rate: null, bytesRate: null } : view;
    case 'progress': {
      const isSame = view.progress?.what === event.what && view.progress.step === event.step;
      const bytesRate =
        event.bytes === undefined ? null : nextRate(isSame ? view.bytesRate : null, event.bytes.done, nowMs);
      return { ...view, progress: event, rate: nextRate(isSame ? view.rate : null, event.done, nowMs), bytesRate };
    }
    case 'state': {
      const isHold = event.state === 'HOLD' || event.state === 'RB_HOLD';
      const isOver = event.state === 'LIVE_OLD' || event.state === 'LIVE_NEW';
      return { ...view, heldSinceMs: isHold ? nowMs : isOver ? null : view.heldSinceMs };
    }
    case 'verdict':
    case 'warning':
    case 'log':
      return view;
  }
}

// The bar of the whole run stays while the next stage has not yet told anything.
function wholeOf(progress: ProgressEvent | null): ProgressEvent | null {
  if (progress === null) return null;
  const { event, stage, step, fraction, unit, remainingMs } = progress;
  return { event, stage, step, fraction, unit, remainingMs, what: '', done: 0, total: null };
}

const LABEL_COLUMNS = 24;

/** The lines at the bottom of a terminal: the present work and the whole run. */
export function renderLive(screen: Screen, view: RunView, nowMs: number): string[] {
  if (view.stage === null && view.progress === null) return [];
  const { style, width } = screen;
  const { progress, stage } = view;
  // Two rates need more room than one.
  const barColumns = Math.max(8, Math.min(view.bytesRate === null ? 28 : 24, width - 60));
  const label = (text: string) => padEnd(truncate(text, LABEL_COLUMNS), LABEL_COLUMNS);
  const line = (mark: string, name: string, fraction: number, after: string) => {
    const room = Math.max(0, width - LABEL_COLUMNS - barColumns - 13);
    const figures = `${renderBar(screen, fraction, barColumns)}  ${showPercent(fraction).padStart(5)}`;
    return `${mark} ${label(name)}  ${figures}  ${style.dim(truncate(after, room))}`;
  };
  const lines: string[] = [];
  if (stage !== null) {
    const isTold = progress !== null && progress.what !== '';
    const step = cleanLine(isTold ? progress.what : (view.step ?? ''));
    const name = step === '' ? stage : `${stage} · ${step}`;
    if (isTold && progress.total !== null && progress.total > 0) {
      lines.push(line(style.accent('◐'), name, progress.done / progress.total, speed(view)));
    } else {
      const amount = isTold ? `  ${showAmount(progress.done, progress.unit)}${perSecond(view)}` : '';
      const since = style.dim(showDuration(nowMs - view.stageStartedAtMs));
      lines.push(`${style.accent('◐')} ${label(name)}${amount}  ${since}`);
    }
    const held = heldBack(progress);
    if (held !== '') lines.push(`${style.warn('!')} ${style.warn(truncate(held, Math.max(0, width - 2)))}`);
  }
  if (progress !== null) {
    const left = timeLeft(progress);
    lines.push(line(' ', 'whole run', progress.fraction, left));
  }
  return lines;
}

function bytesText({ bytes }: ProgressEvent): string {
  if (bytes === undefined) return '';
  return `, ${showBytes(bytes.done)}${bytes.total === null ? '' : ` of about ${showBytes(bytes.total)}`}`;
}

/** Nothing where an estimate ran out before the work did. */
function timeLeft({ remainingMs }: ProgressEvent): string {
  return remainingMs === null || remainingMs <= 0 ? '' : `${showDuration(remainingMs)} left`;
}

function heldBack(progress: ProgressEvent | null): string {
  return progress?.held === undefined ? '' : `held back by ${cleanLine(progress.held)}`;
}

function perSecond({ progress, rate }: RunView): string {
  const known = rate?.perSecond ?? null;
  return progress === null || known === null ? '' : ` · ${showAmount(Math.round(known), progress.unit)}/s`;
}

function speed({ progress, rate, bytesRate }: RunView): string {
  if (progress === null) return '';
  const { perSecond } = rate ?? { perSecond: null };
  if (perSecond === null) return showAmount(progress.done, progress.unit);
  const byRate = progress.total === null ? null : ((progress.total - progress.done) / perSecond) * 1_000;
  const left = progress.leftMs === undefined ? byRate : progress.leftMs;
  return [
    `${showAmount(Math.round(perSecond), progress.unit)}/s`,
    ...(bytesRate?.perSecond == null ? [] : [`${showBytes(bytesRate.perSecond)}/s`]),
    ...(perSecond <= 0 ? ['waiting'] : left === null ? [] : [`${showDuration(left)} left`]),
  ].join(' · ');
}

/**
 * What stays on the screen of an event; null where there is nothing to keep. In a pipe steps and states are kept too, and progress
 * as often as `keepsProgress` says.
 */
export function renderEvent(
  screen: Screen,
  before: RunView,
  event: ChangeoverEvent,
  options: { readonly nowMs: number; readonly isPipe: boolean },
): string | null {
  const { style } = screen;
  const { nowMs, isPipe } = options;
  const marks = STAGE_MARKS(style);
  switch (event.event) {
    case 'stage': {
      if (event.status === 'started') return isPipe ? `${event.stage}: started` : null;
      const took = before.stage === event.stage ? showDuration(nowMs - before.stageStartedAtMs) : '';
      if (isPipe) return `${event.stage}: ${event.status}${took === '' ? '' : ` after ${took}`}`;
      const word = event.status === 'completed' ? '' : `  ${event.status}`;
      return `${marks[event.status]} ${padEnd(event.stage, 12)}${style.dim(took)}${word}`.trimEnd();
    }
    case 'step': {
      const step = cleanLine(event.step);
      if (isPipe) return `${event.stage}: ${step} ${event.status}`;
      if (event.status === 'failed') return `  ${marks.failed} ${step} failed`;
      if (event.status === 'undone') return `  ${marks.undone} ${step} ${style.dim('undone')}`;
      return null;
    }
    case 'progress': {
      if (!isPipe) return null;
      const of = event.total === null ? '' : ` of ${showAmount(event.total, event.unit)}`;
      const left = timeLeft(event) === '' ? '' : `, ${timeLeft(event)}`;
      const amount = `${showAmount(event.done, event.unit)}${of}${bytesText(event)}`;
      const held = heldBack(event) === '' ? '' : `, ${heldBack(event)}`;
      return `${event.stage}: ${cleanLine(event.what)} ${amount}, ${showPercent(event.fraction)} of the run${left}${held}`;
    }
    case 'state': {
      const since = before.heldSinceMs === null ? '' : `  +${Math.round(nowMs - before.heldSinceMs)} ms`;
      return isPipe
        ? `state: ${event.state}, ${event.side} serves, epoch ${event.epoch}${since}`
        : `  ${style.accent(padEnd(event.state, 12))}${style.dim(`${event.side} serves, epoch ${event.epoch}${since}`)}`;
    }
    case 'verdict': {
      const { check, outcome, evidence } = event.verdict;
      return wrapped(screen, 2, showOutcome(screen, outcome), cleanLine(check), style.dim(cleanLine(evidence)));
    }
    case 'warning':
      return wrapped(screen, 0, style.warn('!'), cleanLine(event.message));
    case 'log':
      return wrapped(screen, 2, style.dim(cleanLine(event.message)));
  }
}

function wrapped({ width }: Screen, indent: number, ...cells: readonly string[]): string {
  return columns([cells], { indent, width }).join('\n');
}

const PIPE_PROGRESS_EVERY_MS = 2_000;

/** Whether a pipe gets this progress: one line every two seconds, and the last one of each thing. */
export function keepsProgress(event: ProgressEvent, lastShownAtMs: number | null, nowMs: number): boolean {
  return event.done === event.total || lastShownAtMs === null || nowMs - lastShownAtMs >= PIPE_PROGRESS_EVERY_MS;
}
