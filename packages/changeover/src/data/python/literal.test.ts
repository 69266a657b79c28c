import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ChangeoverError } from '../../errors.ts';
import { float, formatPythonLiteral, NumpyScalar, parsePythonLiteral, plain, PyFloat, tuple } from './index.ts';

function syntaxError(text: string): ChangeoverError {
  try {
    parsePythonLiteral(text);
  } catch (error) {
    if (error instanceof ChangeoverError) return error as ChangeoverError;
    throw error;
  }
  throw new Error(`parsed: ${text}`);
}

describe('parsePythonLiteral', () => {
  it('reads the line of an event log', () => {
    const line =
      "{'timestamp': '2026-11-21T08:13:34.497533', 'faces': [{'name': None, 'confidence': 0.0, 'distance': inf}], 'ok': True}";
    expect(plain(parsePythonLiteral(line))).toEqual({
      timestamp: '2026-11-21T08:13:34.497533',
      faces: [{ name: null, confidence: 0, distance: Infinity }],
      ok: true,
    });
    expect(formatPythonLiteral(parsePythonLiteral(line))).toBe(line);
  });

  it.each([
    ["'it\\'s \"here\"'", 'it\'s "here"'],
    ['"it\'s"', "it's"],
    ["'\\x07\\n\\t\\\\ \\u2028 \\U0001f600 \\xe9'", '\x07\n\t\\ \u2028 😀 é'],
    ['12345678901234567890', 12345678901234567890n],
    ['-9007199254740993', -9007199254740993n],
    ['9007199254740991', 9007199254740991],
    ['[]', []],
    ["('a')", 'a'],
    [' [1 , 2,] ', [1, 2]],
    ["b'\\x00a\\''", new Uint8Array([0, 97, 39])],
    ['np.float64(0.42)', new NumpyScalar('<f8', 0.42)],
    ['np.True_', new NumpyScalar('|b1', true)],
    ['np.int64(3)', new NumpyScalar('<i8', 3)],
    ['np.float32(0.42)', new NumpyScalar('<f4', Math.fround(0.42))],
  ])('reads %s', (text, value) => {
    expect(parsePythonLiteral(text)).toEqual(value);
  });

  it('tells 1 from 1.0 and () from (1,)', () => {
    expect(parsePythonLiteral('1.0')).toEqual(new PyFloat(1));
    expect(formatPythonLiteral(parsePythonLiteral('[1, 1.0, -0.0, 1e+16, 1e-05, (), (1,)]'))).toBe(
      '[1, 1.0, -0.0, 1e+16, 1e-05, (), (1,)]',
    );
    expect(formatPythonLiteral([1, float(1), 0.5, -0, 1e22, tuple(), { a: new Set([1]) }])).toBe(
      "[1, 1.0, 0.5, -0.0, 1e+22, (), {'a': {1}}]",
    );
  });

  it.each([
    ["__import__('os').system('true')", 1, '__import__'],
    ["{'a': open('/etc/passwd')}", 7, 'open'],
    ["{'a': 1 + 1}", 9, 'expected }'],
    ['[1, 2', 6, 'the end'],
    ["'abc", 1, 'closing quote'],
    ["'abc\\", 5, 'closing quote'],
    ["'\\x4'", 2, '\\x4'],
    ["'\\N{DASH}'", 2, '\\N'],
    ["'\\Uffffffff'", 2, '\\Uffffffff'],
    ["'\\ud83d\\ude00'", 8, 'surrogates'],
    ['007', 1, 'leading zeros'],
    ['1_000', 1, 'number'],
    ['1j', 1, 'number'],
    ['', 1, 'missing'],
    ['1 2', 3, 'after'],
    ['{[1]: 2}', 2, 'key'],
    ['{{}}', 2, 'key'],
    ['np.int8(300)', 1, 'np.int8'],
    ["np.load('x')", 1, 'np.load'],
    ['datetime.datetime(2026, 1, 1)', 1, 'datetime.datetime'],
    ["b'é'", 3, 'ASCII'],
    ['infinite', 1, 'infinite'],
    ["'a' 'b'", 5, 'after'],
    ['lambda: 0', 1, 'lambda'],
    ['9'.repeat(5000), 1, '4300 digits'],
  ])('refuses %s', (text, column, reason) => {
    const error = syntaxError(text);
    expect(error.code).toBe('CHG_DATA_PYTHON_SYNTAX');
    expect(error.message).toContain(reason);
    expect(error.fields).toMatchObject({ column });
  });

  it('refuses nesting that would end the stack, and does so at once', () => {
    for (const open of ['[', '(', '{', 'np.int64(', "{'a':"]) {
      expect(syntaxError(open.repeat(200_000)).message).toContain('nested deeper than 100');
    }
  });

  it('reads a line of two megabytes, and refuses one beyond the limit', () => {
    const long = 'x\\n'.repeat(700_000);
    expect(parsePythonLiteral(`'${long}'`)).toHaveLength(1_400_000);
    expect(() => parsePythonLiteral(`'${long}'`, { maxLength: 1000 })).toThrow('more than 1000 characters');
  });

  it('never throws anything but its own error', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(...Array.from(`{}[](),:'"\\xbnp.inf_01eTrue `)) })),
        (text) => {
          try {
            formatPythonLiteral(parsePythonLiteral(text));
          } catch (error) {
            expect(error).toMatchObject({ code: 'CHG_DATA_PYTHON_SYNTAX' });
          }
        },
      ),
    );
  });
});

describe('plain and formatPythonLiteral', () => {
  it('refuse what contains itself', () => {
    const list: never[] = [];
    list.push(list as never);
    expect(() => plain(list)).toThrow('nested deeper');
    expect(() => formatPythonLiteral(list)).toThrow('nested deeper');
  });

  it('survive shared parts that would be larger than any memory', () => {
    let list: unknown[] = [1];
    for (let level = 0; level < 60; level += 1) list = [list, list];
    expect(plain(list as never)).toHaveLength(2);
    expect(() => formatPythonLiteral([list as never])).toThrow('characters');
  });

  it('keep a key named __proto__ a key', () => {
    const value = plain(parsePythonLiteral("{'__proto__': {'admin': True}}"));
    expect(Object.keys(value as object)).toEqual(['__proto__']);
    expect(({} as { admin?: boolean }).admin).toBeUndefined();
  });

  it('refuse to make an object of keys that are no strings', () => {
    expect(() => plain(parsePythonLiteral('{1: 2}'))).toThrow('a key that is no str');
  });
});
