import { ChangeoverError } from '../../errors.ts';
import type { Context } from '../../plan/context.ts';
import type { SyncDefinition } from '../../plan/sync.ts';
import type { Finding } from '../../plan/words.ts';
import { checkMapping } from '../mapping-check.ts';
import type { StoresInUse } from '../stores-in-use.ts';
import { designSync, shapeOf, type SyncDesign } from './designs.ts';
import { dialectOf } from './dialects.ts';
import { findDangling } from './dangling.ts';
import { differences } from './differences.ts';
import type { TableDesign } from './translate.ts';
import { inspectValues } from './inspect.ts';

/** What stands in the way of making the target's tables, and of the rows that are to be in them. Reads only. */
export async function checkSchemas(
  ctx: Context,
  definitions: readonly SyncDefinition[],
  stores: StoresInUse,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const definition of definitions) {
    try {
      const design = await designSync(ctx, definition, stores);
      if (design !== null) findings.push(...(await checkDesign(ctx, design, stores)));
    } catch (error) {
      // A store or table of the legacy that is not there has been named by the store's own check.
      if (!(error instanceof ChangeoverError)) throw error;
    }
  }
  return findings;
}

async function checkDesign(ctx: Context, design: SyncDesign, stores: StoresInUse): Promise<Finding[]> {
  const { sync, tables } = design;
  const findings: Finding[] = design.problems.map((problem) => ({ level: 'error', ...problem }));
  findings.push(...unknownNames(design));
  for (const table of tables) {
    const about = `data.${sync.name}: ${table.table.name}`;
    findings.push(...checkTable(table, about));
    findings.push(...(await checkFound(ctx, design, table, stores, about)));
  }
  // Values are read only when it is settled what becomes of them.
  if (!findings.some(({ level }) => level === 'error')) findings.push(...(await inspectValues(ctx, design, stores)));
  findings.push(...(await checkReferences(ctx, design, stores)));
  findings.push(...(await checkObstacle(ctx, design, stores)));
  return findings;
}

async function checkObstacle(ctx: Context, { sync, tables }: SyncDesign, stores: StoresInUse): Promise<Finding[]> {
  if (tables.every(({ table }) => table.foreignKeys.length === 0)) return [];
  const identity = sync.to.identity(ctx);
  const used = stores.of(ctx, 'next').find((one) => one.identity === identity);
  const target = used === undefined ? null : await stores.openIfPresent(ctx, used);
  if (target?.schema === undefined) return [];
  const obstacle = (await dialectOf(sync.to.kind)?.foreignKeyObstacle(target.schema)) ?? null;
  return obstacle === null ? [] : [{ level: 'error', about: identity, ...obstacle }];
}

async function checkReferences(ctx: Context, { sync, tables }: SyncDesign, stores: StoresInUse): Promise<Finding[]> {
  const { from, to, name } = sync;
  const [source, target] = [dialectOf(from.kind), dialectOf(to.kind)];
  const legacy = await stores.open(ctx, { identity: from.identity(ctx), store: from, side: 'legacy' });
  if (legacy.schema === undefined || source?.mayDangle !== true) return [];
  const found = await findDangling(
    legacy.schema,
    source,
    tables,
    async (table) => (await legacy.shape(table)).key,
    (table) => `data.${name}: ${table}`,
  );
  // The target would not see them either.
  return target?.enforcesForeignKeys === true ? found : found.map((finding) => ({ ...finding, level: 'warning' }));
}

/** A name in the plan that fits nothing would silently do nothing. */
function unknownNames({ sync, tables }: SyncDesign): Finding[] {
  const names = new Set(tables.flatMap(({ rules }) => rules.map(({ name }) => name)));
  const { columns = {}, omit = [] } = sync.schema ?? {};
  return [...Object.keys(columns), ...omit]
    .filter((name) => !names.has(name))
    .map((name) => ({
      level: 'error',
      about: `data.${sync.name}`,
      message: `\`schema\` names ${name}, and there is nothing of that name`,
      remedy: `one of: ${[...names].join(', ')}`,
    }));
}

function checkTable({ rules, problems, source }: TableDesign, about: string): Finding[] {
  const findings: Finding[] = problems.map((problem) => ({ level: 'error', about, ...problem }));
  for (const { name, from, to, verdict, reason, isNamed, remedy } of rules) {
    if (verdict === 'exact' || isNamed) continue;
    const message = `${name}: ${from} → ${to ?? 'nothing'} is ${verdict}: ${reason}`;
    findings.push({ level: 'error', about, message, ...(remedy === null ? {} : { remedy: `schema: { ${remedy} }` }) });
  }
  if (source.leftBehind.length > 0)
    findings.push({
      level: 'warning',
      about,
      message: `not made for the new table: ${source.leftBehind.join(', ')}`,
      remedy: "make them in the new side's own migrations, if it needs them",
    });
  return findings;
}

async function checkFound(
  ctx: Context,
  { sync }: SyncDesign,
  design: TableDesign,
  stores: StoresInUse,
  about: string,
): Promise<Finding[]> {
  const { from, to } = sync;
  const legacy = await stores.open(ctx, { identity: from.identity(ctx), store: from, side: 'legacy' });
  const mapping = sync.tables[design.table.name] ?? {};
  const source = await legacy.shape(mapping.from ?? design.table.name);
  const mapped = {
    sync: sync.name,
    name: design.table.name,
    mapping,
    legacy: source,
    next: shapeOf(design, source.key),
  };
  const findings = checkMapping(mapped, [from.kind, to.kind]);
  const used = stores.of(ctx, 'next').find(({ identity }) => identity === to.identity(ctx));
  const target = used === undefined ? null : await stores.openIfPresent(ctx, used);
  const dialect = dialectOf(to.kind);
  if (target?.schema === undefined || dialect === null) return findings;
  const [made] = dialect.statements(design.table).first.filter(({ kind }) => kind === 'table');
  if (made === undefined || !(await dialect.exists(target.schema, made))) return findings;
  const differing = await differences(target.schema, dialect, to.identity(ctx), design.table);
  if (differing.length > 0)
    findings.push({
      level: 'error',
      about,
      message: `the table is there already, and is not what would be made: ${differing.join('; ')}`,
      remedy: 'drop it if nothing needs it, or move it in a sync of its own without `schema`',
    });
  return findings;
}
