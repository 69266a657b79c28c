import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DatabaseSync } from 'node:sqlite';
import { startChild, tempFolder } from 'changeover/testing';
import type { FastifyInstance } from 'fastify';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { people, type Person } from '../seed/people.ts';
import { Faces } from '../shared/faces.ts';
import { call, until, upload } from '../testing/client.ts';
import { receiver } from '../testing/outbox.ts';
import { buildApp } from './app.ts';
import { openSystem, type System } from './system.ts';

const faces = new Faces();
const temp = await tempFolder('doorbell-next-');
const opened: System[] = [];
let stranger: Person;
let wanted: Person;

beforeAll(async () => {
  const everybody = await people();
  stranger = everybody.find(({ role }) => role === 'stranger') ?? expect.fail();
  wanted = everybody.find(({ role }) => role === 'wanted') ?? expect.fail();
  await faces.warm();
}, 120_000);
afterAll(async () => {
  for (const { runtime } of opened) await runtime.stop();
  await faces.close();
  await temp.remove();
});

interface Setup {
  readonly visitor?: Person | null;
  readonly settings?: object;
  readonly env?: NodeJS.ProcessEnv;
}

async function start({ visitor = stranger, settings = {}, env = {} }: Setup = {}) {
  const root = path.join(temp.path, `root-${opened.length}`);
  const porch = path.join(root, 'porch');
  await mkdir(porch, { recursive: true });
  await mkdir(path.join(root, 'config'));
  if (visitor) await writeFile(path.join(porch, 'now.jpg'), visitor.portraits.at(-1)?.jpeg ?? '');
  const all = { hardware: { button_debounce_time: 0 }, frame_capture: { retry_delay: 0.01 }, ...settings };
  await writeFile(path.join(root, 'config/pipeline.json'), JSON.stringify(all));
  const system = await openSystem({ root, faces, environment: { CAMERA_FOLDER: porch, ...env } });
  opened.push(system);
  const app = await buildApp(system);
  const db = new DatabaseSync(path.join(root, 'data/pipeline.db'), { timeout: 5000 });
  return { ...system, app, db, root, porch };
}

const rows = (db: DatabaseSync, sql: string) =>
  db
    .prepare(sql)
    .all()
    .map((row) => ({ ...row }));
const post = (app: FastifyInstance, url: string, payload?: object) =>
  app.inject({ method: 'POST', url, ...(payload === undefined ? {} : { payload }) });
const idle = (app: FastifyInstance) =>
  until(
    async () => (await app.inject('/health/idle')).json<{ idle: boolean }>().idle,
    (isIdle) => isIdle,
  );

function fence(db: DatabaseSync, tables: readonly string[]): () => void {
  for (const table of tables) {
    db.exec(`CREATE TRIGGER fence_${table} BEFORE INSERT ON ${table} BEGIN SELECT RAISE(ABORT, 'fenced'); END`);
  }
  return () => {
    for (const table of tables) db.exec(`DROP TRIGGER fence_${table}`);
  };
}

test('a press is not idle until its event, its counts and its message are stored', async () => {
  const { app, db, lamp, places, storage } = await start({ visitor: wanted });
  const person = { personId: 'blacklist:John Q. Public', name: 'John Q. Public', isBlacklisted: true };
  await storage.addEncoding(person, wanted.portraits[0]?.encoding ?? [], 0);
  expect((await post(app, '/api/trigger-doorbell')).json()).toMatchObject({ message: 'Doorbell triggered' });
  expect((await app.inject('/health/idle')).json()).toEqual({ idle: false });
  expect(lamp.states.yellow).toBe(true);
  await idle(app);
  const [event] = rows(db, 'SELECT * FROM events');
  expect(event).toMatchObject({
    event_type: 'FACE_BLACKLISTED',
    source: 'doorbell',
    priority: 'CRITICAL',
    processing_stage: 'stored',
  });
  const data = JSON.parse(String(event?.['event_data'])) as { faces: object[]; capture: string; local_time: string };
  expect(data).toEqual({
    faces: [
      {
        status: 'blacklisted',
        name: 'John Q. Public',
        confidence: expect.any(Number) as number,
        distance: expect.any(Number) as number,
      },
    ],
    capture: expect.stringMatching(/^visitor_\d{8}_\d{6}\.jpg$/) as string,
    local_time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?$/) as string,
  });
  expect(Number(event?.['timestamp'])).toBeCloseTo(Date.parse(data.local_time.slice(0, 23)) / 1000, 2);
  expect(rows(db, 'SELECT blacklisted_count, recognition_count FROM face_recognition_events')).toEqual([
    { blacklisted_count: 1, recognition_count: 1 },
  ]);
  const [message] = rows(db, 'SELECT * FROM notifications');
  expect(message).toMatchObject({ alert_type: 'blacklist_detected', priority: 'critical', status: 'delivered' });
  expect(JSON.parse(String(message?.['content']))).toMatchObject({
    event_id: event?.['event_id'],
    person_id: 'blacklist:John Q. Public',
    immediate_action_required: true,
    image_available: true,
  });
  expect(await readdir(places.croppedUnknown)).toEqual([expect.stringMatching(/^john_q\._public_/)]);
});

