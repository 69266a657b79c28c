/** Every route of the legacy, asked of both servers over the same content, as processes of their own. */
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import path from 'node:path';
import { type Child, startChild, tempFolder } from 'changeover/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Seeded, seedLegacy } from './legacy/seed.ts';
import { people, type Person } from './seed/people.ts';
import { SqliteStorage } from './src/storage/sqlite.ts';
import { type Answer, type Call, call, until, upload } from './testing/client.ts';
import { giveSameContent } from './testing/same-content.ts';

const SIDES = ['legacy', 'next'] as const;
type Side = (typeof SIDES)[number];

const temp = await tempFolder('doorbell-parity-');
const root = { legacy: path.join(temp.path, 'legacy'), next: path.join(temp.path, 'next') };
const porch = path.join(temp.path, 'porch');
const base: Record<Side, string> = { legacy: '', next: '' };
const children: Child[] = [];
let seeded: Seeded;
let everybody: readonly Person[];

beforeAll(async () => {
  everybody = await people();
  seeded = await seedLegacy(root.legacy, { events: 120, captures: 10, env: { DEBOUNCE_TIME: '0' } });
  await mkdir(path.join(root.next, 'config'), { recursive: true });
  await writeFile(
    path.join(root.next, 'config/pipeline.json'),
    JSON.stringify({ hardware: { button_debounce_time: 0 }, frame_capture: { resolution: [1280, 720] } }),
  );
  const storage = new SqliteStorage(path.join(root.next, 'data/pipeline.db'));
  await storage.migrate();
  await giveSameContent(root.legacy, root.next, storage);
  await storage.close();
  await mkdir(porch);
  for (const side of SIDES) {
    const file = side === 'legacy' ? './legacy/server.ts' : './src/main.ts';
    const child = startChild(new URL(file, import.meta.url).pathname, {
      env: { DOORBELL_ROOT: root[side], CAMERA_FOLDER: porch, PORT: '0', TZ: 'Europe/Berlin' },
    });
    children.push(child);
    base[side] = /http:\S+?(?=,)/.exec(await child.line(/^Doorbell /, 30_000))?.[0] ?? '';
  }
}, 120_000);

afterAll(async () => {
  await Promise.all(children.map((child) => child.kill('SIGKILL')));
  await temp.remove();
});

/** Puts one person in front of both cameras, or nobody. */
async function atTheDoor(person: Person | null): Promise<void> {
  await rm(porch, { recursive: true });
  await mkdir(porch);
  const jpeg = person?.portraits.at(-1)?.jpeg;
  if (jpeg) await writeFile(path.join(porch, 'now.jpg'), jpeg);
}

function someone(role: Person['role']): Person {
  return everybody.find((person) => person.role === role) ?? expect.fail(`no ${role}`);
}

async function both(question: Call): Promise<Record<Side, Answer>> {
  const [legacy, next] = await Promise.all(SIDES.map((side) => call(base[side], question)));
  return { legacy: legacy ?? expect.fail(), next: next ?? expect.fail() };
}

/** Times and the names that carry them differ between two processes; everything else must not. */
function comparable(value: unknown): unknown {
  const text = JSON.stringify(value)
    .replaceAll(root.legacy, 'ROOT')
    .replaceAll(root.next, 'ROOT')
    .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?/g, 'TIME')
    .replaceAll(/\d{8}_\d{6}/g, 'STAMP');
  return JSON.parse(text) as unknown;
}

async function expectSame(question: Call): Promise<Record<Side, Answer>> {
  const answers = await both(question);
  const show = ({ status, type, json }: Answer) => ({
    status,
    type,
    json: json === undefined ? null : comparable(json),
  });
  expect(show(answers.next), `${question.method ?? 'GET'} ${question.path}`).toEqual(show(answers.legacy));
  return answers;
}

const isIdle = (answer: Answer) =>
  !(answer.json as { gpio: { led_states: { yellow: boolean } } }).gpio.led_states.yellow;

async function ring(): Promise<void> {
  await expectSame({ method: 'POST', path: '/api/trigger-doorbell' });
  for (const side of SIDES) await until(() => call(base[side], { path: '/api/status' }), isIdle);
}

