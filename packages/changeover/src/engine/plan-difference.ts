import type { Json } from '../plan/words.ts';

const MAX_LINES = 20;
const MAX_VALUE_LENGTH = 80;

/**
 * What changed between two frozen plans, one line a place: `data[0].tables.events.from: "logs" → "events"`.
 * After 20 lines only the number of the rest is told.
 */
export function planDifference(before: Json, after: Json): string {
  const lines = [...changes('', before, after)];
  const rest = lines.length - MAX_LINES;
  const shown = lines.slice(0, MAX_LINES).map((line) => `  ${line}`);
  if (rest > 0) shown.push(`  … and ${rest} more`);
  return shown.length === 0 ? '  (only the order of its parts)' : shown.join('\n');
}

function* changes(path: string, before: Json | undefined, after: Json | undefined): Generator<string> {
  if (isBranch(before) && isBranch(after) && Array.isArray(before) === Array.isArray(after)) {
    const names = new Set([...Object.keys(before), ...Object.keys(after)]);
    for (const name of names) yield* changes(join(path, name, before), child(before, name), child(after, name));
    return;
  }
  if (JSON.stringify(before) === JSON.stringify(after)) return;
  const where = path === '' ? 'the plan' : path;
  if (before === undefined) yield `${where}: added ${show(after)}`;
  else if (after === undefined) yield `${where}: removed ${show(before)}`;
  else yield `${where}: ${show(before)} → ${show(after)}`;
}

type Branch = Extract<Json, object>;

function isBranch(value: Json | undefined): value is Branch {
  return typeof value === 'object' && value !== null;
}

function child(branch: Branch, name: string): Json | undefined {
  return Object.hasOwn(branch, name) ? (branch as Readonly<Record<string, Json>>)[name] : undefined;
}

function join(path: string, name: string, parent: Branch): string {
  if (Array.isArray(parent)) return `${path}[${name}]`;
  if (/^\w+$/.test(name)) return path === '' ? name : `${path}.${name}`;
  return `${path}[${JSON.stringify(name)}]`;
}

function show(value: Json | undefined): string {
  const text = value === undefined ? 'nothing' : JSON.stringify(value);
  return text.length > MAX_VALUE_LENGTH ? `${text.slice(0, MAX_VALUE_LENGTH)}…` : text;
}
