import { pino } from 'pino';
import { afterEach, describe, expect, expectTypeOf, it, vi } from 'vitest';
import type { Clock } from '../observe/clock.ts';
import { pipeline } from '../pipeline/pipeline.ts';
import { createRuntime } from '../services/create-runtime.ts';
import { service } from '../services/service.ts';
import { LastMinute } from './last-minute.ts';
import { LoadMeter } from './load.ts';
import { Orchestrator } from './orchestrator.ts';
import { orchestratorSettings, settingsOfEnvironment } from './orchestrator-settings.ts';
import { Recovery } from './recovery.ts';
import type { SystemHealth } from './system-health.ts';

const log = pino({ level: 'silent' });
/** A machine that is busy with other tests is no news here. */
const calm = { cpu_threshold: 100, memory_threshold: 100 };
const told = (values: object = {}) => ({
  current: orchestratorSettings.parse({ ...calm, restart_pause_seconds: 0, restart_cooldown_seconds: 0, ...values }),
});
const running: { stop(): Promise<unknown> }[] = [];
afterEach(async () => {
  for (const one of running.splice(0)) await one.stop();
});
function kept<T extends { stop(): Promise<unknown> }>(one: T): T {
  running.push(one);
  return one;
}

/** Time that passes when it is told to. */
class ManualClock implements Clock {
  #now = 0;
  #sleepers: { readonly at: number; readonly wake: () => void }[] = [];
  now(): number {
    return this.#now;
  }
  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    this.#sleepers.push({
      at: this.#now + ms,
      wake: () => {
        resolve(undefined);
      },
    });
    signal?.addEventListener('abort', () => {
      reject(signal.reason);
    });
    signal?.throwIfAborted();
    await promise;
  }
  async pass(ms: number): Promise<void> {
    this.#now += ms;
    const due = this.#sleepers.filter(({ at }) => at <= this.#now);
    this.#sleepers = this.#sleepers.filter(({ at }) => at > this.#now);
    for (const { wake } of due) wake();
    await new Promise((resolve) => setImmediate(resolve));
  }
  /** True where somebody wakes in exactly that time. */
  sleeps(ms: number): boolean {
    return this.#sleepers.some(({ at }) => at - this.#now === ms);
  }
}

/** A system whose critical service can be made to break for good. */
function breakable(life: string[] = []) {
  const made: { fail: (error: unknown) => void; build: number }[] = [];
  let failing = 0;
  const build = () => {
    const build = made.length + 1;
    const one: (typeof made)[number] = { build, fail: () => undefined };
    made.push(one);
    const database = service('database', {
      restart: { limit: 0 },
      start: ({ fail }) => {
        if (failing > 0) {
          failing -= 1;
          throw new Error(`no database at build ${build}`);
        }
        one.fail = fail;
        life.push(`+${build}`);
      },
      stop: () => void life.push(`-${build}`),
    });
    return { build, runtime: createRuntime({ services: [database], log }) };
  };
  return { made, build, failNext: (times: number) => (failing = times) };
}