async function newestEvent(side: Side): Promise<unknown> {
  const { json } = await call(base[side], { path: '/api/recent-events' });
  return comparable((json as { events: unknown[] }).events.at(-1));
}

test('the state is the same, with names repeated as often as they have encodings', async () => {
  const { next } = await expectSame({ path: '/api/status' });
  expect(next.json).toMatchObject({
    status: 'online',
    camera: { camera_type: 'mock', initialized: true, resolution: [1280, 720], rotation: 0 },
    gpio: { doorbell_pin: 18, doorbell_state: 'mock', led_pins: { green: 21, red: 16, yellow: 20 } },
    faces: { known_faces: 24, blacklist_faces: 2, blacklist_names: seeded.blacklistNames },
    telegram: { initialized: true },
  });
});

test('both have a page, and a page for what is not there', async () => {
  for (const path of ['/', '/nothing', '/api/faces', '/api/nothing']) {
    const { legacy, next } = await both({ path });
    expect([next.status, next.type]).toEqual([legacy.status, legacy.type]);
    expect(next.type).toBe('text/html');
  }
});

test('everybody is told the same after a ring of each kind of visitor', async () => {
  for (const role of ['resident', 'wanted', 'stranger'] as const) {
    await atTheDoor(someone(role));
    await ring();
    // The legacy cannot show a line with `inf` in it, so its newest visible event stays the one before.
    if (role !== 'stranger') expect(await newestEvent('next')).toEqual(await newestEvent('legacy'));
    else {
      expect(await newestEvent('next')).toEqual({
        timestamp: 'TIME',
        event_type: 'UNKNOWN_VISITOR',
        faces: [{ status: 'unknown', name: null, confidence: 0, distance: null }],
        capture_path: 'ROOT/data/captures/visitor_STAMP.jpg',
      });
    }
  }
  await atTheDoor(null);
  await ring();
  const failure = { timestamp: 'TIME', event_type: 'CAPTURE_FAILURE', faces: [], capture_path: null };
  for (const side of SIDES) expect(await newestEvent(side)).toEqual(failure);
});

test('recent events are the same twenty, but the new side also shows those of unknown visitors', async () => {
  const { legacy, next } = await both({ path: '/api/recent-events' });
  const events = (answer: Answer) =>
    (comparable(answer.json) as { events: { faces: { distance: number | null }[] }[] }).events;
  const shown = events(next).filter(({ faces }) => faces.every(({ distance }) => distance !== null));
  expect(events(next)).toHaveLength(20);
  expect(shown).toEqual(events(legacy).slice(-shown.length));
  expect(shown.length).toBeGreaterThan(5);
});

test('recognition is the same to the last digit, and infinity has become null', async () => {
  for (const role of ['resident', 'wanted', 'stranger'] as const) {
    await atTheDoor(someone(role));
    const { legacy, next } = await expectSame({ method: 'POST', path: '/api/test-face-recognition' });
    expect(legacy.text.includes('Infinity')).toBe(role === 'stranger');
    expect(next.text).not.toContain('Infinity');
    if (role === 'stranger') expect(() => JSON.parse(legacy.text) as unknown).toThrow(SyntaxError);
  }
  await atTheDoor(null);
  await expectSame({ method: 'POST', path: '/api/test-face-recognition' });
});

test('a test picture is stored and sent, or its failure told with 200', async () => {
  await atTheDoor(someone('resident'));
  const { next } = await expectSame({ path: '/api/capture-photo' });
  expect(next.json).toMatchObject({
    status: 'success',
    filename: expect.stringMatching(/^test_capture_\d{8}_\d{6}\.jpg$/) as string,
  });
  for (const side of SIDES) {
    expect(
      (await readdir(path.join(root[side], 'data/captures'))).some((file) => file.startsWith('test_capture_')),
    ).toBe(true);
  }
  await atTheDoor(null);
  const { legacy } = await expectSame({ path: '/api/capture-photo' });
  expect([legacy.status, legacy.json]).toEqual([200, { status: 'error', message: 'Failed to capture image' }]);
});

