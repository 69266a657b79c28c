import path from 'node:path';
import { ChangeoverError } from '../errors.ts';
import type { Context } from '../plan/context.ts';
import type { OpenStore, Row } from '../plan/stores.ts';
import type { SyncDefinition, TableMapping } from '../plan/sync.ts';
import type { Direction } from '../plan/words.ts';
import { ChangedKeys } from './changed-keys.ts';
import { codecsOf, designSync } from './schema/designs.ts';
import { Lookups } from './lookups.ts';
import { tableMaps, type TableMap } from './mapping.ts';
import { columnSources, endsOf, isConstant, type MappedTable } from './mapping-columns.ts';
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
    const tables: MappedTable[] = [];
    for (const [name, mapping] of Object.entries(definition.tables)) {
      const designed = design?.tables.find((one) => one.table.name === name);
      const ends = endsOf(name, mapping);
      const mapped: MappedTable = {
        sync: definition.name,
        name,
        mapping,
        legacy: await opened.legacy.shape(ends.from),
        next: await opened.next.shape(ends.to),
        ...(designed === undefined ? {} : { codecs: codecsOf(designed) }),
      };
      tables.push({ ...mapped, constants: await constantsOf(mapped, opened.next) });
    }
    const others = definitions.filter((one) => one !== definition && one.to.identity(ctx) === next.identity);
    const isAlone = (table: string) => !others.some((one) => mappingsTo(one, table).length > 0);
    const maps = tableMaps(tables, direction, isAlone);
    for (const map of maps) assertComputable(map, direction === 'forward' ? opened.legacy : opened.next);
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

function assertComputable({ source }: TableMap, store: OpenStore): void {
  const [expression] = source.computed;
  if (expression === undefined || store.compute !== undefined) return;
  const fields = { store: store.kind, table: source.name, expression: expression.sql };
  throw new ChangeoverError('CHG_DATA_EXPRESSION_INVALID', { ...fields, reason: 'this store computes nothing' });
}

/** The constants as the target gives them back, so that its rows can be told by them. */
async function constantsOf(mapped: MappedTable, next: OpenStore): Promise<Row> {
  const sources = mapped.mapping.row === undefined ? columnSources(mapped) : [];
  const row = Object.fromEntries(
    sources.flatMap(([target, source]) => (isConstant(source) ? [[target, source.constant]] : [])),
  );
  if (next.canonical === undefined || Object.keys(row).length === 0) return row;
  const [held = row] = await next.canonical(mapped.next.name, [row]);
  return Object.fromEntries(Object.keys(row).map((column) => [column, held[column] ?? null]));
}

function mappingsTo({ tables }: SyncDefinition, table: string): TableMapping[] {
  return Object.entries(tables).flatMap(([name, mapping]) => (endsOf(name, mapping).to === table ? [mapping] : []));
}

/** No function may drop a row, a part may be without one, and no other way out of the source or into the target may be left out of the count. */
function isPlain(definitions: readonly SyncDefinition[], own: SyncDefinition, map: TableMap): boolean {
  const ways = [map, ...map.siblings];
  if (ways.some(({ isCustom, partColumns }) => isCustom || partColumns !== null)) return false;
  const [legacy, next] =
    map.direction === 'forward' ? [ways.map(({ source }) => source), [map.target]] : [[map.target], [map.source]];
  const ends = definitions.flatMap((one) =>
    Object.entries(one.tables).map(([name, mapping]) => ({
      one,
      ...endsOf(name, mapping),
      isJoined: map.parts.length > 0 && mapping.partOf !== undefined,
    })),
  );
  const sharers = ends.filter(
    ({ from, to, isJoined }) =>
      !isJoined && (legacy.some(({ name }) => name === from) || next.some(({ name }) => name === to)),
  );
  return sharers.length === ways.length && sharers.every(({ one }) => one === own);
}
