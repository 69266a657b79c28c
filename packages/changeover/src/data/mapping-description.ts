import type { TableSummary } from '../plan/ports.ts';
import type { ColumnSource, TableMapping } from '../plan/sync.ts';
import { endsOf, isConstant, isExpression } from './mapping-columns.ts';

/** What `plan` shows of a mapping: where columns come from, where they go on the way back, and what is given up. */
export function describeMapping(name: string, mapping: TableMapping): Pick<TableSummary, 'columns' | 'givenUp'> {
  const { from, to } = endsOf(name, mapping);
  const isReturned = (mapping.reverse ?? 'rows') === 'rows';
  const sources = mapping.row === undefined ? Object.entries(mapping.columns ?? {}) : [];
  return {
    columns: sources.map(([column, source]) => ({
      column: `${to}.${column}`,
      from: originOf(from, source),
      back: isReturned ? returnOf(from, source) : 'does not go back',
    })),
    givenUp: givenUpBy(mapping),
  };
}

/** What a mapping gives up, that of its columns included. */
export function givenUpBy({ row, columns = {}, givesUp = [] }: TableMapping): string[] {
  const sources = row === undefined ? Object.values(columns) : [];
  return [...givesUp, ...sources.flatMap((source) => (isExpression(source) ? (source.givesUp ?? []) : []))];
}

function originOf(from: string, source: ColumnSource): string {
  if (typeof source === 'string') return `${from}.${source}`;
  return isConstant(source) ? `constant ${JSON.stringify(source.constant)}` : `expression ${source.expression}`;
}

function returnOf(from: string, source: ColumnSource): string {
  if (typeof source === 'string') return `${from}.${source}`;
  if (isConstant(source)) return 'nothing to return';
  const back = Object.entries(source.back ?? {}).map(([column, sql]) => `${from}.${column} = ${sql}`);
  return back.length > 0 ? back.join(', ') : `given up: ${source.givesUp ?? ''}`;
}
