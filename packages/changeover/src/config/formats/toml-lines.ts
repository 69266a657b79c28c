/** Where the statements of a TOML text are. The text must be known to be valid. */
export interface TomlHeader {
  readonly kind: 'table' | 'array';
  readonly path: readonly string[];
  readonly start: number;
  /** After the line. */
  readonly end: number;
}

export interface TomlAssignment {
  readonly kind: 'value';
  /** With the path of its table. */
  readonly path: readonly string[];
  /** Index of its header in the statements; -1 before the first. */
  readonly header: number;
  readonly start: number;
  readonly valueStart: number;
  readonly valueEnd: number;
  readonly end: number;
}

export type TomlStatement = TomlHeader | TomlAssignment;

const KEY_STEP = /[ \t]*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))[ \t]*/y;

export function scanToml(text: string): TomlStatement[] {
  const statements: TomlStatement[] = [];
  let header = -1;
  let table: readonly string[] = [];
  for (let at = skipBlank(text, 0); at < text.length; at = skipBlank(text, at)) {
    const start = text.lastIndexOf('\n', at - 1) + 1;
    const brackets = /\[{0,2}/y;
    brackets.lastIndex = at;
    const depth = brackets.exec(text)?.[0].length ?? 0;
    const key = readKey(text, at + depth);
    if (depth > 0) {
      at = lineEnd(text, key.end);
      header = statements.length;
      table = key.path;
      statements.push({ kind: depth === 2 ? 'array' : 'table', path: table, start, end: at });
      continue;
    }
    const equals = text.indexOf('=', key.end);
    const valueStart = equals + 1 + (/^[ \t]*/.exec(text.slice(equals + 1, equals + 100))?.[0].length ?? 0);
    const valueEnd = endOfValue(text, valueStart);
    at = lineEnd(text, valueEnd);
    statements.push({ kind: 'value', path: [...table, ...key.path], header, start, valueStart, valueEnd, end: at });
  }
  return statements;
}

function skipBlank(text: string, from: number): number {
  const blank = /(?:[ \t\r\n]|#[^\n]*)*/y;
  blank.lastIndex = from;
  blank.exec(text);
  return blank.lastIndex;
}

function lineEnd(text: string, from: number): number {
  const newline = text.indexOf('\n', from);
  return newline === -1 ? text.length : newline + 1;
}

function readKey(text: string, from: number): { path: string[]; end: number } {
  const path: string[] = [];
  KEY_STEP.lastIndex = from;
  for (;;) {
    const at = KEY_STEP.lastIndex;
    const match = KEY_STEP.exec(text);
    if (match === null) return { path, end: at };
    const [, basic, literal, bare] = match;
    path.push(basic === undefined ? (literal ?? bare ?? '') : unescapeBasic(basic));
    const end = KEY_STEP.lastIndex;
    if (text[end] !== '.') return { path, end };
    KEY_STEP.lastIndex = end + 1;
  }
}

function unescapeBasic(text: string): string {
  const letters: Readonly<Record<string, string>> = { b: '\b', t: '\t', n: '\n', f: '\f', r: '\r', e: '\u001b' };
  return text.replace(/\\(?:(?:u(.{4})|U(.{8})|x(.{2}))|(.))/gs, (...match: string[]) => {
    const [, u, U, x, letter = ''] = match;
    const code = u ?? U ?? x;
    return code === undefined ? (letters[letter] ?? letter) : String.fromCodePoint(Number.parseInt(code, 16));
  });
}

/** After the value: strings of four kinds, brackets of any depth with comments in them, or a word. */
function endOfValue(text: string, from: number): number {
  const token =
    /"""(?:[^\\]|\\[^])*?"""(?:"{0,2})|'''[^]*?'''(?:'{0,2})|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|#[^\n]*|[[\]{}]|[^\s"'#[\]{},]+|,|\s+/y;
  token.lastIndex = from;
  let depth = 0;
  for (;;) {
    const match = token.exec(text)?.[0];
    if (match === undefined) return text.length;
    if (match === '[' || match === '{') depth += 1;
    if (match === ']' || match === '}') depth -= 1;
    if (depth > 0) continue;
    // a date and its time may be parted by one blank
    const time = / \d\d:\d\d[^\s#]*/y;
    time.lastIndex = token.lastIndex;
    if (/^\d{4}-\d\d-\d\d$/.test(match) && time.test(text)) return time.lastIndex;
    return token.lastIndex;
  }
}