describe('an orchestrator', () => {
  it('goes through its states, and starts again after a stop with a system of its own', async () => {
    const life: string[] = [];
    const { build } = breakable(life);
    const orchestrator = kept(new Orchestrator({ build, settings: told(), log }));
    const states: string[] = [orchestrator.state];
    orchestrator.registerEventCallback('state', ({ to }) => states.push(to));
    expect(() => orchestrator.system).toThrow('the runtime cannot be used while it is initializing');
    expect(orchestrator.getHealthStatus()).toMatchObject({ state: 'initializing', uptime: 0, performanceScore: 0 });
    await orchestrator.start();
    await expect(orchestrator.start()).rejects.toThrow('the runtime cannot start while it is running');
    const { ended } = orchestrator;
    expect(await orchestrator.stop()).toEqual([]);
    await expect(ended).resolves.toBeUndefined();
    await orchestrator.start();
    expect(orchestrator.system.build).toBe(2);
    await orchestrator.stop();
    const turn = ['starting', 'running', 'stopping', 'stopped'];
    expect(states).toEqual(['initializing', ...turn, ...turn]);
    expect(life).toEqual(['+1', '-1', '+2', '-2']);
  });

  it('does not try a first start that fails again, and says why', async () => {
    const { build, failNext, made } = breakable();
    failNext(1);
    const orchestrator = kept(new Orchestrator({ build, settings: told(), log }));
    await expect(orchestrator.start()).rejects.toThrow('no database at build 1');
    await expect(orchestrator.ended).rejects.toThrow('no database at build 1');
    expect([orchestrator.state, made.length]).toEqual(['error', 1]);
    expect(orchestrator.getHealthStatus()).toMatchObject({ errorCount: 1, lastError: /no database/ });
    await orchestrator.start();
    expect(orchestrator.state).toBe('running');
  });

  it('builds and starts everything again where a critical service could not be kept running', async () => {
    const life: string[] = [];
    const { build, made } = breakable(life);
    const previous: unknown[] = [];
    const orchestrator = kept(
      new Orchestrator({
        build: (before: ReturnType<typeof build> | null) => {
          previous.push(before?.build ?? null);
          return build();
        },
        settings: told(),
        log,
      }),
    );
    const states: string[] = [];
    const errors: string[] = [];
    orchestrator.registerEventCallback('state', ({ to }) => states.push(to));
    orchestrator.registerEventCallback('system_error', ({ component }) => errors.push(component));
    await orchestrator.start();
    made[0]?.fail(new Error('disk gone'));
    await vi.waitFor(() => {
      expect(states).toEqual(['starting', 'running', 'error', 'starting', 'running']);
    });
    expect(life).toEqual(['+1', '-1', '+2']);
    expect(previous).toEqual([null, 1]);
    expect(orchestrator.restartAttempts).toBe(1);
    expect(errors).toEqual(['runtime']);
    expect(orchestrator.getHealthStatus().lastError).toContain('disk gone');
    expect(orchestrator.system.build).toBe(2);
  });

  it('counts starts that fail again as attempts, and ends when there are too many', async () => {
    const { build, made, failNext } = breakable();
    const orchestrator = kept(new Orchestrator({ build, settings: told({ max_restart_attempts: 3 }), log }));
    await orchestrator.start();
    failNext(99);
    made[0]?.fail(new Error('disk gone'));
    await expect(orchestrator.ended).rejects.toThrow('no database at build 4');
    expect([orchestrator.state, made.length]).toEqual(['error', 4]);
    expect(orchestrator.getHealthStatus().errorCount).toBe(4);
    expect(await orchestrator.stop()).toEqual([]);
    expect(orchestrator.state).toBe('stopped');
  });

  it('ends with the first error where recovery is switched off', async () => {
    const { build, made } = breakable();
    const orchestrator = kept(new Orchestrator({ build, settings: told({ auto_recovery_enabled: false }), log }));
    await orchestrator.start();
    made[0]?.fail(new Error('disk gone'));
    await expect(orchestrator.ended).rejects.toThrow('disk gone');
    expect([orchestrator.state, made.length]).toEqual(['error', 1]);
  });

  it('waits five seconds before it starts again, and a stop does not wait for them', async () => {
    const clock = new ManualClock();
    const { build, made } = breakable();
    const settings = { current: orchestratorSettings.parse(calm) };
    const orchestrator = kept(new Orchestrator({ build, settings, log, clock }));
    await orchestrator.start();
    made[0]?.fail(new Error('disk gone'));
    await vi.waitFor(() => {
      expect(clock.sleeps(5000)).toBe(true);
    });
    await expect(orchestrator.start()).rejects.toThrow('cannot start while it is recovering');
    await clock.pass(4999);
    expect([orchestrator.state, made.length]).toEqual(['error', 1]);
    await clock.pass(1);
    await vi.waitFor(() => {
      expect(orchestrator.state).toBe('running');
    });
    made[1]?.fail(new Error('disk gone again'));
    // Not five seconds, since the last restart was less than a minute ago.
    await vi.waitFor(() => {
      expect(clock.sleeps(60_000)).toBe(true);
    });
    await orchestrator.stop();
    expect([orchestrator.state, made.length]).toEqual(['stopped', 2]);
  });

  it('stops what was still starting', async () => {
    const life: string[] = [];
    const isBuilt = Promise.withResolvers<undefined>();
    const { build } = breakable(life);
    const orchestrator = kept(
      new Orchestrator({ build: async () => (await isBuilt.promise, build()), settings: told(), log }),
    );
    const starting = orchestrator.start();
    const stopping = orchestrator.stop();
    isBuilt.resolve(undefined);
    await Promise.all([starting, stopping]);
    expect([orchestrator.state, life]).toEqual(['stopped', []]);
  });
});

