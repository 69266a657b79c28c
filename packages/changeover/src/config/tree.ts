import type { Json } from '../plan/words.ts';
import type { Leaf } from './source.ts';

export type Tree = Record<string, Json>;

/** Names that would reach into an object's prototype instead of naming a setting. */
export function isForbiddenName(name: string): boolean {
  return name === '__proto__';
}

/** `a.b`, and `a."b.c"` for a step that holds a dot. */
export function formatPath(path: readonly (string | number)[]): string {
  return path.map((step) => (/^[^."\s]+$/.test(String(step)) ? String(step) : JSON.stringify(String(step)))).join('.');
}

/** Null when it is not a path. */
export function parsePath(text: string): string[] | null {
  const steps: string[] = [];
  const step = /(?:"((?:[^"\\]|\\.)*)"|([^."]+))(\.|$)/y;
  let match: RegExpExecArray | null;
  let isComplete = false;
  while (!isComplete && (match = step.exec(text)) !== null) {
    steps.push(match[1] === undefined ? (match[2] ?? '') : (JSON.parse(`"${match[1]}"`) as string));
    isComplete = match[3] === '';
  }
  return isComplete && !steps.some(isForbiddenName) ? steps : null;
}

export function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function getAt(tree: Json, path: readonly string[]): Json | undefined {
  let at: Json | undefined = tree;
  for (const step of path) {
    if (!isTree(at) || !Object.hasOwn(at, step)) return undefined;
    at = at[step];
  }
  return at;
}

/** Sets a value, making or replacing what is in its way. */
export function setAt(tree: Tree, path: readonly string[], value: Json): void {
  let at = tree;
  for (const step of path.slice(0, -1)) {
    const next = Object.hasOwn(at, step) ? at[step] : undefined;
    if (isTree(next)) at = next;
    else at = at[step] = {};
  }
  const last = path.at(-1);
  if (last !== undefined) at[last] = value;
}

/** Removes a value, and the objects that have nothing else in them. */
export function deleteAt(tree: Tree, path: readonly string[]): void {
  for (let length = path.length; length > 0; length -= 1) {
    const parent = getAt(tree, path.slice(0, length - 1));
    if (!isTree(parent)) return;
    Reflect.deleteProperty(parent, path[length - 1] ?? '');
    if (Object.keys(parent).length > 0) return;
  }
}

/** Everything that is not an object with something in it. */
export function leavesOf(tree: Json, path: readonly string[] = []): Leaf[] {
  if (!isTree(tree) || (path.length > 0 && Object.keys(tree).length === 0))
    return path.length === 0 ? [] : [{ path, value: tree }];
  return Object.entries(tree).flatMap(([step, value]) => leavesOf(value, [...path, step]));
}

export function treeOf(leaves: Iterable<Leaf>): Tree {
  const tree: Tree = {};
  for (const { path, value } of leaves) setAt(tree, path, value);
  return tree;
}

export function isWithinPath(path: readonly string[], parent: readonly string[]): boolean {
  return parent.every((step, index) => path[index] === step);
}

export function isEqual(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true;
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((value: Json, index) => isEqual(value, b[index] as Json));
  }
  if (!isTree(a) || !isTree(b)) return false;
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length && names.every((name) => Object.hasOwn(b, name) && isEqual(a[name], b[name]))
  );
}

/** How a value is written where there is only text. */
export function toText(value: Json): string {
  if (value === null) return '';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
