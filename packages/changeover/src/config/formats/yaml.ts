import { isAlias, isCollection, isMap, isScalar, LineCounter, parseAllDocuments, visit } from 'yaml';
import type { Document, Node, ParsedNode } from 'yaml';
import type { Json } from '../../plan/words.ts';
import type { Edited, Entry, Format, Leaf, Problem, Reading } from '../source.ts';
import { endOfLine } from '../text.ts';
import { formatPath, getAt, isEqual, isForbiddenName, isTree } from '../tree.ts';
import type { Tree } from '../tree.ts';
import { notHeld } from './held.ts';

export interface YamlOptions {
  /** How plain words are read: in 1.1 (PyYAML, Ruby) `yes` is true and `010` is eight; in 1.2 both are what they look like. Default 1.2. */
  readonly version?: '1.1' | '1.2';
}

const MAX_ALIASES = 100;

/** YAML with one document whose top is a mapping. Editing keeps comments; blanks and quotes may be put in order. */
export function yamlFormat({ version = '1.2' }: YamlOptions = {}): Format {
  const open = (text: string, lines: LineCounter, isEdited = false): Document.Parsed[] => {
    const parsed = parseAllDocuments(text, {
      version,
      compat: isEdited && version === '1.2' ? 'yaml-1.1' : null, // what is written means the same to both
      merge: true,
      lineCounter: lines,
      prettyErrors: false,
      uniqueKeys: false,
      intAsBigInt: true,
      logLevel: 'silent',
    });
    return Array.isArray(parsed) ? parsed : [];
  };
  return {
    kind: 'yaml',
    isFlat: false,
    parse(text): Reading {
      try {
        return read(text, open, version);
      } catch {
        // the message may quote the text, and what it says is that the text defeats the parser: too deep, too many aliases
        return {
          entries: [],
          problems: [
            { level: 'error', line: null, message: 'it is nested too deep, or its aliases expand to too much' },
          ],
        };
      }
    },
    edit(text, leaves): Edited {
      const [document] = open(text === '' ? '{}' : text, new LineCounter(), true);
      if (document === undefined || !isMap(document.contents)) {
        return { text, problems: [{ level: 'error', line: null, message: 'its top is no mapping' }] };
      }
      if (document.contents.items.length === 0) document.contents.flow = false;
      const now = treeIn(document);
      const changed = leaves.filter(({ path, value }) => !isEqual(getAt(now, path), value));
      if (changed.length === 0) return { text, problems: [] };
      for (const leaf of changed) put(document, leaf);
      const written = write(document, endOfLine(text));
      const problems = notHeld(now, leaves, written === null ? null : treeIn(open(written, new LineCounter())[0]));
      return problems.length > 0 || written === null ? { text, problems } : { text: written, problems };
    },
  };
}

function treeIn(document: Document.Parsed | undefined): Tree {
  const tree = document === undefined ? {} : plain(document.toJS({ maxAliasCount: MAX_ALIASES }) as unknown).value;
  return isTree(tree) ? tree : {};
}

/** Null when an alias has lost what it stands for. */
function write(document: Document.Parsed, eol: string): string | null {
  try {
    return document.toString({ lineWidth: 0 }).replaceAll('\n', eol);
  } catch {
    return null;
  }
}

function put(document: Document.Parsed, { path, value }: Leaf): void {
  const there = document.getIn(path, true);
  const made = document.createNode(value) as Node;
  // the other forms lose blanks at the ends of lines
  if (isScalar(made) && typeof value === 'string' && /^\s|\s$|[\r\n]/.test(value)) made.type = 'QUOTE_DOUBLE';
  if (isScalar(there) && isScalar(made)) {
    // the comments and the anchor are the old node's
    there.value = made.value;
    delete there.source;
    delete there.format;
    const isQuoted = there.type === 'QUOTE_SINGLE' || there.type === 'QUOTE_DOUBLE';
    if (made.type !== undefined) there.type = made.type;
    else if (typeof value !== 'string' || !isQuoted) delete there.type;
    return;
  }
  if (isScalar(there) || isCollection(there)) {
    made.comment = there.comment ?? null;
    made.commentBefore = there.commentBefore ?? null;
  }
  for (let depth = 1; depth < path.length; depth += 1) {
    const step = path.slice(0, depth);
    if (!isMap(document.getIn(step, true))) document.setIn(step, document.createNode({}));
  }
  document.setIn(path, made);
}

