import { lstat, readdir, readFile, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { z } from 'zod';
import type { Json } from '../plan/words.ts';
import { at, ctx, logged, Pipeline, put, said } from '../testing/settings.ts';
import { dotenv, jsonFile, pythonModule, settings, tomlFile, yamlFile } from './index.ts';
import type { Settings } from './index.ts';

const PYTHON = `class Settings:
    def __init__(self):
        self.DEBOUNCE_TIME = float(os.getenv('DEBOUNCE_TIME', '2.0'))
        self.FACE_RECOGNITION_TOLERANCE = float(os.getenv('FACE_TOLERANCE', '0.6'))
        self.NOTIFY_ON_KNOWN_VISITORS = os.getenv('NOTIFY_ON_KNOWN_VISITORS', 'False').lower() == 'true'
        self.CAMERA_RESOLUTION = (1280, 720)
        self.DATA_DIR = self.PROJECT_ROOT / 'data'
`;
const CREDENTIALS = `TELEGRAM_BOT_TOKEN = "1234:pl4nted-token"\nADDITIONAL_CHAT_IDS = ['-100']\n`;

function doorbell(): Settings {
  return settings({
    from: [
      pythonModule('config/settings.py', { class: 'Settings' }),
      pythonModule('config/credentials.py'),
      dotenv('.env', { optional: true }),
    ],
    to: jsonFile('config/pipeline.json'),
    secrets: dotenv('.env.next'),
    schema: Pipeline,
    map: {
      DEBOUNCE_TIME: { to: 'frameCapture.debounceMs', unit: { from: 's', to: 'ms' } },
      FACE_RECOGNITION_TOLERANCE: 'faceRecognition.tolerance',
      NOTIFY_ON_KNOWN_VISITORS: 'notifications.known',
      CAMERA_RESOLUTION: { to: ['frameCapture.resolution.width', 'frameCapture.resolution.height'], spread: true },
      DATA_DIR: { drop: 'the new system has its own folder' },
      TELEGRAM_BOT_TOKEN: { to: 'telegram.botToken', env: 'TELEGRAM_BOT_TOKEN', secret: true },
      ADDITIONAL_CHAT_IDS: 'notifications.contacts',
    },
    set: { 'frameCapture.fps': { value: 5, reason: 'as measured on the legacy' } },
  });
}

async function putDoorbell(): Promise<void> {
  await put('config/settings.py', PYTHON);
  await put('config/credentials.py', CREDENTIALS);
  await put('.env', 'FACE_TOLERANCE=0.45\nNOTIFY_ON_KNOWN_VISITORS=TRUE\n');
}

test('settings of a Python legacy move with units, renames, legacy defaults and secrets apart', async () => {
  await putDoorbell();
  const port = doorbell();
  expect(said(await port.check(ctx))).toEqual([]);
  await port.apply(ctx);
  expect(JSON.parse(await at('config/pipeline.json'))).toEqual({
    frameCapture: { debounceMs: 2000, fps: 5, resolution: { width: 1280, height: 720 } },
    faceRecognition: { tolerance: 0.45, enabled: true },
    notifications: { known: true, contacts: ['-100'] },
  });
  expect(await at('.env.next')).toBe('TELEGRAM_BOT_TOKEN=1234:pl4nted-token\n');
  expect((await stat(join(ctx.root, '.env.next'))).mode & 0o777).toBe(0o600);

  const { legacy, next } = await port.report(ctx);
  expect(legacy.map(({ source, key, fate, detail, shown }) => `${source} ${key} ${fate} ${detail} ${shown}`)).toEqual([
    'config/settings.py:6 CAMERA_RESOLUTION moved frameCapture.resolution.width, frameCapture.resolution.height [1280,720]',
    'config/settings.py:7 DATA_DIR dropped the new system has its own folder it refers to self.PROJECT_ROOT',
    'config/credentials.py:1 TELEGRAM_BOT_TOKEN moved .env.next:TELEGRAM_BOT_TOKEN ••••',
    'config/credentials.py:2 ADDITIONAL_CHAT_IDS moved notifications.contacts ["-100"]',
    'config/settings.py:4 FACE_TOLERANCE dropped legacy default, overridden by .env:1 0.6',
    '.env:1 FACE_TOLERANCE moved faceRecognition.tolerance 0.45',
    'config/settings.py:5 NOTIFY_ON_KNOWN_VISITORS dropped legacy default, overridden by .env:2 false',
    '.env:2 NOTIFY_ON_KNOWN_VISITORS moved notifications.known true',
    'config/settings.py:3 DEBOUNCE_TIME moved frameCapture.debounceMs (legacy default) 2',
  ]);
  expect(Object.fromEntries(next.map(({ path, from }) => [path, from]))).toEqual({
    'frameCapture.debounceMs': 'legacy default of DEBOUNCE_TIME (config/settings.py:3)',
    'frameCapture.fps': 'constant: as measured on the legacy',
    'frameCapture.resolution.width': 'config/settings.py:6 CAMERA_RESOLUTION',
    'frameCapture.resolution.height': 'config/settings.py:6 CAMERA_RESOLUTION',
    'faceRecognition.tolerance': '.env:1 FACE_TOLERANCE',
    'faceRecognition.enabled': 'schema default',
    'notifications.known': '.env:2 NOTIFY_ON_KNOWN_VISITORS',
    'notifications.contacts': 'config/credentials.py:2 ADDITIONAL_CHAT_IDS',
    '.env.next:TELEGRAM_BOT_TOKEN': 'config/credentials.py:1 TELEGRAM_BOT_TOKEN',
  });
});

test('a second apply changes no byte and no time, and the report says the same', async () => {
  await putDoorbell();
  const port = doorbell();
  const report = await port.report(ctx);
  expect(await port.isApplied(ctx)).toBe(false);
  await port.apply(ctx);
  expect(await port.isApplied(ctx)).toBe(true);
  for (const name of ['config/pipeline.json', '.env.next']) await utimes(join(ctx.root, name), 1000, 1000);
  const before = await Promise.all(
    ['config/pipeline.json', '.env.next'].map((name) => stat(join(ctx.root, name), { bigint: true })),
  );
  await port.apply(ctx);
  const after = await Promise.all(
    ['config/pipeline.json', '.env.next'].map((name) => stat(join(ctx.root, name), { bigint: true })),
  );
  expect(after.map(({ ino, mtimeNs, ctimeNs }) => [ino, mtimeNs, ctimeNs])).toEqual(
    before.map(({ ino, mtimeNs, ctimeNs }) => [ino, mtimeNs, ctimeNs]),
  );
  expect(await port.report(ctx)).toEqual(report);
  await put('.env', 'FACE_TOLERANCE=0.3\n');
  expect(await port.isApplied(ctx)).toBe(false);
});

test('undo brings back bytes, modes and absence, and keeps what a person changed', async () => {
  await putDoorbell();
  await put('.env.next', '# mine\nOTHER=1\n', 0o640);
  const port = settings({
    from: [dotenv('.env')],
    to: yamlFile('new/deep/app.yaml'),
    secrets: dotenv('.env.next'),
    map: { FACE_TOLERANCE: 'tolerance', NOTIFY_ON_KNOWN_VISITORS: { env: 'NOTIFY', secret: true } },
  });
  const before = await port.before(ctx);
  expect(JSON.stringify(before)).not.toContain('OTHER');
  await port.apply(ctx);
  expect(await at('.env.next')).toBe('# mine\nOTHER=1\nNOTIFY=TRUE\n');
  await put('new/deep/app.yaml', 'tolerance: edited by hand\n');
  await port.undo(ctx, before);
  await port.undo(ctx, before);
  expect(await readdir(ctx.root)).toEqual(['.env', '.env.next', 'config']);
  expect(await at('.env.next')).toBe('# mine\nOTHER=1\n');
  expect((await stat(join(ctx.root, '.env.next'))).mode & 0o777).toBe(0o640);
  const kept = /kept in (.*app.yaml.*|.*)$/.exec(logged.find((line) => line.includes('app.yaml')) ?? '')?.[1] ?? '';
  expect(await readFile(kept, 'utf8')).toBe('tolerance: edited by hand\n');
  await rm(join(ctx.stateDir, 'settings'), { recursive: true });
  await port.apply(ctx);
  await expect(port.undo(ctx, before)).rejects.toMatchObject({ code: 'CHG_CONFIG_UNDO_LOST' });
});

test('a key without a rule is an error that names key, place and the line to add', async () => {
  await put('.env', 'A=1\n\nLOST_KEY=2\n');
  const port = settings({ from: [dotenv('.env')], to: jsonFile('n.json'), map: { A: 'a' } });
  const findings = await port.check(ctx);
  expect(findings.filter(({ level }) => level === 'error')).toEqual([
    {
      level: 'error',
      about: '.env:LOST_KEY',
      message: '.env:3: LOST_KEY has no rule: it would be lost',
      remedy:
        "Add to map: LOST_KEY: 'path.in.new', or LOST_KEY: { keep: true }, or LOST_KEY: { drop: 'why it is not needed' }",
    },
  ]);
  await expect(port.apply(ctx)).rejects.toMatchObject({ code: 'CHG_CONFIG_INVALID' });
  await expect(lstat(join(ctx.root, 'n.json'))).rejects.toThrow();
  expect((await port.report(ctx)).legacy.find(({ key }) => key === 'LOST_KEY')).toMatchObject({ fate: 'conflict' });
});

test('everything that is wrong with sources, rules and the new tree comes in one report', async () => {
  await put('.env', 'A=abc\nB=70\nB=80\nC=1\nbroken line\nTHREW=x\nUNIT=fast\n');
  await put('bad.env', new Uint8Array([65, 61, 49, 10, 66, 61, 0xff, 10]));
  const port = settings({
    from: [dotenv('.env'), dotenv('bad.env'), yamlFile('missing.yaml')],
    to: jsonFile('n.json'),
    schema: z.object({ a: z.number(), b: z.number().max(60), need: z.string(), x: z.object({ y: z.number() }) }),
    map: {
      A: 'a',
      B: 'b',
      C: 'x',
      THREW: {
        to: 'x.y',
        convert: () => {
          throw new Error('no such thing');
        },
      },
      UNIT: { to: 'x.y', unit: { from: 's', to: 'ms' } },
      MISSPELT: 'need',
    },
    set: { 'x.y': { value: 2, reason: 'r' } },
  });
  const findings = await port.check(ctx);
  const text = findings.map(({ level, message }) => `${level} ${message}`).join('\n');
  for (const expected of [
    'warning .env:3: B: it was set before on line 2; the last one counts',
    'error .env:5: the line is no NAME=value',
    'error bad.env:2: it is not UTF-8',
    'error missing.yaml: there is no such file',
    'error .env:6: THREW: convert failed: no such thing',
    'error .env:7: UNIT: it is no number of s',
    'warning no source has MISSPELT; the new system',
    'error x and x.y exclude each other',
    'error a: Invalid input: expected number, received string (from .env:1 A)',
    'error b: Too big: expected number to be <=60 (from .env:3 B)',
    'error need: Invalid input: expected string, received undefined',
  ]) {
    expect(text).toContain(expected);
  }
});

test('an absent key becomes what the legacy does without it, not the new default', async () => {
  await put('.env', '');
  const schema = z.object({
    debounce: z.number().default(5),
    known: z.boolean().default(true),
    other: z.number().default(1),
  });
  const port = settings({
    from: [dotenv('.env')],
    to: jsonFile('n.json'),
    schema,
    map: { DEBOUNCE: 'debounce', KNOWN: { to: 'known', default: false }, OTHER: 'other' },
    legacyDefaults: { DEBOUNCE: 2 },
  });
  expect(said(await port.check(ctx), 'warning')).toEqual([
    "no source has OTHER; the new system's own default will hold",
  ]);
  await port.apply(ctx);
  expect(JSON.parse(await at('n.json'))).toEqual({ debounce: 2, known: false, other: 1 });
  expect((await port.report(ctx)).next.map(({ path, from }) => `${path}: ${from}`)).toEqual([
    'debounce: legacy default of DEBOUNCE',
    'known: legacy default of KNOWN',
    'other: schema default',
  ]);
});

test('what a new file already says stays, and is completed but not overruled by defaults', async () => {
  await put('.env', 'PORT=9\n');
  await put('app.yaml', '# shipped\nserver:\n  port: 80 # default\n  workers: 7\nunknown: 1\n', 0o640);
  const schema = z.object({
    server: z.object({ port: z.number(), workers: z.number().default(2), backlog: z.number().default(128) }),
  });
  const port = settings({ from: [dotenv('.env')], to: yamlFile('app.yaml'), schema, map: { PORT: 'server.port' } });
  await port.apply(ctx);
  expect(await at('app.yaml')).toBe(
    '# shipped\nserver:\n  port: 9 # default\n  workers: 7\n  backlog: 128\nunknown: 1\n',
  );
  expect((await stat(join(ctx.root, 'app.yaml'))).mode & 0o777).toBe(0o640);
  expect((await port.report(ctx)).next.map(({ path, from }) => `${path}: ${from}`)).toEqual([
    'server.port: .env:1 PORT',
    'server.workers: already in app.yaml',
    'server.backlog: schema default',
  ]);
});

test('a place that the schema does not know is an error: the setting would be lost', async () => {
  await put('.env', 'DEBOUNCE=2\n');
  const schema: z.ZodType = z.object({ fps: z.number().default(10) });
  const port = settings({
    from: [dotenv('.env')],
    to: jsonFile('n.json'),
    schema: schema,
    map: { DEBOUNCE: 'frame.debounce' },
  });
  expect(said(await port.check(ctx))).toEqual([
    'the new settings have no frame.debounce: the schema leaves it out, so .env:1 DEBOUNCE would be lost',
  ]);
});

test('a schema that changes what it reads is not applied twice', async () => {
  await put('.env', 'WAIT=5\nLEVEL=info\n');
  const schema = z.object({
    wait: z.coerce.number().transform((seconds) => seconds * 1000),
    level: z.string().default('warn'),
  });
  const port = settings({
    from: [dotenv('.env')],
    to: jsonFile('n.json'),
    schema,
    map: { WAIT: { to: 'wait', type: 'number' }, LEVEL: 'level' },
  });
  await port.apply(ctx);
  expect(JSON.parse(await at('n.json'))).toEqual({ wait: 5, level: 'info' });
  expect(await port.isApplied(ctx)).toBe(true);
});

test('text becomes what the schema asks for, and stays text where that fits', async () => {
  await put('.env', 'N=1.5\nB=yes\nS=007\nZ=0\nL=a, b\n');
  const schema = z.object({ n: z.number(), b: z.boolean(), s: z.string(), z: z.boolean(), l: z.array(z.string()) });
  const port = settings({
    from: [dotenv('.env')],
    to: tomlFile('n.toml'),
    schema,
    map: { N: 'n', B: 'b', S: 's', Z: 'z', L: { to: 'l', type: 'list' } },
  });
  expect(said(await port.check(ctx))).toEqual([]);
  await port.apply(ctx);
  expect(await at('n.toml')).toBe('n = 1.5\nb = true\ns = "007"\nz = false\nl = ["a", "b"]\n');
});

test('settings are told back where rules can be run backwards', async () => {
  await putDoorbell();
  const port = doorbell();
  await port.apply(ctx);
  const { values, lost } = port.invert(JSON.parse(await at('config/pipeline.json')) as Json);
  expect(values).toEqual({
    DEBOUNCE_TIME: 2,
    FACE_RECOGNITION_TOLERANCE: 0.45,
    NOTIFY_ON_KNOWN_VISITORS: true,
    CAMERA_RESOLUTION: [1280, 720],
    ADDITIONAL_CHAT_IDS: ['-100'],
  });
  expect(lost).toEqual([
    { key: 'DATA_DIR', reason: 'the new system has its own folder' },
    { key: 'TELEGRAM_BOT_TOKEN', reason: 'the new settings have no telegram.botToken' },
  ]);
});
