import type { Context } from '../plan/context.ts';
import type { Computed, Key, OpenStore, Row, TableShape } from '../plan/stores.ts';
import { bytesOf, keyOf } from './values.ts';
import { pacedTurn } from './turn.ts';

/** Keys strictly after `after` and up to `upTo`; null: from the start, to the end. */
interface KeyRange {
  readonly after: Key | null;
  readonly upTo: Key | null;
}

/**
 * Rows of a table in key order, `rowsAtOnce` at a time; other work of the process gets its turn in between.
 *
 * @param range Default: all.
 */
export async function* chunksOf(
  ctx: Context,
  store: OpenStore,
  { name, key, computed }: Pick<TableShape, 'name' | 'key'> & { readonly computed?: readonly Computed[] },
  rowsAtOnce: number,
  range: KeyRange = { after: null, upTo: null },
): AsyncGenerator<Row[], void, undefined> {
  for (let { after } = range; ;) {
    const rows = await nextChunk(ctx, store, { name, computed }, rowsAtOnce, { after, upTo: range.upTo });
    if (rows.length > 0) yield rows;
    const last = rows.at(-1);
    if (last === undefined || rows.length < rowsAtOnce) return;
    after = keyOf(last, key);
  }
}

/** The next rows of a range, when it is their turn. */
export async function nextChunk(
  ctx: Context,
  store: OpenStore,
  { name, computed }: { readonly name: string; readonly computed?: readonly Computed[] | undefined },
  rowsAtOnce: number,
  { after, upTo }: KeyRange,
): Promise<Row[]> {
  await pacedTurn(ctx);
  const rows = await store.chunk(name, after, rowsAtOnce, upTo, computed);
  ctx.pace?.spent(rows.length, bytesOf(rows));
  return rows;
}

/** For a table that is small, or replaced as a whole. */
export async function allRows(
  ctx: Context,
  store: OpenStore,
  table: Pick<TableShape, 'name' | 'key'>,
  rowsAtOnce: number,
): Promise<Row[]> {
  const all: Row[] = [];
  for await (const rows of chunksOf(ctx, store, table, rowsAtOnce)) all.push(...rows);
  return all;
}
