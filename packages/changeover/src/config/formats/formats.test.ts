import { execFileSync, spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Json } from '../../plan/words.ts';
import type { Format, Leaf } from '../source.ts';
import { MAX_SETTINGS_FILE_BYTES } from '../text.ts';
import { dotenvFormat } from './dotenv.ts';
import { iniFormat } from './ini.ts';
import { jsonFormat } from './json.ts';
import { tomlFormat } from './toml.ts';
import { yamlFormat } from './yaml.ts';

const FORMATS: readonly Format[] = [dotenvFormat, iniFormat(), jsonFormat, tomlFormat, yamlFormat()];

/** Without NUL, which no settings file may hold, and without halves of surrogate pairs, which are no characters. */
const anyText = fc.string({ unit: 'binary' }).map((text) => text.replaceAll('\0', '').toWellFormed());
const nastyText = fc.oneof(
  anyText,
  fc.string({ unit: fc.constantFrom(...' \t\n\r\'"`\\$#;=:{}[],a1\u00e9\u2028\ufeff'.split('')) }),
);

function read(format: Format, text: string): Record<string, Json | undefined> {
  const { entries, problems } = format.parse(text);
  expect(problems.filter(({ level }) => level === 'error')).toEqual([]);
  return Object.fromEntries(entries.map(({ key, value }) => [key, value]));
}

describe.each(FORMATS.map((format) => [format.kind, format] as const))('%s', (_, format) => {
  const path = (name: string): string[] => (format.isFlat ? [name] : ['section', name]);
  const key = (name: string): string => path(name).join('.');

  test('any text that is written is read back exactly, beside others, and again in place', () => {
    fc.assert(
      fc.property(nastyText, nastyText, (one, other) => {
        const first = format.edit('', [
          { path: path('one'), value: one },
          { path: path('two'), value: 'stays' },
        ]);
        expect(first.problems).toEqual([]);
        const second = format.edit(first.text, [{ path: path('one'), value: other }]);
        expect(second.problems).toEqual([]);
        expect(read(format, first.text)).toEqual({ [key('one')]: one, [key('two')]: 'stays' });
        expect(read(format, second.text)).toEqual({ [key('one')]: other, [key('two')]: 'stays' });
        expect(format.edit(second.text, [{ path: path('one'), value: other }]).text).toBe(second.text);
      }),
      { numRuns: 400 },
    );
  });

  test('no text makes the reader throw or hang', () => {
    fc.assert(
      fc.property(nastyText, (text) => {
        format.parse(text);
      }),
      { numRuns: 400 },
    );
    const fill = (piece: string): string => piece.repeat(MAX_SETTINGS_FILE_BYTES / piece.length);
    for (const piece of [
      '[',
      '{',
      '"',
      "'",
      '"""',
      'a',
      'A="',
      '\\',
      '{"a":',
      '[[a',
      '- ',
      '&a [*a,',
      '#',
      '\n',
      ' ',
    ]) {
      const startedMs = performance.now();
      format.parse(fill(piece).slice(0, format.kind === 'yaml' ? 20_000 : MAX_SETTINGS_FILE_BYTES));
      expect(performance.now() - startedMs).toBeLessThan(10_000);
    }
  });

  test('a file with carriage returns keeps them', () => {
    const { text } = format.edit('', [{ path: path('a'), value: 'x' }]);
    const windows = text.replaceAll('\n', '\r\n');
    const edited = format.edit(windows, [{ path: path('b'), value: 'y' }]).text;
    expect(edited.replaceAll('\r\n', '')).not.toMatch(/[\r\n]/);
    expect(read(format, edited)).toEqual({ [key('a')]: 'x', [key('b')]: 'y' });
  });

  test('what cannot be held is a problem that names the key', () => {
    const odd: Leaf =
      format.kind === 'json' || format.kind === 'yaml' ? { path: ['a'], value: 1 } : { path: path('odd'), value: null };
    const { problems } = format.edit('', [odd]);
    if (odd.value === null) expect(problems).toMatchObject([{ level: 'error', key: key('odd') }]);
    else expect(problems).toEqual([]);
  });
});

