import type { LedgerEntry } from '../plan/stores.ts';

/** An entry of the ledger as a store's query gives it: `tbl, seq, last_key, rows, hash, complete`. */
export function ledgerEntry(run: string, sync: string, cells: readonly unknown[]): LedgerEntry {
  const [table, seq, lastKey, rows, hash, complete] = cells;
  return {
    run,
    sync,
    table: String(table),
    seq: Number(seq),
    lastKey: typeof lastKey === 'string' ? lastKey : null,
    rows: Number(rows),
    hash: String(hash),
    complete: ['1', 't'].includes(String(complete)),
  };
}
