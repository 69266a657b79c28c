import type { Json } from '../../plan/words.ts';
import type { EnvironmentReading } from '../source.ts';
import { toText } from '../tree.ts';
import type { Token } from './tokens.ts';

/** What the right side of an assignment says without being run. */
export type PythonValue =
  | { readonly kind: 'literal'; readonly value: Json; readonly isBigInteger?: true }
  | { readonly kind: 'dict'; readonly items: readonly DictItem[] }
  | {
      readonly kind: 'environment';
      readonly name: string;
      readonly read: EnvironmentReading;
      readonly fallback: PythonValue | null;
    };

export interface DictItem {
  readonly name: string;
  readonly value: PythonValue;
  readonly line: number;
}

/** Why an expression is no literal. The reason names functions and constructs, never a value. */
export class NotLiteral extends Error {}

const MAX_DEPTH = 60;
const ENVIRONMENT_CALLS = new Set(['os.getenv', 'getenv', 'os.environ.get', 'environ.get']);
const READERS: Readonly<Record<string, EnvironmentReading>> = { int: 'int', float: 'float', str: 'text' };

/** Throws {@link NotLiteral}. */
export function readExpression(tokens: readonly Token[]): PythonValue {
  const reader = new Reader(tokens);
  return reader.whole();
}

/** What the legacy would have made of the text of a variable. Undefined when it would have failed. */
export function readAs(text: string, read: EnvironmentReading): Json | undefined {
  const trimmed = text.trim();
  if (read === 'text') return text;
  if (read === 'int') return /^[+-]?\d[\d_]*$/.test(trimmed) ? Number(trimmed.replaceAll('_', '')) : undefined;
  if (read === 'float') {
    const value = Number(trimmed.replaceAll('_', ''));
    return trimmed !== '' && Number.isFinite(value) ? value : undefined;
  }
  return read.words.includes(read.ignoresCase ? text.toLowerCase() : text);
}