test('the lamp shows what it is told, and any other word switches it off', async () => {
  for (const status of ['alert', 'known', 'unknown', 'error', 'processing', 'Disco', 'off', 'idle']) {
    await expectSame({ method: 'POST', path: '/api/set-led', json: { status } });
    await expectSame({ path: '/api/status' });
  }
  await expectSame({ method: 'POST', path: '/api/set-led', json: {} });
  await expectSame({ method: 'POST', path: '/api/set-led' });
  await expectSame({
    method: 'POST',
    path: '/api/set-led',
    body: '{"status":',
    headers: { 'content-type': 'application/json' },
  });
  await expectSame({ method: 'POST', path: '/api/set-led', json: { status: 'alert', duration: 0.05 } });
  for (const side of SIDES) {
    await until(
      () => call(base[side], { path: '/api/status' }),
      ({ json }) => !JSON.stringify(json).includes('"red":true'),
    );
  }
});

test('notifications and logs answer the same', async () => {
  await expectSame({ method: 'POST', path: '/api/test-notification' });
  await expectSame({ method: 'POST', path: '/api/test-notification', json: { message: 'Hello', priority: 'urgent' } });
  const { next } = await expectSame({ path: '/api/logs' });
  expect(next.json).toEqual({ status: 'success', logs: [] });
});

test('known people are the same, but Ann is no longer shown with the picture of Anna', async () => {
  const { legacy, next } = await both({ path: '/api/faces/known' });
  const faces = ({ json }: Answer) => (json as { faces: { name: string; image_url: string | null }[] }).faces;
  const differing = faces(next).filter(({ name, image_url }, at) => {
    expect(faces(legacy)[at]?.name).toBe(name);
    return faces(legacy)[at]?.image_url !== image_url;
  });
  const annaFile = faces(legacy).find(({ name }) => name === 'Anna')?.image_url;
  expect(faces(legacy).find(({ name }) => name === 'Ann')?.image_url).toBe(annaFile);
  expect(differing.map(({ name }) => name)).toEqual(['Ann']);
  for (const { image_url } of faces(next)) {
    if (image_url === null) continue;
    const { legacy: old, next: now } = await both({ path: image_url });
    expect([now.status, now.type]).toEqual([200, 'image/jpeg']);
    expect(now.bytes.equals(old.bytes)).toBe(true);
  }
});

test('faces are learned by upload, from the camera and by a label, and forgotten by name', async () => {
  const [{ portraits }] = everybody as [Person];
  const jpeg = portraits[2]?.jpeg ?? expect.fail();
  const learned = await expectSame({
    method: 'POST',
    path: '/api/faces/known/upload',
    form: upload("Zoë O'Neil", jpeg),
  });
  expect(learned.next.json).toMatchObject({ status: 'success', name: 'Zo ONeil' });
  await atTheDoor(someone('stranger'));
  await expectSame({ method: 'POST', path: '/api/faces/known/add-from-camera', json: { name: 'New Friend' } });
  await atTheDoor(null);
  await expectSame({ method: 'POST', path: '/api/faces/known/add-from-camera', json: { name: 'Nobody' } });
  await expectSame({ path: '/api/status' });

  const { legacy, next } = await expectSame({ path: '/api/faces/candidates' });
  const itemsOf = ({ json }: { json: unknown }) => (json as { items: { filename: string }[] }).items;
  // A crop of today carries the second in which its side made it; only those that both sides have can be asked for by name.
  const onLegacy = new Set(itemsOf(legacy).map(({ filename }) => filename));
  const items = itemsOf(next).filter(({ filename }) => filename.startsWith('unknown_') && onLegacy.has(filename));
  const newestOf = (answer: { json: unknown }) =>
    itemsOf(answer)
      .map(({ filename }) => filename)
      .filter((filename) => filename.startsWith('unknown_') && filename !== items[0]?.filename)
      .sort()
      .at(-1) ?? expect.fail('no candidate of today');
  const seededItem = items[0]?.filename ?? expect.fail('no candidate');
  await expectSame({ method: 'POST', path: '/api/faces/label', json: { filename: seededItem, name: 'jane_doe' } });
  await expectSame({ method: 'POST', path: '/api/faces/label', json: { filename: seededItem, name: 'jane_doe' } });
  for (const json of [{}, { filename: seededItem }, { name: 'X' }, { filename: seededItem, name: '李雷' }]) {
    await expectSame({ method: 'POST', path: '/api/faces/label', json });
  }
  const newest = { legacy: newestOf(legacy), next: newestOf(next) };
  for (const expected of [200, 404]) {
    const [one, other] = await Promise.all(
      SIDES.map((side) => call(base[side], { method: 'DELETE', path: `/api/faces/candidates/${newest[side]}` })),
    );
    expect([one?.status, other?.status]).toEqual([expected, expected]);
    expect(comparable(one?.json ?? null)).toEqual(comparable(other?.json ?? null));
  }
  await expectSame({ path: '/api/faces/candidates' });

  await expectSame({ method: 'DELETE', path: `/api/faces/known/${encodeURIComponent('Zo ONeil')}` });
  await expectSame({ method: 'DELETE', path: '/api/faces/known/Nobody' });
  await expectSame({ path: '/api/status' });
});

