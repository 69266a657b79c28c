import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { createRuntime, type Runtime, type RuntimeOptions } from './create-runtime.ts';
import { Restarts, RESTART } from './restart.ts';
import { completed, healthy, service, started, type AnyService } from './service.ts';

const log = pino({ level: 'silent' });
const runtimes: Runtime[] = [];
const runtimeOf = (services: readonly AnyService[], options: Partial<RuntimeOptions> = {}) => {
  const runtime = createRuntime({ services, log, ...options });
  runtimes.push(runtime);
  return runtime;
};
afterEach(async () => {
  await Promise.all(runtimes.splice(0).map((runtime) => runtime.stop()));
});

/** A service that writes its life into `life`. */
const noting = (life: string[], name: string, needs: readonly AnyService[] = [], startMs = 0) =>
  service(name, {
    needs,
    start: async () => {
      await sleep(startMs);
      life.push(`+${name}`);
      return name;
    },
    stop: async () => {
      await sleep(startMs);
      life.push(`-${name}`);
    },
  });
const quick = { backoffMs: 1, maxBackoffMs: 2, limit: 3, windowMs: 10_000, cooldownMs: 20 };

describe('a runtime', () => {
  it('starts each service after what it needs, the others at the same time, and stops in the reverse order', async () => {
    const life: string[] = [];
    const isCacheUp = Promise.withResolvers<undefined>();
    const database = service('database', {
      start: () => isCacheUp.promise.then(() => life.push('+database')),
      stop: () => void life.push('-database'),
    });
    const cache = service('cache', {
      start: () => {
        life.push('+cache');
        isCacheUp.resolve(undefined);
      },
    });
    const api = noting(life, 'api', [database, cache]);
    const runtime = runtimeOf([api, database, cache]);
    await runtime.start();
    expect(life).toEqual(['+cache', '+database', '+api']);
    expect(runtime.isReady()).toBe(true);
    expect(await runtime.stop()).toEqual([]);
    expect(life.slice(3)).toEqual(['-api', '-database']);
    await expect(runtime.ended).resolves.toBeUndefined();
  });

  it('gives a service what the start of another one returned', async () => {
    const database = service('database', { start: () => ({ rows: 7 }) });
    const api = service('api', { needs: [database], start: ({ use }) => use(database).rows });
    const runtime = runtimeOf([api, database]);
    await runtime.start();
    expect(runtime.use(api)).toBe(7);
  });

  it('waits until a need is healthy, or has done its work', async () => {
    const life: string[] = [];
    let looks = 0;
    const database = service('database', {
      start: () => life.push('database'),
      health: { check: () => ++looks > 2, intervalMs: 5, healthyAfter: 1 },
    });
    const migration = service('migration', {
      needs: [healthy(database)],
      start: () => life.push('migration'),
      run: async () => {
        await sleep(10);
        life.push('migrated');
      },
    });
    const api = service('api', { needs: [completed(migration)], start: () => life.push('api') });
    await runtimeOf([api, migration, database]).start();
    expect(life).toEqual(['database', 'migration', 'migrated', 'api']);
    expect(looks).toBeGreaterThan(2);
  });

  it('refuses a circle, and shows it', () => {
    const [a, b, c] = [
      service('a', { needs: [started('b')], start: () => 1 }),
      service('b', { needs: [started('c')], start: () => 1 }),
      service('c', { needs: [started('a')], start: () => 1 }),
    ];
    expect(() => runtimeOf([a, b, c])).toThrow('a → b → c → a');
  });

  it('refuses a service that nobody knows, and two of one name', () => {
    const lone = service('api', { needs: [started('databse')], start: () => 1 });
    expect(() => runtimeOf([lone])).toThrow('service databse is not among the services of this runtime; known: api');
    expect(() => runtimeOf([service('a', { start: () => 1 }), service('a', { start: () => 1 })])).toThrow(
      'two services',
    );
  });

  it('stops what had started when a critical service does not start', async () => {
    const life: string[] = [];
    const database = noting(life, 'database');
    const api = service('api', { needs: [database], start: () => Promise.reject(new Error('port 80 is taken')) });
    const later = noting(life, 'later', [api]);
    const runtime = runtimeOf([database, api, later]);
    await expect(runtime.start()).rejects.toThrow('service api did not start: port 80 is taken');
    expect(life).toEqual(['+database', '-database']);
    expect(runtime.state).toBe('error');
  });

  it('goes on without an optional service, and tries it again', async () => {
    let attempts = 0;
    const mail = service('mail', {
      critical: false,
      restart: quick,
      start: () => (++attempts < 3 ? Promise.reject(new Error('no answer')) : attempts),
    });
    const runtime = runtimeOf([mail]);
    await runtime.start();
    expect(runtime.isReady()).toBe(true);
    await vi.waitFor(() => {
      expect(runtime.services()[0]).toMatchObject({ state: 'running' });
    });
    expect(attempts).toBe(3);
  });

  it('starts a service that failed again, and those that restart with it, but no others', async () => {
    const life: string[] = [];
    let fail: (error: unknown) => void = () => undefined;
    const database = service('database', {
      restart: quick,
      start: (context) => {
        fail = (error) => {
          context.fail(error);
        };
        life.push('+database');
      },
    });
    const api = noting(life, 'api', [database]);
    const page = service('page', { needs: [started(database, { restarts: false })], start: () => life.push('+page') });
    const runtime = runtimeOf([database, api, page]);
    await runtime.start();
    life.length = 0;
    fail(new Error('connection lost'));
    await vi.waitFor(() => {
      expect(life).toEqual(['-api', '+database', '+api']);
    });
    expect(runtime.services().find(({ name }) => name === 'database')).toMatchObject({
      restarts: 1,
      lastError: 'connection lost',
    });
  });

  it('ends when a critical service fails too often, and says why', async () => {
    const life: string[] = [];
    const other = noting(life, 'other');
    const breaking = service('breaking', {
      needs: [started(other)],
      restart: quick,
      start: () => undefined,
      run: () => Promise.reject(new Error('out of luck')),
    });
    const runtime = runtimeOf([other, breaking]);
    const escalated = vi.fn();
    runtime.events.on('escalated', escalated);
    await runtime.start();
    await expect(runtime.ended).rejects.toThrow(
      'critical service breaking failed 3 times within 10000 ms; the last reason: out of luck',
    );
    expect(escalated).toHaveBeenCalledWith({ service: 'breaking', isCritical: true, reason: 'out of luck' });
    expect(life.at(-1)).toBe('-other');
    expect(runtime.state).toBe('error');
  });

  it('lets an optional service rest when it fails too often, and then tries again', async () => {
    let starts = 0;
    const breaking = service('breaking', {
      critical: false,
      restart: quick,
      start: () => ++starts,
      run: () => (starts < 6 ? Promise.reject(new Error('not yet')) : new Promise(() => undefined)),
      stop: () => undefined,
      stopTimeoutMs: 10,
    });
    const runtime = runtimeOf([breaking]);
    const states: string[] = [];
    runtime.events.on('service', ({ to }) => states.push(to));
    await runtime.start();
    await vi.waitFor(() => {
      expect(starts).toBe(6);
    });
    expect(states.filter((state) => state === 'cooldown')).toHaveLength(1);
    expect(runtime.state).toBe('running');
  });

  it('does not wait for a pause before a restart when it stops', async () => {
    const breaking = service('breaking', {
      restart: { backoffMs: 60_000, maxBackoffMs: 60_000 },
      start: () => undefined,
      run: () => Promise.reject(new Error('broken')),
    });
    const runtime = runtimeOf([breaking]);
    await runtime.start();
    await vi.waitFor(() => {
      expect(runtime.services()[0]?.state).toBe('backoff');
    });
    expect(await runtime.stop()).toEqual([]);
  });

  it('names a service that does not stop in time, and stops the others all the same', async () => {
    const life: string[] = [];
    const database = noting(life, 'database');
    const stuck = service('stuck', {
      needs: [database],
      start: () => 1,
      stop: () => new Promise(() => undefined),
      stopTimeoutMs: 20,
    });
    const runtime = runtimeOf([database, stuck]);
    await runtime.start();
    expect((await runtime.stop()).map(({ message }) => message)).toEqual([
      'service stuck did not stop within 20 ms and was left behind',
    ]);
    expect(life.at(-1)).toBe('-database');
  });

  it('stops within the time for all, however many are stuck', async () => {
    const stuck = Array.from({ length: 5 }, (_, index) =>
      service(`stuck ${index}`, {
        needs: index === 0 ? [] : [started(`stuck ${index - 1}`)],
        start: () => 1,
        stop: () => new Promise(() => undefined),
      }),
    );
    const runtime = runtimeOf(stuck, { stopTimeoutMs: 100 });
    await runtime.start();
    expect(await runtime.stop()).toHaveLength(5);
  });

  it('closes what a start has opened when it is stopped meanwhile', async () => {
    const life: string[] = [];
    const slow = noting(life, 'slow', [], 30);
    const runtime = runtimeOf([slow]);
    const starting = runtime.start();
    await sleep(5);
    await runtime.stop();
    await starting;
    expect(life).toEqual(['+slow', '-slow']);
    expect(runtime.state).toBe('stopped');
  });

  it('gives up a start that takes too long', async () => {
    const hanging = service('hanging', { start: () => new Promise(() => undefined), startTimeoutMs: 20 });
    await expect(runtimeOf([hanging]).start()).rejects.toThrow('service hanging did not start within 20 ms');
  });

  it('starts fifty services, and none before what it needs', async () => {
    const life: string[] = [];
    const services: AnyService[] = [];
    for (let index = 0; index < 50; index++)
      services.push(
        noting(
          life,
          `s${index}`,
          index === 0 ? [] : [services[index >> 1] ?? services[0]].filter((one) => one !== undefined),
        ),
      );
    await runtimeOf(services.toReversed()).start();
    const at = (name: string) => life.indexOf(`+${name}`);
    for (let index = 1; index < 50; index++) expect(at(`s${index}`)).toBeGreaterThanOrEqual(at(`s${index >> 1}`));
    expect(life).toHaveLength(50);
  });

  it('restarts one on demand', async () => {
    const life: string[] = [];
    const one = noting(life, 'one');
    const runtime = runtimeOf([one]);
    await runtime.start();
    await runtime.restart('one');
    expect(life).toEqual(['+one', '-one', '+one']);
    await expect(runtime.restart('two')).rejects.toThrow('service two is not among the services');
  });
});

describe('restarts', () => {
  it('wait longer each time, and are counted over a window that slides', () => {
    const restarts = new Restarts({ ...RESTART, limit: 3, windowMs: 1000 }, () => 1);
    expect([0, 1, 2].map((at) => restarts.next(at))).toEqual([200, 400, 800]);
    expect(restarts.next(900)).toBeNull();
    expect(restarts.next(1001)).toBe(400);
  });
});
