import type { Edited, Entry, Format, Leaf, Problem, Reading } from '../source.ts';
import { endOfLine, lineFinder, replaceRanges } from '../text.ts';
import type { Replacement } from '../text.ts';
import { formatPath, toText } from '../tree.ts';

const NAME = /^[A-Za-z_][A-Za-z0-9_.-]*$/;
const BARE = /^[A-Za-z0-9_./:@%+,=-]*$/;

interface Assignment {
  readonly name: string;
  readonly value: string | undefined;
  readonly line: number;
  /** Range of the value with its quotes. */
  readonly start: number;
  readonly end: number;
}

/**
 * Files of `NAME=value`: comments, `export `, single quotes (taken as they are), double quotes (with \n \r \t \\ \" \$ \`), values over
 * several lines, comments after values. Variables in values are not expanded.
 */
export const dotenvFormat: Format = {
  kind: 'dotenv',
  isFlat: true,
  parse(text): Reading {
    const { assignments, problems } = scan(text);
    return {
      entries: assignments.map(({ name, value, line }): Entry => ({
        key: name,
        path: [name],
        value,
        line,
        isText: true,
        ...(value === undefined ? { unread: 'unterminated quote' } : {}),
      })),
      problems,
    };
  },
  edit(text, leaves): Edited {
    const eol = endOfLine(text);
    // of a name that is set twice the last one counts
    const present = new Map(scan(text).assignments.map((assignment) => [assignment.name, assignment]));
    const problems: Problem[] = [];
    const replacements: Replacement[] = [];
    const added: string[] = [];
    for (const { path, value } of leaves) {
      const problem = whyNot(path, value);
      if (problem !== null) {
        problems.push({ level: 'error', line: null, key: formatPath(path), message: problem });
        continue;
      }
      const name = path[0] ?? '';
      const wanted = toText(value);
      const there = present.get(name);
      if (there === undefined) added.push(`${name}=${quote(wanted)}${eol}`);
      else if (there.value !== wanted) replacements.push({ start: there.start, end: there.end, by: quote(wanted) });
    }
    const separator = text !== '' && !text.endsWith('\n') && added.length > 0 ? eol : '';
    return { text: replaceRanges(text, replacements) + separator + added.join(''), problems };
  },
};

function whyNot(path: Leaf['path'], value: Leaf['value']): string | null {
  const [name, ...more] = path;
  if (name === undefined || more.length > 0) return 'an environment file holds names without nesting';
  if (!NAME.test(name)) return 'it is not usable as the name of an environment variable';
  if (value === null) return 'an environment file cannot hold null';
  return toText(value).includes('\0') ? 'an environment variable cannot hold a NUL character' : null;
}

/** The first of these forms that fits, since the first ones mean the same to every reader: bare, '…', "…", "…" with escapes. */
function quote(value: string): string {
  if (BARE.test(value)) return value;
  if (!/['\\\r\n]/.test(value)) return `'${value}'`;
  const escaped = value
    .replace(/[\\"$`]/g, '\\$&')
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r');
  return `"${escaped}"`;
}

function unescape(text: string): string {
  const letters: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t' };
  return text.replace(/\\([nrt\\"$`])/g, (_, character: string) => letters[character] ?? character);
}

function scan(text: string): { assignments: Assignment[]; problems: Problem[] } {
  const lineOf = lineFinder(text);
  const assignments: Assignment[] = [];
  const problems: Problem[] = [];
  const firstLines = new Map<string, number>();
  const head = /[ \t]*(?:export[ \t]+)?([^\s=#][^=\r\n]*?)[ \t]*=[ \t]*/y;
  for (let at = 0; at < text.length;) {
    const newline = text.indexOf('\n', at);
    const lineEnd = newline === -1 ? text.length : newline;
    const line = lineOf(at);
    const content = text.slice(at, lineEnd).trim();
    if (content === '' || content.startsWith('#')) {
      at = lineEnd + 1;
      continue;
    }
    head.lastIndex = at;
    const match = head.exec(text);
    const name = match?.[1];
    if (name === undefined || !NAME.test(name) || head.lastIndex > lineEnd + 1) {
      const message = name === undefined ? 'the line is no NAME=value' : 'what stands before = is no name';
      problems.push({ level: 'error', line, message, remedy: 'Correct the line, or make it a comment with #.' });
      at = lineEnd + 1;
      continue;
    }
    const start = Math.min(head.lastIndex, lineEnd);
    const value = readValue(text, start, lineEnd);
    assignments.push({ name, value: value.text, line, start, end: value.end });
    const first = firstLines.get(name);
    if (first !== undefined) {
      problems.push({
        level: 'warning',
        line,
        key: name,
        message: `it was set before on line ${first}; the last one counts`,
      });
    }
    firstLines.set(name, first ?? line);
    for (const message of value.warnings) problems.push({ level: 'warning', line, key: name, message });
    if (value.text === undefined) {
      problems.push({
        level: 'error',
        line,
        key: name,
        message: 'its quote is never closed',
        remedy: 'Close the quote.',
      });
    }
    at = value.next;
  }
  return { assignments, problems };
}

interface ScannedValue {
  readonly text: string | undefined;
  readonly end: number;
  readonly next: number;
  readonly warnings: readonly string[];
}

const EXPANSION = 'it holds $, which some readers expand; it is taken as it is written';

function readValue(text: string, start: number, lineEnd: number): ScannedValue {
  const quoted = /'([^']*)'|"((?:[^"\\]|\\[^])*)"|`([^`]*)`/y;
  quoted.lastIndex = start;
  const match = quoted.exec(text);
  if (match === null) {
    const raw = text.slice(start, lineEnd);
    if (/^['"`]/.test(raw))
      return { text: undefined, end: start + raw.trimEnd().length, next: lineEnd + 1, warnings: [] };
    const value = raw.replace(/(^|[ \t])#.*$/s, '').trim();
    return {
      text: value,
      end: start + value.length,
      next: lineEnd + 1,
      warnings: /\$[{(\w]/.test(value) ? [EXPANSION] : [],
    };
  }
  const end = quoted.lastIndex;
  const newline = text.indexOf('\n', end);
  const restEnd = newline === -1 ? text.length : newline;
  const rest = text.slice(end, restEnd).trim();
  const warnings: string[] = [];
  if (rest !== '' && !rest.startsWith('#')) warnings.push('what follows the closing quote is ignored');
  const [, single, double, backtick] = match;
  if (double !== undefined && /(^|[^\\])\$[{(\w]/.test(double)) warnings.push(EXPANSION);
  const raw = (single ?? double ?? backtick ?? '').replaceAll('\r\n', '\n');
  if (/\n[ \t]*(export[ \t]+)?[A-Za-z_]\w*=/.test(raw))
    warnings.push('it goes on over lines that look like settings of their own: is its quote closed?');
  const value = double === undefined ? raw : unescape(raw);
  return { text: value, end, next: restEnd + 1, warnings };
}
