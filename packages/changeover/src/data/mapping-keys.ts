import { ChangeoverError } from '../errors.ts';
import type { Key } from '../plan/stores.ts';
import { isSameValue } from './canonical.ts';
import {
  columnWays,
  converted,
  inverted,
  type ColumnWay,
  type ColumnWays,
  type MappedTable,
} from './mapping-columns.ts';
import { Unfit } from './schema/codec.ts';

export type KeyFunction = (key: Key) => Key | null;

/** Key functions of the plan, or those that follow from the columns. Throws `CHG_DATA_KEY_UNMAPPED` where they do not. */
export function keyFunctions(table: MappedTable): { to: KeyFunction; back: KeyFunction } {
  const { mapping, legacy, next } = table;
  if (mapping.key !== undefined) return mapping.key;
  if (mapping.row !== undefined) {
    if (legacy.key.length !== next.key.length) throw unmapped(table);
    return { to: (key) => key, back: (key) => key };
  }
  const { moved, constants } = columnWays(table);
  const marks = next.key.flatMap((column, position) =>
    constants.filter(([target]) => target === column).map(([, value]) => ({ position, value })),
  );
  const to = keyFunction(table, next.key, legacy.key, moved, constants);
  const back = keyFunction(table, legacy.key, next.key, moved.map(inverted), []);
  // A key with another constant is that of a row from somewhere else.
  const isMarked = (key: Key) => marks.every(({ position, value }) => isSameValue(key[position] ?? null, value));
  return { to, back: marks.length === 0 ? back : (key) => (isMarked(key) ? back(key) : null) };
}

function keyFunction(
  table: MappedTable,
  wanted: readonly string[],
  given: readonly string[],
  ways: readonly ColumnWay[],
  constants: ColumnWays['constants'],
): (key: Key) => Key {
  const places = wanted.map((column) => {
    const constant = constants.find(([target]) => target === column);
    if (constant !== undefined) return () => constant[1];
    const way = ways.find(({ target }) => target === column);
    const position = way === undefined ? -1 : given.indexOf(way.source);
    if (way === undefined || position === -1) throw unmapped(table);
    return (key: Key) => converted(key[position] ?? null, way.to, way.source);
  });
  return (key) => places.map((place) => place(key));
}

function unmapped({ sync, name, legacy, next }: MappedTable): ChangeoverError<'CHG_DATA_KEY_UNMAPPED'> {
  return new ChangeoverError('CHG_DATA_KEY_UNMAPPED', {
    sync,
    table: name,
    target: next.key.join(', '),
    source: legacy.key.join(', '),
  });
}

/** A key whose values the other side cannot hold has no counterpart there. */
export function orNull(keyTo: KeyFunction): KeyFunction {
  return (key) => {
    try {
      return keyTo(key);
    } catch (error) {
      if (error instanceof Unfit) return null;
      throw error;
    }
  };
}

export function refusalOf(keyTo: KeyFunction, key: Key): string | null {
  try {
    keyTo(key);
    return null;
  } catch (error) {
    if (error instanceof Unfit) return error.message;
    throw error;
  }
}
