import type { ColumnType } from './description.ts';
import { isSign, isWord, tokensOf, type Token } from './tokens.ts';

type Engine = 'sqlite' | 'other';

/** A column as an expression may name it: what it is called on the other side, and what it holds there. */
export interface KnownColumn {
  readonly name: string;
  readonly type: ColumnType;
}

/** Words that mean the same everywhere. */
const WORDS = ['AND', 'OR', 'NOT', 'IN', 'IS', 'NULL', 'BETWEEN'];
const SIGNS: Readonly<Record<string, string>> = { '==': '=', '!=': '<>' };
const SAME_SIGNS = ['(', ')', ',', '=', '<>', '<', '<=', '>', '>=', '+', '-', '*'];
/** Types to which Postgres casts a literal or a column when it shows an expression, without changing what is compared. */
const CAST = /^(text|character|varying|varchar|bpchar|integer|bigint|smallint|numeric|double|precision|real)$/i;
const COMPARABLE = ['integer', 'real', 'decimal', 'number', 'text', 'enum'];

/**
 * An expression in words that SQLite, Postgres and others read alike; null where it uses anything whose meaning differs (functions, LIKE, division,
 * concatenation). Columns must hold numbers or text.
 *
 * @example
 * portable("status = ANY (ARRAY['a'::text, 'b'::text])", 'other', columns, quoted); // "status" IN ('a', 'b')
 */
export function portable(
  expression: string,
  engine: Engine,
  columns: ReadonlyMap<string, KnownColumn>,
  quoted: (name: string) => string,
): string | null {
  const words: string[] = [];
  const tokens = membership(withoutCasts(tokensOf(expression, engine)));
  for (const token of tokens) {
    const word = portableToken(token, columns, quoted);
    if (word === null) return null;
    words.push(word);
  }
  return words.length === 0 ? null : words.join(' ').replaceAll('( ', '(').replaceAll(' )', ')').replaceAll(' ,', ',');
}

function portableToken(
  token: Token,
  columns: ReadonlyMap<string, KnownColumn>,
  quoted: (name: string) => string,
): string | null {
  switch (token.kind) {
    case 'number':
      return /^0x/i.test(token.value) ? null : token.value;
    case 'text':
      return `'${token.value.replaceAll("'", "''")}'`;
    case 'sign':
      return SIGNS[token.value] ?? (SAME_SIGNS.includes(token.value) ? token.value : null);
    case 'word':
    case 'name': {
      if (isWord(token, ...WORDS)) return token.value.toUpperCase();
      const column = columns.get(token.value.toLowerCase());
      return column !== undefined && COMPARABLE.includes(column.type.kind) ? quoted(column.name) : null;
    }
    case 'bytes':
      return null;
  }
}

/** `'a'::character varying(3)[]` is `'a'`. */
function withoutCasts(tokens: readonly Token[]): Token[] {
  const kept: Token[] = [];
  for (let index = 0; index < tokens.length; index++) {
    const token = tokens[index];
    if (token === undefined) break;
    if (!isSign(token, '::')) {
      kept.push(token);
      continue;
    }
    let next = index + 1;
    while (tokens[next]?.kind === 'word' && CAST.test(tokens[next]?.value ?? '')) next += 1;
    if (next === index + 1) {
      kept.push(token);
      continue;
    }
    if (isSign(tokens[next], '(') && tokens[next + 1]?.kind === 'number') next += 3;
    if (isSign(tokens[next], '[') && isSign(tokens[next + 1], ']')) next += 2;
    index = next - 1;
  }
  return kept;
}

/** `= ANY (ARRAY[…])` and `= ANY ((ARRAY[…]))` are `IN (…)`. */
function membership(tokens: readonly Token[]): Token[] {
  const made: Token[] = [];
  for (let index = 0; index < tokens.length; index++) {
    const token = tokens[index];
    if (token === undefined) break;
    if (!(isSign(token, '=') && isWord(tokens[index + 1], 'ANY') && isSign(tokens[index + 2], '('))) {
      made.push(token);
      continue;
    }
    let open = index + 3;
    while (isSign(tokens[open], '(')) open += 1;
    const end = tokens.findIndex((one, position) => position > open && isSign(one, ']'));
    if (!isWord(tokens[open], 'ARRAY') || end === -1) return [...made, ...tokens.slice(index)];
    const at = { start: token.start, end: token.end };
    made.push(
      { kind: 'word', value: 'IN', ...at },
      { kind: 'sign', value: '(', ...at },
      ...tokens.slice(open + 2, end),
      { kind: 'sign', value: ')', ...at },
    );
    index = end + (open - (index + 2));
  }
  return made;
}

/**
 * A constant. `text`: a number as it is written, which may have more digits than a double keeps. `now`: the time of the insert, in its words.
 */
export type Literal =
  | { readonly value: null | boolean | number | bigint | string | Uint8Array; readonly text: string | null }
  | { readonly now: string };

/** `localtimestamp`: as the clock of the session shows it. */
const NOW =
  /^((?:current_|local)timestamp(?:\(\d\))?|current_date|current_time|now\(\)|datetime\('now'\)|date\('now'\)|time\('now'\))$/i;

/** `undefined` where the expression is more than a constant. */
export function literalOf(expression: string, engine: Engine): Literal | undefined {
  const bare = unwrapped(withoutCasts(tokensOf(expression, engine)));
  const text = bare.map((token) => (token.kind === 'text' ? `'${token.value}'` : token.value)).join('');
  if (NOW.test(text)) return { now: text.toLowerCase() };
  const [first, second] = bare;
  // Postgres shows what a literal is cast to; a type of its own (an enum, JSON) does not change the text.
  const isCast = isSign(second, '::') && first?.kind === 'text';
  if (first === undefined || (bare.length > 2 && !isCast)) return undefined;
  if (bare.length === 2 && !isCast) return isSign(first, '-') || isSign(first, '+') ? signed(first, second) : undefined;
  if (first.kind === 'text') return { value: first.value, text: null };
  if (first.kind === 'number') return { value: numberOf(first.value), text: first.value };
  if (first.kind === 'bytes')
    return { value: new Uint8Array(Buffer.from(first.value.slice(2, -1), 'hex')), text: null };
  if (isWord(first, 'NULL')) return { value: null, text: null };
  return isWord(first, 'TRUE', 'FALSE') ? { value: isWord(first, 'TRUE'), text: null } : undefined;
}

/** Postgres writes a negative number with a cast as text. */
function signed(sign: Token, number: Token | undefined): Literal | undefined {
  if (number?.kind !== 'number') return undefined;
  const value = numberOf(number.value);
  return isSign(sign, '-') ? { value: -value, text: `-${number.value}` } : { value, text: number.value };
}

function unwrapped(tokens: readonly Token[]): readonly Token[] {
  let inner = tokens;
  while (isSign(inner[0], '(') && isSign(inner.at(-1), ')')) inner = inner.slice(1, -1);
  return inner;
}

function numberOf(text: string): number | bigint {
  return /^\d+$/.test(text) || /^0x/i.test(text) ? BigInt(text) : Number(text);
}