test('known people are greeted without a message where that is switched off', async () => {
  const { app, db, storage } = await start({
    settings: { notifications: { alerts: { known_person_detection: { enabled: false } } } },
  });
  await storage.addEncoding(
    { personId: 'known:Ann', name: 'Ann', isBlacklisted: false },
    stranger.portraits[0]?.encoding ?? [],
    0,
  );
  await post(app, '/api/trigger-doorbell');
  await idle(app);
  expect(rows(db, 'SELECT event_type FROM events')).toEqual([{ event_type: 'FACE_RECOGNIZED' }]);
  expect(rows(db, 'SELECT * FROM notifications')).toEqual([]);
});

test('a camera without a picture is an event too', async () => {
  const { app, db } = await start({ visitor: null });
  await post(app, '/api/trigger-doorbell');
  await idle(app);
  expect(rows(db, 'SELECT event_type, confidence FROM events')).toEqual([
    { event_type: 'COMPONENT_ERROR', confidence: null },
  ]);
  expect(rows(db, 'SELECT * FROM face_recognition_events')).toEqual([]);
});

test('presses that come while another is looked at are all stored, in their order', async () => {
  const { app, db } = await start();
  for (let press = 0; press < 4; press++) await post(app, '/api/trigger-doorbell');
  await idle(app);
  const times = rows(db, 'SELECT timestamp FROM events ORDER BY id').map(({ timestamp }) => Number(timestamp));
  expect(times).toHaveLength(4);
  expect(times).toEqual(times.toSorted((a, b) => a - b));
});

test('a press outlives the process that accepted it', async () => {
  const root = path.join(temp.path, 'killed');
  await mkdir(root);
  const env = { DOORBELL_ROOT: root, PORT: '0' };
  const main = new URL('./main.ts', import.meta.url).pathname;
  const first = startChild(main, { env });
  const address = /http:\S+?(?=,)/.exec(await first.line(/^Doorbell at/))?.[0] ?? '';
  const answer = await call(address, { method: 'POST', path: '/api/trigger-doorbell' });
  await first.kill('SIGKILL');
  expect(answer.status).toBe(200);
  const second = startChild(main, { env });
  await second.line(/^Doorbell at/);
  await second.kill('SIGTERM');
  expect((await second.exited).code).toBe(0);
  const db = new DatabaseSync(path.join(root, 'data/pipeline.db'));
  expect(rows(db, 'SELECT event_type FROM events')).toEqual([{ event_type: 'NO_FACES_DETECTED' }]);
  db.close();
});

test('presses that come too soon are dropped', async () => {
  const { app, db } = await start({ settings: { hardware: { button_debounce_time: 60 } } });
  for (let press = 0; press < 3; press++) expect((await post(app, '/api/trigger-doorbell')).statusCode).toBe(200);
  await idle(app);
  expect(rows(db, 'SELECT id FROM events')).toHaveLength(1);
});

