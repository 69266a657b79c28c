import { ChangeoverError } from '../../errors.ts';
import { NumpyScalar, scalarDtype } from './numpy.ts';
import { isHigh, isLow } from './text.ts';
import { int, isHashable, MAX_DEPTH, PyByteArray, PyFloat, PyFrozenSet, PyTuple, type PythonValue } from './values.ts';

/** Longest text that is read unless `maxLength` says otherwise: 64 Mi characters. */
const DEFAULT_MAX_LITERAL_LENGTH = 64 * 1024 * 1024;

/** CPython's own limit (`sys.int_info`): longer integers take quadratic time. */
const MAX_INT_DIGITS = 4300;

/**
 * Reads what Python's `repr` writes for `None`, `bool`, `int`, `float` (also `inf` and `nan`), `str`, `bytes`, `bytearray`, `list`,
 * `tuple`, `dict`, `set`, `frozenset` and numpy scalars. Nothing is evaluated: any other name or operator is an error.
 *
 * @throws CHG_DATA_PYTHON_SYNTAX with the 1-based column (in UTF-16 units) of what could not be read.
 * @example parsePythonLiteral("{'name': None, 'distance': inf}") // Map { 'name' => null, 'distance' => PyFloat }
 */
export function parsePythonLiteral(text: string, options: { readonly maxLength?: number } = {}): PythonValue {
  const maxLength = options.maxLength ?? DEFAULT_MAX_LITERAL_LENGTH;
  const parser = new Parser(text);
  if (text.length > maxLength) parser.fail(`more than ${maxLength} characters`, maxLength);
  return parser.whole();
}

const SPACE = /[ \t\r\n\f]*/y;
const NUMBER = /-?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|inf\b|nan\b)/y;
const INTEGER = /^-?(?:0+|[1-9]\d*)$/;
const NAME = /[A-Za-z_][A-Za-z0-9_.]*/y;
const PLAIN_CHARS = { "'": /[^'\\\r\n]*/y, '"': /[^"\\\r\n]*/y } as const;
type Quote = keyof typeof PLAIN_CHARS;
const SIMPLE_ESCAPES: Readonly<Record<string, string>> = {
  '\\': '\\',
  "'": "'",
  '"': '"',
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
};
const HEX_LENGTH: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 };

class Parser {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  whole(): PythonValue {
    this.#space();
    const value = this.#value(0);
    this.#space();
    if (this.#at < this.#text.length) this.fail('text after the value');
    return value;
  }

  fail(reason: string, at = this.#at): never {
    throw new ChangeoverError('CHG_DATA_PYTHON_SYNTAX', { reason, column: at + 1 });
  }

  #value(depth: number): PythonValue {
    if (depth > MAX_DEPTH) this.fail(`nested deeper than ${MAX_DEPTH}`);
    const char = this.#text.charAt(this.#at);
    switch (char) {
      case '':
        return this.fail('a value is missing');
      case '[':
        return this.#items('[', ']', depth);
      case '(':
        return this.#parenthesis(depth);
      case '{':
        return this.#braces(depth);
      case "'":
      case '"':
        return this.#string(char);
      default:
        return this.#number() ?? this.#name(depth);
    }
  }

  #items(open: string, close: string, depth: number): PythonValue[] {
    this.#expect(open);
    const items: PythonValue[] = [];
    while (!this.#accept(close)) {
      items.push(this.#value(depth + 1));
      if (!this.#accept(',')) {
        this.#expect(close);
        break;
      }
    }
    return items;
  }

