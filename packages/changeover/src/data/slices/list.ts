import type { Context } from '../../plan/context.ts';
import type { SyncDefinition } from '../../plan/sync.ts';
import { literal, quoted } from '../stores/sqlite/text.ts';
import type { StoresInUse } from '../stores-in-use.ts';
import { scopeOf } from './scope.ts';

/** The slices that have rows on the legacy, by name, in order. Reads the tables that have the column. */
export async function listSlices(
  ctx: Context,
  definitions: readonly SyncDefinition[],
  stores: StoresInUse,
): Promise<string[]> {
  const names = new Set<string>();
  for (const used of stores.of(ctx, 'legacy')) {
    const store = await stores.openIfPresent(ctx, used);
    if (store?.schema === undefined) continue;
    const own = definitions.filter(({ slices, from }) => slices !== null && from.identity(ctx) === used.identity);
    for (const [table, { hops, column }] of Object.entries(scopeOf(own, 'legacy', '').tables)) {
      if (hops.length > 0) continue;
      const name = (store.kind === 'postgres' ? table.split('.') : [table]).map(quoted).join('.');
      const rows = await store.schema.query(
        `SELECT DISTINCT CAST(${quoted(column)} AS text) FROM ${name} WHERE ${quoted(column)} IS NOT NULL AND CAST(${quoted(column)} AS text) <> ${literal('')}`,
      );
      for (const [value] of rows) names.add(String(value));
    }
  }
  return [...names].sort();
}
