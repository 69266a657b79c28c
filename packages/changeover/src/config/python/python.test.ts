import { execFileSync, spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readPython } from './module.ts';

function values(text: string, options: { class?: string } = {}): Record<string, unknown> {
  return Object.fromEntries(
    readPython(text, options).entries.map(({ key, value, unread }) => [
      key,
      unread === undefined ? value : `! ${unread}`,
    ]),
  );
}

test('plain assignments of a module are read as Python reads them', () => {
  const text = `"""doc = 'string'"""
from pathlib import Path
TELEGRAM_BOT_TOKEN = "123:abc"  # comment
CHAT = '-100\\'s'
ADDITIONAL_CHAT_IDS = []
SEND_PHOTOS = True; NOTHING = None
MAX_PHOTO_SIZE = 1024 * 1024
RETRY_DELAY: float = 5.0
BIG = 9007199254740993
HEX, OCT = 0xff, 0o17
TUPLE = (1280,
  720,  # height
)
JOINED = ('a'
  "b" r'\\n')
MULTI = """one
two"""
NESTED = {'a': {'b': [1, 2]}, "c": -1.5e3}
A = B = 'same'
ESC = "\\x41\\u00e9\\101\\n"
WINDOWS = 'a\\
b'
`;
  expect(values(text)).toEqual({
    TELEGRAM_BOT_TOKEN: '123:abc',
    CHAT: "-100's",
    ADDITIONAL_CHAT_IDS: [],
    SEND_PHOTOS: true,
    NOTHING: null,
    MAX_PHOTO_SIZE: 1048576,
    RETRY_DELAY: 5,
    BIG: '9007199254740993',
    HEX: 255,
    OCT: 15,
    TUPLE: [1280, 720],
    JOINED: 'ab\\n',
    MULTI: 'one\ntwo',
    'NESTED.a.b': [1, 2],
    'NESTED.c': -1500,
    A: 'same',
    B: 'same',
    ESC: 'A\u00e9A\n',
    WINDOWS: 'ab',
  });
  expect(readPython(text).entries.find(({ key }) => key === 'JOINED')?.line).toBe(14);
  expect(readPython(text).entries.find(({ key }) => key === 'BIG')?.isBigInteger).toBe(true);
});

test('defaults of environment variables are told with the name and how the legacy reads them', () => {
  const text = `
class Settings:
    """doc"""
    def __init__(self):
        self.PROJECT_ROOT = Path(__file__).parent.parent
        self.DEBOUNCE_TIME = float(os.getenv('DEBOUNCE_TIME', '2.0'))
        self.FACE_RECOGNITION_TOLERANCE = float(os.environ.get("FACE_TOLERANCE", 0.6))
        self.PIN = int(os.getenv('DOORBELL_PIN', '18'))
        self.STATUS_LED_PINS = {
            'red': int(os.getenv('RED_LED_PIN', '16')),
            'green': 21,
        }
        self.NOTIFY = os.getenv('NOTIFY', 'False').lower() == 'true'
        self.UPDATE = (os.getenv('UPDATE') or 'yes').lower() in ('1', 'yes')
        self.URL = os.getenv('URL', 'https://x')
        self.KEY = os.environ['API_KEY']
        self.TRUTHY = bool(os.getenv('T', '0'))
        local = 3
        if self.PIN:
            self.COND = 1
    def other(self):
        self.NOT_READ = 1
class Other:
    X = 1
`;
  const { entries } = readPython(text, { class: 'Settings' });
  expect(
    Object.fromEntries(
      entries.map((entry) => [entry.key, [entry.unread ?? entry.value, entry.defaultOf?.name, entry.defaultOf?.read]]),
    ),
  ).toEqual({
    PROJECT_ROOT: ['it calls Path()', undefined, undefined],
    DEBOUNCE_TIME: [2, 'DEBOUNCE_TIME', 'float'],
    FACE_RECOGNITION_TOLERANCE: [0.6, 'FACE_TOLERANCE', 'float'],
    PIN: [18, 'DOORBELL_PIN', 'int'],
    'STATUS_LED_PINS.red': [16, 'RED_LED_PIN', 'int'],
    'STATUS_LED_PINS.green': [21, undefined, undefined],
    NOTIFY: [false, 'NOTIFY', { words: ['true'], ignoresCase: true }],
    UPDATE: [true, 'UPDATE', { words: ['1', 'yes'], ignoresCase: true }],
    URL: ['https://x', 'URL', 'text'],
    KEY: ['it is whatever API_KEY is set to', 'API_KEY', 'text'],
    TRUTHY: ['it calls bool()', undefined, undefined],
    COND: ['it is assigned inside if', undefined, undefined],
  });
  expect(entries.find(({ key }) => key === 'STATUS_LED_PINS.green')?.line).toBe(11);
  expect(values(text, { class: 'Other' })).toEqual({ X: 1 });
  expect(readPython(text, { class: 'Missing' }).problems).toMatchObject([
    { level: 'error', message: 'it holds no class Missing' },
  ]);
});