test('an environment file: prefixes, comments, quotes, several lines, duplicates, and every broken line with its number', () => {
  const text = [
    '# comment',
    'export A=1',
    'B = two words # comment',
    "C='raw \\n $HOME' # comment",
    'D="esc \\n \\"q\\" \\$X"',
    'E="line one',
    'line two"',
    'no equals sign',
    '1BAD=x',
    'A=again',
    'F=${A}/x',
    'H=',
    'I="a" trailing',
    'J=a#b',
    'K="open',
    'L=x"',
    'G="never closed',
  ].join('\n');
  const { entries, problems } = dotenvFormat.parse(text);
  const values = Object.fromEntries(entries.map((entry) => [`${entry.line ?? 0} ${entry.key}`, entry.value]));
  expect(values).toEqual({
    '2 A': '1',
    '3 B': 'two words',
    '4 C': 'raw \\n $HOME',
    '5 D': 'esc \n "q" $X',
    '6 E': 'line one\nline two',
    '10 A': 'again',
    '11 F': '${A}/x',
    '12 H': '',
    '13 I': 'a',
    '14 J': 'a#b',
    '15 K': 'open\nL=x',
    '17 G': undefined,
  });
  expect(problems.map(({ level, line, key, message }) => `${level} ${line ?? 0} ${key ?? ''}: ${message}`)).toEqual([
    'error 8 : the line is no NAME=value',
    'error 9 : what stands before = is no name',
    'warning 10 A: it was set before on line 2; the last one counts',
    'warning 11 F: it holds $, which some readers expand; it is taken as it is written',
    'warning 13 I: what follows the closing quote is ignored',
    'warning 15 K: it goes on over lines that look like settings of their own: is its quote closed?',
    'error 17 G: its quote is never closed',
  ]);
});

test('a shell reads what is written to an environment file without line breaks', () => {
  fc.assert(
    fc.property(
      nastyText.map((text) => text.replaceAll(/[\r\n]/g, '')),
      (value) => {
        const { text } = dotenvFormat.edit('', [{ path: ['VALUE'], value }]);
        const shell = spawnSync('sh', ['-c', `${text}printf %s "$VALUE"`]);
        expect(shell.stdout.toString('utf8')).toBe(value);
      },
    ),
    { numRuns: 40 },
  );
});

test('editing an environment file keeps comments, order, export and what follows a value', () => {
  const text = '# head\nexport A=1 # why\n\nB="x" # keep\n';
  const { text: edited } = dotenvFormat.edit(text, [
    { path: ['A'], value: 2 },
    { path: ['B'], value: 'it is\nnew' },
    { path: ['C'], value: true },
  ]);
  expect(edited).toBe('# head\nexport A=2 # why\n\nB="it is\\nnew" # keep\nC=true\n');
});

test('an INI file: sections, both signs, continued lines, duplicates, doubtful comments and broken lines', () => {
  const text =
    'top = 1\n[a]\n; comment\nx: 1\ny = one\n  two\nx = 3\nz = v ; c\nbroken\n[b.c]\nq = "a; \\"b\\""\nr = %(x)s\n';
  const { entries, problems } = iniFormat().parse(text);
  expect(entries.map(({ key, value, line }) => [key, value, line])).toEqual([
    ['top', '1', 1],
    ['a.x', '1', 4],
    ['a.y', 'one\ntwo', 5],
    ['a.x', '3', 7],
    ['a.z', 'v ; c', 8],
    ['b.c.q', 'a; "b"', 11],
    ['b.c.r', '%(x)s', 12],
  ]);
  expect(problems.map(({ line, message }) => `${line ?? 0} ${message.split(' ').slice(0, 4).join(' ')}`)).toEqual([
    '7 it was set before',
    '8 it holds ; or',
    '9 the line is neither',
    '12 it refers to another',
  ]);
  const { text: edited } = iniFormat().edit(text, [
    { path: ['a', 'y'], value: 'new' },
    { path: ['a', 'added'], value: 'x # y' },
    { path: ['new', 'k'], value: 1 },
  ]);
  expect(edited).toContain('y = new\nx = 3\nz = v ; c\nadded = "x # y"\nbroken\n[b.c]');
  expect(edited.endsWith('\n\n[new]\nk = 1\n')).toBe(true);
});

