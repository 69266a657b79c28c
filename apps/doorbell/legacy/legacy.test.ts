import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { NdArray, parsePythonLiteral, plain, readPickle } from 'changeover/python';
import { startChild, tempFolder } from 'changeover/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { people, type Person } from '../seed/people.ts';
import { Faces } from '../shared/faces.ts';
import { until } from '../testing/client.ts';
import { appendEvent, eventLine, lastLines } from './event-log.ts';
import { facesPickle } from './face-book.ts';
import { layout } from './files.ts';
import { flaskJson } from './flask-json.ts';
import { Led } from './led.ts';
import { seedLegacy } from './seed.ts';
import { readSettings } from './settings.ts';
import { openSystem } from './system.ts';

const faces = new Faces();
const temp = await tempFolder('doorbell-legacy-');
let residents: readonly Person[];
let wanted: Person;
let stranger: Person;
let folders = 0;

beforeAll(async () => {
  const everybody = await people();
  residents = everybody.filter(({ role }) => role === 'resident');
  wanted = everybody.find(({ role }) => role === 'wanted') ?? expect.fail();
  stranger = everybody.find(({ role }) => role === 'stranger') ?? expect.fail();
}, 120_000);
afterAll(async () => {
  await faces.close();
  await temp.remove();
});

interface Setup {
  readonly known?: readonly (readonly [name: string, person: Person])[];
  readonly blacklist?: readonly (readonly [name: string, person: Person])[];
  readonly visitors?: readonly Person[];
  readonly env?: NodeJS.ProcessEnv;
}

/** A system of its own with a camera that sees `visitors` one after the other. */
async function start({ known = [], blacklist = [], visitors = [], env = {} }: Setup) {
  const root = path.join(temp.path, `root-${folders++}`);
  const cameraFolder = path.join(root, 'porch');
  const places = layout(root);
  await mkdir(path.join(root, 'data'), { recursive: true });
  await mkdir(cameraFolder);
  const entries = (list: NonNullable<Setup['known']>) =>
    list.map(([name, { portraits }]) => ({ name, encoding: portraits[0]?.encoding ?? [] }));
  await writeFile(places.knownCache, facesPickle(entries(known)));
  await writeFile(places.blacklistCache, facesPickle(entries(blacklist)));
  for (const [index, { portraits }] of visitors.entries()) {
    await writeFile(path.join(cameraFolder, `${index}.jpg`), portraits.at(-1)?.jpeg ?? '');
  }
  const system = await openSystem({ root, cameraFolder, faces, environment: { DEBOUNCE_TIME: '0', ...env } });
  const ring = async () => {
    system.doorbell.press();
    expect(system.led.states.yellow).toBe(true);
    await until(
      () => Promise.resolve(system.led.states.yellow),
      (isOn) => !isOn,
    );
  };
  const lines = async () => (await readFile(places.eventsLog, 'utf8').catch(() => '')).split('\n').slice(0, -1);
  return { ...system, root, ring, lines };
}

const typeOf = (line: string | undefined) =>
  (plain(parsePythonLiteral(line ?? 'None')) as { event_type: string }).event_type;

test('a press is answered at once, and yellow shows until its line is in the log', async () => {
  const { app, led, lines } = await start({ visitors: [stranger] });
  const answer = await app.inject({ method: 'POST', url: '/api/trigger-doorbell' });
  expect(answer.json()).toMatchObject({ status: 'success', message: 'Doorbell triggered' });
  expect(led.states).toEqual({ green: false, red: false, yellow: true });
  expect(await lines()).toEqual([]);
  await app.inject({ method: 'POST', url: '/api/set-led', payload: { status: 'off' } });
  expect(led.states.yellow).toBe(true);
  await until(
    () => Promise.resolve(led.states.yellow),
    (isOn) => !isOn,
  );
  expect(await lines()).toHaveLength(1);
});

