import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import path from 'node:path';
import { freePort, tempFolder } from 'changeover/testing';
import type { FastifyInstance } from 'fastify';
import { afterAll, expect, test } from 'vitest';
import { Faces } from '../shared/faces.ts';
import { call, until } from '../testing/client.ts';
import { orchestrate, type Doorbell } from './orchestrate.ts';

const faces = new Faces();
const temp = await tempFolder('doorbell-orchestrate-');
const doorbells: Doorbell[] = [];
afterAll(async () => {
  for (const doorbell of doorbells) await doorbell.stop();
  await faces.close();
  await temp.remove();
});

async function make(monitoring: object = {}) {
  const root = path.join(temp.path, `root-${doorbells.length}`);
  await mkdir(path.join(root, 'config'), { recursive: true });
  const settings = {
    frame_capture: { retry_delay: 0.01 },
    hardware: { button_debounce_time: 0 },
    storage: { log_level: 'CRITICAL' },
    monitoring,
  };
  await writeFile(path.join(root, 'config/pipeline.json'), JSON.stringify(settings));
  const port = await freePort();
  const apps: FastifyInstance[] = [];
  const doorbell = orchestrate({
    root,
    faces,
    environment: { PORT: String(port) },
    onListening: (app) => apps.push(app),
  });
  doorbells.push(doorbell);
  return { doorbell, apps, port, base: `http://127.0.0.1:${port}` };
}

test('a doorbell whose port was taken away is built again, rings, and is as passive as it was', async () => {
  const { doorbell, apps, base, port } = await make({ restart_pause_seconds: 0, restart_cooldown_seconds: 0 });
  const states: string[] = [];
  doorbell.registerEventCallback('state', ({ to }) => states.push(to));
  await doorbell.start();
  const first = doorbell.system;
  expect(first.activity.isActive).toBe(true);
  expect((await call(base, { path: '/health/ready' })).status).toBe(200);
  const rung = await doorbell.trigger('trigger_doorbell');
  expect(rung).toMatchObject({ status: 'success', event_id: expect.any(String) as string });
  await call(base, { method: 'POST', path: '/control/passivate' });

  const closed = once(apps[0]?.server ?? expect.fail(), 'close');
  apps[0]?.server.close();
  apps[0]?.server.closeAllConnections();
  const thief = createServer().listen(port, '127.0.0.1');
  await closed;
  await until(
    () => Promise.resolve(states),
    (all) => all.includes('error'),
    15_000,
  );
  thief.close();
  await until(
    () => Promise.resolve(states),
    (all) => all.at(-1) === 'running' && all.includes('error'),
    15_000,
  );
  expect(doorbell.system).not.toBe(first);
  expect(doorbell.system.runtime.metrics).toBe(first.runtime.metrics);
  expect(JSON.parse((await call(base, { path: '/health/ready' })).text)).toMatchObject({ passive: true });
  expect(doorbell.getHealthStatus()).toMatchObject({ state: 'running', lastError: expect.any(String) as string });
  await call(base, { method: 'POST', path: '/control/activate' });
  expect((await call(base, { method: 'POST', path: '/api/trigger-doorbell' })).status).toBe(200);
  await until(
    () => Promise.resolve(doorbell.system.bell.isIdle),
    (isIdle) => isIdle,
  );
  const events = (await call(base, { path: '/api/recent-events' })).json as { events: unknown[] };
  expect(events.events).toHaveLength(2);
}, 40_000);

test('settings that are wrong, and a port that is taken, are told by the start', async () => {
  const { doorbell } = await make({ health_check_interval: 'often' });
  await expect(doorbell.start()).rejects.toThrow('health_check_interval');
  const other = await make();
  const thief = createServer().listen(other.port, '127.0.0.1');
  await once(thief, 'listening');
  await expect(other.doorbell.start()).rejects.toThrow('EADDRINUSE');
  expect(other.doorbell.getHealthStatus()).toMatchObject({ state: 'error', performanceScore: 0 });
  thief.close();
  await once(thief, 'close');
  await other.doorbell.start();
  expect((await call(other.base, { path: '/api/status' })).status).toBe(200);
});