test('a passive side answers reads, and refuses everything that writes or uses a device', async () => {
  const { app, places, db } = await start({ env: { PASSIVE: '1' } });
  for (const url of [
    '/',
    '/api/status',
    '/api/recent-events',
    '/api/logs',
    '/api/faces/known',
    '/api/faces/candidates',
    '/health/live',
  ]) {
    expect([url, (await app.inject(url)).statusCode]).toEqual([url, 200]);
  }
  expect((await app.inject('/health/ready')).json()).toEqual({ status: 'ready', passive: true, store: 'sqlite' });
  const refused = [
    post(app, '/api/trigger-doorbell'),
    app.inject('/api/capture-photo'),
    post(app, '/api/test-face-recognition'),
    post(app, '/api/set-led', { status: 'alert' }),
    post(app, '/api/test-notification', {}),
    post(app, '/api/faces/known/upload'),
    post(app, '/api/faces/known/add-from-camera', { name: 'Ann' }),
    app.inject({ method: 'DELETE', url: '/api/faces/known/Ann' }),
    app.inject({ method: 'DELETE', url: '/api/faces/candidates/a.jpg' }),
    post(app, '/api/faces/label', { filename: 'a.jpg', name: 'Ann' }),
  ];
  for (const answer of await Promise.all(refused)) {
    expect([answer.statusCode, answer.json<{ code: string }>().code, answer.headers['retry-after']]).toEqual([
      503,
      'PASSIVE',
      '1',
    ]);
  }
  expect(await readdir(places.captures)).toEqual([]);
  expect(rows(db, 'SELECT * FROM notifications')).toEqual([]);
  await post(app, '/control/activate');
  expect((await post(app, '/api/trigger-doorbell')).statusCode).toBe(200);
  await idle(app);
  expect(rows(db, 'SELECT id FROM events')).toHaveLength(1);
});

test('becoming passive waits for what was accepted, and new work is refused meanwhile', async () => {
  const { app, db } = await start();
  let accepted = 0;
  const ring = async () => {
    const { statusCode } = await post(app, '/api/trigger-doorbell');
    if (statusCode === 200) accepted++;
    return statusCode;
  };
  await ring();
  const passive = post(app, '/control/passivate');
  await until(ring, (statusCode) => statusCode === 503);
  expect((await passive).json()).toEqual({ status: 'passive', idle: true });
  expect(rows(db, 'SELECT id FROM events')).toHaveLength(accepted);
  expect((await post(app, '/control/passivate')).json()).toEqual({ status: 'passive', idle: true });
});

test('control is refused to everybody behind a proxy', async () => {
  const { app, activity } = await start();
  for (const header of ['x-forwarded-for', 'forwarded', 'via']) {
    const answer = await app.inject({ method: 'POST', url: '/control/passivate', headers: { [header]: '127.0.0.1' } });
    expect(answer.statusCode).toBe(403);
  }
  const far = await app.inject({ method: 'POST', url: '/control/passivate', remoteAddress: '192.0.2.7' });
  expect(far.statusCode).toBe(403);
  expect(activity.isActive).toBe(true);
});

test('writes that the store refuses answer 503, leave no picture, and work again without the fence', async () => {
  const { app, db, places, storage } = await start();
  await storage.addEncoding({ personId: 'known:Ann', name: 'Ann', isBlacklisted: false }, [1], 0);
  const address = await app.listen({ host: '127.0.0.1', port: 0 });
  const jpeg = stranger.portraits[0]?.jpeg ?? expect.fail();
  const learn = () => call(address, { method: 'POST', path: '/api/faces/known/upload', form: upload('Bob', jpeg) });
  const unfence = fence(db, ['events', 'persons', 'face_encodings', 'notifications']);
  const fencedRows = fence(db, []);
  for (const answer of [
    await call(address, { method: 'POST', path: '/api/trigger-doorbell' }),
    await call(address, { method: 'POST', path: '/api/test-notification' }),
    await learn(),
  ]) {
    expect([answer.status, answer.json]).toEqual([
      503,
      { status: 'error', message: expect.stringContaining('refuses writes') as string, code: 'STORE_FENCED' },
    ]);
  }
  expect((await call(address, { path: '/api/status' })).status).toBe(200);
  expect(await readdir(places.known)).toEqual([]);
  expect((await app.inject('/health/idle')).json()).toEqual({ idle: true });
  unfence();
  fencedRows();
  expect((await learn()).status).toBe(200);
  await app.close();
});

test('a fence between the press and its event delays the event, and does not lose it', async () => {
  const { app, db } = await start();
  await post(app, '/api/trigger-doorbell');
  const unfence = fence(db, ['events']);
  await new Promise((resolve) => setTimeout(resolve, 600));
  expect((await app.inject('/health/idle')).json()).toEqual({ idle: false });
  expect(rows(db, 'SELECT id FROM events')).toEqual([]);
  unfence();
  await idle(app);
  expect(rows(db, 'SELECT id FROM events')).toHaveLength(1);
});

