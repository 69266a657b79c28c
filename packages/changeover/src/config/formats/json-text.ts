import type { Json } from '../../plan/words.ts';
import { isForbiddenName, setAt } from '../tree.ts';
import type { Tree } from '../tree.ts';

const MAX_DEPTH = 100;

/** A value of a JSON text with its place. */
export interface JsonNode {
  readonly start: number;
  readonly end: number;
  readonly value: Json;
  /** Members in order, of an object. A name that occurs twice is there twice. */
  readonly members?: readonly JsonMember[];
  /** An integer that no double holds: `value` has its digits. */
  readonly isBigInteger?: true;
}

export interface JsonMember {
  readonly name: string;
  readonly start: number;
  readonly node: JsonNode;
}

/** Where and why a text is no JSON. The message never quotes the text. */
export class JsonProblem extends Error {
  readonly offset: number;
  constructor(offset: number, message: string) {
    super(message);
    this.offset = offset;
  }
}

/** Strict JSON with the place of every value, which `JSON.parse` does not tell. */
export function parseJson(text: string): JsonNode | JsonProblem {
  try {
    const parser = new Parser(text);
    return parser.whole();
  } catch (error) {
    if (error instanceof JsonProblem) return error;
    throw error;
  }
}

class Parser {
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  whole(): JsonNode {
    this.#blank();
    const node = this.#value();
    this.#blank();
    if (this.#at < this.#text.length) this.#fail('there is more after the end of the value');
    return node;
  }

  #fail(message: string, offset = this.#at): never {
    throw new JsonProblem(offset, message);
  }

  #blank(): void {
    while (/[ \t\r\n]/.test(this.#text[this.#at] ?? '')) this.#at += 1;
    if (/^\/[/*]/.test(this.#text.slice(this.#at, this.#at + 2))) this.#fail('JSON has no comments');
  }

  #value(): JsonNode {
    const start = this.#at;
    switch (this.#text[start]) {
      case '{':
        return this.#nested(() => this.#object());
      case '[':
        return this.#nested(() => this.#array());
      case '"':
        return { start, value: this.#string(), end: this.#at };
      case undefined:
        return this.#fail('the text ends where a value is expected');
      default:
        return this.#scalar();
    }
  }

  #nested(read: () => JsonNode): JsonNode {
    if ((this.#depth += 1) > MAX_DEPTH) this.#fail(`it is nested deeper than ${MAX_DEPTH} levels`);
    const node = read();
    this.#depth -= 1;
    return node;
  }

  #scalar(): JsonNode {
    const start = this.#at;
    const token = /[^\s,:[\]{}"]+/y;
    token.lastIndex = start;
    const word = token.exec(this.#text)?.[0] ?? '';
    this.#at += word.length;
    const end = this.#at;
    if (word === 'true' || word === 'false') return { start, end, value: word === 'true' };
    if (word === 'null') return { start, end, value: null };
    if (!/^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(word)) return this.#fail('this is no JSON value', start);
    const value = Number(word);
    if (!Number.isFinite(value)) return this.#fail('the number is too large', start);
    if (/^-?\d+$/.test(word) && !Number.isSafeInteger(value)) return { start, end, value: word, isBigInteger: true };
    return { start, end, value };
  }

  #string(): string {
    const literal = /"(?:[^"\\\p{Cc}]|[\u007f-\u009f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/uy;
    literal.lastIndex = this.#at;
    const match = literal.exec(this.#text);
    if (match === null) return this.#fail('the string is not closed, or holds what JSON does not allow in one');
    this.#at = literal.lastIndex;
    return JSON.parse(match[0]) as string;
  }

  #array(): JsonNode {
    const start = this.#at;
    const items: JsonNode[] = [];
    this.#sequence(']', () => items.push(this.#value()));
    const isBigInteger = items.some((item) => item.isBigInteger);
    return { start, end: this.#at, value: items.map(({ value }) => value), ...(isBigInteger ? { isBigInteger } : {}) };
  }

  #object(): JsonNode {
    const start = this.#at;
    const members: JsonMember[] = [];
    this.#sequence('}', () => {
      const at = this.#at;
      if (this.#text[at] !== '"') this.#fail('a name in double quotes is expected');
      const name = this.#string();
      if (isForbiddenName(name)) this.#fail(`${name} is not usable as a name`, at);
      this.#blank();
      if (this.#text[this.#at] !== ':') this.#fail(': is expected');
      this.#at += 1;
      this.#blank();
      members.push({ name, start: at, node: this.#value() });
    });
    const value: Tree = {};
    for (const { name, node } of members) setAt(value, [name], node.value);
    return { start, end: this.#at, value, members };
  }

  #sequence(close: string, item: () => void): void {
    this.#at += 1;
    this.#blank();
    if (this.#text[this.#at] === close) {
      this.#at += 1;
      return;
    }
    for (;;) {
      item();
      this.#blank();
      const next = this.#text[this.#at];
      this.#at += 1;
      this.#blank();
      if (next === close) return;
      if (next !== ',') this.#fail(`, or ${close} is expected`, this.#at - 1);
      if (this.#text[this.#at] === close) this.#fail('JSON has no comma before the end');
    }
  }
}
