import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { tempFolder } from 'changeover/testing';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { people, type Person } from '../seed/people.ts';
import { Faces } from '../shared/faces.ts';
import { until } from '../testing/client.ts';
import { LegacyAdapter } from './legacy-adapter.ts';
import { orchestrate, type Doorbell } from './orchestrate.ts';

const faces = new Faces();
const temp = await tempFolder('doorbell-adapter-');
const doorbells: Doorbell[] = [];
let known: Person;
let stranger: Person;

beforeAll(async () => {
  const everybody = await people();
  stranger = everybody.find(({ role }) => role === 'stranger') ?? expect.fail();
  known = everybody.find(({ role }) => role !== 'stranger' && role !== 'wanted') ?? expect.fail();
  await faces.warm();
}, 120_000);
afterAll(async () => {
  for (const doorbell of doorbells) await doorbell.stop();
  await faces.close();
  await temp.remove();
});

async function make(settings: object = {}, env: NodeJS.ProcessEnv = {}) {
  const root = path.join(temp.path, `root-${doorbells.length}`);
  const porch = path.join(root, 'porch');
  await mkdir(porch, { recursive: true });
  await mkdir(path.join(root, 'config'));
  const all = {
    hardware: { button_debounce_time: 0 },
    frame_capture: { retry_delay: 0.01 },
    storage: { log_level: 'CRITICAL' },
    ...settings,
  };
  await writeFile(path.join(root, 'config/pipeline.json'), JSON.stringify(all));
  const doorbell = orchestrate({ root, faces, environment: { CAMERA_FOLDER: porch, ...env }, listens: false });
  doorbells.push(doorbell);
  const see = (one: Person | null) =>
    one === null
      ? rm(path.join(porch, 'now.jpg'), { force: true })
      : writeFile(path.join(porch, 'now.jpg'), one.portraits.at(-1)?.jpeg ?? '');
  await see(stranger);
  return { root, see, doorbell, legacy: doorbell.getLegacyInterface() };
}

const idle = ({ system }: Doorbell) =>
  until(
    () => Promise.resolve(system.bell.isIdle),
    (isIdle) => isIdle,
  );

test('a program of the legacy starts the doorbell, rings, reads what came of it and stops it', async () => {
  const { root, see, doorbell, legacy } = await make();
  expect(legacy).toBeInstanceOf(LegacyAdapter);
  expect(await legacy.getSystemStatus()).toMatchObject({
    status: 'offline',
    orchestrator: { state: 'initializing', uptime: 0 },
  });
  expect(() => legacy.settings).toThrow('while it is initializing');
  await legacy.start();

  expect(await legacy.getRecentCaptures()).toEqual([]);
  const rung = await legacy.onDoorbellPressed();
  expect(rung).toEqual({
    status: 'success',
    message: 'Doorbell triggered',
    event_id: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
  });
  await idle(doorbell);
  await legacy.faceManager.addKnownFace('Ann <Known>', known.portraits[0]?.jpeg ?? expect.fail());
  await see(known);
  await legacy.onDoorbellPressed();
  await idle(doorbell);
  await see(null);
  await legacy.onDoorbellPressed();
  await idle(doorbell);

  const captures = await legacy.getRecentCaptures();
  expect(captures.map(({ event_type }) => event_type)).toEqual(['KNOWN_VISITOR', 'UNKNOWN_VISITOR']);
  expect(captures[0]).toMatchObject({
    filename: expect.stringMatching(/^visitor_\d{8}_\d{6}\.jpg$/) as string,
    faces: [{ status: 'known', name: 'Ann Known' }],
  });
  expect(captures[0]?.capture_path).toBe(path.join(root, 'data/captures', captures[0]?.filename ?? ''));
  expect(await legacy.getRecentCaptures(1)).toEqual(captures.slice(0, 1));
  expect(await legacy.getRecentCaptures(0)).toEqual([]);
  await rm(captures[0]?.capture_path ?? '');
  expect(await legacy.getRecentCaptures()).toEqual(captures.slice(1));

  expect(await legacy.getSystemStatus()).toMatchObject({
    status: 'online',
    camera: { camera_type: 'mock', initialized: true, resolution: [640, 480], rotation: 0 },
    gpio: { doorbell_pin: 18, initialized: true, led_pins: { green: 21 } },
    faces: { known_faces: 1, blacklist_faces: 0, known_names: ['Ann Known'] },
    orchestrator: { state: 'running', error_count: 0, last_error: null },
    pipeline: { pipeline_status: 'running', stages: { 'bell.detect': { running: true } } },
  });
  await legacy.stop();
  expect(await legacy.getSystemStatus()).toMatchObject({ status: 'offline', orchestrator: { state: 'stopped' } });
  await legacy.start();
  expect(await legacy.faceManager.getKnownFacesCount()).toBe(1);
});