test('the lines are what Python would write', async () => {
  const { root, ring, lines } = await start({
    known: [['Bob Roe', residents[0] ?? stranger]],
    blacklist: [["Seán O'Brien", wanted]],
    visitors: [residents[0] ?? stranger, wanted, stranger],
  });
  for (let visit = 0; visit < 3; visit++) await ring();
  for (const file of await readdir(path.join(root, 'porch'))) await rm(path.join(root, 'porch', file));
  await ring();
  const time = String.raw`'timestamp': '\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}'`;
  const capture = String.raw`'capture_path': '${root}/data/captures/visitor_\d{8}_\d{6}\.jpg'`;
  const number = String.raw`0\.\d{10,17}`;
  const [known, unwanted, unknown, failure] = await lines();
  expect(known).toMatch(
    new RegExp(
      `^{${time}, 'event_type': 'KNOWN_VISITOR', 'faces': \\[{'status': 'known', 'name': 'Bob Roe', 'confidence': ${number}, 'distance': ${number}}\\], ${capture}}$`,
    ),
  );
  expect(unwanted).toMatch(
    new RegExp(`'event_type': 'BLACKLIST_ALERT', 'faces': \\[{'status': 'blacklisted', 'name': "Seán O'Brien", `),
  );
  expect(unknown).toMatch(/'faces': \[\{'status': 'unknown', 'name': None, 'confidence': 0\.0, 'distance': inf\}\], /);
  expect(failure).toMatch(
    new RegExp(`^{${time}, 'event_type': 'CAPTURE_FAILURE', 'faces': \\[\\], 'capture_path': None}$`),
  );
});

test('unwanted comes before known, and the crops of unwanted people lie with the unknown', async () => {
  const { ring, lines, places, led, notifier } = await start({
    known: [['Friend', wanted]],
    blacklist: [['John Q. Public', wanted]],
    visitors: [wanted],
  });
  await ring();
  expect((await lines()).map(typeOf)).toEqual(['BLACKLIST_ALERT']);
  expect(led.states).toEqual({ green: false, red: true, yellow: false });
  expect(await readdir(places.croppedUnknown)).toEqual([expect.stringMatching(/^john_q\._public_\d{8}_\d{6}_1\.jpg$/)]);
  expect(notifier.sent[0]?.text).toMatch(
    /^🔴 \*\*DOORBELL SECURITY\*\*\n\n.*John Q\. Public.*\n\nPriority: URGENT\nTimestamp: /,
  );
});

test('a press while another is processed, or too soon after it, is dropped without a word', async () => {
  const { doorbell, app, led, lines } = await start({ visitors: [stranger] });
  doorbell.press();
  const answer = await app.inject({ method: 'POST', url: '/api/trigger-doorbell' });
  expect(answer.json()).toMatchObject({ status: 'success' });
  await until(
    () => Promise.resolve(led.states.yellow),
    (isOn) => !isOn,
  );
  expect(await lines()).toHaveLength(1);

  const patient = await start({ visitors: [stranger], env: { DEBOUNCE_TIME: '60' } });
  await patient.ring();
  patient.doorbell.press();
  expect(patient.led.states.yellow).toBe(false);
  expect(await patient.lines()).toHaveLength(1);
});

test('tolerances decide who is known', async () => {
  const [ann] = residents;
  const { ring, lines } = await start({
    known: [['Ann', ann ?? stranger]],
    visitors: [ann ?? stranger],
    env: { FACE_TOLERANCE: '0.01' },
  });
  await ring();
  expect((await lines()).map(typeOf)).toEqual(['UNKNOWN_VISITOR']);
});

