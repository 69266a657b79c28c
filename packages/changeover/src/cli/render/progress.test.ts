import { describe, expect, it } from 'vitest';
import type { ChangeoverEvent } from '../../changeover.ts';
import {
  EMPTY_VIEW,
  keepsProgress,
  nextRate,
  nextView,
  renderBar,
  renderEvent,
  renderLive,
  type Rate,
  type RunView,
} from './progress.ts';
import { columnsOf, createStyle, type Screen } from './text.ts';

const screen: Screen = { style: createStyle(false), width: 100 };

const copying = (
  done: number,
  total: number | null,
  fraction: number,
): Extract<ChangeoverEvent, { event: 'progress' }> => ({
  event: 'progress',
  stage: 'data',
  step: 'copy events',
  fraction,
  what: 'events',
  done,
  total,
  unit: 'rows',
  remainingMs: 21_000,
});

const after = (...events: (readonly [ChangeoverEvent, number])[]): RunView =>
  events.reduce((view, [event, nowMs]) => nextView(view, event, nowMs), EMPTY_VIEW);

describe('the bars of a terminal', () => {
  it('show the present work with its rate and time left, and the whole run', () => {
    const view = after(
      [{ event: 'stage', stage: 'data', status: 'started' }, 0],
      [copying(0, 40_000, 0.4), 0],
      [copying(10_000, 40_000, 0.5), 1_000],
      [copying(20_000, 40_000, 0.55), 2_000],
    );
    expect(renderLive(screen, view, 2_000)).toEqual([
      '◐ data · events             ██████████████──────────────   50 %  10,000 rows/s · 2 s left',
      '  whole run                 ███████████████▍────────────   55 %  21 s left',
    ]);
  });

  it('show the amount alone while the total is not known', () => {
    const view = after([{ event: 'stage', stage: 'backup', status: 'started' }, 0], [copying(1_200, null, 0.1), 3_000]);
    expect(renderLive(screen, view, 4_000)[0]).toBe('◐ backup · events           1,200 rows  4 s');
    const later = nextView(view, copying(2_400, null, 0.1), 5_000);
    expect(renderLive(screen, later, 5_000)[0]).toBe('◐ backup · events           2,400 rows · 600 rows/s  5 s');
  });

  it('say that work is waiting when its rate falls to nothing', () => {
    const view = after(
      [{ event: 'stage', stage: 'data', status: 'started' }, 0],
      [copying(0, 100, 0.4), 0],
      [copying(0, 100, 0.4), 5_000],
    );
    expect(renderLive(screen, view, 5_000)[0]).toMatch(/0 rows\/s · waiting$/);
  });

  it('fit in narrow terminals and are nothing before anything is told', () => {
    const view = after(
      [{ event: 'stage', stage: 'data', status: 'started' }, 0],
      [copying(0, 900_000_000, 0.5), 0],
      [copying(1_234_567, 900_000_000, 0.5), 1_000],
    );
    for (const line of renderLive({ ...screen, width: 60 }, view, 1_000))
      expect(columnsOf(line)).toBeLessThanOrEqual(60);
    expect(renderLive(screen, EMPTY_VIEW, 0)).toEqual([]);
  });

  it('show rows and bytes with the time left that the copy itself estimates, and what holds it back', () => {
    const event = {
      ...copying(20_000, 40_000, 0.55),
      leftMs: 65_000,
      held: 'the replica lag of db (14 s, at most 10 s)',
    };
    const view = after(
      [{ event: 'stage', stage: 'data', status: 'started' }, 0],
      [{ ...copying(0, 40_000, 0.4), bytes: { done: 0, total: 80_000_000 } }, 0],
      [{ ...copying(10_000, 40_000, 0.5), bytes: { done: 20_000_000, total: 80_000_000 } }, 1_000],
      [{ ...event, bytes: { done: 40_000_000, total: 80_000_000 } }, 2_000],
    );
    expect(renderLive(screen, view, 2_000)).toEqual([
      '◐ data · events             ████████████────────────   50 %  10,000 rows/s · 20.0 MB/s · 1 min 5 s …',
      '! held back by the replica lag of db (14 s, at most 10 s)',
      '  whole run                 █████████████▎──────────   55 %  21 s left',
    ]);
    expect(renderLive({ ...screen, width: 110 }, view, 2_000)[0]).toMatch(/20.0 MB\/s · 1 min 5 s left$/);
  });

  it('keep the bar of the whole run between two stages', () => {
    const view = after(
      [{ event: 'stage', stage: 'config', status: 'started' }, 0],
      [copying(1, 2, 0.35), 1],
      [{ event: 'stage', stage: 'config', status: 'completed' }, 2],
      [{ event: 'stage', stage: 'data', status: 'started' }, 3],
    );
    expect(renderLive(screen, view, 1_003)).toEqual([
      '◐ data                      1 s',
      '  whole run                 █████████▊──────────────────   35 %  21 s left',
    ]);
  });
});

