import type { Key } from '../plan/stores.ts';
import type { TableMap } from './mapping.ts';
import { encodeKey } from './values.ts';

/** Rows that one way is to make equal. */
export interface Wanted {
  readonly map: TableMap;
  /** Source keys by their encoding. */
  readonly keys: Map<string, Key>;
}

/** The source keys of a way that changes concern, those of its parts included. */
export function keysIn(
  map: TableMap,
  changes: readonly { readonly table: string; readonly key: Key }[],
): Map<string, Key> {
  const keys = new Map<string, Key>();
  for (const { table, key } of changes)
    for (const way of [map, ...map.parts]) {
      if (table !== way.source.name) continue;
      const target = way === map ? null : way.keyTo(key);
      const own = way === map ? key : target === null ? null : map.keyBack(target);
      if (own !== null) keys.set(encodeKey(own), own);
    }
  return keys;
}

/**
 * Each key also as the other source tables of the same target have it: a row that moves from one of them to another is gone here and there
 * at once, whichever of the two changes is seen first.
 */
export function withSiblings(wanted: readonly Wanted[]): readonly Wanted[] {
  const before = wanted.map(({ map, keys }) => ({ map, keys: [...keys.values()] }));
  for (const { map, keys } of before)
    for (const sibling of map.siblings)
      for (const key of keys) {
        const target = map.keyTo(key);
        const own = target === null ? null : sibling.keyBack(target);
        if (own !== null) wanted.find((one) => one.map === sibling)?.keys.set(encodeKey(own), own);
      }
  return wanted;
}