test('lines with inf or numpy numbers are in the log and not in the recent events', async () => {
  const { app, places } = await start({});
  const event = { timestamp: '2026-11-21T08:13:34.497533', type: 'KNOWN_VISITOR', capturePath: null } as const;
  await appendEvent(places.eventsLog, {
    ...event,
    faces: [{ status: 'known', name: 'Ann', confidence: 0.5, distance: 0.5 }],
  });
  await appendEvent(places.eventsLog, {
    ...event,
    type: 'UNKNOWN_VISITOR',
    faces: [{ status: 'unknown', name: null, confidence: 0, distance: Infinity }],
  });
  const line = eventLine({ ...event, faces: [{ status: 'known', name: 'Bob', confidence: 0.5, distance: 0.5 }] });
  const log = await readFile(places.eventsLog, 'utf8');
  await writeFile(
    places.eventsLog,
    `${log}${line.replaceAll('0.5', 'np.float64(0.5)')}\n__import__('os').abort()\n${line.slice(0, 40)}\n`,
  );
  const { events } = (await app.inject('/api/recent-events')).json<{ events: unknown[] }>();
  expect(events).toEqual([
    {
      timestamp: event.timestamp,
      event_type: 'KNOWN_VISITOR',
      faces: [{ status: 'known', name: 'Ann', confidence: 0.5, distance: 0.5 }],
      capture_path: null,
    },
  ]);
});

test('the last lines are found however long they are', async () => {
  const file = path.join(temp.path, 'lines.log');
  const lines = Array.from({ length: 300 }, (_, index) => `${index} ${'é'.repeat(index * 7)}`);
  await writeFile(file, `${lines.join('\n')}\n`);
  for (const count of [1, 20, 250, 300, 999]) expect(await lastLines(file, count)).toEqual(lines.slice(-count));
  await writeFile(file, '');
  expect(await lastLines(file, 5)).toEqual([]);
  expect(await lastLines(`${file}.missing`, 5)).toEqual([]);
});

test('forgetting removes the first entry of a name from the pickle, and no picture', async () => {
  const [a, b] = residents as [Person, Person];
  const { app, places, book } = await start({
    known: [
      ['Ann', a],
      ['Bob', b],
      ['Ann', b],
    ],
  });
  await writeFile(path.join(places.known, 'ann_20260101_000000.jpg'), a.portraits[0]?.jpeg ?? '');
  expect((await app.inject({ method: 'DELETE', url: '/api/faces/known/Ann' })).statusCode).toBe(200);
  expect(book.known.names).toEqual(['Bob', 'Ann']);
  const { names, encodings } = plain(readPickle(await readFile(places.knownCache))) as {
    names: string[];
    encodings: NdArray[];
  };
  expect(names).toEqual(['Bob', 'Ann']);
  expect([...(encodings[1]?.toFloat64Array() ?? [])]).toEqual(b.portraits[0]?.encoding);
  expect(await readdir(places.known)).toEqual(['ann_20260101_000000.jpg']);
});

test('uploads at the same time all get into the pickle', async () => {
  const { book, places } = await start({});
  await Promise.all(
    Array.from({ length: 20 }, (_, index) => book.known.add(`P${index}`, residents[0]?.portraits[0]?.encoding ?? [])),
  );
  const { names } = plain(readPickle(await readFile(places.knownCache))) as { names: string[] };
  expect(names).toHaveLength(20);
  expect(await readdir(places.scratch)).toEqual([]);
});

test('without its pickle everybody is called like a file', async () => {
  const root = path.join(temp.path, `root-${folders++}`);
  const places = layout(root);
  await mkdir(places.known, { recursive: true });
  await mkdir(places.blacklist, { recursive: true });
  await writeFile(path.join(places.known, 'jane_doe_20261121_081324.jpg'), residents[0]?.portraits[0]?.jpeg ?? '');
  await writeFile(path.join(places.known, 'ignored.png'), 'not read at all');
  await writeFile(path.join(places.blacklist, 'fbi_john_q._public.jpg'), wanted.portraits[0]?.jpeg ?? '');
  const { book } = await openSystem({ root, cameraFolder: null, faces, environment: {} });
  expect(book.known.names).toEqual(['jane_doe_20261121_081324']);
  expect(book.blacklist.names).toEqual(['Fbi_John_Q._Public']);
});

