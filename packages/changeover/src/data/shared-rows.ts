import type { Key, OpenStore } from '../plan/stores.ts';
import { rowsOfKeys } from './key-rows.ts';
import type { TableMap } from './mapping.ts';
import { encodeKey, keyOf } from './values.ts';

/** Keys of the target, encoded, of those given, for which another way into the same table has a row. */
export async function heldBySiblings(
  source: OpenStore,
  map: TableMap,
  targetKeys: readonly Key[],
): Promise<ReadonlySet<string>> {
  const held = new Set<string>();
  for (const sibling of map.siblings) {
    const asked = withKeys(targetKeys, sibling.keyBack);
    const rows = await rowsOfKeys(
      source,
      sibling.source,
      asked.map(({ other }) => other),
    );
    asked.forEach(({ key }, index) => {
      if (rows[index] !== null) held.add(encodeKey(key));
    });
  }
  return held;
}

/** A row of a part by its key, and whether it is there. */
export interface PartRow {
  readonly part: TableMap;
  readonly key: Key;
  readonly targetKey: Key;
  readonly isThere: boolean;
}

/** The rows of parts for keys of the target of which there is no whole row: those that are there have nowhere to go. */
export async function partRows(source: OpenStore, map: TableMap, targetKeys: readonly Key[]): Promise<PartRow[]> {
  const found: PartRow[] = [];
  for (const part of map.parts) {
    const asked = withKeys(targetKeys, part.keyBack);
    const rows = await rowsOfKeys(
      source,
      part.source,
      asked.map(({ other }) => other),
    );
    asked.forEach(({ key, other }, index) => {
      found.push({ part, key: other, targetKey: key, isThere: rows[index] !== null });
    });
  }
  return found;
}

/** Of the rows of a part, those whose whole row is not in the source, by the key that it would have there. */
export async function keysWithoutWhole(
  source: OpenStore,
  map: TableMap,
  part: TableMap,
  rows: readonly Parameters<typeof keyOf>[0][],
): Promise<Key[]> {
  const targets = rows.map((row) => part.keyTo(keyOf(row, part.source.key))).filter((key) => key !== null);
  const keys = targets.map((key) => map.keyBack(key)).filter((key) => key !== null);
  const wholes = await rowsOfKeys(source, map.source, keys);
  return keys.filter((_, index) => wholes[index] === null);
}

/** Each key with what becomes of it, where anything does. */
function withKeys(keys: readonly Key[], way: (key: Key) => Key | null): { key: Key; other: Key }[] {
  return keys.flatMap((key) => {
    const other = way(key);
    return other === null ? [] : [{ key, other }];
  });
}
