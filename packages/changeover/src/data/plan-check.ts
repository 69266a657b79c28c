import { ChangeoverError } from '../errors.ts';
import type { Context } from '../plan/context.ts';
import type { OpenStore, TableShape } from '../plan/stores.ts';
import type { SyncDefinition } from '../plan/sync.ts';
import type { Finding } from '../plan/words.ts';
import { checkMapping } from './mapping-check.ts';
import { endsOf, type MappedTable } from './mapping-columns.ts';
import { checkExpressions, checkMappedRows } from './mapped-rows-check.ts';
import { checkTogether } from './mapping-together.ts';
import type { StoresInUse, UsedStore } from './stores-in-use.ts';

/** Everything that stands in the way of the data's move, or should be known before. Reads only. */
export async function checkData(
  ctx: Context,
  definitions: readonly SyncDefinition[],
  stores: StoresInUse,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const side of ['legacy', 'next'] as const)
    for (const used of stores.of(ctx, side)) {
      const store = await openForCheck(ctx, stores, used, findings);
      if (store !== null) findings.push(...(await checkStore(ctx, used, store)));
    }
  // A table that is to be made is checked as it will be, in schema/check.ts.
  const standing = definitions.filter(({ schema }) => schema === null);
  findings.push(...(await checkMappings(ctx, standing, stores)));
  return findings;
}

/** What the mappings would lose, between stores that are there. */
export async function checkMappings(
  ctx: Context,
  definitions: readonly SyncDefinition[],
  stores: StoresInUse,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const { name, from, to, tables } of definitions) {
    if (from.identity(ctx) === to.identity(ctx)) {
      const message = `from and to are the same store: ${from.identity(ctx)}`;
      findings.push({ level: 'error', about: `data.${name}`, message, remedy: 'move the data to another store' });
      continue;
    }
    const legacy = await openForCheck(ctx, stores, { identity: from.identity(ctx), store: from, side: 'legacy' }, []);
    const next = await openForCheck(ctx, stores, { identity: to.identity(ctx), store: to, side: 'next' }, []);
    if (legacy === null || next === null) continue;
    const mapped: MappedTable[] = [];
    const found: Finding[] = [];
    for (const [table, mapping] of Object.entries(tables)) {
      const ends = endsOf(table, mapping);
      const shapes = { legacy: await shapeOf(legacy, ends.from), next: await shapeOf(next, ends.to) };
      if (shapes.legacy === null) continue;
      found.push(...(await checkExpressions({ sync: name, name: table, mapping, legacy: shapes.legacy }, legacy)));
      if (shapes.next !== null)
        mapped.push({ sync: name, name: table, mapping, legacy: shapes.legacy, next: shapes.next });
    }
    for (const table of mapped) {
      const others = mapped.filter((one) => one !== table);
      found.push(...checkMapping(table, [from.kind, to.kind], others));
    }
    found.push(...checkTogether(name, tables, mapped));
    // Rows are read only when it is settled what becomes of them.
    if (!found.some(({ level }) => level === 'error'))
      found.push(...(await checkMappedRows(ctx, mapped, legacy, next)));
    findings.push(...found);
  }
  return findings;
}

async function openForCheck(
  ctx: Context,
  stores: StoresInUse,
  used: Pick<UsedStore, 'identity' | 'store' | 'side'> & Partial<Pick<UsedStore, 'syncs'>>,
  findings: Finding[],
): Promise<OpenStore | null> {
  try {
    return await stores.open(ctx, used);
  } catch (error) {
    if (!(error instanceof ChangeoverError)) throw error;
    // The new side's schema is made by `next.setup`, which runs later.
    const isToBeMade = used.side === 'next' && error.code === 'CHG_DATA_STORE_MISSING';
    const isMade = used.syncs?.some(({ schema }) => schema !== null) === true && used.store.create !== undefined;
    findings.push(
      isToBeMade
        ? {
            level: 'info',
            about: used.identity,
            message: `is not there yet; ${isMade ? 'the run makes it' : '`next.setup` has to make it'}`,
          }
        : { level: 'error', about: used.identity, message: error.message, remedy: error.hint },
    );
    return null;
  }
}

async function checkStore(ctx: Context, used: UsedStore, store: OpenStore): Promise<Finding[]> {
  // Each side is the target of one direction and the source of the other.
  const found = [...(await store.check(used.tables, 'source')), ...(await store.check(used.tables, 'target'))];
  const findings = [...new Map(found.map((finding) => [JSON.stringify(finding), finding])).values()];
  if (used.side === 'legacy') return findings;
  for (const { name, tables } of used.syncs) {
    if ((await store.ledger(ctx.runId, name)).length > 0) continue;
    const targets = new Set(Object.entries(tables).map(([table, mapping]) => endsOf(table, mapping).to));
    for (const table of targets) {
      const rows = await countIfPresent(store, table);
      if (rows > 0)
        findings.push({
          level: 'warning',
          about: `data.${name}: ${table}`,
          message: `the new table has ${rows} rows already; the copy empties it first`,
          remedy: `save what ${table} holds if it is not from an earlier run`,
        });
    }
  }
  const made = used.syncs.flatMap(({ schema, tables }) => (schema === null ? [] : Object.keys(tables)));
  const isMade = ({ message }: Finding) => made.some((table) => message.includes(`there is no table ${table}`));
  return findings.filter((finding) => !isMade(finding)).map((finding) => softened(finding));
}

/** A table of the new side that is not there yet is not an error: `next.setup` makes it before the data stage. */
function softened(finding: Finding): Finding {
  const isMissing = finding.level === 'error' && finding.message.includes('there is no table');
  return isMissing ? { ...finding, level: 'warning' } : finding;
}

async function countIfPresent(store: OpenStore, table: string): Promise<number> {
  try {
    return await store.count(table);
  } catch (error) {
    if (error instanceof ChangeoverError) return 0;
    throw error;
  }
}

/** Null where the table is not there: the stores' own checks name it. */
async function shapeOf(store: OpenStore, table: string): Promise<TableShape | null> {
  try {
    return await store.shape(table);
  } catch (error) {
    if (error instanceof ChangeoverError) return null;
    throw error;
  }
}