describe('what stays of an event', () => {
  const show = (event: ChangeoverEvent, isPipe: boolean, before: RunView = EMPTY_VIEW) =>
    renderEvent(screen, before, event, { nowMs: 2_500, isPipe });

  it('is one line for each finished stage on a terminal', () => {
    const before = after([{ event: 'stage', stage: 'data', status: 'started' }, 500]);
    expect(show({ event: 'stage', stage: 'data', status: 'started' }, false)).toBeNull();
    expect(show({ event: 'stage', stage: 'data', status: 'completed' }, false, before)).toBe('✔ data        2 s');
    expect(show({ event: 'stage', stage: 'data', status: 'failed' }, false, before)).toBe('✖ data        2 s  failed');
    expect(show({ event: 'stage', stage: 'backup', status: 'undone' }, false)).toBe('↶ backup        undone');
    expect(show({ event: 'step', stage: 'data', step: 'copy events', status: 'completed' }, false)).toBeNull();
    expect(show({ event: 'step', stage: 'data', step: 'copy events', status: 'failed' }, false)).toBe(
      '  ✖ copy events failed',
    );
    expect(show(copying(1, 2, 0.5), false)).toBeNull();
  });

  it('is a plain line for everything in a pipe', () => {
    const before = after([{ event: 'stage', stage: 'data', status: 'started' }, 500]);
    expect(show({ event: 'stage', stage: 'data', status: 'started' }, true)).toBe('data: started');
    expect(show({ event: 'stage', stage: 'data', status: 'completed' }, true, before)).toBe(
      'data: completed after 2 s',
    );
    expect(show({ event: 'step', stage: 'data', step: 'copy events', status: 'skipped' }, true)).toBe(
      'data: copy events skipped',
    );
    expect(show(copying(12_000, 40_000, 0.5), true)).toBe(
      'data: events 12,000 rows of 40,000 rows, 50 % of the run, 21 s left',
    );
  });

  it('in a pipe tells the bytes too, and what holds the work back', () => {
    const told = { ...copying(12_000, 40_000, 0.5), bytes: { done: 1_500_000, total: 5_000_000 } };
    expect(show(told, true)).toBe(
      'data: events 12,000 rows of 40,000 rows, 1.5 MB of about 5.0 MB, 50 % of the run, 21 s left',
    );
    expect(show({ ...told, held: 'the rate of at most 20 MB/s' }, true)).toMatch(
      /21 s left, held back by the rate of at most 20 MB\/s$/,
    );
  });

  it('tells the states of the switch with the milliseconds since requests are held', () => {
    const held = after([{ event: 'state', state: 'HOLD', side: 'legacy', epoch: 3 }, 2_459]);
    const lock: ChangeoverEvent = { event: 'state', state: 'LOCK', side: 'legacy', epoch: 3 };
    expect(show(lock, false, held)).toBe('  LOCK        legacy serves, epoch 3  +41 ms');
    expect(show(lock, true, held)).toBe('state: LOCK, legacy serves, epoch 3  +41 ms');
    const live = nextView(held, { event: 'state', state: 'LIVE_NEW', side: 'next', epoch: 3 }, 2_600);
    expect(live.heldSinceMs).toBeNull();
  });

  it('shows verdicts, warnings and logs, without what could harm a terminal', () => {
    const verdict = {
      check: 'events: rows equal',
      outcome: 'PASS',
      evidence: '40,000 rows\u001b[2J',
      measured: 40_000,
    } as const;
    expect(show({ event: 'verdict', verdict }, false)).toBe('  PASS  events: rows equal  40,000 rows');
    expect(show({ event: 'warning', message: 'slow\nstore' }, true)).toBe('!  slow store');
    expect(show({ event: 'log', message: 'x' }, true)).toBe('  x');
    const long = { ...screen, width: 20 };
    const warning: ChangeoverEvent = { event: 'warning', message: 'a line that is longer than the screen' };
    expect(renderEvent(long, EMPTY_VIEW, warning, { nowMs: 0, isPipe: false })).toBe(
      '!  a line that is\n   longer than the\n   screen',
    );
  });
});

it('a pipe gets progress every two seconds, and the end of each thing', () => {
  expect(keepsProgress(copying(1, 9, 0), null, 0)).toBe(true);
  expect(keepsProgress(copying(2, 9, 0), 1_000, 2_900)).toBe(false);
  expect(keepsProgress(copying(3, 9, 0), 1_000, 3_000)).toBe(true);
  expect(keepsProgress(copying(9, 9, 0), 2_999, 3_000)).toBe(true);
});

it('a rate follows the last seconds and starts anew with each thing', () => {
  let rate: Rate | null = null;
  for (let second = 0; second <= 20; second++) rate = nextRate(rate, second * 100, second * 1_000);
  expect(rate?.perSecond).toBeCloseTo(100);
  for (let second = 21; second <= 40; second++) rate = nextRate(rate, 2_000, second * 1_000);
  expect(rate?.perSecond).toBeLessThan(2);
  expect(nextRate(rate, 5, 41_000).perSecond).toBeNull();
  expect(nextRate({ perSecond: 7, atMs: 0, done: 0 }, 1_000, 10).perSecond).toBe(7);
});

it('a bar moves in eighths and never leaves its columns', () => {
  expect([0, 1 / 32, 0.5, 1, 2, -1, Number.NaN].map((fraction) => renderBar(screen, fraction, 4))).toEqual([
    '────',
    '▏───',
    '██──',
    '████',
    '████',
    '────',
    '────',
  ]);
});