  #parenthesis(depth: number): PythonValue {
    this.#expect('(');
    const items: PythonValue[] = [];
    let isTuple = this.#accept(')');
    if (isTuple) return new PyTuple(items);
    for (;;) {
      items.push(this.#value(depth + 1));
      if (!this.#accept(',')) {
        this.#expect(')');
        break;
      }
      isTuple = true;
      if (this.#accept(')')) break;
    }
    // `('a')` is only `'a'`.
    return isTuple ? new PyTuple(items) : (items[0] ?? null);
  }

  #braces(depth: number): PythonValue {
    this.#expect('{');
    const dict = new Map<PythonValue, PythonValue>();
    if (this.#accept('}')) return dict;
    const first = this.#hashable(depth + 1);
    if (!this.#accept(':')) {
      const set = new Set([first]);
      while (this.#accept(',')) {
        if (this.#accept('}')) return set;
        set.add(this.#hashable(depth + 1));
      }
      this.#expect('}');
      return set;
    }
    dict.set(first, this.#value(depth + 1));
    while (this.#accept(',')) {
      if (this.#accept('}')) return dict;
      const key = this.#hashable(depth + 1);
      this.#expect(':');
      dict.set(key, this.#value(depth + 1));
    }
    this.#expect('}');
    return dict;
  }

  #hashable(depth: number): PythonValue {
    const start = this.#at;
    const value = this.#value(depth);
    if (!isHashable(value)) this.fail('a value that Python cannot use as a key or in a set', start);
    this.#space();
    return value;
  }

  #number(): PythonValue | undefined {
    const start = this.#at;
    const text = this.#match(NUMBER);
    if (text === '') return undefined;
    if (/[A-Za-z0-9_.]/.test(this.#text.charAt(this.#at))) this.fail('a malformed number', start);
    if (/^-?\d+$/.test(text)) {
      if (!INTEGER.test(text)) this.fail('an integer with leading zeros', start);
      if (text.length > MAX_INT_DIGITS) this.fail(`an integer of more than ${MAX_INT_DIGITS} digits`, start);
      return text.length < 16 ? Number(text) || 0 : int(BigInt(text));
    }
    return new PyFloat(floatOf(text));
  }

  #name(depth: number): PythonValue {
    const start = this.#at;
    const name = this.#match(NAME);
    const next = this.#text.charAt(this.#at);
    if (name === 'b' && isQuote(next)) return this.#bytes(next);
    if (name === 'None') return null;
    if (name === 'True') return true;
    if (name === 'False') return false;
    if (name === 'np.True_') return new NumpyScalar('|b1', true);
    if (name === 'np.False_') return new NumpyScalar('|b1', false);
    if (name.startsWith('np.') && next === '(') {
      const scalar = numpyScalar(name.slice(3), this.#arguments(depth));
      return scalar ?? this.fail(`${name}(…) with this argument`, start);
    }
    if ((name === 'set' || name === 'frozenset' || name === 'bytearray') && next === '(') {
      const [argument, ...more] = this.#arguments(depth);
      if (more.length === 0) {
        if (name === 'set' && argument === undefined) return new Set();
        if (name === 'frozenset' && argument === undefined) return new PyFrozenSet([]);
        if (name === 'frozenset' && argument instanceof Set) return new PyFrozenSet(argument);
        if (name === 'bytearray' && argument instanceof Uint8Array) return new PyByteArray(argument);
      }
      return this.fail(`${name}(…) with this argument`, start);
    }
    if (name !== '') return this.fail(`the name ${name.slice(0, 40)}, which is no value`, start);
    return this.fail(`unexpected ${JSON.stringify(this.#text.charAt(start))}`, start);
  }

  #arguments(depth: number): PythonValue[] {
    return this.#items('(', ')', depth);
  }

  #string(quote: Quote): string {
    const start = this.#at;
    this.#at += 1;
    let text = '';
    for (;;) {
      text += this.#match(PLAIN_CHARS[quote]);
      const char = this.#text.charAt(this.#at);
      if (char === quote) {
        this.#at += 1;
        return text;
      }
      if (char !== '\\') this.fail('a string without its closing quote', start);
      const escape = this.#at;
      const unit = this.#escape(true);
      // Two escaped halves of a surrogate pair are two characters in Python; here they would melt into one.
      if (unit.length === 1 && isLow(unit.charCodeAt(0)) && isHigh(text.charCodeAt(text.length - 1))) {
        this.fail('two escaped surrogates in a row', escape);
      }
      text += unit;
    }
  }

  #bytes(quote: Quote): Uint8Array {
    const start = this.#at;
    this.#at += 1;
    let binary = '';
    for (;;) {
      const piece = this.#match(PLAIN_CHARS[quote]);
      // eslint and JavaScript disagree on control characters in classes; a comparison of code units says the same.
      for (let index = 0; index < piece.length; index += 1) {
        if (piece.charCodeAt(index) > 0x7f) this.fail('a character outside ASCII in bytes', this.#at - piece.length);
      }
      binary += piece;
      const char = this.#text.charAt(this.#at);
      if (char === quote) {
        this.#at += 1;
        return new Uint8Array(Buffer.from(binary, 'latin1'));
      }
      if (char !== '\\') this.fail('bytes without their closing quote', start);
      binary += this.#escape(false);
    }
  }

  #escape(isText: boolean): string {
    const start = this.#at;
    const kind = this.#text.charAt(start + 1);
    const simple = SIMPLE_ESCAPES[kind];
    this.#at += 2;
    if (simple !== undefined) return simple;
    const length = kind === 'x' || isText ? HEX_LENGTH[kind] : undefined;
    if (length === undefined) {
      return this.fail(kind === '' ? 'a string without its closing quote' : `the escape \\${kind}`, start);
    }
    const hex = this.#text.slice(this.#at, this.#at + length);
    const code = /^[0-9a-fA-F]+$/.test(hex) && hex.length === length ? parseInt(hex, 16) : NaN;
    if (!(code <= 0x10ffff)) this.fail(`the escape \\${kind}${hex}`, start);
    this.#at += length;
    return String.fromCodePoint(code);
  }

  #space(): void {
    this.#match(SPACE);
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0] ?? '';
    this.#at += found.length;
    return found;
  }

  #accept(char: string): boolean {
    this.#space();
    if (this.#text.charAt(this.#at) !== char) return false;
    this.#at += 1;
    this.#space();
    return true;
  }

  #expect(char: string): void {
    this.#space();
    if (this.#text.charAt(this.#at) !== char) {
      const found = this.#text.charAt(this.#at);
      this.fail(`expected ${char}, found ${found === '' ? 'the end' : JSON.stringify(found)}`);
    }
    this.#at += 1;
    this.#space();
  }
}

function isQuote(char: string): char is Quote {
  return char === "'" || char === '"';
}

function floatOf(text: string): number {
  if (text.endsWith('inf')) return text.startsWith('-') ? -Infinity : Infinity;
  return text.endsWith('nan') ? NaN : Number(text);
}

function numpyScalar(name: string, [argument, ...more]: PythonValue[]): NumpyScalar | null {
  const dtype = scalarDtype(name);
  if (dtype === null || more.length > 0) return null;
  if (dtype.charAt(1) === 'f') {
    if (argument instanceof PyFloat || typeof argument === 'number') {
      const value = Number(argument);
      return new NumpyScalar(dtype, dtype === '<f4' ? Math.fround(value) : value);
    }
    return null;
  }
  if (dtype === '|b1') return typeof argument === 'boolean' ? new NumpyScalar(dtype, argument) : null;
  if (typeof argument !== 'number' && typeof argument !== 'bigint') return null;
  const wide = BigInt(argument);
  const bits = Number(dtype.slice(2)) * 8;
  const fits = (dtype.charAt(1) === 'i' ? BigInt.asIntN(bits, wide) : BigInt.asUintN(bits, wide)) === wide;
  return fits ? new NumpyScalar(dtype, argument) : null;
}
