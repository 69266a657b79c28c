import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { AdaptiveLimit } from './adaptive-limit.ts';
import { Quota } from './quotas.ts';

/** A server that answers in `baseMs` up to `capacity` requests at a time, and slower in proportion beyond. */
function simulate(limit: AdaptiveLimit, capacity: number, rounds: number, time: { ms: number }): { refused: number } {
  let refused = 0;
  for (let round = 0; round < rounds; round++) {
    const admitted = Array.from({ length: 200 }, () => limit.acquire()).filter((one) => one !== null);
    refused += 200 - admitted.length;
    time.ms += 10 * Math.max(1, admitted.length / capacity);
    for (const one of admitted) one.release();
  }
  return { refused };
}

describe('an adaptive limit', () => {
  const limitAt = (time: { ms: number }) =>
    new AdaptiveLimit({ clock: { now: () => time.ms, sleep: () => Promise.resolve() }, max: 150 });

  it('rises while answers stay as fast as they were', () => {
    const time = { ms: 0 };
    const limit = limitAt(time);
    simulate(limit, 1000, 200, time);
    expect(limit.limit).toBe(150);
  });

  it('falls when answers take longer, and rises again', () => {
    const time = { ms: 0 };
    const limit = limitAt(time);
    simulate(limit, 1000, 100, time);
    const before = limit.limit;
    simulate(limit, 10, 10, time);
    expect(limit.limit).toBeLessThan(before / 2);
    simulate(limit, 1000, 200, time);
    expect(limit.limit).toBeGreaterThan(before / 2);
  });

  it('does not rise while hardly anybody comes', () => {
    const time = { ms: 0 };
    const limit = limitAt(time);
    for (let turn = 0; turn < 1000; turn++) {
      const one = limit.acquire();
      time.ms += 1;
      one?.release();
    }
    expect(limit.limit).toBe(20);
  });

  it('refuses beyond itself, and counts each release once', () => {
    const limit = new AdaptiveLimit({ initial: 2, min: 1 });
    const [first, second, third] = [limit.acquire(), limit.acquire(), limit.acquire()];
    expect(third).toBeNull();
    first?.release();
    first?.release();
    expect(limit.inFlight).toBe(1);
    second?.release(false);
    expect(limit.inFlight).toBe(0);
  });
});

describe('a quota', () => {
  it('holds for each key on its own, and ends with its window', async () => {
    const quota = new Quota({ requests: 2, perMs: 1000 });
    expect(await quota.consume('ann')).toMatchObject({ isAllowed: true, left: 1 });
    await quota.consume('ann');
    const refused = await quota.consume('ann');
    expect(refused).toMatchObject({ isAllowed: false, left: 0 });
    expect(refused.resetMs).toBeGreaterThan(0);
    expect(await quota.consume('bob')).toMatchObject({ isAllowed: true });
    await sleep(refused.resetMs + 50);
    expect(await quota.consume('ann')).toMatchObject({ isAllowed: true });
  });
});
