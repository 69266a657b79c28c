import type { Context } from '../plan/context.ts';
import type { Direction } from '../plan/words.ts';
import type { StoresInUse, UsedStore } from './stores-in-use.ts';

/**
 * The next keys of the tables of `used` as their sources would give them: a generator may be further than its rows, and the keys of deleted rows
 * must not come again. Only where keys travel as they are.
 */
export async function nextKeysOf(
  ctx: Context,
  stores: StoresInUse,
  used: UsedStore,
  direction: Direction,
): Promise<ReadonlyMap<string, bigint>> {
  const isForward = direction === 'forward';
  const next = new Map<string, bigint>();
  for (const { from, to, tables } of used.syncs) {
    const store = isForward ? from : to;
    const source = await stores.open(ctx, {
      identity: store.identity(ctx),
      store,
      side: isForward ? 'legacy' : 'next',
    });
    for (const [name, mapping] of Object.entries(tables)) {
      if (mapping.row !== undefined || mapping.key !== undefined) continue;
      const legacy = mapping.from ?? name;
      const [found] = (await source.nextKeys?.([isForward ? legacy : name]))?.values() ?? [];
      const target = isForward ? name : legacy;
      if (found !== undefined && found > (next.get(target) ?? 0n)) next.set(target, found);
    }
  }
  return next;
}
