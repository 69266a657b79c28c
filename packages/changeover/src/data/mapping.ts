import { ChangeoverError } from '../errors.ts';
import type { Key, Row, TableShape, Value } from '../plan/stores.ts';
import type { RowFunction, TableMapping } from '../plan/sync.ts';
import type { Direction } from '../plan/words.ts';
import { Unfit, type Codec } from './schema/codec.ts';

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
  /** True where columns are converted, so that `map` may throw `Unfit`. */
  readonly isConverting: boolean;
  /** Why a key has no counterpart, where it is a value that the target cannot hold. */
  readonly refusal: (key: Key) => string | null;
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
  /** Target column → how its values travel; only where tables are made from the source's schema. */
  readonly codecs?: ReadonlyMap<string, Codec>;
}

/** The way of one table in a direction, or null where nothing flows that way. */
export function tableMap(table: MappedTable, direction: Direction): TableMap | null {
  const { mapping, legacy, next } = table;
  const keys = keyFunctions(table);
  const ways = conversionsOf(table);
  const to = mapping.row?.to ?? picker(ways);
  const back = mapping.row === undefined ? picker(ways.map(inverted)) : (mapping.row.back ?? null);
  const isConverting = mapping.row === undefined && ways.some(({ to: convert }) => convert !== null);
  const isCustom = mapping.row !== undefined || mapping.key !== undefined;
  // What is converted is looked at value by value.
  const isPlain = !isCustom && ways.every(({ to: there, back: again }) => there === null && again === null);
  const pairs = isPlain ? columnPairs(table) : null;
  if (direction === 'forward')
    return {
      direction,
      source: legacy,
      target: next,
      map: to,
      columns: pairs,
      isCustom,
      isConverting,
      refusal: () => null,
      keyTo: keys.to,
      keyBack: orNull(keys.back),
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
    isConverting,
    refusal: (key) => refusalOf(keys.back, key),
    keyTo: orNull(keys.back),
    keyBack: orNull(keys.to),
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

type Convert = ((value: Value) => Value) | null;

/** One column's way, with its conversions in both directions. */
interface Conversion {
  readonly target: string;
  readonly source: string;
  readonly to: Convert;
  readonly back: Convert;
}

function conversionsOf(table: MappedTable): Conversion[] {
  return columnPairs(table).map(([target, source]) => {
    const codec = table.codecs?.get(target);
    return { target, source, to: codec?.to ?? null, back: codec?.back ?? null };
  });
}

function inverted({ target, source, to, back }: Conversion): Conversion {
  return { target: source, source: target, to: back, back: to };
}

function picker(pairs: readonly Conversion[]): RowFunction {
  return (row: Row) => {
    const picked: Record<string, Value> = {};
    for (const { target, source, to } of pairs) picked[target] = converted(row[source] ?? null, to, source);
    return picked;
  };
}

function converted(value: Value, to: Convert, column: string): Value {
  if (to === null || value === null) return value;
  try {
    return to(value);
  } catch (error) {
    if (error instanceof Unfit) throw new Unfit(`${column}: ${error.message}`, { cause: error });
    throw error;
  }
}

/** A key whose values the other side cannot hold has no counterpart there. */
function orNull(keyTo: (key: Key) => Key | null): (key: Key) => Key | null {
  return (key) => {
    try {
      return keyTo(key);
    } catch (error) {
      if (error instanceof Unfit) return null;
      throw error;
    }
  };
}

function refusalOf(keyTo: (key: Key) => Key | null, key: Key): string | null {
  try {
    keyTo(key);
    return null;
  } catch (error) {
    if (error instanceof Unfit) return error.message;
    throw error;
  }
}

/** Key functions of the plan, or those that follow from the columns. */
function keyFunctions(table: MappedTable): { to: (key: Key) => Key | null; back: (key: Key) => Key | null } {
  const { mapping, legacy, next } = table;
  if (mapping.key !== undefined) return mapping.key;
  if (mapping.row !== undefined) {
    if (legacy.key.length !== next.key.length) throw unmapped(table);
    return { to: (key) => key, back: (key) => key };
  }
  const pairs = conversionsOf(table);
  const places = (keyOfTarget: readonly string[], keyOfSource: readonly string[], ways: readonly Conversion[]) =>
    keyOfTarget.map((column) => {
      const way = ways.find(({ target }) => target === column);
      const position = way === undefined ? -1 : keyOfSource.indexOf(way.source);
      if (way === undefined || position === -1) throw unmapped(table);
      return { position, way };
    });
  const reorder = (order: ReturnType<typeof places>) => (key: Key) =>
    order.map(({ position, way }) => converted(key[position] ?? null, way.to, way.source));
  return {
    to: reorder(places(next.key, legacy.key, pairs)),
    back: reorder(places(legacy.key, next.key, pairs.map(inverted))),
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
