import { ChangeoverError } from '../../errors.ts';
import type { Context } from '../../plan/context.ts';
import type { OpenStore } from '../../plan/stores.ts';
import type { SyncDefinition } from '../../plan/sync.ts';
import type { Finding, Side } from '../../plan/words.ts';
import { dialectOf } from '../schema/dialects.ts';
import type { StoresInUse } from '../stores-in-use.ts';
import { listSlices } from './list.ts';
import { References } from './references.ts';
import { scopeOf } from './scope.ts';

const SHOWN_NAMES = 10;

/** What stands in the way of moving one slice. Reads only. */
export async function checkSlice(
  ctx: Context,
  slice: string,
  {
    all,
    own,
    stores,
  }: { readonly all: readonly SyncDefinition[]; readonly own: readonly SyncDefinition[]; readonly stores: StoresInUse },
): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const side of ['legacy', 'next'] as const)
    for (const used of stores.of(ctx, side)) {
      const store = await stores.openIfPresent(ctx, used);
      if (store !== null) findings.push(...(await checkTables(store, side, scopeOf(used.syncs, side, slice))));
    }
  // Without the columns nothing can be asked of the rows.
  if (findings.some(({ level }) => level === 'error')) return findings;
  const names = await listSlices(ctx, own, stores);
  if (!names.includes(slice)) {
    const shown = names.slice(0, SHOWN_NAMES).join(', ');
    findings.push({
      level: 'error',
      about: `slice ${slice}`,
      message: 'the legacy has no row of it',
      remedy:
        names.length === 0
          ? 'see that `slices.column` is right'
          : `name one of ${shown}${names.length > SHOWN_NAMES ? ', …' : ''}`,
    });
    return findings;
  }
  return [...findings, ...(await new References(slice, all, stores).check(ctx))];
}

async function checkTables(
  store: OpenStore,
  side: Side,
  { name, tables }: ReturnType<typeof scopeOf>,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const [table, { hops, column }] of Object.entries(tables)) {
    const about = `slice ${name}: ${table}`;
    const shape = await shapeOf(store, table);
    if (shape === null) continue;
    const needed = hops[0]?.column ?? column;
    if (!shape.columns.some((one) => one.name === needed)) {
      findings.push({
        level: 'error',
        about,
        message: `${side === 'legacy' ? 'the legacy' : 'the new side'} has no column ${needed} that says whose its rows are`,
        remedy: `name it in \`slices.through\` with the column that leads to its parent, or in \`slices.shared\``,
      });
      continue;
    }
    if (side === 'legacy' && !shape.key.includes(column) && (await isGenerated(store, table, shape.key)))
      findings.push({
        level: 'warning',
        about,
        message: `its keys are generated (${shape.key.join(', ')}): with some slices on each side both give the same ones, and the later row is refused`,
        remedy: 'let the two sides give keys from ranges of their own, or use keys that differ by themselves',
      });
  }
  return findings;
}

async function isGenerated({ kind, schema }: OpenStore, table: string, key: readonly string[]): Promise<boolean> {
  const dialect = dialectOf(kind);
  if (schema === undefined || dialect === null) return false;
  const { columns } = await dialect.read(schema, kind, table);
  return columns.some(({ name, identity }) => key.includes(name) && identity !== null);
}

async function shapeOf(store: OpenStore, table: string) {
  try {
    return await store.shape(table);
  } catch (error) {
    // The store's own check has named what is missing.
    if (error instanceof ChangeoverError) return null;
    throw error;
  }
}
