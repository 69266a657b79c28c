import type { Context } from '../plan/context.ts';
import type { TenantCount } from '../plan/ports.ts';
import type { OpenStore, Row, Value } from '../plan/stores.ts';
import type { Direction } from '../plan/words.ts';
import { chunksOf } from './chunks.ts';
import type { TableMap } from './mapping.ts';
import type { TableSync } from './table-sync.ts';
import { encodeKey, keyOf } from './values.ts';
import type { LiveSource } from './verification.ts';

/** Counts that differ are read again so often, while they move. */
const MAX_ROUNDS = 20;
const ROUND_MS = 50;

export interface CountedSync {
  /** The forward one: rows are counted as the new side has them, whichever way they flow now. */
  readonly sync: TableSync;
  /** Of the side that is written to now. */
  readonly live: LiveSource | null;
}

/**
 * The rows of each value of `column` in every table of the new side that has it: what the legacy's rows become, and what is there. Rows that
 * the new side has of its own do not count, nor do those of `given`, which the legacy cannot take.
 */
export async function countByTenant(
  ctx: Context,
  syncs: readonly CountedSync[],
  direction: Direction,
  column: string,
  given: (table: string) => ReadonlySet<string>,
): Promise<TenantCount[]> {
  const counts: TenantCount[] = [];
  for (const { sync, live } of syncs) {
    const maps = sync.maps.filter(({ target }) => target.columns.some(({ name }) => name === column));
    for (const [table, ways] of Map.groupBy(maps, ({ target }) => target.name)) {
      const count = () => countTable(ctx, sync, ways, column, given(table));
      counts.push(
        ...(await settle(ctx, await count(), count, direction, live, ways)).map((one) => ({ table, ...one })),
      );
    }
  }
  return counts;
}

interface Sides {
  legacy: number;
  next: number;
}

async function countTable(
  ctx: Context,
  sync: TableSync,
  ways: readonly TableMap[],
  column: string,
  given: ReadonlySet<string>,
): Promise<Map<string | null, Sides>> {
  const counts = new Map<string | null, Sides>();
  const add = (side: keyof Sides, tenant: string | null) => {
    const sides = counts.get(tenant) ?? { legacy: 0, next: 0 };
    sides[side] += 1;
    counts.set(tenant, sides);
  };
  for (const map of ways)
    for await (const rows of chunksOf(ctx, sync.source, map.source, sync.chunkRows)) {
      const becomes = await sync.mapped(ctx, map, rows);
      for (const row of await asHeld(sync.target, map.target.name, becomes)) add('legacy', tenantOf(row[column]));
    }
  const [{ target }] = ways as readonly [TableMap, ...TableMap[]];
  for await (const rows of chunksOf(ctx, sync.target, target, sync.chunkRows))
    for (const row of rows) {
      const key = keyOf(row, target.key);
      if (ways.some((map) => map.keyBack(key) !== null) && !given.has(encodeKey(key)))
        add('next', tenantOf(row[column]));
    }
  return counts;
}

/** As this store gives rows back: a time or a UUID may be written in several ways. */
async function asHeld(store: OpenStore, table: string, rows: readonly Row[]): Promise<readonly Row[]> {
  return store.canonical === undefined ? rows : store.canonical(table, rows);
}

function tenantOf(value: Value | undefined): string | null {
  if (value === null || value === undefined) return null;
  return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : String(value);
}

/** A difference is certain when it stays as it is while nothing is pending. */
async function settle(
  ctx: Context,
  first: Map<string | null, Sides>,
  count: () => Promise<Map<string | null, Sides>>,
  direction: Direction,
  live: LiveSource | null,
  ways: readonly TableMap[],
): Promise<Omit<TenantCount, 'table'>[]> {
  let counts = first;
  let isChanging = false;
  for (let round = 1; round <= MAX_ROUNDS && live !== null && differences(counts) !== ''; round++) {
    await ctx.clock.sleep(ROUND_MS, ctx.signal);
    await live.catchUp();
    const before = differences(counts);
    counts = await count();
    isChanging = before !== differences(counts) || (await isPending(live, direction, ways));
    if (!isChanging) break;
  }
  return [...counts].map(([tenant, { legacy, next }]) => ({
    tenant,
    source: direction === 'forward' ? legacy : next,
    target: direction === 'forward' ? next : legacy,
    ...(isChanging && legacy !== next ? { isChanging } : {}),
  }));
}

function differences(counts: ReadonlyMap<string | null, Sides>): string {
  return JSON.stringify([...counts].filter(([, { legacy, next }]) => legacy !== next));
}

async function isPending(live: LiveSource, direction: Direction, ways: readonly TableMap[]): Promise<boolean> {
  for (const { source, target } of ways) {
    const pending = await live.pending(direction === 'forward' ? source.name : target.name);
    if (pending === null || pending.size > 0) return true;
  }
  return false;
}