describe('the health of a system', () => {
  it('has uptime, services, queues and load, and costs no check', async () => {
    const clock = new ManualClock();
    const check = vi.fn(() => undefined);
    const line = pipeline<number>('bell')
      .stage('store', { work: () => undefined, workers: 2 })
      .build({ log });
    const api = service('api', { start: () => undefined, health: { check } });
    const build = () => ({ runtime: createRuntime({ services: [api], log }), pipelines: [line] });
    const orchestrator = kept(new Orchestrator({ build, settings: told(), log, clock }));
    await orchestrator.start();
    line.start();
    await line.push(1);
    await clock.pass(1500);
    const health = orchestrator.getHealthStatus();
    expect(health).toMatchObject({ state: 'running', uptime: 1.5, errorCount: 0, warningCount: 0, lastError: null });
    expect(health.pipelineStatus).toMatchObject({
      pipeline_status: 'running',
      stages: {
        api: { enabled: true, running: true, critical: true },
        'bell.store': { enabled: true, running: true, critical: true },
      },
      queue_status: { backlog_warning: false, queues: [{ type: 'bell.store', max_size: 100, total_enqueued: 1 }] },
      worker_status: { workers: 2, high_cpu: false, high_memory: false },
    });
    expect(health.pipelineStatus.worker_status.process_memory_bytes).toBeGreaterThan(1e6);
    expect(check).toHaveBeenCalledTimes(1);
    await line.stop();
  });

  it('is halved by errors, takes a fifth for a backlog and a tenth for a busy CPU, and is good again a minute later', async () => {
    const clock = new ManualClock();
    const open = Promise.withResolvers<undefined>();
    const line = pipeline<number>('bell')
      .stage('store', { work: () => open.promise })
      .build({ log });
    line.start();
    const api = service('api', { start: () => undefined });
    const build = () => ({ runtime: createRuntime({ services: [api], log }), pipelines: [line] });
    const settings = { current: orchestratorSettings.parse({ ...calm, queue_backlog_threshold: 2 }) };
    const orchestrator = kept(new Orchestrator({ build, settings, log, clock }));
    await orchestrator.start();
    const factors = () =>
      orchestrator
        .getHealthStatus()
        .performanceFactors.filter(({ name }) => name !== 'event loop')
        .map(({ name, factor }) => [name, factor]);
    for (let item = 0; item < 3; item++) await line.push(item);
    expect(factors()).toEqual([]);
    await line.push(3);
    expect(factors()).toEqual([['queue backlog', 0.8]]);

    const warnings = vi.fn();
    const updates: SystemHealth[] = [];
    orchestrator.registerEventCallback('performance_warning', warnings);
    orchestrator.registerEventCallback('health_update', (health) => updates.push(health));
    orchestrator.reportError('mail', new Error('no answer'));
    settings.current = orchestratorSettings.parse({ ...settings.current, cpu_threshold: 0 });
    burn(60);
    await clock.pass(30_000);
    expect(factors()).toEqual([
      ['errors', 0.5],
      ['queue backlog', 0.8],
      ['cpu', 0.9],
    ]);
    expect(warnings).toHaveBeenCalledTimes(1);
    const [[warning]] = warnings.mock.calls as [[{ score: number; reasons: string[] }]];
    expect(warning.score).toBeLessThan(0.37);
    expect(warning.reasons.join()).toMatch(/1 errors in the last minute.*3 items wait before bell\.store.*CPU is at/);
    expect(updates.at(-1)).toMatchObject({ errorCount: 1, warningCount: 2, lastError: 'no answer' });

    open.resolve(undefined);
    settings.current = orchestratorSettings.parse({ ...settings.current, ...calm });
    await clock.pass(31_000);
    expect(warnings).toHaveBeenCalledTimes(1);
    expect(factors()).toEqual([]);
    await line.stop();
  });

  it('counts failed items, failed services and parts that became unhealthy', async () => {
    let isUp = true;
    const api = service('api', {
      start: () => undefined,
      health: { check: () => isUp, intervalMs: 5, unhealthyAfter: 2 },
    });
    const mail = service('mail', {
      critical: false,
      restart: { backoffMs: 1, limit: 1 },
      start: () => undefined,
      run: () => Promise.reject(new Error('no answer')),
    });
    const line = pipeline<number>('bell')
      .stage('store', { work: () => Promise.reject(new Error('disk full')), attempts: 1 })
      .build({ log });
    const build = () => ({ runtime: createRuntime({ services: [api, mail], log }), pipelines: [line] });
    const orchestrator = kept(new Orchestrator({ build, settings: told(), log }));
    const errors = new Set<string>();
    orchestrator.registerEventCallback('system_error', ({ component, error }) => errors.add(`${component}: ${error}`));
    await orchestrator.start();
    line.start();
    await line.push(1);
    isUp = false;
    await vi.waitFor(() => {
      expect([...errors].sort()).toEqual(['api: the check says no', 'bell.store: disk full', 'mail: no answer']);
    });
    expect(orchestrator.getHealthStatus().warningCount).toBeGreaterThan(0);
    await line.stop();
  });

  it('tells of a flood of errors once, until it is over', async () => {
    const clock = new ManualClock();
    const orchestrator = kept(
      new Orchestrator({ build: breakable().build, settings: told({ error_threshold_per_minute: 2 }), log, clock }),
    );
    const seen: string[] = [];
    orchestrator.registerEventCallback('system_error', ({ component }) => seen.push(component));
    for (let turn = 0; turn < 1000; turn++) orchestrator.reportError('mail', new Error('no answer'));
    expect(seen).toEqual(['mail', 'mail', 'error rate']);
    await clock.pass(61_000);
    orchestrator.reportError('mail', new Error('no answer'));
    expect(seen).toEqual(['mail', 'mail', 'error rate', 'mail']);
    expect(orchestrator.getHealthStatus().errorCount).toBe(1001);
  });

  it('warns of much memory where that is asked for, and writes its metrics', async () => {
    const clock = new ManualClock();
    const values = { memory_threshold: 0, alert_on_high_memory: false };
    const settings = { current: told(values).current };
    const orchestrator = kept(new Orchestrator({ build: breakable().build, settings, log, clock }));
    const reasons: string[] = [];
    orchestrator.registerEventCallback('performance_warning', (warning) => reasons.push(...warning.reasons));
    await orchestrator.start();
    expect(reasons.join()).not.toContain('memory');
    settings.current = told({ ...values, alert_on_high_memory: true }).current;
    for (let turn = 0; turn < 3; turn++) await clock.pass(30_000);
    expect(reasons.filter((reason) => reason.startsWith('the memory is at'))).toHaveLength(1);
    const { body } = await orchestrator.system.runtime.metrics.text();
    expect(body).toMatch(/^system_memory_percent \d/m);
    expect(body).toMatch(/^performance_score \d/m);
  });

  it('survives a callback that throws', async () => {
    const orchestrator = kept(new Orchestrator({ build: breakable().build, settings: told(), log }));
    orchestrator.registerEventCallback('state', () => {
      throw new Error('my mistake');
    });
    const other = vi.fn();
    const off = orchestrator.registerEventCallback('health_update', other);
    await orchestrator.start();
    expect(other).toHaveBeenCalledTimes(1);
    off();
    await orchestrator.stop();
    await orchestrator.start();
    expect(other).toHaveBeenCalledTimes(1);
  });
});

