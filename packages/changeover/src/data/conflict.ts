import type { Key } from '../plan/stores.ts';

/**
 * Rows outside a batch hold a unique value that the batch wants: a value moved from one row to another, and only one of the
 * two is in the batch. The writer widens the batch by these keys. Never leaves `data/`.
 */
export class UniqueConflict extends Error {
  override readonly name = 'UniqueConflict';
  readonly table: string;
  readonly keys: readonly Key[];

  constructor(table: string, keys: readonly Key[], options: { readonly cause: unknown }) {
    super(`${table}: ${keys.length} rows outside the batch hold its unique values`, options);
    this.table = table;
    this.keys = keys;
  }
}