const hasPython = (module: string): boolean => spawnSync('python3', ['-c', `import ${module}`]).status === 0;

test.skipIf(!hasPython('configparser'))("an INI file for Python's configparser is read by it (needs python3)", () => {
  const format = iniFormat({ quotes: 'keep' });
  const { text } = format.edit('', [
    { path: ['s', 'a'], value: '"quoted" # no comment' },
    { path: ['s', 'b'], value: 'plain' },
  ]);
  const script =
    'import configparser,json,sys;c=configparser.ConfigParser(interpolation=None);c.read_string(sys.stdin.read());print(json.dumps(dict(c["s"])))';
  const read = execFileSync('python3', ['-c', script], { input: text, encoding: 'utf8' });
  expect(JSON.parse(read)).toEqual({ a: '"quoted" # no comment', b: 'plain' });
  expect(format.edit('', [{ path: ['s', 'a'], value: ' x' }]).problems).toHaveLength(1);
});

test('JSON: places, duplicates, integers beyond 2^53, and what is no JSON, without a word of the text', () => {
  const text = '{\n  "a": {"b": 1, "b": 2},\n  "big": 9007199254740993,\n  "list": [1, 2]\n}\n';
  const { entries, problems } = jsonFormat.parse(text);
  expect(entries.map(({ key, value, line, isBigInteger }) => [key, value, line, isBigInteger ?? false])).toEqual([
    ['a.b', 1, 2, false],
    ['a.b', 2, 2, false],
    ['big', '9007199254740993', 3, true],
    ['list', [1, 2], 4, false],
  ]);
  expect(problems).toMatchObject([{ level: 'warning', line: 2, key: 'a.b' }]);
  for (const broken of [
    '{"s3cret": tru}',
    '{"a": "s3cret',
    '{"a": 1,}',
    "{'a': 1}",
    '{"a": 1} s3cret',
    '{// s3cret\n}',
    '[1]',
    '{"a": NaN}',
    '{"a": 01}',
    '{"__proto__": {}}',
  ]) {
    const [problem] = jsonFormat.parse(broken).problems;
    expect(problem?.level).toBe('error');
    expect(JSON.stringify(problem)).not.toContain('s3cret');
  }
});

test('editing JSON changes no byte besides: blanks, exact numbers and short lists stay', () => {
  const text = '{\n    "keep": [1, 2.50, 9007199254740993],\n    "a": { "b": 1 },\n    "e": {}\n}';
  const { text: edited } = jsonFormat.edit(text, [
    { path: ['a', 'b'], value: 2 },
    { path: ['a', 'c'], value: 'x' },
    { path: ['e', 'deep', 'er'], value: [1, 2] },
    { path: ['n'], value: { o: null } },
  ]);
  expect(edited).toBe(
    '{\n    "keep": [1, 2.50, 9007199254740993],\n    "a": { "b": 2, "c": "x" },\n    "e": {\n        "deep": {\n            "er": [\n                1,\n                2\n            ]\n        }\n    },\n    "n": {\n        "o": null\n    }\n}',
  );
});

test('any JSON tree survives reading and editing', () => {
  const name = fc
    .string({ unit: 'binary', minLength: 1 })
    .filter((text) => text !== '__proto__' && text.isWellFormed());
  const value = fc.letrec<{ json: Json }>((tie) => ({
    json: fc.oneof(
      { depthSize: 'small' },
      fc.integer(),
      fc
        .double({ noNaN: true, noDefaultInfinity: true })
        .filter((n) => !Object.is(n, -0) && (Number.isSafeInteger(n) || !Number.isInteger(n))),
      fc.boolean(),
      fc.constant(null),
      anyText,
      fc.array(tie('json')),
      fc.dictionary(name, tie('json')),
    ),
  })).json;
  fc.assert(
    fc.property(fc.dictionary(name, value), name, value, (tree, added, addedValue) => {
      const text = JSON.stringify(tree, null, 2);
      const { text: edited } = jsonFormat.edit(text, [{ path: [added], value: addedValue }]);
      expect(JSON.parse(edited)).toEqual(JSON.parse(JSON.stringify({ ...tree, [added]: addedValue })));
    }),
    { numRuns: 200 },
  );
});