describe('commands and the legacy interface', () => {
  it('work with the system that runs now, also after a recovery', async () => {
    const { build, made } = breakable();
    const orchestrator = kept(
      new Orchestrator({
        build,
        settings: told(),
        log,
        commands: { ring: (system: ReturnType<typeof build>, door: string) => `${door} of ${system.build}` },
        legacyInterface: (own) => ({ getStatus: () => own.getHealthStatus().state, of: () => own.system.build }),
      }),
    );
    expect(() => orchestrator.trigger('ring', 'front')).toThrow('the runtime cannot ring while it is initializing');
    await orchestrator.start();
    const legacy = orchestrator.getLegacyInterface();
    expectTypeOf(orchestrator.trigger('ring', 'front')).toEqualTypeOf<string>();
    expect(orchestrator.trigger('ring', 'front')).toBe('front of 1');
    expect([legacy.getStatus(), legacy.of()]).toEqual(['running', 1]);
    made[0]?.fail(new Error('disk gone'));
    await vi.waitFor(() => {
      expect(orchestrator.trigger('ring', 'front')).toBe('front of 2');
    });
    expect(orchestrator.getLegacyInterface()).toBe(legacy);
    expect(legacy.of()).toBe(2);
    expect(() => orchestrator.trigger('constructor' as 'ring', 'x')).toThrow(
      'there is no command constructor; known: ring',
    );
  });

  it('are none where the application gives none', () => {
    const orchestrator = new Orchestrator({ build: breakable().build, settings: told(), log });
    expect(orchestrator.getLegacyInterface()).toBeNull();
    expect(() => orchestrator.trigger('ring')).toThrow('there is no command ring; known: none');
  });
});

