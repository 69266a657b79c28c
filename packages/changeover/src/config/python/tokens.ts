import type { Problem } from '../source.ts';

export type Token =
  | { readonly kind: 'name' | 'number' | 'operator'; readonly text: string; readonly line: number }
  | { readonly kind: 'string'; readonly text: string; readonly prefix: string; readonly line: number };

/** A logical line: it ends where Python's does, after open brackets and continued lines. */
export interface Statement {
  readonly line: number;
  readonly indent: number;
  readonly tokens: readonly Token[];
}

const NAME = /[\p{L}_][\p{L}\p{N}_]*/uy;
const NUMBER = /0[xX][\da-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?[\d_]+)?[jJ]?/y;
const STRING = /([rRbBuUfFtT]{0,2})('''|"""|'|")/y;
const OPERATOR = /\*\*=?|\/\/=?|->|:=|[=!<>]=|<<=?|>>=?|[+\-*/%&|^@]=|\.\.\.|[^]/y;
const TAB = 8;

/** Splits a Python module into its logical lines. Nothing is run and nothing is looked up. */
export function statementsOf(text: string): { readonly statements: Statement[]; readonly problems: Problem[] } {
  const statements: Statement[] = [];
  const problems: Problem[] = [];
  let tokens: Token[] = [];
  let at = 0;
  let line = 1;
  let depth = 0;
  let start = 1;
  let indent = 0;
  const end = (): void => {
    if (tokens.length > 0) statements.push({ line: start, indent, tokens });
    tokens = [];
  };
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    return pattern.exec(text);
  };
  let isLineStart = true;
  while (at < text.length) {
    const blank = match(/[ \t\f]*/y)?.[0] ?? '';
    at += blank.length;
    const character = text[at];
    if (character === '#') at += match(/[^\r\n]*/y)?.[0].length ?? 0;
    else if (character === '\r') at += 1;
    else if (character === '\n') {
      at += 1;
      line += 1;
      if (depth === 0) {
        end();
        isLineStart = true;
      }
    } else if (match(/\\\r?\n/y) !== null) {
      at = text.indexOf('\n', at) + 1;
      line += 1;
    } else if (character !== undefined) {
      if (isLineStart && tokens.length === 0) {
        start = line;
        indent = widthOf(blank);
      }
      isLineStart = false;
      const string = match(STRING);
      if (string !== null) {
        const [opening, prefix = '', quote = ''] = string;
        const body = endOfString(text, at + opening.length, quote);
        if (body === null) {
          problems.push({ level: 'error', line, message: 'a string is never closed', remedy: 'Close the string.' });
          break;
        }
        const content = text.slice(at + opening.length, body);
        tokens.push({ kind: 'string', text: content, prefix: prefix.toLowerCase(), line });
        line += content.split('\n').length - 1;
        at = body + quote.length;
        continue;
      }
      const found: readonly [Token['kind'], RegExpExecArray | null] =
        match(NUMBER) !== null
          ? ['number', match(NUMBER)]
          : match(NAME) !== null
            ? ['name', match(NAME)]
            : ['operator', match(OPERATOR)];
      const word = found[1]?.[0] ?? character;
      at += word.length;
      if ('([{'.includes(word)) depth += 1;
      if (')]}'.includes(word)) depth = Math.max(0, depth - 1);
      if (word === ';' && depth === 0) end();
      else tokens.push({ kind: found[0] === 'string' ? 'operator' : found[0], text: word, line });
    }
  }
  end();
  return { statements, problems };
}

function widthOf(blank: string): number {
  let width = 0;
  for (const character of blank)
    width = character === '\t' ? width - (width % TAB) + TAB : character === '\f' ? 0 : width + 1;
  return width;
}

/** Where the closing quote begins. A backslash protects the next character, in raw strings too. */
function endOfString(text: string, from: number, quote: string): number | null {
  for (let at = from; at < text.length; at += 1) {
    if (text[at] === '\\') at += text.startsWith('\r\n', at + 1) ? 2 : 1;
    else if (text.startsWith(quote, at)) return at;
    else if (quote.length === 1 && text[at] === '\n') return null;
  }
  return null;
}
