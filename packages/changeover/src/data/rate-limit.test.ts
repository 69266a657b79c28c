import { describe, expect, it } from 'vitest';
import { RateLimit } from './rate-limit.ts';

describe('a rate limit', () => {
  it('lets a piece go at once, and makes the next one wait for as long as it was large', () => {
    const limit = new RateLimit({ perSecond: 1000, unit: 'rows' }, 0);
    expect(limit.waitMs(0)).toBe(0);
    limit.spend(3000, 1, 0);
    expect(limit.waitMs(0)).toBe(3000);
    expect(limit.waitMs(1000)).toBe(2000);
    expect(limit.waitMs(3000)).toBe(0);
  });

  it('holds over time whatever the sizes of the pieces', () => {
    const limit = new RateLimit({ perSecond: 1_000_000, unit: 'bytes' }, 0);
    let nowMs = 0;
    let bytes = 0;
    for (let piece = 0; piece < 1000; piece++) {
      nowMs += limit.waitMs(nowMs);
      const size = 1 + ((piece * 7919) % 500_000);
      limit.spend(5, size, nowMs);
      bytes += size;
    }
    nowMs += limit.waitMs(nowMs);
    expect(bytes / (nowMs / 1000)).toBeCloseTo(1_000_000, -1);
  });

  it('does not make up for a pause with a burst', () => {
    const limit = new RateLimit({ perSecond: 1000, unit: 'rows' }, 0);
    limit.spend(250, 0, 3_600_000);
    expect(limit.waitMs(3_600_000)).toBe(0);
    limit.spend(1000, 0, 3_600_000);
    expect(limit.waitMs(3_600_000)).toBe(1000);
  });
});