describe('settings', () => {
  it('have the defaults of the guide, and the environment goes over them', () => {
    expect(settingsOfEnvironment({}).current).toMatchObject({
      health_check_interval: 30,
      metrics_collection_interval: 60,
      auto_recovery_enabled: true,
      max_restart_attempts: 3,
      restart_cooldown_seconds: 60,
      cpu_threshold: 80,
      memory_threshold: 85,
      queue_backlog_threshold: 100,
      error_threshold_per_minute: 10,
    });
    const environment = {
      HEALTH_CHECK_INTERVAL: '12.5',
      AUTO_RECOVERY_ENABLED: 'false',
      MAX_RESTART_ATTEMPTS: '7',
      CPU_THRESHOLD: '50',
      MEMORY_THRESHOLD: '60',
    };
    expect(settingsOfEnvironment(environment).current).toMatchObject({
      health_check_interval: 12.5,
      auto_recovery_enabled: false,
      max_restart_attempts: 7,
      cpu_threshold: 50,
      memory_threshold: 60,
    });
    expect(() => settingsOfEnvironment({ CPU_THRESHOLD: '101' })).toThrow('cpu_threshold');
    expect(() => settingsOfEnvironment({ AUTO_RECOVERY_ENABLED: 'perhaps' })).toThrow('AUTO_RECOVERY_ENABLED');
  });
});

describe('its parts', () => {
  it('count restarts over a window that slides: one that succeeds does not make room', () => {
    const recovery = new Recovery();
    const settings = orchestratorSettings.parse({});
    expect(recovery.next(0, settings)).toBe(5000);
    expect(recovery.next(10_000, settings)).toBe(55_000);
    expect(recovery.next(200_000, settings)).toBe(5000);
    expect(recovery.next(400_000, settings)).toBeNull();
    expect(recovery.next(3_605_000, settings)).toBe(5000);
  });

  it('forget what is older than a minute, and hold a million errors in a few numbers', () => {
    const minute = new LastMinute();
    for (let turn = 0; turn < 1_000_000; turn++) minute.add(turn / 10);
    expect(minute.count(100_000)).toBe(600_000);
    expect(minute.count(200_000)).toBe(0);
  });

  it('measure the CPU that was used, and the memory', () => {
    const meter = new LoadMeter();
    burn(100);
    const load = meter.measure();
    expect(load.processCpuPercent).toBeGreaterThan(0);
    expect(load.cpuPercent).toBeGreaterThan(0);
    expect(load.memoryPercent).toBeGreaterThan(0);
    for (const one of [load.cpuPercent, load.processCpuPercent, load.memoryPercent])
      expect(one).toBeLessThanOrEqual(100);
    expect(load.processMemoryBytes).toBeGreaterThan(1e6);
  });
});

function burn(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end) Math.sqrt(end);
}
