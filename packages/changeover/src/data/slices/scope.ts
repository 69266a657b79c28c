import { createHash } from 'node:crypto';
import path from 'node:path';
import { ChangeoverError } from '../../errors.ts';
import type { Membership, SliceScope } from '../../plan/stores.ts';
import type { SliceOptions, SyncDefinition, TableMapping } from '../../plan/sync.ts';
import type { Side } from '../../plan/words.ts';
import { endsOf } from '../mapping-columns.ts';

const MAX_NAME_CHARACTERS = 200;

/** Part of the names of everything that is made for a slice: in stores, where a name has its limits, and in our state folder. */
export function sliceId(name: string): string {
  return createHash('sha256').update(name).digest('hex').slice(0, 12);
}

/** Where a slice keeps its own state, below the state folder. */
export function dataFolder(stateDir: string, id: string): string {
  return path.join(stateDir, 'slices', id, 'data');
}

/**
 * The syncs as one slice moves them, or, without a slice, what of them belongs to none. A sync without `slices` belongs to the latter whole.
 * Throws `CHG_DATA_SLICE_UNKNOWN` where the plan has no slices.
 */
export function definitionsOf(all: readonly SyncDefinition[], slice: string | null): SyncDefinition[] {
  if (slice !== null) assertName(all, slice);
  return all.flatMap((definition) => {
    const { slices, tables } = definition;
    if (slices === null) return slice === null ? [definition] : [];
    const isShared = (table: string) => slices.shared?.includes(table) === true;
    const own = Object.entries(tables).filter(([table]) => isShared(table) === (slice === null));
    return own.length === 0 ? [] : [{ ...definition, tables: Object.fromEntries(own) }];
  });
}

/** How a slice is kept apart in the store that these syncs have on `side`. */
export function scopeOf(definitions: readonly SyncDefinition[], side: Side, name: string): SliceScope {
  const tables: Record<string, Membership> = {};
  for (const { slices, tables: mapped } of definitions) {
    if (slices === null) continue;
    for (const [table, mapping] of Object.entries(mapped))
      if (slices.shared?.includes(table) !== true)
        tables[tableOn(side, table, mapping)] = membershipOf(slices, mapped, table, side);
  }
  return { name, id: sliceId(name), tables };
}

function membershipOf(
  { column, through = {} }: SliceOptions,
  mapped: SyncDefinition['tables'],
  table: string,
  side: Side,
): Membership {
  const tableName = (own: string) => tableOn(side, own, mapped[own] ?? {});
  const columnName = (own: string, name: string) => {
    const source = mapped[own]?.columns?.[name] ?? name;
    if (typeof source === 'string') return side === 'legacy' ? source : name;
    const reason = `${own}.${name}, by which rows belong to slices, is no column of the source; name one that moves as it is`;
    throw new ChangeoverError('CHG_DATA_SLICE_UNKNOWN', { slice: own, reason });
  };
  const hops: Membership['hops'][number][] = [];
  let at = table;
  // The plan's validation refuses a circle; a definition that was made without it ends here all the same.
  for (let hop = through[at]; hop !== undefined && hops.length < Object.keys(through).length; hop = through[at]) {
    const { parent, key = 'id' } = hop;
    hops.push({ column: columnName(at, hop.column), parent: tableName(parent), key: columnName(parent, key) });
    at = parent;
  }
  return { hops, column: columnName(at, column) };
}

/** A table that the plan names, as it is called on one side. */
export function tableOn(side: Side, name: string, mapping: TableMapping = {}): string {
  const { from, to } = endsOf(name, mapping);
  return side === 'legacy' ? from : to;
}

function assertName(all: readonly SyncDefinition[], slice: string): void {
  const reason = !all.some(({ slices }) => slices !== null)
    ? 'no sync of the plan has `slices`'
    : slice === '' || slice.length > MAX_NAME_CHARACTERS || /\p{Cc}/u.test(slice)
      ? `a name has 1 to ${MAX_NAME_CHARACTERS} characters and no control characters`
      : null;
  if (reason !== null) throw new ChangeoverError('CHG_DATA_SLICE_UNKNOWN', { slice, reason });
}
