import type { Json } from '../../plan/words.ts';
import type { Edited, Entry, Format, Leaf, Problem, Reading } from '../source.ts';
import { endOfLine, lineFinder, replaceRanges } from '../text.ts';
import type { Replacement } from '../text.ts';
import { formatPath, isEqual, isTree, treeOf } from '../tree.ts';
import { JsonProblem, parseJson } from './json-text.ts';
import type { JsonNode } from './json-text.ts';

/** Strict JSON whose top is an object. Editing changes the values and nothing else of the text. */
export const jsonFormat: Format = {
  kind: 'json',
  isFlat: false,
  parse(text): Reading {
    const lineOf = lineFinder(text);
    const root = parseJson(text);
    if (root instanceof JsonProblem) {
      const remedy = 'Correct the line; JSON has no comments, single quotes or trailing commas.';
      return { entries: [], problems: [{ level: 'error', line: lineOf(root.offset), message: root.message, remedy }] };
    }
    if (root.members === undefined) {
      return { entries: [], problems: [{ level: 'error', line: 1, message: 'its top is no object' }] };
    }
    const entries: Entry[] = [];
    const problems: Problem[] = [];
    collect(root, [], lineOf, entries, problems);
    return { entries, problems };
  },
  edit(text, leaves): Edited {
    const root = parseJson(text);
    const eol = endOfLine(text);
    if (root instanceof JsonProblem || root.members === undefined) {
      const written = `${JSON.stringify(treeOf(leaves), null, 2)}\n`;
      return { text: written.replaceAll('\n', eol), problems: [] };
    }
    const editor = new Editor(text, eol);
    return { text: editor.edit(root, leaves), problems: [] };
  },
};

function collect(
  node: JsonNode,
  path: readonly string[],
  lineOf: (offset: number) => number,
  entries: Entry[],
  problems: Problem[],
): void {
  const first = new Map<string, number>();
  for (const member of node.members ?? []) {
    const at = [...path, member.name];
    const key = formatPath(at);
    const line = lineOf(member.start);
    const before = first.get(member.name);
    if (before !== undefined)
      problems.push({
        level: 'warning',
        line,
        key,
        message: `it was set before on line ${before}; the last one counts`,
      });
    first.set(member.name, before ?? line);
    if (member.node.members !== undefined && member.node.members.length > 0)
      collect(member.node, at, lineOf, entries, problems);
    else {
      const { value, isBigInteger } = member.node;
      entries.push({ key, path: at, value, line, isText: false, ...(isBigInteger === true ? { isBigInteger } : {}) });
    }
  }
}

class Editor {
  readonly #text: string;
  readonly #eol: string;
  readonly #step: string;
  readonly #replacements: Replacement[] = [];

  constructor(text: string, eol: string) {
    this.#text = text;
    this.#eol = eol;
    this.#step = /^([ \t]+)\S/m.exec(text)?.[1] ?? '  ';
  }

  edit(root: JsonNode, leaves: readonly Leaf[]): string {
    this.#object(root, leaves, 0);
    return replaceRanges(this.#text, this.#replacements);
  }

  #object(node: JsonNode, leaves: readonly Leaf[], depth: number): void {
    const members = new Map(node.members?.map((member) => [member.name, member]));
    const added: Leaf[] = [];
    for (const [name, inner] of byFirstStep(leaves)) {
      const there = members.get(name)?.node;
      const whole = inner.find(({ path }) => path.length === 0);
      if (there === undefined) added.push(...inner.map(({ path, value }) => ({ path: [name, ...path], value })));
      else if (whole === undefined && there.members !== undefined && there.members.length > 0)
        this.#object(there, inner, depth + 1);
      else {
        const value = whole?.value ?? treeOf(inner);
        if (!isEqual(there.value, value)) this.#replace(there.start, there.end, this.#write(value, depth + 1));
      }
    }
    if (added.length > 0) this.#add(node, treeOf(added), depth);
  }

  /** After the last member, in the manner of the object: on lines of their own, or all on one. */
  #add(node: JsonNode, added: Readonly<Record<string, Json>>, depth: number): void {
    const last = node.members?.at(-1);
    const isOnLines = last === undefined || this.#text.slice(node.start, node.end).includes('\n');
    const indent = last === undefined ? this.#step.repeat(depth + 1) : this.#indentOf(last.start);
    const between = isOnLines ? `${this.#eol}${indent}` : ' ';
    const written = Object.entries(added).map(
      ([name, value]) => `${JSON.stringify(name)}: ${this.#write(value, depth + 1, indent)}`,
    );
    if (last !== undefined) {
      const at = last.node.end;
      this.#replace(at, at, written.map((member) => `,${between}${member}`).join(''));
    } else {
      const members = written.map((member) => `${between}${member}`).join(',');
      this.#replace(node.start, node.end, `{${members}${this.#eol}${this.#step.repeat(depth)}}`);
    }
  }

  #indentOf(offset: number): string {
    const line = this.#text.slice(this.#text.lastIndexOf('\n', offset) + 1, offset);
    return /^[ \t]*$/.test(line) ? line : this.#step;
  }

  #write(value: Json, depth: number, indent = this.#step.repeat(depth)): string {
    const isFlatList = Array.isArray(value) && !value.some((item: Json) => Array.isArray(item) || isTree(item));
    const text = isFlatList
      ? `[${value.map((item: Json) => JSON.stringify(item)).join(', ')}]`
      : JSON.stringify(value, null, this.#step);
    return text.replaceAll('\n', `${this.#eol}${indent}`);
  }

  #replace(start: number, end: number, by: string): void {
    this.#replacements.push({ start, end, by });
  }
}

/** Leaves by the first step of their path, each without it. */
function byFirstStep(leaves: readonly Leaf[]): Map<string, Leaf[]> {
  const groups = new Map<string, Leaf[]>();
  for (const { path, value } of leaves) {
    const [first = '', ...rest] = path;
    groups.set(first, [...(groups.get(first) ?? []), { path: rest, value }]);
  }
  return groups;
}
