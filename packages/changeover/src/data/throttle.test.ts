import { describe, expect, it } from 'vitest';
import type { Clock, Progress } from '../plan/context.ts';
import { DEFAULT_THROTTLE, type ThrottleLimits } from '../plan/throttle.ts';
import { testContext } from '../testing/context.ts';
import { Throttle } from './throttle.ts';

/** A source and its replica on a clock that goes on only while somebody sleeps or works. */
function rigged(limits: Partial<ThrottleLimits> = {}, lanes = 4) {
  const state = { nowMs: 0, latencyMs: 1, lagMs: 0 };
  const clock: Clock = {
    wallMs: () => state.nowMs,
    monotonicMs: () => state.nowMs,
    bootId: () => 'boot',
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        setImmediate(() => {
          if (signal?.aborted === true) {
            reject(new Error('aborted'));
            return;
          }
          state.nowMs += ms;
          resolve();
        });
      }),
  };
  const told: Progress[] = [];
  const stop = new AbortController();
  const report = { progress: (progress: Progress) => told.push(progress), warn: () => undefined, log: () => undefined };
  const throttle = new Throttle({ ...DEFAULT_THROTTLE, ...limits }, lanes);
  const gauges = {
    latencies: () => Promise.resolve([{ store: 'db', ms: state.latencyMs }]),
    replicaLags: () => Promise.resolve([{ store: 'db', ms: state.lagMs }]),
  };
  const under = (maxWaitMs?: number) =>
    throttle.under(
      testContext('/nowhere', { clock, report, signal: stop.signal }),
      gauges,
      maxWaitMs === undefined ? {} : { maxWaitMs },
    );
  const ctx = under();
  const { pace } = ctx;
  if (pace === undefined) throw new Error('no pace');
  return { state, told, stop, throttle, under, ctx, pace };
}

describe('a throttle', () => {
  it('holds nobody back while the source is idle and no rate is set', async () => {
    const { state, pace, told } = rigged();
    for (let piece = 0; piece < 1000; piece++) {
      expect(await pace.ready()).toBe(true);
      expect(pace.spent(100_000, 1e9)).toBe(0);
    }
    expect(state.nowMs).toBe(0);
    expect(pace.lanes).toBe(4);
    expect(told).toEqual([]);
  });

  it('keeps a rate of rows over all pieces, and says what holds them back', async () => {
    const { state, pace, told, ctx } = rigged({ maxRate: { perSecond: 5000, unit: 'rows' } });
    ctx.report.progress({ what: 'events', done: 0, total: 50_000, unit: 'rows' });
    for (let piece = 0; piece < 50; piece++) {
      await pace.ready();
      pace.spent(1000, 1);
    }
    await pace.ready();
    expect(state.nowMs).toBeGreaterThanOrEqual(10_000);
    expect(state.nowMs).toBeLessThan(10_500);
    expect(told.at(-1)).toMatchObject({ what: 'events', held: 'the rate of at most 5000 rows/s' });
    expect(told.some(({ held }) => held === undefined)).toBe(true);
  });

  it('takes the rate of the command line in place of the plan', () => {
    const { pace, throttle } = rigged({ maxRate: { perSecond: 1, unit: 'bytes' } });
    expect(pace.spent(0, 1000)).toBe(1_000_000);
    throttle.limitRate({ perSecond: 1000, unit: 'bytes' });
    expect(pace.spent(0, 1000)).toBe(1000);
  });

  it('works with fewer threads while the source is slow, then with rests, and with all of them again later', async () => {
    const { state, pace, told, ctx } = rigged();
    ctx.report.progress({ what: 'events', done: 0, total: 1, unit: 'rows' });
    const piece = async () => {
      const sinceMs = state.nowMs;
      await pace.ready();
      const waitedMs = state.nowMs - sinceMs;
      state.nowMs += 500;
      return { lanes: pace.lanes, waitedMs };
    };
    await piece();
    state.latencyMs = 300;
    const lanes: number[] = [];
    let waitedMs = 0;
    for (let index = 0; index < 8; index++) {
      const one = await piece();
      lanes.push(one.lanes);
      waitedMs = one.waitedMs;
    }
    expect(lanes.slice(0, 4)).toEqual([4, 2, 1, 1]);
    // A share of 1/50 of four threads: a piece of 500 ms would rest for 5,750 ms; the longest rest is 5,000 ms.
    expect(waitedMs).toBe(5000);
    expect(told.at(-1)?.held).toBe('the latency of db (300 ms, at most 100 ms)');
    state.latencyMs = 2;
    let last = await piece();
    for (let index = 0; index < 20; index++) last = await piece();
    expect(last).toEqual({ lanes: 4, waitedMs: 0 });
    expect(told.at(-1)?.held).toBe(undefined);
  });

  it('waits while a replica is too far behind, for as long as it takes, and goes on when it is not', async () => {
    const { state, pace, told } = rigged({ replicaLagMs: 2000 });
    state.lagMs = 2000;
    await pace.ready();
    expect(told).toEqual([]);
    state.lagMs = 61_234;
    state.nowMs += 500;
    const ready = pace.ready();
    let isReady = false;
    void ready.then(() => (isReady = true));
    while (state.nowMs < 3_600_000) await new Promise((resolve) => setImmediate(resolve));
    expect(isReady).toBe(false);
    expect(told.at(-1)?.held).toBe('the replica lag of db (61.2 s, at most 2 s)');
    state.lagMs = 100;
    expect(await ready).toBe(true);
  });

  it('lets whoever must give way do so', async () => {
    const { state, under } = rigged();
    state.lagMs = Infinity;
    expect(await under(500).pace?.ready()).toBe(false);
    expect(state.nowMs).toBeLessThan(1000);
  });

  it('stops waiting when the work is cancelled', async () => {
    const { state, pace, stop, told } = rigged();
    state.lagMs = Infinity;
    const ready = pace.ready();
    setTimeout(() => {
      stop.abort(new Error('interrupted'));
    }, 20);
    await expect(ready).rejects.toThrow();
    expect(told.at(-1)?.held).toBe('the replica lag of db (stopped, at most 10 s)');
  });

  it('waits for a source that does not answer, without asking it again', async () => {
    const { state, ctx, throttle, told } = rigged();
    let asked = 0;
    let answer: () => void = () => undefined;
    const { pace } = throttle.under(ctx, {
      latencies: () => {
        asked += 1;
        return new Promise((resolve) => {
          answer = () => {
            resolve([{ store: 'db', ms: 30_000 }]);
          };
        });
      },
      replicaLags: () => Promise.resolve([]),
    });
    const ready = pace?.ready();
    while (state.nowMs < 30_000) await new Promise((resolve) => setImmediate(resolve));
    expect(asked).toBe(1);
    expect(told.at(-1)?.held).toBe('the source, which does not answer');
    answer();
    expect(await ready).toBe(true);
    expect(pace?.lanes).toBe(1);
  });

  it('fails as the source fails', async () => {
    const { ctx, throttle } = rigged();
    const { pace } = throttle.under(ctx, {
      latencies: () => Promise.reject(new Error('the server is gone')),
      replicaLags: () => Promise.resolve([]),
    });
    await expect(pace?.ready()).rejects.toThrow('the server is gone');
  });
});
