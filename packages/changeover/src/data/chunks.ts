import type { Context } from '../plan/context.ts';
import type { Computed, Key, OpenStore, Row, TableShape } from '../plan/stores.ts';
import { bytesOf, keyOf } from './values.ts';
import { pacedTurn } from './turn.ts';

/**
 * Rows of a table in key order, `rowsAtOnce` at a time; other work of the process gets its turn in between.
 *
 * @param range Keys strictly after `after` and up to `upTo`. Default: all.
 */
export async function* chunksOf(
  ctx: Context,
  store: OpenStore,
  { name, key, computed }: Pick<TableShape, 'name' | 'key'> & { readonly computed?: readonly Computed[] },
  rowsAtOnce: number,
  range: { readonly after: Key | null; readonly upTo: Key | null } = { after: null, upTo: null },
): AsyncGenerator<Row[], void, undefined> {
  for (let { after } = range; ;) {
    await pacedTurn(ctx);
    const rows: Row[] = await store.chunk(name, after, rowsAtOnce, range.upTo, computed);
    ctx.pace?.spent(rows.length, bytesOf(rows));
    if (rows.length > 0) yield rows;
    const last = rows.at(-1);
    if (last === undefined || rows.length < rowsAtOnce) return;
    after = keyOf(last, key);
  }
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
