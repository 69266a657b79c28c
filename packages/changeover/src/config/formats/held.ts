import type { Leaf, Problem } from '../source.ts';
import { formatPath, getAt, isEqual, setAt } from '../tree.ts';
import type { Tree } from '../tree.ts';

const REMEDY = 'Write it by hand once, then run the command again.';

/** What an edit did not do: every leaf must be there, and nothing else may have changed. */
export function notHeld(before: Tree, leaves: readonly Leaf[], after: Tree | null): Problem[] {
  const missing = leaves.filter(({ path, value }) => after === null || !isEqual(getAt(after, path), value));
  if (missing.length > 0) {
    const message = 'it cannot be put into this file without writing it anew';
    return missing.map(({ path }) => ({ level: 'error', line: null, key: formatPath(path), message, remedy: REMEDY }));
  }
  const wanted = structuredClone(before);
  for (const { path, value } of leaves) setAt(wanted, path, value);
  if (after !== null && isEqual(after, wanted)) return [];
  return [
    {
      level: 'error',
      line: null,
      message: 'it cannot be changed without changing other settings in it (anchors)',
      remedy: REMEDY,
    },
  ];
}
