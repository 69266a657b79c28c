import { ChangeoverError } from '../errors.ts';
import type { Context } from '../plan/context.ts';
import type { Key, OpenStore, Row } from '../plan/stores.ts';
import type { Finding } from '../plan/words.ts';
import { RowComparison } from './canonical.ts';
import { chunksOf } from './chunks.ts';
import { columnWays, type MappedTable } from './mapping-columns.ts';
import { tableMap, tableMaps, type TableMap } from './mapping.ts';
import { heldBySiblings, keysWithoutWhole } from './shared-rows.ts';
import { encodeKey, keyOf } from './values.ts';

/** Time for the rows of one table. What is not looked at here is found by verification. */
const TABLE_MS = 5_000;
const CHUNK_ROWS = 1000;
const SHOWN_KEYS = 5;

/** Looks at rows of the legacy: expressions that do not parse or do not come back, and rows that tables which become one cannot both hold. */
export async function checkMappedRows(
  ctx: Context,
  mapped: readonly MappedTable[],
  legacy: OpenStore,
  next: OpenStore,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const table of mapped) findings.push(...(await checkInverse(ctx, table, legacy, next)));
  const maps = tableMaps(mapped, 'forward');
  const about = (map: TableMap) => `data.${mapped[0]?.sync ?? ''}: ${map.name}`;
  for (const [index, map] of maps.entries()) {
    const later = { ...map, siblings: map.siblings.filter((sibling) => maps.indexOf(sibling) > index) };
    findings.push(...(await checkCollisions(ctx, later, legacy, about(map))));
    findings.push(...(await checkOrphans(ctx, map, legacy, about(map))));
  }
  return findings;
}

/** Whether the source understands the expressions of a mapping. */
export async function checkExpressions(
  { sync, name, mapping, legacy }: Omit<MappedTable, 'next'>,
  store: OpenStore,
): Promise<Finding[]> {
  if (mapping.columns === undefined || mapping.row !== undefined || store.compute === undefined) return [];
  const { there } = columnWays({ sync, name, mapping, legacy, next: legacy });
  if (there.length === 0) return [];
  return refusals(`data.${sync}: ${name}`, async () => {
    await store.chunk(legacy.name, null, 1, null, there);
    return [];
  });
}

/** Rows go there and back, without being written: what comes back must be what they were. */
async function checkInverse(ctx: Context, table: MappedTable, legacy: OpenStore, next: OpenStore): Promise<Finding[]> {
  const about = `data.${table.sync}: ${table.name}`;
  const { back } = columnWays(table);
  const [there, again] = [tableMap(table, 'forward'), tableMap(table, 'reverse')];
  if (table.mapping.row !== undefined || back.length === 0 || there === null || again === null) return [];
  if (next.compute === undefined) return [];
  return refusals(about, async () => {
    await next.compute?.(table.next.name, [], back);
    const tools = { ctx, lookup: () => Promise.resolve(null) };
    const differing = new Map<string, string[]>();
    const look = async (rows: readonly Row[]) => {
      const made = await Promise.all(rows.map(async (row) => (await there.map(row, tools)) ?? {}));
      const held = (await next.canonical?.(table.next.name, made)) ?? made;
      const computed = (await next.compute?.(table.next.name, made, back)) ?? [];
      const returned = await Promise.all(
        held.map(async (row, index) => (await again.map({ ...row, ...computed[index] }, tools)) ?? {}),
      );
      const comparison = new RowComparison(legacy, table.legacy);
      const columns = await comparison.differences(returned.map((row, index) => [row, rows[index] ?? {}] as const));
      for (const [index, own] of columns.entries())
        for (const column of own) {
          const key = encodeKey(keyOf(rows[index] ?? {}, table.legacy.key));
          differing.set(column, [...(differing.get(column) ?? []), key]);
        }
    };
    const looked = await eachChunk(ctx, legacy, there, look);
    const findings = [...differing].map(([column, keys]): Finding => {
      const sql = back.find(({ target }) => target === column)?.sql;
      const from = sql === undefined ? 'its way back' : `\`${sql}\``;
      return {
        level: 'error',
        about,
        message: `${from} does not give back ${column} of ${keys.length} rows of ${looked.rows}: ${shown(keys)}`,
        remedy: `correct the \`back\` of ${column}, or the rows, or give it up: an expression with \`givesUp: '${column}'\``,
      };
    });
    return [...findings, ...partly(about, looked, 'come back as they were')];
  });
}

