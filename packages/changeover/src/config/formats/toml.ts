import { parse, TomlDate, TomlError } from 'smol-toml';
import type { Json } from '../../plan/words.ts';
import type { Edited, Entry, Format, Leaf, Problem, Reading } from '../source.ts';
import { endOfLine, lineFinder, replaceRanges } from '../text.ts';
import type { Replacement } from '../text.ts';
import { formatPath, getAt, isEqual, isForbiddenName, isTree, isWithinPath, leavesOf, setAt } from '../tree.ts';
import type { Tree } from '../tree.ts';
import { notHeld } from './held.ts';
import { scanToml } from './toml-lines.ts';
import type { TomlAssignment, TomlHeader, TomlStatement } from './toml-lines.ts';

const MAX_DEPTH = 100;

/** TOML 1.0. Editing replaces values and adds lines to the tables where they belong; comments and order stay. */
export const tomlFormat: Format = {
  kind: 'toml',
  isFlat: false,
  parse(text): Reading {
    const read = readTree(text);
    if (read.tree === null) return { entries: [], problems: [read.problem] };
    const statements = scanToml(text);
    const lineOf = lineFinder(text);
    const entries = leavesOf(read.tree).map(({ path, value }): Entry => {
      const isBigInteger = read.bigIntegers.has(formatPath(path));
      return {
        key: formatPath(path),
        path,
        value,
        line: lineOfPath(statements, path, lineOf),
        isText: false,
        ...(isBigInteger ? { isBigInteger } : {}),
      };
    });
    return { entries, problems: [] };
  },
  edit(text, leaves): Edited {
    const holdable: Leaf[] = [];
    const problems: Problem[] = [];
    for (const leaf of leaves) {
      if (hasNull(leaf.value))
        problems.push({ level: 'error', line: null, key: formatPath(leaf.path), message: 'TOML cannot hold null' });
      else holdable.push(leaf);
    }
    const read = readTree(text);
    if (read.tree === null) return { text, problems: [...problems, read.problem] };
    const now = read.tree;
    let result = text;
    // one by one: each may add the table that the next one needs
    for (const leaf of holdable) if (!isEqual(getAt(now, leaf.path), leaf.value)) result = editOne(result, leaf);
    const failed = notHeld(now, holdable, readTree(result).tree);
    return { text: failed.length > 0 ? text : result, problems: [...problems, ...failed] };
  },
};

type ReadTree =
  | { readonly tree: Tree; readonly bigIntegers: ReadonlySet<string> }
  | { readonly tree: null; readonly problem: Problem };

function readTree(text: string): ReadTree {
  const bigIntegers = new Set<string>();
  try {
    const tree = plain(parse(text, { integersAsBigInt: 'asNeeded', maxDepth: MAX_DEPTH }), [], bigIntegers);
    return { tree: isTree(tree) ? tree : {}, bigIntegers };
  } catch (error) {
    // the rest of the message quotes the text
    const message =
      error instanceof TomlError
        ? (error.message.split('\n')[0] ?? '').replace('Invalid TOML document', 'it is no TOML')
        : 'it is no TOML';
    return {
      tree: null,
      problem: {
        level: 'error',
        line: error instanceof TomlError ? error.line : null,
        message,
        remedy: 'Correct the line.',
      },
    };
  }
}

function plain(value: unknown, path: readonly string[], bigIntegers: Set<string>): Json {
  if (typeof value === 'bigint') {
    bigIntegers.add(formatPath(path));
    return String(value);
  }
  if (value instanceof TomlDate) return value.toISOString();
  if (Array.isArray(value)) return value.map((item) => plain(item, path, bigIntegers));
  if (typeof value === 'object' && value !== null) {
    const tree: Tree = {};
    for (const [name, inner] of Object.entries(value)) {
      if (!isForbiddenName(name)) setAt(tree, [name], plain(inner, [...path, name], bigIntegers));
    }
    return tree;
  }
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  return typeof value === 'string' || typeof value === 'boolean' ? value : null;
}

function hasNull(value: Json): boolean {
  if (value === null) return true;
  return typeof value === 'object' && Object.values(value).some((item: Json) => hasNull(item));
}

/** Of the statement itself, or of the one that holds it. */
function lineOfPath(
  statements: readonly TomlStatement[],
  path: readonly string[],
  lineOf: (offset: number) => number,
): number | null {
  const holding = statements.filter((statement) => isWithinPath(path, statement.path));
  const longest = Math.max(0, ...holding.map((statement) => statement.path.length));
  const statement = holding.findLast((candidate) => candidate.path.length === longest && longest > 0);
  return statement === undefined ? null : lineOf(statement.start);
}

