import path from 'node:path';
import type { Context } from '../plan/context.ts';
import type { SyncDefinition } from '../plan/sync.ts';
import type { Direction } from '../plan/words.ts';
import { ChangedKeys } from './changed-keys.ts';
import { codecsOf, designSync } from './schema/designs.ts';
import { Lookups } from './lookups.ts';
import { tableMap, type MappedTable, type TableMap } from './mapping.ts';
import type { StoresInUse } from './stores-in-use.ts';
import { TableSync } from './table-sync.ts';

/** A sync of the plan in one direction, with its stores opened. */
export interface BuiltSync {
  readonly definition: SyncDefinition;
  readonly sync: TableSync;
  readonly sourceIdentity: string;
  readonly targetIdentity: string;
  /** True where by the plan every row of the source is exactly one row of the target. */
  readonly countsMatch: (map: TableMap) => boolean;
}

export async function buildSyncs(
  ctx: Context,
  definitions: readonly SyncDefinition[],
  stores: StoresInUse,
  direction: Direction,
  stateFolder: string,
): Promise<BuiltSync[]> {
  const built: BuiltSync[] = [];
  for (const definition of definitions) {
    const { name, from, to } = definition;
    const legacy = { identity: from.identity(ctx), store: from, side: 'legacy' } as const;
    const next = { identity: to.identity(ctx), store: to, side: 'next' } as const;
    const opened = { legacy: await stores.open(ctx, legacy), next: await stores.open(ctx, next) };
    const design = await designSync(ctx, definition, stores);
    const maps: TableMap[] = [];
    for (const [table, mapping] of Object.entries(definition.tables)) {
      const designed = design?.tables.find((one) => one.table.name === table);
      const mapped: MappedTable = {
        sync: name,
        name: table,
        mapping,
        legacy: await opened.legacy.shape(mapping.from ?? table),
        next: await opened.next.shape(table),
        ...(designed === undefined ? {} : { codecs: codecsOf(designed) }),
      };
      const map = tableMap(mapped, direction);
      if (map !== null) maps.push(map);
    }
    const [source, target] = direction === 'forward' ? [legacy, next] : [next, legacy];
    const captured = stores.of(ctx, source.side).find(({ identity }) => identity === source.identity);
    const file = (what: string) => path.join(stateFolder, `${what}-${encodeURIComponent(name)}-${direction}`);
    const sync = new TableSync({
      name,
      direction,
      source: direction === 'forward' ? opened.legacy : opened.next,
      target: direction === 'forward' ? opened.next : opened.legacy,
      maps,
      chunkRows: definition.chunkRows,
      changed: new ChangedKeys(file('changed')),
      lookups: new Lookups(name, file('lookups'), new Set(captured?.tables)),
    });
    const plain = new Set(maps.filter((map) => isPlain(definitions, definition, map)));
    built.push({
      definition,
      sync,
      sourceIdentity: source.identity,
      targetIdentity: target.identity,
      countsMatch: (map) => plain.has(map),
    });
  }
  return built;
}

/** No function may drop a row, and no other table of the plan may share either end. */
function isPlain(definitions: readonly SyncDefinition[], own: SyncDefinition, map: TableMap): boolean {
  const mapping = own.tables[map.direction === 'forward' ? map.target.name : map.source.name];
  if (map.isCustom || mapping?.key !== undefined) return false;
  const [legacy, next] =
    map.direction === 'forward' ? [map.source.name, map.target.name] : [map.target.name, map.source.name];
  const all = definitions.flatMap(({ tables }) => Object.entries(tables));
  const sharesNext = all.filter(([name]) => name === next).length > 1;
  const sharesLegacy = all.filter(([name, { from }]) => (from ?? name) === legacy).length > 1;
  return !sharesNext && !sharesLegacy;
}
