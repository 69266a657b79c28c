import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { HealthReport } from './check.ts';
import { Hysteresis } from './hysteresis.ts';
import { HealthMonitor } from './monitor.ts';
import { timeUntil } from './trend.ts';

const monitors: HealthMonitor[] = [];
const monitor = () => {
  const made = new HealthMonitor();
  monitors.push(made);
  return made;
};
afterEach(() => {
  for (const one of monitors.splice(0)) one.stop();
});

describe('health', () => {
  it('is known after the first look, and answered without another one', async () => {
    const health = monitor();
    const check = vi.fn(() => undefined);
    await health.add('database', { check });
    for (let turn = 0; turn < 100; turn++) expect(health.overall()).toBe('healthy');
    expect(check).toHaveBeenCalledTimes(1);
  });

  it('is unhealthy where a critical part is, and degraded where another one is', async () => {
    const health = monitor();
    await health.add('database', { check: () => true });
    await health.add('pictures', { check: () => false, critical: false });
    expect(health.overall()).toBe('degraded');
    await health.add('queue', {
      check: () => {
        throw new Error('connection refused');
      },
    });
    expect(health.overall()).toBe('unhealthy');
    expect(health.of('queue')).toMatchObject({ reason: 'connection refused', failures: 1 });
  });

  it('counts a check that does not answer in time as failed, and tells it to end', async () => {
    const health = monitor();
    let wasTold = false;
    const check = ({ signal }: { signal: AbortSignal }) =>
      new Promise<void>(() => {
        signal.addEventListener('abort', () => (wasTold = true));
      });
    await health.add('slow', { check, timeoutMs: 20 });
    expect(health.of('slow')).toMatchObject({
      status: 'unhealthy',
      reason: expect.stringContaining('20 ms') as string,
    });
    expect(wasTold).toBe(true);
  });

  it('looks again and again, and tells of each change once', async () => {
    const health = monitor();
    const answers: HealthReport['status'][] = ['healthy', 'unhealthy', 'unhealthy', 'healthy', 'healthy', 'healthy'];
    const changes: string[] = [];
    health.events.on('changed', ({ to }) => changes.push(to));
    await health.add('part', {
      check: () => ({ status: answers.shift() ?? 'healthy' }),
      intervalMs: 2,
      unhealthyAfter: 2,
      healthyAfter: 2,
    });
    await vi.waitFor(() => {
      expect(answers).toHaveLength(0);
    });
    await sleep(20);
    expect(changes).toEqual(['healthy', 'degraded', 'unhealthy', 'healthy']);
  });

  it('gives a score with what lowers it', async () => {
    const health = monitor();
    await health.add('camera', { check: () => ({ status: 'degraded', reason: '3 frames of 10 are lost' }) });
    const { score, factors } = health.score();
    expect(score).toBeLessThanOrEqual(0.7);
    expect(factors.map(({ because }) => because)).toContain('camera is degraded: 3 frames of 10 are lost');
  });

  it('sees a check that takes longer and longer before it fails', async () => {
    const health = monitor();
    let tookMs = 0;
    await health.add('growing', { check: () => sleep((tookMs += 4)), intervalMs: 1, timeoutMs: 200 });
    await vi.waitFor(() => {
      expect(health.predictions()).toHaveLength(1);
    });
    expect(health.predictions()[0]?.message).toContain('the check of growing takes longer and longer');
    expect(health.overall()).toBe('healthy');
  });
});

describe('hysteresis', () => {
  const run = (seen: readonly HealthReport['status'][]) => {
    const hysteresis = new Hysteresis(3, 2);
    return seen.map((one) => hysteresis.next(one));
  };

  it('needs several failures for an illness', () => {
    const [bad, good] = ['unhealthy', 'healthy'] as const;
    expect(run([good, bad, bad, bad])).toEqual([good, 'degraded', 'degraded', bad]);
    expect(run([good, bad, good, bad, good])).not.toContain(bad);
  });

  it('needs several successes for a recovery', () => {
    expect(run(['unhealthy', 'healthy', 'unhealthy', 'healthy', 'healthy'])).toEqual([
      'unhealthy',
      'unhealthy',
      'unhealthy',
      'unhealthy',
      'healthy',
    ]);
  });
});

describe('a trend', () => {
  const line = (perMs: number) =>
    Array.from({ length: 10 }, (_, index) => ({ atMs: index * 1000, value: 10 + perMs * index * 1000 }));

  it('says when a line reaches a limit', () => {
    expect(timeUntil(line(0.01), 200, 9000)).toBeCloseTo(10_000);
  });

  it('says nothing of a line that falls, or of too few points', () => {
    expect(timeUntil(line(-0.01), 200, 9000)).toBeNull();
    expect(timeUntil(line(1).slice(0, 3), 200, 9000)).toBeNull();
    expect(
      timeUntil(
        Array.from({ length: 9 }, () => ({ atMs: 1, value: 1 })),
        5,
        2,
      ),
    ).toBeNull();
  });
});