test('YAML: comments stay, duplicates and other readings are told, and bombs are refused', () => {
  const text = '# head\nserver:\n  port: 80 # why\n  name: &n web\nagain: *n\nflag: yes\nserver2: {a: 1}\n';
  const { entries, problems } = yamlFormat().parse(text);
  expect(entries.map(({ key, value, line }) => [key, value, line])).toEqual([
    ['server.port', 80, 3],
    ['server.name', 'web', 4],
    ['again', 'web', 5],
    ['flag', 'yes', 6],
    ['server2.a', 1, 7],
  ]);
  expect(problems).toMatchObject([{ level: 'warning', line: 6 }]);
  expect(read(yamlFormat({ version: '1.1' }), text)['flag']).toBe(true);
  const { text: edited } = yamlFormat().edit(text, [
    { path: ['server', 'port'], value: 8080 },
    { path: ['server', 'tls', 'on'], value: 'on' },
    { path: ['flag'], value: false },
  ]);
  expect(edited).toContain('# head\n');
  expect(edited).toContain('port: 8080 # why');
  expect(edited).toContain('"on": "on"');
  expect(read(yamlFormat({ version: '1.1' }), edited)['server.tls.on']).toBe('on');
  expect(yamlFormat().parse('a: 1\na: 2\n').problems).toMatchObject([{ level: 'warning', line: 2, key: 'a' }]);
  expect(yamlFormat().parse('a: 1\n---\nb: 2\n').problems).toMatchObject([{ level: 'error', line: 2 }]);
  expect(yamlFormat().parse('- 1\n').problems).toMatchObject([{ level: 'error' }]);
  expect(yamlFormat().parse('big: 9007199254740993\nd: 2024-01-02\n').entries).toMatchObject([
    { value: '9007199254740993', isBigInteger: true },
    { value: '2024-01-02' },
  ]);
  const shared = yamlFormat().edit('a: &x 1\nb: *x\n', [{ path: ['a'], value: 2 }]);
  expect(shared.text).toBe('a: &x 1\nb: *x\n');
  expect(shared.problems).toMatchObject([{ level: 'error' }]);
  const bomb = `a: &a [x,x,x,x,x,x,x,x,x]\n${'bcdefghi'
    .split('')
    .map(
      (n, i) =>
        `${n}: &${n} [${Array(9)
          .fill(`*${'abcdefgh'[i] ?? ''}`)
          .join(',')}]`,
    )
    .join('\n')}\n`;
  expect(yamlFormat().parse(bomb).problems).toMatchObject([{ level: 'error' }]);
  const secret = yamlFormat().parse('a: "s3cret\nb: *s3cret\n').problems;
  expect(secret.some(({ level }) => level === 'error')).toBe(true);
  expect(JSON.stringify(secret)).not.toContain('s3cret');
});

test.skipIf(!hasPython('yaml'))('PyYAML reads what is written, as it was meant (needs python3 with PyYAML)', () => {
  const values = [
    'yes',
    'on',
    '0777',
    '1:30',
    '1e3',
    'null',
    '~',
    '2024-01-02',
    'a: b',
    '# x',
    ' x ',
    "it's",
    'é',
    '0x1f',
    '.5',
    'NO',
  ];
  const script = 'import yaml,json,sys;print(json.dumps(yaml.safe_load(sys.stdin.read())))';
  const { text } = yamlFormat().edit(
    '',
    values.map((value, index) => ({ path: [`k${index}`], value })),
  );
  const back = JSON.parse(execFileSync('python3', ['-c', script], { input: text, encoding: 'utf8' })) as Record<
    string,
    string
  >;
  expect(Object.values(back)).toEqual(values);
});