test('settings come from the environment, then .env, then settings.py', async () => {
  const root = path.join(temp.path, `root-${folders++}`);
  await mkdir(path.join(root, 'config'), { recursive: true });
  await writeFile(path.join(root, '.env'), 'DEBOUNCE_TIME=3.5\nFACE_TOLERANCE="0.55"\nNOTIFY_ON_KNOWN_VISITORS=1\n');
  await writeFile(
    path.join(root, 'config/settings.py'),
    "class Settings:\n    def __init__(self):\n        self.CAMERA_RESOLUTION = (1920, 1080)  # wide\n        self.BLACKLIST_TOLERANCE = float(os.getenv('BLACKLIST_TOLERANCE', '0.4'))\n",
  );
  await writeFile(
    path.join(root, 'config/credentials_telegram.py'),
    "TELEGRAM_CHAT_ID = -100123\nADDITIONAL_CHAT_IDS = ['7', 8]\nSEND_PHOTOS = False\n",
  );
  expect(await readSettings(root, { FACE_TOLERANCE: '0.7' })).toMatchObject({
    debounceMs: 3500,
    faceTolerance: 0.7,
    blacklistTolerance: 0.4,
    notifyOnKnownVisitors: false,
    cameraResolution: [1920, 1080],
    telegram: { chatId: '-100123', additionalChatIds: ['7', '8'], sendPhotos: false },
  });
  await expect(readSettings(root, { DEBOUNCE_TIME: 'soon' })).rejects.toThrow(/DEBOUNCE_TIME.*'soon'/);
});

test('JSON is sorted, ASCII, and has infinities', () => {
  expect(flaskJson({ b: 'Zoë 🔔', a: [null, true, 1.5, -Infinity, NaN], c: { z: 1, y: 2 } })).toBe(
    '{"a":[null,true,1.5,-Infinity,NaN],"b":"Zo\\u00eb \\ud83d\\udd14","c":{"y":2,"z":1}}\n',
  );
});

test('the lamp knows seven words', () => {
  const led = new Led();
  const shown = (status: string) => {
    led.show(status);
    return Object.entries(led.states)
      .filter(([, isOn]) => isOn)
      .map(([colour]) => colour)
      .join();
  };
  expect(['idle', 'processing', 'known', 'unknown', 'alert', 'error', 'off', 'constructor'].map(shown)).toEqual([
    'green',
    'yellow',
    'green',
    'yellow',
    'red',
    'red,yellow',
    '',
    '',
  ]);
});

test('a seed is the same every time, and has what makes the move hard', async () => {
  const [a, b] = [path.join(temp.path, 'seed-a'), path.join(temp.path, 'seed-b')];
  const seeded = await seedLegacy(a, { events: 9000, captures: 12, seed: 7 });
  await seedLegacy(b, { events: 9000, captures: 12, seed: 7 });
  const log = await readFile(layout(a).eventsLog, 'utf8');
  expect((await readFile(layout(b).eventsLog, 'utf8')).replaceAll(b, a)).toBe(log);
  expect(await readFile(layout(a).knownCache)).toEqual(await readFile(layout(b).knownCache));
  const lines = log.split('\n').slice(0, -1);
  expect(lines).toHaveLength(9002);
  const unreadable = lines.flatMap((line, index) => {
    try {
      parsePythonLiteral(line);
      return [];
    } catch {
      return [index + 1];
    }
  });
  expect(unreadable).toEqual(seeded.brokenLines);
  expect(lines.filter((line) => line.includes("'2026-10-25T02:30:00'"))).toHaveLength(2);
  expect(log).toMatch(/'distance': inf/);
  expect(log).toMatch(/np\.float64\(/);
  expect(log).toMatch(/"Seán O'Brien"/);
  expect(seeded.captures).toBe(12);
});

test('the process answers soon after its start, and SIGTERM ends it at once', async () => {
  const root = path.join(temp.path, `root-${folders++}`);
  const child = startChild(new URL('./server.ts', import.meta.url).pathname, {
    env: { DOORBELL_ROOT: root, PORT: '0' },
  });
  const address = /http:\S+?(?=,)/.exec(await child.line(/^Doorbell/))?.[0] ?? '';
  expect((await fetch(`${address}/api/status`)).status).toBe(200);
  await fetch(`${address}/api/trigger-doorbell`, { method: 'POST' });
  await child.kill('SIGTERM');
  expect(await child.exited).toEqual({ code: null, signal: 'SIGTERM' });
});