test('a picture whose encoding is refused at the last moment is taken back', async () => {
  const { app, db, places } = await start();
  const address = await app.listen({ host: '127.0.0.1', port: 0 });
  // Only this table: the question whether writes are accepted is answered with yes.
  const unfence = fence(db, ['face_encodings']);
  const form = upload('Bob', stranger.portraits[0]?.jpeg ?? null);
  expect((await call(address, { method: 'POST', path: '/api/faces/known/upload', form })).status).toBe(503);
  expect(await readdir(places.known)).toEqual([]);
  expect(rows(db, 'SELECT * FROM persons')).toEqual([]);
  unfence();
  await app.close();
});

test('two pictures of one second are both kept', async () => {
  const { app, places } = await start();
  const answers = await Promise.all([1, 2, 3].map(() => app.inject('/api/capture-photo')));
  const names = answers.map((answer) => answer.json<{ filename: string }>().filename);
  expect(new Set(names).size).toBe(3);
  expect((await readdir(places.captures)).sort()).toEqual([...names].sort());
});

test('what another process changes is seen by the next request', async () => {
  const { app, db } = await start();
  db.exec("INSERT INTO persons (person_id, person_name) VALUES ('known:Eve', 'Eve')");
  db.exec(
    `INSERT INTO face_encodings (person_id, encoding_data) VALUES ('known:Eve', '${JSON.stringify(stranger.portraits[0]?.encoding)}')`,
  );
  const { results } = (await post(app, '/api/test-face-recognition')).json<{ results: { name: string }[] }>();
  expect(results.map(({ name }) => name)).toEqual(['Eve']);
  expect((await app.inject('/api/faces/known')).json()).toMatchObject({
    count: 1,
    faces: [{ name: 'Eve', image_url: null }],
  });
});

test('a huge or endless upload ends with an error and leaves the server well', async () => {
  const { app } = await start();
  const address = await app.listen({ host: '127.0.0.1', port: 0 });
  const big = upload('Ann', Buffer.alloc(40 * 1024 * 1024));
  expect((await call(address, { method: 'POST', path: '/api/faces/known/upload', form: big })).status).toBe(413);
  const json = await call(address, { method: 'POST', path: '/api/set-led', json: { status: 'x'.repeat(2_000_000) } });
  expect(json.status).toBe(413);
  const torn = await call(address, {
    method: 'POST',
    path: '/api/faces/known/upload',
    body: '--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\nhalf',
    headers: { 'content-type': 'multipart/form-data; boundary=x' },
  });
  expect(torn.status).toBe(400);
  expect((await call(address, { path: '/health/ready' })).status).toBe(200);
  await app.close();
});

test('messages go to Telegram with the picture, critical ones to all chats, and failures are tried again', async () => {
  await using chat = await receiver();
  const env = { TELEGRAM_API_URL: chat.url, TELEGRAM_BOT_TOKEN: 'secret', TELEGRAM_CHAT_ID: '1' };
  const settings = { notifications: { emergency_contacts: ['2'], retry_delay: 0.05 } };
  const { app, db, storage } = await start({ visitor: wanted, env, settings });
  await storage.addEncoding(
    { personId: 'blacklist:X', name: 'X', isBlacklisted: true },
    wanted.portraits[0]?.encoding ?? [],
    0,
  );
  chat.answers.push((answer) => answer.writeHead(500).end('{}'));
  await post(app, '/api/trigger-doorbell');
  await until(
    () => Promise.resolve(rows(db, 'SELECT status, metadata FROM notifications')),
    ([row]) => row?.['status'] === 'delivered',
  );
  expect(chat.received.map(({ path: asked }) => asked)).toEqual(Array(3).fill('/botsecret/sendPhoto'));
  expect(chat.received.map(({ body }) => /name="chat_id"\r\n\r\n(\d)/.exec(body)?.[1])).toEqual(['1', '1', '2']);
  expect(
    rows(db, 'SELECT metadata FROM notifications').map(({ metadata }) => JSON.parse(String(metadata)) as object),
  ).toMatchObject([{ attempts: 2, capture: expect.stringMatching(/^visitor_/) as string }]);

  chat.answers.push((answer) => answer.writeHead(400).end('{}'));
  expect((await post(app, '/api/test-notification', { message: 'Hi' })).json()).toMatchObject({
    status: 'error',
    message: 'Failed to send notification',
  });
  const [failed] = rows(db, "SELECT metadata FROM notifications WHERE alert_type = 'test_notification'");
  expect(String(failed?.['metadata'])).toContain('Telegram answered 400');
  expect(String(failed?.['metadata'])).not.toContain('secret');
});

