import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { formatLogLine, parseLogLine } from './log-line.ts';

const values = fc.oneof(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'binary' }), fc.double({ noNaN: true }));
const isPlain = (value: string | number) =>
  typeof value === 'string' || (Number.isFinite(value) && !Object.is(value, -0));

it('a line comes back as it went, whatever is in it', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), values.filter(isPlain), { noNullPrototype: true }), (line) => {
      const text = formatLogLine(line);
      expect(text).not.toContain('\n');
      expect(parseLogLine(text)).toEqual(line);
    }),
  );
});

it('Python reads a line as the same text and writes it in the same characters', () => {
  const lines = ['plain', `it's`, '"', `'"`, 'back\\slash', 'a\nb\tc\r', 'Zoë 門 🔔', '\x00\x7f\x9f', '\u2028'].map(
    (body) => ({ token: 'a-1', body, time: 1795257318.869 }),
  );
  const script =
    'import ast,sys,json\nfor l in sys.stdin.buffer.read().decode().split("\\n"): print(json.dumps([ast.literal_eval(l)["body"], repr(ast.literal_eval(l))]))';
  const printed = execFileSync('python3', ['-c', script], { input: lines.map(formatLogLine).join('\n') }).toString();
  expect(
    printed
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as string[]),
  ).toEqual(lines.map((line) => [line.body, formatLogLine(line)]));
});

it('anything else is no line', () => {
  for (const text of [
    '',
    '{',
    "{'a'}",
    "{'a': }",
    "{'a': __import__('os')}",
    "{'a': 'b'",
    "{'a': 'b' 'c': 'd'}",
    '[1]',
  ])
    expect(parseLogLine(text), text).toBeNull();
  expect(parseLogLine('{}')).toEqual({});
});
