import { mkdir, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { tempFolder } from 'changeover/testing';
import { expect, test } from 'vitest';
import { Faces } from '../shared/faces.ts';
import { buildApp } from './app.ts';
import { hardware, profileOf } from './profiles.ts';
import { PipelineConfig, readConfiguration, workersOf } from './settings.ts';
import { openSystem } from './system.ts';

const GIB = 1024 ** 3;
const machine = (cores: number, gib: number, model: string | null = null) => ({
  cores,
  memoryBytes: gib * GIB,
  model,
});

async function read(settings: object, environment: NodeJS.ProcessEnv = {}) {
  await using temp = await tempFolder();
  await mkdir(path.join(temp.path, 'config'));
  await writeFile(path.join(temp.path, 'config/pipeline.json'), JSON.stringify(settings));
  return await readConfiguration(temp.path, environment);
}

test('without one being asked for nothing changes, on whatever machine', async () => {
  const configuration = await read({});
  expect(configuration.settings).toEqual(PipelineConfig.parse({}));
  expect(configuration.profile).toMatchObject({ asked: 'none', applied: 'none', values: null });
  expect(workersOf(configuration)).toEqual({ detection: 1, recognition: 1 });
  expect(configuration.layers.describe().every(({ from }) => from === 'default' || from === 'file')).toBe(true);
});

test('a Raspberry Pi has one worker each, short queues and motion; a large machine four and three', async () => {
  const pi = await read({ profile: 'raspberry_pi' });
  expect(pi.settings).toMatchObject({
    face_detection: { worker_count: 1, max_queue_size: 50, job_timeout: 30 },
    face_recognition: { worker_count: 1, max_queue_size: 25 },
    motion_detection: { enabled: true },
  });
  expect(pi.profile).toMatchObject({ applied: 'raspberry_pi', power_class: 'low_power' });
  const large = await read({}, { DOORBELL_PROFILE: 'large' });
  expect(large.settings).toMatchObject({
    face_detection: { worker_count: 4, max_queue_size: 100 },
    face_recognition: { worker_count: 3, max_queue_size: 50 },
    motion_detection: { enabled: false },
  });
  expect(large.profile.power_class).toBe('performance');
  expect(workersOf(large)).toEqual({ detection: 4, recognition: 3 });
});

test('the file goes over the profile, and the environment names another one than the file', async () => {
  const file = { profile: 'large', face_detection: { worker_count: 2 }, motion_detection: { enabled: false } };
  const { settings, layers, profile } = await read(file, { DOORBELL_PROFILE: 'raspberry_pi', CPU_THRESHOLD: '70' });
  expect(profile.applied).toBe('raspberry_pi');
  expect(settings.face_detection).toMatchObject({ worker_count: 2, max_queue_size: 50 });
  expect(settings.motion_detection.enabled).toBe(false);
  const from = Object.fromEntries(layers.describe().map((one) => [one.path, one.from]));
  expect(from).toMatchObject({
    profile: 'environment',
    'face_detection.worker_count': 'file',
    'face_detection.max_queue_size': 'profile',
    'face_recognition.worker_count': 'profile',
    'motion_detection.enabled': 'file',
    'monitoring.cpu_threshold': 'environment',
    'face_detection.job_timeout': 'default',
  });
});

test.each([
  [machine(1, 1), 'low_power', 1, 1, 25, 15, true],
  [machine(2, 8), 'low_power', 1, 1, 100, 50, true],
  [machine(4, 1.9), 'balanced', 2, 1, 25, 15, true],
  [machine(4, 3), 'balanced', 2, 1, 50, 30, false],
  [machine(6, 8), 'performance', 3, 2, 100, 50, false],
  [machine(64, 256), 'performance', 4, 3, 100, 50, false],
] as const)('auto fits %o', (own, power, detection, recognition, faces, people, motion) => {
  const { applied, power_class, values, because } = profileOf('auto', own);
  expect([applied, power_class]).toEqual(['fitted', power]);
  expect(because).toContain(`${own.cores} cores`);
  expect(values).toEqual({
    face_detection: { worker_count: detection, max_queue_size: faces },
    face_recognition: { worker_count: recognition, max_queue_size: people },
    ...(motion && { motion_detection: { enabled: true } }),
  });
});

test('auto knows a Raspberry Pi by its name, and the machine it runs on', async () => {
  await using temp = await tempFolder();
  const file = path.join(temp.path, 'model');
  await writeFile(file, 'Raspberry Pi 5 Model B Rev 1.0\0');
  expect(hardware(file)).toMatchObject({ model: 'Raspberry Pi 5 Model B Rev 1.0', cores: availableParallelism() });
  expect(profileOf('auto', { ...machine(4, 8), model: hardware(file).model })).toMatchObject({
    applied: 'raspberry_pi',
    because: 'this is a Raspberry Pi 5 Model B Rev 1.0',
  });
  expect(hardware(path.join(temp.path, 'none')).model).toBeNull();
  expect(hardware().memoryBytes).toBeGreaterThan(1e8);
});

test('one that does not exist is refused, with the names of those that do', async () => {
  await expect(read({ profile: 'huge' })).rejects.toThrow(/profile.*raspberry_pi/s);
  await expect(read({}, { DOORBELL_PROFILE: 'huge' })).rejects.toThrow(/profile.*large/s);
});

test('a system has the workers of its profile, and tells this machine alone about its settings', async () => {
  await using temp = await tempFolder();
  await mkdir(path.join(temp.path, 'config'));
  await writeFile(path.join(temp.path, 'config/pipeline.json'), '{"storage":{"log_level":"CRITICAL"}}');
  const faces = new Faces();
  const system = await openSystem({ root: temp.path, faces, environment: { DOORBELL_PROFILE: 'large' } });
  const app = await buildApp(system);
  const workers = system.bell.line.status().stages.map(({ name, workers: count }) => [name, count]);
  expect(workers).toEqual([
    ['capture', 1],
    ['detect', 4],
    ['identify', 3],
    ['record', 1],
  ]);
  const answer = await app.inject('/settings');
  expect(answer.statusCode).toBe(200);
  expect(answer.headers['access-control-allow-origin']).toBeUndefined();
  const told = answer.json<{ profile: object; settings: { path: string }[] }>();
  expect(told.profile).toMatchObject({ asked: 'large', applied: 'large', because: 'it was asked for' });
  expect(told.settings.find(({ path: name }) => name === 'face_detection.worker_count')).toMatchObject({
    value: 4,
    from: 'profile',
  });
  const remote = await app.inject({ url: '/settings', remoteAddress: '192.168.1.7' });
  expect(remote.statusCode).toBe(403);
  await app.close();
  await system.runtime.stop();
  await faces.close();
});
