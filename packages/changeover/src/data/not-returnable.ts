import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/**
 * The changed rows of the new side that the legacy cannot take back, with the reason. An append-only file, so that every process of the
 * run sees the same rows; a later line about a row replaces an earlier one.
 */
export class NotReturnable {
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  /** @param rows Rows by table and encoded key; null where the row did go back. */
  record(rows: readonly { readonly table: string; readonly key: string; readonly reason: string | null }[]): void {
    const known = this.#read();
    let lines = '';
    for (const { table, key, reason } of rows)
      if ((known.get(table)?.get(key) ?? null) !== reason) lines += `${JSON.stringify([table, key, reason])}\n`;
    if (lines === '') return;
    mkdirSync(path.dirname(this.#file), { recursive: true });
    appendFileSync(this.#file, lines);
  }

  /** How many rows of each table cannot go back, by reason. */
  summary(): { readonly table: string; readonly rows: number; readonly reason: string }[] {
    return [...this.#read()].flatMap(([table, reasons]) => {
      const counts = new Map<string, number>();
      for (const reason of reasons.values()) counts.set(reason, (counts.get(reason) ?? 0) + 1);
      return [...counts].map(([reason, rows]) => ({ table, rows, reason }));
    });
  }

  /** Encoded keys of the rows of `table` that cannot go back. */
  keys(table: string): ReadonlySet<string> {
    return new Set(this.#read().get(table)?.keys());
  }

  #read(): Map<string, Map<string, string>> {
    const rows = new Map<string, Map<string, string>>();
    if (!existsSync(this.#file)) return rows;
    for (const line of readFileSync(this.#file, 'utf8').split('\n')) {
      if (line === '') continue;
      const [table, key, reason] = JSON.parse(line) as [string, string, string | null];
      const reasons = rows.get(table) ?? new Map<string, string>();
      rows.set(table, reasons);
      if (reason === null) reasons.delete(key);
      else reasons.set(key, reason);
    }
    return rows;
  }
}
