import type { SqliteConnection } from './connection.ts';
import type { SqliteShape } from './shape.ts';
import { quoted } from './text.ts';

/** Places of a table at which rows are looked at, from its start to its end, and rows at each. */
const PLACES = 64;
const ROWS_AT_PLACE = 8;

/**
 * Bytes of all rows, by rows at places that are spread over the table: the first ones alone say little where rows grew over the years. A table
 * without rowids is looked at at both ends.
 */
export function estimatedBytes(
  connection: SqliteConnection,
  { name, key, columns, sql }: SqliteShape,
  rows: number,
  form: 'values' | 'copy',
): number {
  const values = columns.map(({ name: column }) => {
    const length = `CASE typeof(${quoted(column)}) WHEN 'blob' THEN length(${quoted(column)}) WHEN 'text' THEN octet_length(${quoted(column)})`;
    // In binary COPY each value has its length before it, and NULL nothing else.
    return form === 'copy' ? `4 + ${length} WHEN 'null' THEN 0 ELSE 8 END` : `${length} ELSE 8 END`;
  });
  const length = (form === 'copy' ? ['2', ...values] : values).join(' + ');
  const sums = (where: string, order: string, limit: number, ...bound: bigint[]) =>
    connection.all(
      `SELECT count(*), coalesce(sum(length), 0) FROM (SELECT ${length} AS length FROM ${quoted(name)} ${where} ORDER BY ${order} LIMIT ${limit})`,
      ...bound,
    )[0] ?? [];
  const samples: unknown[][] = [];
  if (/\bWITHOUT\s+ROWID\b[^)]*$/i.test(sql)) {
    for (const direction of ['', ' DESC']) {
      const order = key.map((column) => `${quoted(column)}${direction}`).join(', ');
      samples.push(sums('', order, (PLACES * ROWS_AT_PLACE) / 2));
    }
  } else {
    const [edges] = connection.all(`SELECT min(rowid), max(rowid) FROM ${quoted(name)}`);
    const [first, last] = [edges?.[0], edges?.[1]];
    if (typeof first !== 'bigint' || typeof last !== 'bigint') return 0;
    for (let place = 0n; place < PLACES; place++) {
      const from = first + ((last - first) * place) / BigInt(PLACES);
      samples.push(sums('WHERE rowid >= ?', 'rowid', ROWS_AT_PLACE, from));
    }
  }
  const total = (index: number) => samples.reduce((sum, row) => sum + Number(row[index] ?? 0), 0);
  return Math.round((total(1) / Math.max(1, total(0))) * rows);
}