test('a passive side sends nothing, and what was left is sent by the next active one', async () => {
  await using chat = await receiver();
  const env = { TELEGRAM_API_URL: chat.url, TELEGRAM_BOT_TOKEN: 't', TELEGRAM_CHAT_ID: '1', PASSIVE: '1' };
  const { app, db, notifications } = await start({ env });
  db.exec(
    "INSERT INTO notifications (alert_id, alert_type, priority, status, timestamp, content) VALUES ('a', 'test_notification', 'info', 'pending', '2026', '{\"title\":\"T\",\"message\":\"M\"}')",
  );
  notifications.deliver();
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(chat.received).toEqual([]);
  await post(app, '/control/activate');
  await until(
    () => Promise.resolve(rows(db, 'SELECT status FROM notifications')),
    ([row]) => row?.['status'] === 'delivered',
  );
  expect(chat.received).toHaveLength(1);
  await post(app, '/control/passivate');
});

test('the process ends on SIGTERM only when an accepted press is stored', async () => {
  const root = path.join(temp.path, 'process');
  await mkdir(root);
  const child = startChild(new URL('./main.ts', import.meta.url).pathname, { env: { DOORBELL_ROOT: root, PORT: '0' } });
  const address = /http:\S+?(?=,)/.exec(await child.line(/^Doorbell at/))?.[0] ?? '';
  await call(address, { method: 'POST', path: '/api/trigger-doorbell' });
  await child.kill('SIGTERM');
  expect(await child.exited).toEqual({ code: 0, signal: null });
  const db = new DatabaseSync(path.join(root, 'data/pipeline.db'));
  expect(rows(db, 'SELECT event_type FROM events')).toEqual([{ event_type: 'NO_FACES_DETECTED' }]);
  db.close();
});

test('migrating from the command line may be repeated', async () => {
  const root = path.join(temp.path, 'migrated');
  for (let time = 0; time < 2; time++) {
    const child = startChild(new URL('./migrate.ts', import.meta.url).pathname, { env: { DOORBELL_ROOT: root } });
    expect([(await child.exited).code, child.output()]).toEqual([0, 'The sqlite schema is complete.\n']);
  }
  expect((await readFile(path.join(root, 'data/pipeline.db'))).subarray(0, 15).toString()).toBe('SQLite format 3');
  await rm(root, { recursive: true });
});

test('settings that change hold from the next press on, or from the next start, and wrong ones change nothing', async () => {
  const { app, db, root, settings } = await start();
  const write = (content: unknown) =>
    writeFile(path.join(root, 'config/pipeline.json'), typeof content === 'string' ? content : JSON.stringify(content));
  const presses = async () => {
    for (let number = 0; number < 2; number++) await post(app, '/api/trigger-doorbell');
    await idle(app);
    return rows(db, 'SELECT event_id FROM events').length;
  };
  expect(await presses()).toBe(2);
  await write({ hardware: { button_debounce_time: 60, doorbell_pin: 17 } });
  await until(
    () => Promise.resolve(settings.hardware.button_debounce_time),
    (seconds) => seconds === 60,
  );
  expect(settings.hardware.doorbell_pin).toBe(18);
  expect(await presses()).toBe(2);
  for (const wrong of ['{ "hardware": ', { hardware: { button_debounce_time: -1 } }, { hardwear: {} }]) {
    await write(wrong);
    await sleep(200);
    expect(settings.hardware.button_debounce_time).toBe(60);
  }
  await write({ hardware: { button_debounce_time: 0 } });
  await until(
    () => Promise.resolve(settings.hardware.button_debounce_time),
    (seconds) => seconds === 0,
  );
  expect(await presses()).toBe(4);
});