async function checkCollisions(ctx: Context, map: TableMap, legacy: OpenStore, about: string): Promise<Finding[]> {
  if (map.siblings.length === 0) return [];
  const keys: string[] = [];
  const looked = await eachChunk(ctx, legacy, map, async (rows) => {
    const targets = rows.map((row) => map.keyTo(keyOf(row, map.source.key))).filter((key) => key !== null);
    keys.push(...(await heldBySiblings(legacy, map, targets)));
  });
  if (keys.length === 0) return partly(about, looked, `have a key of their own in ${map.target.name}`);
  const others = map.siblings.map(({ source }) => source.name).join(', ');
  return [
    {
      level: 'error',
      about,
      message: `${keys.length} keys of ${map.source.name} are in ${others} too, and ${map.target.name} holds each once: ${shown(keys)}`,
      remedy: `make the constant part of the key of ${map.target.name}, or give each mapping a \`key\` with \`to\` and \`back\``,
    },
  ];
}

async function checkOrphans(ctx: Context, map: TableMap, legacy: OpenStore, about: string): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const part of map.parts) {
    const keys: Key[] = [];
    const looked = await eachChunk(ctx, legacy, part, async (rows) => {
      keys.push(...(await keysWithoutWhole(legacy, map, part, rows)));
    });
    if (keys.length === 0) findings.push(...partly(about, looked, `have a row in ${map.source.name}`));
    else
      findings.push({
        level: 'error',
        about,
        message: `${keys.length} rows of ${part.source.name} have no row in ${map.source.name}, so nothing is made of them: ${shown(keys.map(encodeKey))}`,
        remedy: `add the missing rows to ${map.source.name}, or remove those from ${part.source.name}`,
      });
  }
  return findings;
}

interface Looked {
  readonly rows: number;
  readonly isWhole: boolean;
  readonly table: string;
}

async function eachChunk(
  ctx: Context,
  store: OpenStore,
  { source }: TableMap,
  look: (rows: readonly Row[]) => Promise<void>,
): Promise<Looked> {
  const untilMs = ctx.clock.monotonicMs() + TABLE_MS;
  let count = 0;
  for await (const rows of chunksOf(ctx, store, source, CHUNK_ROWS)) {
    if (ctx.clock.monotonicMs() >= untilMs) return { rows: count, isWhole: false, table: source.name };
    await look(rows);
    count += rows.length;
  }
  return { rows: count, isWhole: true, table: source.name };
}

/** Says how far the look at a large table went. */
function partly(about: string, { rows, isWhole, table }: Looked, what: string): Finding[] {
  const message = `the first ${rows} rows of ${table} ${what}; the others are for the verification to compare`;
  return isWhole ? [] : [{ level: 'info', about, message }];
}

/** An expression that a store does not understand, or cannot compute for some row, is a finding. */
async function refusals(about: string, look: () => Promise<Finding[]>): Promise<Finding[]> {
  try {
    return await look();
  } catch (error) {
    if (error instanceof ChangeoverError && error.code !== 'CHG_DATA_EXPRESSION_INVALID') throw error;
    const message = error instanceof Error ? error.message : String(error);
    const remedy = error instanceof ChangeoverError ? error.hint : 'make the expression give a value for every row';
    return [{ level: 'error', about, message, remedy }];
  }
}

function shown(keys: readonly string[]): string {
  const named = keys.slice(0, SHOWN_KEYS).join(', ');
  return keys.length > SHOWN_KEYS ? `${named} and ${keys.length - SHOWN_KEYS} more` : named;
}
