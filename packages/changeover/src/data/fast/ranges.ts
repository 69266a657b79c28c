import type { Context } from '../../plan/context.ts';
import type { Key, LedgerEntry } from '../../plan/stores.ts';
import { decodeKey } from '../values.ts';

/** Number of the ledger's entry that holds the boundaries; the ranges have the numbers from 0. */
const PLAN_SEQ = -1;

/** Source keys strictly after `after` and up to `upTo`, encoded; null: from the start, to the end. */
export interface Range {
  /** Number in the ledger. */
  readonly seq: number;
  readonly after: string | null;
  readonly upTo: string | null;
}

/** The ranges between `boundaries`; together they hold every key, whichever come and go. */
export function rangesBetween(boundaries: readonly string[]): Range[] {
  return [...boundaries, null].map((upTo, seq) => ({ seq, after: boundaries[seq - 1] ?? null, upTo }));
}

export function keysOf({ after, upTo }: Pick<Range, 'after' | 'upTo'>): { after: Key | null; upTo: Key | null } {
  return { after: after === null ? null : decodeKey(after), upTo: upTo === null ? null : decodeKey(upTo) };
}

/**
 * The entry that comes before all chunks: whoever resumes cuts the table at the same keys. `lastKey` holds the boundaries, as a JSON array of
 * encoded keys.
 */
export function planEntry(ctx: Context, sync: string, table: string, boundaries: readonly string[]): LedgerEntry {
  const lastKey = JSON.stringify(boundaries);
  return { run: ctx.runId, sync, table, seq: PLAN_SEQ, lastKey, rows: 0, hash: '', complete: false };
}

/** The boundaries of a table that was begun in ranges, or null. */
export function boundariesIn(entries: readonly LedgerEntry[]): readonly string[] | null {
  const plan = entries.find(({ seq }) => seq === PLAN_SEQ);
  return plan?.lastKey == null ? null : (JSON.parse(plan.lastKey) as string[]);
}
