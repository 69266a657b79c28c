/**
 * The doorbell under fire: its face thread crashes, hangs, leaks and gets no CPU time. `FIRE_ROUNDS=100` for so many rounds of each, which
 * take an hour; default 1.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { tempFolder } from 'changeover/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { people, type Person } from '../seed/people.ts';
import { Faces } from '../shared/faces.ts';
import { until } from '../testing/client.ts';
import { type Fault, poisoned } from '../testing/faulty-faces.ts';
import { buildApp } from './app.ts';
import { openSystem } from './system.ts';

const ROUNDS = Number(process.env['FIRE_ROUNDS'] ?? '1');
const ROUND_MS = 120_000;
const PRESSES = 2;
const RECOVERY_MS = 30_000;
const MAX_MEMORY_MB = 256;
const STARVED_MS = 1500;

const temp = await tempFolder('doorbell-fire-');
let stranger: Person;
let roots = 0;

beforeAll(async () => {
  stranger = (await people()).find(({ role }) => role === 'stranger') ?? expect.fail();
}, 120_000);
afterAll(() => temp.remove());

async function start(settings: object = {}) {
  const root = path.join(temp.path, `root-${roots++}`);
  const porch = path.join(root, 'porch');
  await mkdir(porch, { recursive: true });
  await mkdir(path.join(root, 'config'));
  const all = {
    hardware: { button_debounce_time: 0 },
    face_detection: { job_timeout: 2 },
    monitoring: { health_check_interval: 1 },
    storage: { log_level: 'CRITICAL' },
    ...settings,
  };
  await writeFile(path.join(root, 'config/pipeline.json'), JSON.stringify(all));
  const faces = new Faces({ file: new URL('../testing/faulty-faces.ts', import.meta.url), maxMemoryMb: MAX_MEMORY_MB });
  const system = await openSystem({ root, faces, environment: { CAMERA_FOLDER: porch } });
  const app = await buildApp(system);
  const db = new DatabaseSync(path.join(root, 'data/pipeline.db'), { timeout: 5000 });
  const visitor = stranger.portraits.at(-1)?.jpeg ?? expect.fail();
  const see = (picture: Uint8Array) => writeFile(path.join(porch, 'now.jpg'), picture);
  await see(visitor);
  return {
    places: system.places,
    visitor,
    see,
    /** A file that makes one fault happen. */
    once: async () => {
      const file = path.join(root, 'once');
      await writeFile(file, '');
      return file;
    },
    press: async () => (await app.inject({ method: 'POST', url: '/api/trigger-doorbell' })).statusCode,
    idle: () =>
      until(
        () => Promise.resolve(system.bell.isIdle),
        (isIdle) => isIdle,
        ROUND_MS,
      ),
    types: () =>
      db
        .prepare('SELECT event_type FROM events ORDER BY id')
        .all()
        .map((row) => row['event_type']),
    health: async () =>
      (await app.inject('/health/service/bell')).json<{ status: string; details: Record<string, number> }>(),
    [Symbol.asyncDispose]: async () => {
      db.close();
      await app.close();
      await system.runtime.stop();
      await faces.close();
    },
  };
}

type Doorbell = Awaited<ReturnType<typeof start>>;

/** Rings until somebody is recognised again; the number of presses that it took. */
async function recover({ see, visitor, press, idle, types }: Doorbell): Promise<number> {
  await see(visitor);
  const endMs = performance.now() + RECOVERY_MS;
  for (let pressed = 1; ; pressed++) {
    expect(await press()).toBe(200);
    await idle();
    if (types().at(-1) === 'FACE_UNKNOWN') return pressed;
    if (performance.now() > endMs) throw new Error(`nobody was recognised in ${RECOVERY_MS} ms; ${types().join()}`);
  }
}

async function healthAfter({ health }: Doorbell, accepted: number) {
  return until(health, ({ details }) => details['accepted'] === accepted);
}

const faults: readonly Fault[] = ['crash', 'hang', 'leak'];
for (const fault of faults) {
  test(
    `a ${fault} of the face thread costs no press, once or with every picture`,
    async () => {
      await using doorbell = await start();
      let accepted = await recover(doorbell);
      for (let round = 0; round < ROUNDS; round++) {
        await doorbell.see(poisoned(doorbell.visitor, fault, await doorbell.once()));
        for (let number = 0; number < PRESSES; number++) expect(await doorbell.press()).toBe(200);
        await doorbell.idle();
        accepted += PRESSES;
        expect(doorbell.types()).toHaveLength(accepted);

        await doorbell.see(poisoned(doorbell.visitor, fault));
        expect(await doorbell.press()).toBe(200);
        await doorbell.idle();
        accepted += 1;
        expect(doorbell.types().slice(accepted - 1)).toEqual(['COMPONENT_ERROR']);

        accepted += await recover(doorbell);
        expect(doorbell.types()).toHaveLength(accepted);
      }
      expect((await healthAfter(doorbell, accepted)).details).toMatchObject({ dropped: 0, refused: 0, failed: 0 });
    },
    ROUNDS * ROUND_MS,
  );
}

test(
  'presses that come while other processes take all CPU time are stored',
  async () => {
    await using doorbell = await start();
    let accepted = await recover(doorbell);
    for (let round = 0; round < ROUNDS; round++) {
      const greedy = Array.from({ length: availableParallelism() * 2 }, () =>
        spawn(process.execPath, ['-e', 'for (;;);'], { env: {}, stdio: 'ignore' }),
      );
      try {
        const endMs = performance.now() + STARVED_MS;
        while (performance.now() < endMs) {
          expect(await doorbell.press()).toBe(200);
          accepted += 1;
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
      } finally {
        for (const child of greedy) {
          child.kill('SIGKILL');
          await once(child, 'exit');
        }
      }
      await doorbell.idle();
      expect(doorbell.types()).toHaveLength(accepted);
      accepted += await recover(doorbell);
    }
    expect((await healthAfter(doorbell, accepted)).details).toMatchObject({ dropped: 0, refused: 0, failed: 0 });
  },
  ROUNDS * ROUND_MS,
);

test(
  'presses without room are refused and counted, and all others are stored',
  async () => {
    await using doorbell = await start({
      event_processing: { max_queue_size: 5 },
      face_detection: { job_timeout: 2, max_queue_size: 1 },
    });
    let accepted = await recover(doorbell);
    await doorbell.see(poisoned(doorbell.visitor, 'hang', await doorbell.once()));
    const answers = [];
    for (let number = 0; number < 20; number++) answers.push(await doorbell.press());
    const refused = answers.filter((status) => status !== 200).length;
    expect(refused).toBeGreaterThan(0);
    accepted += answers.length - refused;
    await doorbell.idle();
    expect(doorbell.types()).toHaveLength(accepted);
    expect((await healthAfter(doorbell, accepted)).details).toMatchObject({ accepted, refused, dropped: 0, failed: 0 });
  },
  ROUND_MS,
);

test(
  'a press whose picture cannot be kept is an event all the same',
  async () => {
    await using doorbell = await start();
    const accepted = await recover(doorbell);
    await rm(doorbell.places.scratch, { recursive: true });
    expect(await doorbell.press()).toBe(200);
    await doorbell.idle();
    expect(doorbell.types().slice(accepted)).toEqual(['COMPONENT_ERROR']);
  },
  ROUND_MS,
);
