import { describe, expect, it } from 'vitest';
import type { Clock } from '../plan/context.ts';
import { TimeLeft } from './time-left.ts';

function clockAt(time: { nowMs: number }): Clock {
  return {
    wallMs: () => time.nowMs,
    monotonicMs: () => time.nowMs,
    bootId: () => 'boot',
    sleep: () => Promise.resolve(),
  };
}

describe('the time left', () => {
  it('is exact where the rate is even, and says so at the end', () => {
    const time = { nowMs: 0 };
    const left = new TimeLeft(clockAt(time));
    expect(left.at(0)).toBe(null);
    for (; time.nowMs <= 39_600; time.nowMs += 100) left.at(time.nowMs / 40_000);
    expect(left.at(0.9925)).toBeCloseTo(300, -1);
    time.nowMs = 40_000;
    const { tookMs, judgements } = left.judge();
    expect(tookMs).toBe(40_000);
    expect(judgements.map(({ at }) => at)).toEqual([0.1, 0.5, 0.9]);
    for (const { off } of judgements) expect(Math.abs(off)).toBeLessThan(0.02);
  });

  it('follows a rate that changed after as long again, and says how far it was off before', () => {
    const time = { nowMs: 0 };
    const left = new TimeLeft(clockAt(time));
    // Half of the work in 10 s, the other half in 40 s.
    for (; time.nowMs <= 10_000; time.nowMs += 100) left.at(time.nowMs / 20_000);
    for (; time.nowMs < 50_000; time.nowMs += 100) left.at(0.5 + (time.nowMs - 10_000) / 80_000);
    const { judgements } = left.judge();
    expect(judgements[0]?.off).toBeCloseTo(-0.6, 1);
    expect(Math.abs(judgements[2]?.off ?? 1)).toBeLessThan(0.02);
  });

  it('takes what an earlier process did for nothing of its own rate', () => {
    const time = { nowMs: 0 };
    const left = new TimeLeft(clockAt(time), 0.8);
    for (; time.nowMs <= 2000; time.nowMs += 100) left.at(0.8 + time.nowMs / 100_000);
    expect(left.at(0.821)).toBeCloseTo(17_900, -3);
  });

  it('says nothing while nothing moves', () => {
    const time = { nowMs: 0 };
    const left = new TimeLeft(clockAt(time));
    left.at(0.1);
    time.nowMs = 60_000;
    expect(left.at(0.1)).toBe(null);
  });

  it('keeps few points of a long work', () => {
    const time = { nowMs: 0 };
    const left = new TimeLeft(clockAt(time));
    for (; time.nowMs <= 100_000_000; time.nowMs += 1000) left.at(time.nowMs / 200_000_000);
    expect(left.at(0.5)).toBeCloseTo(100_000_000, -6);
  });
});
