import { ChangeoverError } from '../errors.ts';
import type { Key, Row, TableShape, Value } from '../plan/stores.ts';
import type { RowFunction, TableMapping } from '../plan/sync.ts';
import type { Direction } from '../plan/words.ts';

/** One table's way from a source to a target. Forward and reverse are the same thing with the ends exchanged. */
export interface TableMap {
  readonly direction: Direction;
  readonly source: TableShape;
  readonly target: TableShape;
  /** Null: the row has no counterpart in the target. */
  readonly map: RowFunction;
  /** Target and source column of every value, where nothing but columns move; null where a function of the plan decides. */
  readonly columns: ColumnPairs | null;
  /** True where `map` is the plan's own function: it may be slow, may fail, and its keys are not ours. */
  readonly isCustom: boolean;
  /** Key of the target from a key of the source. Null: no counterpart. */
  readonly keyTo: (key: Key) => Key | null;
  /** Key of the source from a key of the target. Null: the target's row does not come from this table. */
  readonly keyBack: (key: Key) => Key | null;
  /**
   * The way of the other direction. A target's row that it maps to null never had a source's row, so it is not an extra one.
   * Null where there is no such way.
   */
  readonly opposite: RowFunction | null;
}

export interface MappedTable {
  readonly sync: string;
  /** Name of the target table, as the plan has it. */
  readonly name: string;
  readonly mapping: TableMapping;
  readonly legacy: TableShape;
  readonly next: TableShape;
}

/** The way of one table in a direction, or null where nothing flows that way. */
export function tableMap(table: MappedTable, direction: Direction): TableMap | null {
  const { mapping, legacy, next } = table;
  const keys = keyFunctions(table);
  const to = mapping.row?.to ?? picker(columnPairs(table));
  const back = mapping.row === undefined ? picker(invert(columnPairs(table))) : (mapping.row.back ?? null);
  const isCustom = mapping.row !== undefined || mapping.key !== undefined;
  const pairs = isCustom ? null : columnPairs(table);
  if (direction === 'forward')
    return {
      direction,
      source: legacy,
      target: next,
      map: to,
      columns: pairs,
      isCustom,
      keyTo: keys.to,
      keyBack: keys.back,
      opposite: null,
    };
  if ((mapping.reverse ?? 'rows') !== 'rows' || back === null) return null;
  return {
    direction,
    source: next,
    target: legacy,
    map: back,
    columns: pairs === null ? null : invert(pairs),
    isCustom,
    keyTo: keys.back,
    keyBack: keys.to,
    opposite: to,
  };
}

export type ColumnPairs = readonly (readonly [target: string, source: string])[];

/** Target and source column of every value that moves without a row function. */
export function columnPairs({ mapping, legacy, next }: MappedTable): ColumnPairs {
  if (mapping.columns !== undefined) return Object.entries(mapping.columns);
  const known = new Set(next.columns.map(({ name }) => name));
  return legacy.columns.filter(({ name }) => known.has(name)).map(({ name }) => [name, name]);
}

function invert(pairs: ColumnPairs): ColumnPairs {
  return pairs.map(([target, source]) => [source, target]);
}

function picker(pairs: ColumnPairs): RowFunction {
  return (row: Row) => {
    const picked: Record<string, Value> = {};
    for (const [target, source] of pairs) picked[target] = row[source] ?? null;
    return picked;
  };
}

/** Key functions of the plan, or those that follow from the columns. */
function keyFunctions(table: MappedTable): { to: (key: Key) => Key | null; back: (key: Key) => Key | null } {
  const { mapping, legacy, next } = table;
  if (mapping.key !== undefined) return mapping.key;
  if (mapping.row !== undefined) {
    if (legacy.key.length !== next.key.length) throw unmapped(table);
    return { to: (key) => key, back: (key) => key };
  }
  const pairs = columnPairs(table);
  const positions = (keyOfTarget: readonly string[], keyOfSource: readonly string[], ways: ColumnPairs) =>
    keyOfTarget.map((column) => {
      const source = ways.find(([target]) => target === column)?.[1];
      const position = source === undefined ? -1 : keyOfSource.indexOf(source);
      if (position === -1) throw unmapped(table);
      return position;
    });
  const reorder = (order: readonly number[]) => (key: Key) => order.map((position) => key[position] ?? null);
  return {
    to: reorder(positions(next.key, legacy.key, pairs)),
    back: reorder(positions(legacy.key, next.key, invert(pairs))),
  };
}

function unmapped({ sync, name, legacy, next }: MappedTable): ChangeoverError<'CHG_DATA_KEY_UNMAPPED'> {
  return new ChangeoverError('CHG_DATA_KEY_UNMAPPED', {
    sync,
    table: name,
    target: next.key.join(', '),
    source: legacy.key.join(', '),
  });
}