class Reader {
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  whole(): PythonValue {
    const value = this.#either();
    if (this.#is(',')) return { kind: 'literal', value: [plainOf(value), ...this.#rest(',')] };
    if (this.#at < this.#tokens.length) throw new NotLiteral(this.#reason());
    return value;
  }

  /** The items of a tuple without brackets, after its first. */
  #rest(separator: string): Json[] {
    const items: Json[] = [];
    while (this.#take(separator)) {
      if (this.#at === this.#tokens.length) break;
      items.push(plainOf(this.#either()));
    }
    if (this.#at < this.#tokens.length) throw new NotLiteral(this.#reason());
    return items;
  }

  get #next(): Token | undefined {
    return this.#tokens[this.#at];
  }

  #is(text: string): boolean {
    return this.#next?.kind !== 'string' && this.#next?.text === text;
  }

  #take(text: string): boolean {
    if (!this.#is(text)) return false;
    this.#at += 1;
    return true;
  }

  #expect(text: string): void {
    if (!this.#take(text)) throw new NotLiteral(this.#reason());
  }

  #reason(): string {
    const next = this.#next;
    if (next === undefined) return 'the expression ends too early';
    if (next.kind === 'name') return `it is computed (${next.text})`;
    return next.kind === 'operator' ? `it is computed (${next.text})` : 'it is computed';
  }

  /** `os.getenv('A') or 'b'` and comparisons of the environment; everything else that is computed is refused. */
  #either(): PythonValue {
    if ((this.#depth += 1) > MAX_DEPTH) throw new NotLiteral(`it is nested deeper than ${MAX_DEPTH} levels`);
    const left = this.#sum();
    this.#depth -= 1;
    if (left.kind !== 'environment') return left;
    if (this.#take('or')) {
      if (left.fallback !== null && plainOf(left.fallback) !== null) throw new NotLiteral('it is computed (or)');
      return { ...left, fallback: this.#either() };
    }
    if (this.#take('==')) return this.#words(left, [this.#sum()]);
    if (this.#take('in')) {
      const list = plainOf(this.#sum());
      if (!Array.isArray(list)) throw new NotLiteral('it is computed (in)');
      return this.#words(
        left,
        list.map((value: Json): PythonValue => ({ kind: 'literal', value })),
      );
    }
    return left;
  }

  #words(left: PythonValue & { kind: 'environment' }, words: readonly PythonValue[]): PythonValue {
    if (left.read === 'int' || left.read === 'float') throw new NotLiteral('it is computed (==)');
    const ignoresCase = left.read !== 'text' && left.read.ignoresCase;
    return { ...left, read: { words: words.map((word) => toText(plainOf(word))), ignoresCase } };
  }

  #sum(): PythonValue {
    let left = this.#product();
    while (this.#is('+') || this.#is('-')) {
      const isPlus = this.#take('+');
      if (!isPlus) this.#at += 1;
      const right = this.#product();
      left = combine(left, right, isPlus ? '+' : '-');
    }
    return left;
  }

  #product(): PythonValue {
    let left = this.#unary();
    while (this.#take('*')) left = combine(left, this.#unary(), '*');
    return left;
  }

  #unary(): PythonValue {
    if (this.#take('-')) return negative(this.#unary());
    if (this.#take('+')) return negative(negative(this.#unary()));
    const base = this.#primary();
    if (!this.#take('**')) return base;
    return combine(base, this.#unary(), '**');
  }

  #primary(): PythonValue {
    const token = this.#next;
    if (token === undefined) throw new NotLiteral(this.#reason());
    if (token.kind === 'string') return { kind: 'literal', value: this.#strings() };
    if (token.kind === 'number') {
      this.#at += 1;
      return numberOf(token.text);
    }
    if (this.#take('(')) return this.#brackets(')');
    if (this.#take('[')) return this.#brackets(']');
    if (this.#take('{')) return this.#braces();
    if (token.kind === 'name') return this.#named();
    throw new NotLiteral(this.#reason());
  }

  #strings(): string {
    let text = '';
    for (let token = this.#next; token?.kind === 'string'; token = this.#next) {
      text += decodeString(token.text, token.prefix);
      this.#at += 1;
    }
    return text;
  }

  /** A value in brackets stays itself; with a comma it is a tuple. */
  #brackets(close: ')' | ']'): PythonValue {
    const items: PythonValue[] = [];
    let hasComma = false;
    while (!this.#take(close)) {
      items.push(this.#either());
      if (this.#take(',')) hasComma = true;
      else if (!this.#is(close)) throw new NotLiteral(this.#reason());
    }
    const [only] = items;
    if (close === ')' && !hasComma && only !== undefined) return this.#methods(only);
    return {
      kind: 'literal',
      value: items.map(plainOf),
      ...(items.some(isBig) ? { isBigInteger: true as const } : {}),
    };
  }

  #braces(): PythonValue {
    const items: DictItem[] = [];
    const set: PythonValue[] = [];
    while (!this.#take('}')) {
      const line = this.#next?.line ?? 0;
      const key = this.#either();
      if (this.#take(':')) items.push({ name: keyOf(key), value: this.#either(), line });
      else set.push(key);
      if (!this.#take(',') && !this.#is('}')) throw new NotLiteral(this.#reason());
    }
    if (set.length > 0 && items.length > 0) throw new NotLiteral('it is no literal');
    return set.length > 0 ? { kind: 'literal', value: set.map(plainOf) } : { kind: 'dict', items };
  }

  #named(): PythonValue {
    const constants: Readonly<Record<string, Json>> = { True: true, False: false, None: null };
    const names: string[] = [];
    do {
      const token = this.#next;
      if (token?.kind !== 'name') throw new NotLiteral(this.#reason());
      names.push(token.text);
      this.#at += 1;
    } while (this.#take('.'));
    const name = names.join('.');
    if (Object.hasOwn(constants, name)) return { kind: 'literal', value: constants[name] ?? null };
    if (ENVIRONMENT_CALLS.has(name) && this.#take('(')) return this.#methods(this.#environmentCall());
    if ((name === 'os.environ' || name === 'environ') && this.#take('[')) {
      const variable = keyOf(this.#either());
      this.#expect(']');
      return this.#methods({ kind: 'environment', name: variable, read: 'text', fallback: null });
    }
    const read = READERS[name];
    if (read !== undefined && this.#take('(')) {
      const inner = this.#either();
      this.#take(',');
      this.#expect(')');
      if (inner.kind === 'environment' && inner.read === 'text') return { ...inner, read };
      const value = inner.kind === 'literal' ? readAs(toText(inner.value), read) : undefined;
      if (value === undefined) throw new NotLiteral(`it is computed (${name})`);
      return { kind: 'literal', value };
    }
    throw new NotLiteral(this.#is('(') ? `it calls ${name}()` : `it refers to ${name}`);
  }

  #environmentCall(): PythonValue {
    const name = keyOf(this.#either());
    let fallback: PythonValue = { kind: 'literal', value: null };
    if (this.#take(',') && !this.#is(')')) {
      if (this.#take('default')) this.#expect('=');
      fallback = this.#either();
      this.#take(',');
    }
    this.#expect(')');
    return { kind: 'environment', name, read: 'text', fallback };
  }

  /** `.lower()` and `.strip()` before a comparison. */
  #methods(value: PythonValue): PythonValue {
    let result = value;
    while (this.#is('.')) {
      const method = this.#tokens[this.#at + 1]?.text ?? '';
      if (result.kind !== 'environment' || !['lower', 'casefold', 'strip'].includes(method))
        throw new NotLiteral(`it calls .${method}()`);
      this.#at += 2;
      this.#expect('(');
      this.#expect(')');
      if (method !== 'strip') result = { ...result, read: { words: [], ignoresCase: true } };
    }
    return result;
  }
}

function isBig(value: PythonValue): boolean {
  return value.kind === 'literal' && value.isBigInteger === true;
}

/** The value where nothing of it comes from the environment. */
export function plainOf(value: PythonValue): Json {
  switch (value.kind) {
    case 'literal':
      return value.value;
    case 'dict':
      return Object.fromEntries(value.items.map((item) => [item.name, plainOf(item.value)]));
    case 'environment':
      throw new NotLiteral(`it holds the environment variable ${value.name}`);
  }
}

function keyOf(value: PythonValue): string {
  const key = plainOf(value);
  if (typeof key === 'string' || typeof key === 'number') return String(key);
  throw new NotLiteral('a name in it is no text');
}

function negative(value: PythonValue): PythonValue {
  if (value.kind === 'literal' && value.isBigInteger === true)
    return { ...value, value: String(-BigInt(value.value as string)) };
  const number = plainOf(value);
  if (typeof number !== 'number') throw new NotLiteral('it is computed (-)');
  return { kind: 'literal', value: number === 0 ? 0 : -number };
}

function combine(left: PythonValue, right: PythonValue, operator: '+' | '-' | '*' | '**'): PythonValue {
  if (isBig(left) || isBig(right)) throw new NotLiteral('it computes with an integer beyond 2^53');
  const [a, b] = [plainOf(left), plainOf(right)];
  if (operator === '+' && typeof a === 'string' && typeof b === 'string') return { kind: 'literal', value: a + b };
  if (typeof a !== 'number' || typeof b !== 'number') throw new NotLiteral(`it is computed (${operator})`);
  const value = operator === '+' ? a + b : operator === '-' ? a - b : operator === '*' ? a * b : a ** b;
  if (!Number.isFinite(value) || (Number.isInteger(value) && !Number.isSafeInteger(value)))
    throw new NotLiteral(`it is computed (${operator})`);
  return { kind: 'literal', value: value === 0 ? 0 : value };
}

function numberOf(text: string): PythonValue {
  const digits = text.replaceAll('_', '');
  if (/[jJ]$/.test(digits)) throw new NotLiteral('it is a complex number');
  if (/^(0[xXoObB].*|\d+)$/.test(digits)) {
    const exact = BigInt(digits.replace(/^0+(?=\d)/, ''));
    const value = Number(exact);
    return Number.isSafeInteger(value)
      ? { kind: 'literal', value }
      : { kind: 'literal', value: String(exact), isBigInteger: true };
  }
  const value = Number(digits);
  if (!Number.isFinite(value)) throw new NotLiteral('it is a number that is too large');
  return { kind: 'literal', value };
}

function decodeString(text: string, prefix: string): string {
  if (prefix.includes('b')) throw new NotLiteral('it holds bytes');
  if (/[ft]/.test(prefix) && /[{}]/.test(text)) throw new NotLiteral('it is an f-string');
  const content = text.replaceAll('\r\n', '\n');
  if (prefix.includes('r')) return content;
  const letters: Readonly<Record<string, string>> = {
    n: '\n',
    t: '\t',
    r: '\r',
    a: '\x07',
    b: '\b',
    f: '\f',
    v: '\v',
    '\\': '\\',
    "'": "'",
    '"': '"',
    '\n': '',
  };
  return content.replace(
    /\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([0-7]{1,3})|([^]))/g,
    (...match: string[]) => {
      const [whole = '', x, u, U, octal, letter = ''] = match;
      const hex = x ?? u ?? U;
      if (hex !== undefined) return characterOf(Number.parseInt(hex, 16));
      if (octal !== undefined) return characterOf(Number.parseInt(octal, 8));
      if (letter === 'N') throw new NotLiteral('it holds a character by its name');
      return letters[letter] ?? whole;
    },
  );
}

function characterOf(code: number): string {
  if (code > 0x10ffff) throw new NotLiteral('it holds a character that does not exist');
  return String.fromCodePoint(code);
}