function read(
  text: string,
  open: (text: string, lines: LineCounter) => Document.Parsed[],
  version: '1.1' | '1.2',
): Reading {
  const lines = new LineCounter();
  const documents = open(text, lines);
  const lineOf = (offset: number): number => lines.linePos(offset).line;
  const problems: Problem[] = documents.flatMap(({ errors, warnings }) => [
    ...errors.map(({ code, pos }): Problem => ({
      level: 'error',
      line: lineOf(pos[0]),
      message: `it is no YAML: ${words(code)}`,
      remedy: 'Correct the line.',
    })),
    ...warnings.map(({ code, pos }): Problem => ({ level: 'warning', line: lineOf(pos[0]), message: words(code) })),
  ]);
  const [document, second] = documents;
  if (second !== undefined) {
    problems.push({
      level: 'error',
      line: lineOf(second.range[0]),
      message: 'it holds more than one document',
      remedy: 'Keep the one that counts.',
    });
  }
  if (document === undefined || document.contents === null || problems.some(({ level }) => level === 'error'))
    return { entries: [], problems };
  if (!isMap(document.contents))
    return { entries: [], problems: [...problems, { level: 'error', line: 1, message: 'its top is no mapping' }] };
  problems.push(...oddities(document, lineOf, version));
  const entries: Entry[] = [];
  collect(document, document.toJS({ maxAliasCount: MAX_ALIASES }) as unknown, [], lineOf, 1, entries);
  return { entries, problems };
}

function collect(
  document: Document.Parsed,
  value: unknown,
  path: readonly string[],
  lineOf: (offset: number) => number,
  lineAbove: number,
  entries: Entry[],
): void {
  if (typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)) {
    const members = Object.entries(value);
    if (members.length > 0 || path.length === 0) {
      for (const [name, inner] of members) {
        const at = [...path, name];
        collect(document, inner, at, lineOf, lineOfKey(document, at, lineOf) ?? lineAbove, entries);
      }
      return;
    }
  }
  const { value: json, isBigInteger } = plain(value);
  entries.push({
    key: formatPath(path),
    path,
    value: json,
    line: lineAbove,
    isText: false,
    ...(isBigInteger ? { isBigInteger } : {}),
  });
}

/** Null where the value comes through an alias or a merge. */
function lineOfKey(
  document: Document.Parsed,
  path: readonly string[],
  lineOf: (offset: number) => number,
): number | null {
  const parent = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true);
  if (!isMap<ParsedNode>(parent)) return null;
  const pair = parent.items.findLast(({ key }) => isScalar(key) && String(key.value) === path.at(-1));
  return pair?.key.range === undefined ? null : lineOf(pair.key.range[0]);
}

function plain(value: unknown): { readonly value: Json; readonly isBigInteger: boolean } {
  if (typeof value === 'bigint') {
    const isBigInteger = !Number.isSafeInteger(Number(value));
    return { value: isBigInteger ? String(value) : Number(value), isBigInteger };
  }
  if (value instanceof Date) return { value: value.toISOString(), isBigInteger: false };
  if (Array.isArray(value)) {
    const items = value.map(plain);
    return { value: items.map((item) => item.value), isBigInteger: items.some((item) => item.isBigInteger) };
  }
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).filter(([name]) => !isForbiddenName(name));
    return {
      value: Object.fromEntries(entries.map(([name, inner]) => [name, plain(inner).value])),
      isBigInteger: false,
    };
  }
  if (typeof value === 'number' && !Number.isFinite(value)) return { value: String(value), isBigInteger: false };
  return {
    value: typeof value === 'number' || typeof value === 'string' || typeof value === 'boolean' ? value : null,
    isBigInteger: false,
  };
}

/** What loaders understand differently. */
function oddities(document: Document.Parsed, lineOf: (offset: number) => number, version: '1.1' | '1.2'): Problem[] {
  const problems: Problem[] = [];
  visit(document, {
    Map(_, map) {
      const first = new Map<string, number>();
      for (const { key } of map.items) {
        if (!isScalar(key) || isAlias(key)) continue;
        const name = String(key.value);
        const line = lineOf(key.range?.[0] ?? 0);
        const before = first.get(name);
        if (before !== undefined && name !== '<<')
          problems.push({
            level: 'warning',
            line,
            key: name,
            message: `it was set before on line ${before}; the last one counts`,
          });
        if (isForbiddenName(name)) problems.push({ level: 'error', line, message: `${name} is not usable as a name` });
        first.set(name, before ?? line);
      }
    },
    Scalar(key, { type, source, range }) {
      if (key === 'key' || version === '1.1' || type !== 'PLAIN' || source === undefined) return;
      if (!/^(y|yes|n|no|on|off|0[0-7]+|[0-9]+(:[0-5]?[0-9])+)$/i.test(source)) return;
      const message =
        'readers of YAML 1.1 (PyYAML) take this word for a boolean or another number; it is read as YAML 1.2';
      problems.push({
        level: 'warning',
        line: lineOf(range?.[0] ?? 0),
        message,
        remedy: "If the legacy reads YAML 1.1, say yamlFile(file, { version: '1.1' }).",
      });
    },
  });
  return problems;
}

function words(code: string): string {
  return code.toLowerCase().replaceAll('_', ' ');
}
