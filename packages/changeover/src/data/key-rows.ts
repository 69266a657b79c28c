import type { Computed, Key, OpenStore, Row, TableShape } from '../plan/stores.ts';
import { keyOf } from './values.ts';

interface Readable extends TableShape {
  readonly computed?: readonly Computed[];
}

/**
 * The row of each key, in the order of the keys. Keys may come from another table, and the store decides which are equal: where it finds a row
 * whose key reads otherwise, the keys are asked for one by one.
 */
export async function rowsOfKeys(store: OpenStore, table: Readable, keys: readonly Key[]): Promise<(Row | null)[]> {
  const read = (some: readonly Key[]) => store.rows(table.name, some, table.computed);
  const found = new Map((await read(keys)).map((row) => [looseKey(keyOf(row, table.key)), row]));
  const ids = keys.map(looseKey);
  const wanted = new Set(ids);
  const isClear = [...found.keys()].every((id) => wanted.has(id));
  const rows: (Row | null)[] = [];
  for (const [index, id] of ids.entries()) {
    const row = found.get(id) ?? null;
    const key = keys[index];
    rows.push(row === null && !isClear && key !== undefined ? ((await read([key]))[0] ?? null) : row);
  }
  return rows;
}

/** A key as text in which the number 1 is the text '1', as it is in the columns of two tables. */
function looseKey(key: Key): string {
  return JSON.stringify(key.map(looseText));
}

/** The column decides the type of a value, so 1 and '1' may both be meant; a different value is never meant. */
export function looseText(value: unknown): string {
  return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : String(value);
}