function editOne(text: string, { path, value }: Leaf): string {
  const eol = endOfLine(text);
  const statements = scanToml(text);
  const values = statements.filter((statement) => statement.kind === 'value');
  const outer = values.find((statement) => isWithinPath(path, statement.path));
  if (outer !== undefined) return replaceRanges(text, [replaceValue(text, outer, path, value)]);
  const inner = values.filter((statement) => isWithinPath(statement.path, path));
  if (inner.length > 0) return text; // a table stands where a value should: left for a person

  const headers = statements.filter(
    (statement) => statement.kind === 'table' && isWithinPath(path.slice(0, -1), statement.path),
  ) as TomlHeader[];
  const table = headers.toSorted((a, b) => b.path.length - a.path.length)[0];
  const tablePath = table?.path ?? [];
  const index = table === undefined ? -1 : statements.indexOf(table);
  const siblings = values.filter(({ header }) => header === index);
  const rest = path.slice(tablePath.length);
  const dotted = siblings.findLast(
    (statement) => statement.path.length > tablePath.length + 1 && statement.path[tablePath.length] === rest[0],
  );
  if (rest.length > 1 && dotted === undefined) {
    const separator = text === '' ? '' : text.endsWith('\n') ? eol : `${eol}${eol}`;
    return `${text}${separator}[${path.slice(0, -1).map(writeStep).join('.')}]${eol}${writeStep(path.at(-1) ?? '')} = ${write(value)}${eol}`;
  }
  const line = `${rest.map(writeStep).join('.')} = ${write(value)}`;
  const after = dotted ?? siblings.at(-1) ?? table;
  if (after === undefined) {
    const first = statements[0];
    const at = first === undefined ? text.length : commentsBefore(text, first.start);
    const open = at > 0 && text[at - 1] !== '\n' ? eol : '';
    return replaceRanges(text, [{ start: at, end: at, by: `${open}${line}${eol}${first === undefined ? '' : eol}` }]);
  }
  const open = text[after.end - 1] === '\n' ? '' : eol;
  const indent = /^[ \t]*/.exec(text.slice(after.kind === 'value' ? after.start : text.length))?.[0] ?? '';
  return replaceRanges(text, [{ start: after.end, end: after.end, by: `${open}${indent}${line}${eol}` }]);
}

/** The comments right above a header belong to it. */
function commentsBefore(text: string, start: number): number {
  let at = start;
  for (;;) {
    const before = text.lastIndexOf('\n', at - 2) + 1;
    if (at === 0 || !/^[ \t]*#/.test(text.slice(before, at))) return at;
    at = before;
  }
}

function replaceValue(text: string, statement: TomlAssignment, path: readonly string[], value: Json): Replacement {
  const { valueStart: start, valueEnd: end } = statement;
  const rest = path.slice(statement.path.length);
  const old = text.slice(start, end);
  // a reader that wants a float refuses an integer
  if (rest.length === 0) return { start, end, by: write(value, /^[+-]?[0-9_]+(\.|[eE])/.test(old)) };
  const read = readTree(`x = ${old}`);
  const inline = read.tree === null ? undefined : read.tree['x'];
  const tree = isTree(inline) ? inline : {};
  setAt(tree, rest, value);
  return { start, end, by: write(tree) };
}

function write(value: Json, isFloat = false): string {
  if (typeof value === 'string') return writeString(value);
  if (typeof value === 'number') return isFloat && Number.isInteger(value) ? value.toFixed(1) : writeNumber(value);
  if (Array.isArray(value)) return `[${value.map((item: Json) => write(item)).join(', ')}]`;
  if (typeof value === 'boolean') return String(value);
  if (!isTree(value)) return '{}';
  const members = Object.entries(value).map(([name, inner]) => `${writeStep(name)} = ${write(inner)}`);
  return members.length === 0 ? '{}' : `{ ${members.join(', ')} }`;
}

function writeNumber(value: number): string {
  if (Object.is(value, -0)) return '-0.0';
  // beyond what an integer may be it is a float, and a float needs a dot or an exponent
  return Number.isInteger(value) && !Number.isSafeInteger(value)
    ? value.toExponential().replace('e+', 'e')
    : String(value);
}

function writeString(value: string): string {
  const letters: Readonly<Record<string, string>> = {
    '\b': '\\b',
    '\t': '\\t',
    '\n': '\\n',
    '\f': '\\f',
    '\r': '\\r',
    '"': '\\"',
    '\\': '\\\\',
  };
  const escaped = value.replace(
    /[\p{Cc}"\\]/gu,
    (c) => letters[c] ?? `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return `"${escaped}"`;
}

function writeStep(step: string): string {
  return /^[A-Za-z0-9_-]+$/.test(step) ? step : writeString(step);
}
