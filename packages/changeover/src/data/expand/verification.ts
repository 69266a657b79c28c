import type { Context } from '../../plan/context.ts';
import type { OpenStore } from '../../plan/stores.ts';
import type { Direction, Verdict } from '../../plan/words.ts';
import { turn } from '../turn.ts';
import type { ExpandedTable } from './expansions.ts';
import { isUp, type PairedColumn } from './in-step.ts';
import type { TableSteps } from './statements.ts';
import { accessOf, type KeyTexts } from './table.ts';

const CHUNK_ROWS = 10_000;
/** Keys that the evidence names. */
const NAMED_KEYS = 5;

/**
 * Whether every row of a table is as its last writer left it in step. A row is never out of step for a moment: the trigger is part of the write,
 * so there is nothing to wait for and nothing to look at twice.
 *
 * @param compared Rows that this process has compared before; then only the trigger is looked at.
 */
export async function verifyTable(
  ctx: Context,
  { definition, store, steps }: ExpandedTable,
  direction: Direction,
  isIntact: boolean,
  compared: number | undefined,
): Promise<Verdict[]> {
  // What does not come back is not compared on the way back: there the new side's word stands alone.
  const columns = steps.paired.filter(({ down }) => direction === 'forward' || down.length > 0);
  if (columns.length === 0) return [];
  const check = `${definition.name}.${steps.table.name}: old and new columns in step`;
  const verdict = (outcome: Verdict['outcome'], evidence: string, measured: number): Verdict => {
    return { check, outcome, evidence, measured };
  };
  if (!isIntact) return [verdict('FAIL', 'the trigger that keeps them in step is gone, disabled or changed', 0)];
  if (compared !== undefined)
    return [verdict('PASS', `the trigger is as it was when ${compared} rows were compared`, compared)];
  const { rows, wrong, keys } = await scan(ctx, store, steps, columns);
  if (wrong === 0)
    return [verdict('PASS', rows === 0 ? 'the table is empty' : `${rows} rows compared, 0 differ`, rows)];
  const named = keys.slice(0, NAMED_KEYS).map((key) => `(${key.join(', ')})`);
  const more = wrong > named.length ? ` and ${wrong - named.length} more` : '';
  return [verdict('FAIL', `${rows} rows compared, ${wrong} differ: ${named.join('; ')}${more}`, rows)];
}

async function scan(ctx: Context, store: OpenStore, steps: TableSteps, columns: readonly PairedColumn[]) {
  const total = await store.count(steps.table.name);
  const keys: KeyTexts[] = [];
  let [rows, wrong] = [0, 0];
  for (let after: KeyTexts | null = null; ;) {
    await turn(ctx);
    const [chunk] = await accessOf(store).query(steps.chunk(after, null, CHUNK_ROWS, steps.isInStep(columns)));
    const [count, last, differing, some] = chunk ?? [];
    if (last == null) return { rows, wrong, keys };
    rows += Number(count);
    wrong += Number(differing);
    if (some != null) keys.push(...(JSON.parse(String(some)) as KeyTexts[]));
    after = JSON.parse(String(last)) as KeyTexts;
    const what = `verify ${steps.table.name}`;
    ctx.report.progress({ what, done: rows, total: Math.max(total, rows), unit: 'rows' });
  }
}

/** Rows whose new column is not what `up` makes of the old ones. */
export async function differing(store: OpenStore, { table }: TableSteps, column: PairedColumn): Promise<number> {
  const [row] = await accessOf(store).query(
    `SELECT count(*) FROM ${table.qualified} AS ${table.alias} WHERE NOT (${isUp(column)})`,
  );
  return Number(row?.[0]);
}