test('forgetting a person with two encodings leaves one on the legacy, and none on the new side', async () => {
  await expectSame({ method: 'DELETE', path: '/api/faces/known/Anna' });
  const names = ({ json }: Answer) => (json as { faces: { name: string }[] }).faces.map(({ name }) => name);
  const { legacy, next } = await both({ path: '/api/faces/known' });
  expect(names(legacy)).toContain('Anna');
  expect(names(next)).not.toContain('Anna');
  await call(base.legacy, { method: 'DELETE', path: '/api/faces/known/Anna' });
  await expectSame({ path: '/api/status' });
});

test('unusable uploads are refused in the same words, and the next good one is taken', async () => {
  const [{ portraits }] = everybody as [Person];
  const good = portraits[0]?.jpeg ?? expect.fail();
  const path = '/api/faces/known/upload';
  const forms = [
    upload(null, null),
    upload('', good),
    upload('李雷', good),
    upload('!!!', good),
    upload('Ann', null),
    upload('Ann', Buffer.from('not a picture')),
    upload('Ann', Buffer.alloc(0)),
    upload('Ann', good.subarray(0, 100)),
    upload('Ann', Buffer.alloc(3_000_000, 7)),
  ];
  for (const form of forms) {
    const { next } = await expectSame({ method: 'POST', path, form });
    expect(next.status).toBe(400);
  }
  await expectSame({ method: 'POST', path });
  await expectSame({ method: 'POST', path, json: { name: 'Ann', file: 'x' } });
  await expectSame({ method: 'POST', path, body: 'name=Ann', headers: { 'content-type': 'text/plain' } });
  const odd = upload(`../../${'../'.repeat(40)}etc/passwd`, good, '../../../evil.php');
  const { next } = await expectSame({ method: 'POST', path, form: odd });
  expect(next.json).toMatchObject({
    status: 'success',
    name: 'etcpasswd',
    filename: expect.stringMatching(/^etcpasswd_[\d_]+\.jpg$/) as string,
  });
});

test('no path leads out of the folders of pictures', async () => {
  const paths = [
    '/api/files/cropped/unknown/../../logs/events.log',
    '/api/files/cropped/unknown/..%2f..%2flogs%2fevents.log',
    '/api/files/known_faces/../known_faces_cache.pkl',
    '/api/files/known_faces/%2e%2e/known_faces_cache.pkl',
    '/api/files/known_faces/..%5cknown_faces_cache.pkl',
    '/api/files/known_faces//etc/passwd',
    '/api/files/known_faces/%00',
    '/api/files/known_faces/',
    '/api/files/known_faces/nobody.jpg',
    '/api/files/cropped/known/nobody.jpg',
  ];
  for (const side of SIDES) {
    for (const path of paths) expect([path, await statusOf(base[side], path)]).toEqual([path, 404]);
  }
  await expectSame({ path: '/api/files/cropped/secret/a.jpg' });
  await expectSame({ method: 'DELETE', path: '/api/faces/candidates/..%2F..%2Fknown_faces_cache.pkl' });
  await expectSame({
    method: 'POST',
    path: '/api/faces/label',
    json: { filename: '../../logs/events.log', name: 'X' },
  });
});

/** `fetch` would tidy the path up before it is sent. */
async function statusOf(address: string, path: string): Promise<number> {
  const { hostname, port } = new URL(address);
  return new Promise((resolve, reject) => {
    request({ hostname, port, path }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    })
      .on('error', reject)
      .end();
  });
}