test('TOML: every kind of statement is found, and editing keeps comments and order', () => {
  const text = [
    '# head',
    'title = "x" # t',
    "\"quoted key\" = '''",
    'multi = not a key',
    "'''",
    'list = [ # c',
    '  1, # one ]',
    '  2,',
    ']',
    'when = 1979-05-27 07:32:00Z',
    '',
    '# about server',
    '[server] # s',
    'port = 80',
    'ratio = 1.5',
    'dotted.one = 1',
    'inline = { a = 1, "b.c" = "}" }',
    '',
    '[[jobs]]',
    'name = "a"',
    '[[jobs]]',
    'name = "b"',
    '',
  ].join('\n');
  const lines = Object.fromEntries(tomlFormat.parse(text).entries.map(({ key, line }) => [key, line]));
  expect(lines).toEqual({
    title: 2,
    '"quoted key"': 3,
    list: 6,
    when: 10,
    'server.port': 14,
    'server.ratio': 15,
    'server.dotted.one': 16,
    'server.inline.a': 17,
    'server.inline."b.c"': 17,
    jobs: 21,
  });
  const { text: edited, problems } = tomlFormat.edit(text, [
    { path: ['title'], value: 'new' },
    { path: ['top'], value: true },
    { path: ['server', 'ratio'], value: 2 },
    { path: ['server', 'host'], value: 'h' },
    { path: ['server', 'dotted', 'two'], value: 2 },
    { path: ['server', 'inline', 'a'], value: 5 },
    { path: ['server', 'tls', 'on'], value: false },
    { path: ['list'], value: [3] },
  ]);
  expect(problems).toEqual([]);
  expect(edited).toContain('title = "new" # t\n');
  expect(edited).toContain(
    'when = 1979-05-27 07:32:00Z\ntop = true\n\n# about server\n[server] # s\nport = 80\nratio = 2.0\ndotted.one = 1\ndotted.two = 2\ninline = { a = 5, "b.c" = "}" }\nhost = "h"\n',
  );
  expect(edited).toContain('list = [3]\n');
  expect(edited.endsWith('\n[server.tls]\non = false\n')).toBe(true);
});

test('TOML that cannot be edited line by line is left as it is, with a problem', () => {
  const text = '[[jobs]]\nname = "a"\n';
  const { text: edited, problems } = tomlFormat.edit(text, [{ path: ['jobs'], value: [] }]);
  expect(edited).toBe(text);
  expect(problems).toMatchObject([{ level: 'error', key: 'jobs' }]);
  const [broken] = tomlFormat.parse('a = 1\nb = "s3cret\n').problems;
  expect(broken).toMatchObject({ level: 'error', line: 2 });
  expect(JSON.stringify(broken)).not.toContain('s3cret');
});

test('any TOML names and values survive, and comments around them too', () => {
  const step = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 6 })
    .filter((text) => text !== '__proto__' && text.isWellFormed());
  const scalar = fc.oneof(
    anyText,
    fc.boolean(),
    fc.integer(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.array(fc.integer()),
  );
  const tree = fc.dictionary(step, fc.oneof(scalar, fc.dictionary(step, scalar, { minKeys: 1 })), { maxKeys: 6 });
  fc.assert(
    fc.property(tree, (values) => {
      const leaves: Leaf[] = Object.entries(values).flatMap(([name, value]) =>
        typeof value === 'object' && !Array.isArray(value)
          ? Object.entries(value).map(([inner, scalarValue]) => ({ path: [name, inner], value: scalarValue }))
          : [{ path: [name], value }],
      );
      const { text, problems } = tomlFormat.edit(
        '# head\n[zz] # z\nzz = 1 # one\n',
        leaves.filter(({ path }) => path[0] !== 'zz'),
      );
      expect(problems).toEqual([]);
      expect(text).toContain('# head\n');
      expect(text).toContain('[zz] # z\nzz = 1 # one\n');
    }),
    { numRuns: 150 },
  );
});
