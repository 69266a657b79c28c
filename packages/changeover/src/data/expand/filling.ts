import type { Context } from '../../plan/context.ts';
import type { Value } from '../../plan/stores.ts';
import { pacedTurn } from '../turn.ts';
import { change } from './build.ts';
import type { ExpandedTable } from './expansions.ts';
import type { Made } from './statements.ts';
import { accessOf, type KeyTexts } from './table.ts';
import { FILLING } from './trigger.ts';

/** A batch that took longer than this keeps writers of its rows waiting for too long: the next one is half as large. */
const LONG_BATCH_MS = 100;
const SHORT_BATCH_MS = 25;
const MIN_ROWS = 10;

/**
 * The rows that were there before the trigger get their values, in batches along the key up to the last key that was there; each batch and
 * its entry in the ledger are one transaction. Our lock timeout is shorter than Postgres's deadlock timeout, so a batch that meets a
 * transaction of the application is the one that steps back.
 */
export class Filling {
  readonly #of: ExpandedTable;
  readonly #made: Made;

  constructor(of: ExpandedTable, made: Made) {
    this.#of = of;
    this.#made = made;
  }

  async run(ctx: Context): Promise<void> {
    const { definition, store, steps } = this.#of;
    const access = accessOf(store);
    const { name } = steps.table;
    const ledger = (await store.ledger(ctx.runId, definition.name)).filter(({ table }) => table === name);
    if (steps.paired.length === 0 || ledger.some(({ complete }) => complete)) return;
    const upTo = await this.#bound();
    const total = await store.count(name);
    let after = keyOf(ledger.at(-1)?.lastKey ?? null);
    let done = ledger.reduce((sum, { rows }) => sum + rows, 0);
    let limit = Math.min(definition.chunkRows, 10 * MIN_ROWS);
    for (let seq = ledger.length; ; seq++) {
      await pacedTurn(ctx);
      const [chunk] = upTo === null ? [] : await access.query(steps.chunk(after, upTo, limit, 'true'));
      const last = keyOf(chunk?.[1] ?? null);
      if (last === null) {
        await change(this.#of, steps.table.name, [steps.end(ctx.runId, seq)]);
        return;
      }
      ctx.faults.at('data.copy.before_chunk');
      const startMs = ctx.clock.monotonicMs();
      await change(this.#of, steps.table.name, [FILLING, steps.fill(ctx.runId, seq, after, last)]);
      ctx.faults.at('data.copy.after_chunk');
      const tookMs = ctx.clock.monotonicMs() - startMs;
      if (tookMs > LONG_BATCH_MS) limit = Math.max(MIN_ROWS, Math.floor(limit / 2));
      else if (tookMs < SHORT_BATCH_MS) limit = Math.min(definition.chunkRows, limit * 2);
      after = last;
      done += Number(chunk?.[0]);
      ctx.pace?.spent(Number(chunk?.[0]), 0);
      ctx.report.progress({ what: `fill ${name}`, done, total: Math.max(total, done), unit: 'rows' });
      if (definition.pauseMs > 0) await ctx.clock.sleep(definition.pauseMs, ctx.signal);
    }
  }

  /** Looked up once, after the trigger was there: without it, an application that only adds rows would never let the backfill end. */
  async #bound(): Promise<KeyTexts | null> {
    const { store, steps } = this.#of;
    const [kept] = this.#made.get('bound') ?? [];
    if (kept !== undefined) return keyOf(kept);
    const [row] = await accessOf(store).query(steps.lastKey());
    const bound = keyOf(row?.[0] ?? null);
    if (bound !== null) await change(this.#of, steps.table.name, [steps.record('bound', JSON.stringify(bound))]);
    return bound;
  }
}

function keyOf(json: Value): KeyTexts | null {
  return json === null ? null : (JSON.parse(String(json)) as KeyTexts);
}
