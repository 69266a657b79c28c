import { describe, expect, it } from 'vitest';
import { SourceShare } from './source-share.ts';

const taken = (share: SourceShare, ...latencies: number[]) => {
  for (const ms of latencies) share.take(ms);
  return share.value;
};

describe('the share of a source', () => {
  it('is all of it while the source is idle, and one slow answer takes nothing', () => {
    expect(taken(new SourceShare(100), 1, 99, 100, 400, 3, 500, 2)).toBe(1);
  });

  it('halves with each slow answer after the first, and comes back step by step', () => {
    const share = new SourceShare(100);
    expect(taken(share, 400, 400)).toBe(0.5);
    expect(taken(share, 400)).toBe(0.25);
    expect(taken(share, 5)).toBeCloseTo(0.35);
    expect(taken(share, 5, 5, 5, 5, 5, 5)).toBeCloseTo(0.95);
    expect(taken(share, 5, 5)).toBe(1);
  });

  it('never becomes nothing', () => {
    expect(taken(new SourceShare(100), ...Array.from({ length: 100 }, () => 5000))).toBe(0.02);
  });
});