test('faces are found, told apart, counted and forgotten', async () => {
  const { legacy } = await make();
  await legacy.start();
  const { faceManager } = legacy;
  const picture = known.portraits[0]?.jpeg ?? expect.fail();
  const [found] = await faceManager.detectFaces(picture);
  expect(found?.encoding).toHaveLength(128);
  const encoding = found?.encoding ?? [];
  expect(await faceManager.identifyFace(encoding)).toEqual({
    status: 'unknown',
    name: null,
    confidence: 0,
    distance: null,
  });
  const added = await faceManager.addKnownFace('Ann', picture);
  expect(await faceManager.identifyFace(encoding)).toMatchObject({ status: 'known', name: 'Ann' });
  expect(await faceManager.getKnownFaces()).toEqual([
    { name: 'Ann', image_url: `/api/files/known_faces/${added.filename}` },
  ]);
  expect([await faceManager.getKnownFacesCount(), await faceManager.getBlacklistFacesCount()]).toEqual([1, 0]);
  await expect(faceManager.addKnownFace('<>', picture)).rejects.toThrow('Name is required');
  await expect(faceManager.detectFaces(Buffer.from('no picture'))).rejects.toThrow();
  expect([await faceManager.removeKnownFace('Ann'), await faceManager.removeKnownFace('Ann')]).toEqual([true, false]);
  expect(await faceManager.getStats()).toMatchObject({ known_faces: 0, known_names: [] });
});

test('camera, lamp and messages work', async () => {
  const { legacy, see, doorbell } = await make({}, { DEVELOPMENT_MODE: 'true' });
  await legacy.start();
  expect(Buffer.from((await legacy.camera.captureImage()) ?? []).subarray(0, 2)).toEqual(Buffer.from([0xff, 0xd8]));
  await see(null);
  expect(await legacy.camera.captureImage()).toBeNull();
  expect(legacy.camera.getCameraInfo()).toMatchObject({ camera_type: 'mock' });

  await legacy.gpio.setStatusLed('error', 0.05);
  expect(legacy.gpio.getGpioInfo().led_states).toEqual({ green: false, red: true, yellow: true });
  await vi.waitFor(() => {
    expect(legacy.gpio.getGpioInfo().led_states).toEqual({ green: true, red: false, yellow: false });
  });

  expect(await legacy.notifier.sendTestNotification('hello', 'urgent')).toBe(true);
  const [sent] = await doorbell.system.storage.notifications('delivered', 5);
  expect(sent).toMatchObject({ type: 'test_notification', priority: 'critical' });
  expect(sent?.content).toContain('hello');
});

test('the settings have the names and the units of the legacy, and nobody can change them in passing', async () => {
  const { legacy, root } = await make({
    hardware: { button_debounce_time: 2, doorbell_pin: 7 },
    face_detection: { min_face_size: [60, 50] },
    storage: { log_rotation_size: '1.5MB', log_level: 'CRITICAL' },
    notifications: { alerts: { known_person_detection: { enabled: false } } },
  });
  await legacy.start();
  expect(legacy.settings).toMatchObject({
    DEBOUNCE_TIME: 2,
    DOORBELL_PIN: 7,
    STATUS_LED_PINS: { red: 16, yellow: 20, green: 21 },
    FACE_RECOGNITION_TOLERANCE: 0.6,
    BLACKLIST_TOLERANCE: 0.5,
    MIN_FACE_SIZE: 50,
    NOTIFY_ON_KNOWN_VISITORS: false,
    MAX_LOG_FILE_SIZE: 1_572_864,
    PROJECT_ROOT: root,
    CAPTURES_DIR: path.join(root, 'data/captures'),
    CROPPED_FACES_DIR: path.join(root, 'data/cropped_faces'),
  });
  expect(() => Object.assign(legacy.settings, { DEBOUNCE_TIME: 0 })).toThrow(TypeError);
  expect((await legacy.onDoorbellPressed()).event_id).not.toBeNull();
  expect((await legacy.onDoorbellPressed()).event_id).toBeNull();
});

test('a passive side answers what reads, and refuses what writes or uses a device', async () => {
  const { legacy } = await make({}, { PASSIVE: '1' });
  await legacy.start();
  expect(await legacy.getSystemStatus()).toMatchObject({ status: 'online' });
  for (const refused of [
    () => legacy.onDoorbellPressed(),
    () => legacy.camera.captureImage(),
    () => legacy.gpio.setStatusLed('alert'),
    () => legacy.notifier.sendTestNotification('x'),
    () => legacy.faceManager.removeKnownFace('Ann'),
  ])
    await expect(refused()).rejects.toThrow('This side is passive');
});
