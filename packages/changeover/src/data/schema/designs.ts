import type { Context } from '../../plan/context.ts';
import type { TableShape } from '../../plan/stores.ts';
import type { SyncDefinition } from '../../plan/sync.ts';
import type { StoresInUse } from '../stores-in-use.ts';
import type { Codec } from './codec.ts';
import { dialectOf, rulesBetween } from './dialects.ts';
import { translateTable, type TableDesign } from './translate.ts';

/** The tables that one sync lets make. */
export interface SyncDesign {
  readonly sync: SyncDefinition;
  readonly tables: readonly TableDesign[];
  /** What stands in the way before any table is looked at. */
  readonly problems: readonly { readonly about: string; readonly message: string; readonly remedy: string }[];
}

/** Reads the source's schema and designs the target's tables. Null where the sync's tables are there or made by somebody else. */
export async function designSync(
  ctx: Context,
  definition: SyncDefinition,
  stores: StoresInUse,
): Promise<SyncDesign | null> {
  const { name, from, to, schema, tables } = definition;
  if (schema === null) return null;
  const [source, target, types] = [dialectOf(from.kind), dialectOf(to.kind), rulesBetween(from.kind, to.kind)];
  const store = await stores.open(ctx, { identity: from.identity(ctx), store: from, side: 'legacy' });
  if (source === null || target === null || types === null || store.schema === undefined) {
    const message = `tables of ${to.kind} cannot be made from ${from.kind}`;
    const remedy = 'leave `schema` out, and make the tables in next.setup';
    return { sync: definition, tables: [], problems: [{ about: `data.${name}`, message, remedy }] };
  }
  const parents = new Map(
    Object.entries(tables).map(([table, { from: origin = table, columns = {} }]) => {
      const targets = new Map(
        Object.entries(columns).flatMap(([column, own]) => (typeof own === 'string' ? [[own, column] as const] : [])),
      );
      return [origin, { name: table, columnOf: (column: string) => targets.get(column) ?? column }];
    }),
  );
  const designs: TableDesign[] = [];
  const problems: SyncDesign['problems'][number][] = [];
  for (const [table, mapping] of Object.entries(tables)) {
    const isPlain = Object.values(mapping.columns ?? {}).every((own) => typeof own === 'string');
    if (mapping.row !== undefined || !isPlain || mapping.to !== undefined || mapping.partOf !== undefined) {
      const message =
        mapping.row !== undefined
          ? 'a row function makes its rows, so nothing says what its columns are'
          : 'its rows are not those of one table of the legacy as they are, so nothing says what its columns are';
      const remedy = 'make this table in next.setup, and move it in a sync without `schema`';
      problems.push({ about: `data.${name}: ${table}`, message, remedy });
      continue;
    }
    const described = await source.read(store.schema, from.identity(ctx), mapping.from ?? table);
    designs.push(
      translateTable(table, mapping, described, { from: source, to: target, types, options: schema, tables: parents }),
    );
  }
  return { sync: definition, tables: designs, problems };
}

/** How the values of a designed table's columns travel. */
export function codecsOf({ columns }: TableDesign): ReadonlyMap<string, Codec> {
  return new Map(columns.flatMap(({ column, codec }) => (codec === null ? [] : [[column, codec] as const])));
}

/** A designed table as the mapping sees one that is there. Generated columns are not moved. */
export function shapeOf({ table }: TableDesign, key: readonly string[]): TableShape {
  return {
    name: table.name,
    key: table.primaryKey.length > 0 ? table.primaryKey : key,
    columns: table.columns
      .filter(({ generated }) => generated === null)
      .map(({ name, declared, isNullable }) => ({ name, type: declared, nullable: isNullable })),
  };
}