test('what is no literal is told with its line and reason, and nothing is run', () => {
  const text = `import os
A = f"{os}"
B = [x for x in range(3)]
C = __import__('os').system('touch /tmp/never')
D = OTHER + 1
E = b'bytes'
LIST = [1]
LIST.append(2)
COUNT = 1
COUNT += 1
MAP = {}
MAP['k'] = 1
GONE = 1
del GONE
TWICE = 1
TWICE = 2
app = Flask(__name__)
if os.name == 'nt': G = 1
try:
    H = 1
    def inner():
        LOCAL = 1
except ImportError:
    H = 2
if __name__ == '__main__':
    MAIN = 1
_PRIVATE = object()
LAMBDA = lambda x=1: x
WALRUS = (n := 1)
CALL = dict(a=1)
`;
  const { entries, problems } = readPython(text);
  expect(
    entries.map(({ key, line, unread, value }) => `${line ?? 0} ${key} ${unread ?? JSON.stringify(value)}`),
  ).toEqual([
    '2 A it is an f-string',
    '3 B it refers to x',
    '4 C it calls __import__()',
    '5 D it refers to OTHER',
    '6 E it holds bytes',
    '8 LIST it is changed after it was assigned',
    '10 COUNT it is changed after it was assigned',
    '12 MAP it is changed after it was assigned',
    '14 GONE it is changed after it was assigned',
    '16 TWICE 2',
    '18 G it is assigned inside if',
    '24 H it is assigned inside except',
    '28 LAMBDA it is computed (:)',
    '29 WALRUS it refers to n',
    '30 CALL it calls dict()',
  ]);
  expect(problems.some(({ line, key }) => line === 16 && key === 'TWICE')).toBe(true);
});

test('broken and hostile modules are told and never hang', () => {
  expect(readPython("A = 1\nB = 'open\nC = 2\n").problems).toMatchObject([{ level: 'error', line: 2 }]);
  expect(readPython('A = """open\n').problems).toMatchObject([{ level: 'error', line: 1 }]);
  expect(values('A = ')).toEqual({ A: '! the expression ends too early' });
  expect(values(`A = ${'['.repeat(5000)}`)['A']).toMatch(/nested deeper/);
  expect(values('A = 2 ** 99999')['A']).toMatch(/computed/);
  expect(values('A = (1')['A']).toMatch(/^!/);
  expect(values("A = '\\U99999999'")['A']).toMatch(/^!/);
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom(...'A=\'"\\#\n\r ()[]{}:,.+-*fb1_'.split('')), maxLength: 60 }),
      (text) => {
        readPython(text);
        readPython(`class A:\n ${text}`, { class: 'A' });
      },
    ),
    { numRuns: 1000 },
  );
});

const hasPython = spawnSync('python3', ['--version']).status === 0;

test.skipIf(!hasPython)('CPython says the same about its own literals (needs python3)', () => {
  const text = fc.string({ unit: 'binary', maxLength: 12 }).map((value) => value.toWellFormed());
  const leaf = fc.oneof(
    text,
    fc.integer(),
    fc.double({ noNaN: true, noDefaultInfinity: true }).filter((n) => !Object.is(n, -0)),
    fc.boolean(),
    fc.constant(null),
  );
  const value = fc.oneof(
    leaf,
    fc.array(leaf, { maxLength: 4 }),
    fc.array(fc.array(leaf, { maxLength: 3 }), { maxLength: 3 }),
  );
  const samples = fc.sample(value, { numRuns: 120, seed: 7 });
  const script = `
import json, sys
for v in json.load(sys.stdin):
    if isinstance(v, list) and len(v) % 2: v = tuple(v)
    print(json.dumps([repr(v), ascii(v)]))`;
  const output = execFileSync('python3', ['-c', script], { input: JSON.stringify(samples), encoding: 'utf8' });
  const literals = output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as [string, string]);
  for (const [index, forms] of literals.entries()) {
    for (const form of forms)
      expect(readPython(`A = ${form}\n`).entries).toMatchObject([
        { key: 'A', value: JSON.parse(JSON.stringify(samples[index])) as unknown },
      ]);
  }
});
