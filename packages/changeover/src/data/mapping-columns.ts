import type { Computed, Row, TableShape, Value } from '../plan/stores.ts';
import type { ColumnSource, Constant, Expression, RowFunction, TableMapping } from '../plan/sync.ts';
import { Unfit, type Codec } from './schema/codec.ts';

export interface MappedTable {
  readonly sync: string;
  /** Name of the mapping, as the plan has it. */
  readonly name: string;
  readonly mapping: TableMapping;
  readonly legacy: TableShape;
  readonly next: TableShape;
  /** Target column → how its values travel; only where tables are made from the source's schema. */
  readonly codecs?: ReadonlyMap<string, Codec>;
  /** Target column → its constant as the target gives it back. Default: as the plan has it. */
  readonly constants?: Row;
}

/** The tables of a mapping on both sides. */
export function endsOf(name: string, { from = name, to = name }: TableMapping): { from: string; to: string } {
  return { from, to };
}

export function isConstant(source: ColumnSource): source is Constant {
  return typeof source === 'object' && 'constant' in source;
}

export function isExpression(source: ColumnSource): source is Expression {
  return typeof source === 'object' && 'expression' in source;
}

export type ColumnPairs = readonly (readonly [target: string, source: string])[];

/** Target column and where its values come from, for everything that moves without a row function. */
export function columnSources({ mapping, legacy, next }: MappedTable): [target: string, source: ColumnSource][] {
  if (mapping.columns !== undefined) return Object.entries(mapping.columns);
  const known = new Set(next.columns.map(({ name }) => name));
  return legacy.columns.filter(({ name }) => known.has(name)).map(({ name }) => [name, name]);
}

/** Target and source column of every value that moves as it is. */
export function columnPairs(table: MappedTable): ColumnPairs {
  return columnSources(table).flatMap(([target, source]) =>
    typeof source === 'string' ? [[target, source] as const] : [],
  );
}

type Convert = ((value: Value) => Value) | null;

/** The way of one column, with its conversions in both directions. */
export interface ColumnWay {
  readonly target: string;
  readonly source: string;
  readonly to: Convert;
  readonly back: Convert;
}

/** A value of a computed column is no column of the source. */
interface ComputedWay extends ColumnWay, Computed {}

export interface ColumnWays {
  readonly moved: readonly ColumnWay[];
  /** Target columns that the source computes. */
  readonly there: readonly ComputedWay[];
  /** Source columns that the target computes. */
  readonly back: readonly ComputedWay[];
  readonly constants: readonly (readonly [target: string, value: Value])[];
}

export function columnWays(table: MappedTable): ColumnWays {
  const sources = columnSources(table);
  const expressions = sources.flatMap(([target, source]) => (isExpression(source) ? [[target, source] as const] : []));
  return {
    moved: columnPairs(table).map(([target, source]) => {
      const codec = table.codecs?.get(target);
      return { target, source, to: codec?.to ?? null, back: codec?.back ?? null };
    }),
    there: expressions.map(([target, { expression }]) => computedWay(target, expression)),
    back: expressions.flatMap(([, { back = {} }]) =>
      Object.entries(back).map(([column, sql]) => computedWay(column, sql)),
    ),
    constants: sources.flatMap(([target, source]) =>
      isConstant(source) ? [[target, table.constants?.[target] ?? source.constant] as const] : [],
    ),
  };
}

/** No column has such a name without being quoted; the SQL itself keeps two expressions apart. */
function computedWay(target: string, sql: string): ComputedWay {
  const name = `= ${sql}`;
  return { target, source: name, name, sql, to: null, back: null };
}

export function inverted({ target, source, to, back }: ColumnWay): ColumnWay {
  return { target: source, source: target, to: back, back: to };
}

export function picker(ways: readonly ColumnWay[], constants: ColumnWays['constants']): RowFunction {
  return (row: Row) => {
    const picked: Record<string, Value> = {};
    for (const { target, source, to } of ways) picked[target] = converted(row[source] ?? null, to, source);
    for (const [target, value] of constants) picked[target] = value;
    return picked;
  };
}

export function converted(value: Value, to: Convert, column: string): Value {
  if (to === null || value === null) return value;
  try {
    return to(value);
  } catch (error) {
    if (error instanceof Unfit) throw new Unfit(`${column}: ${error.message}`, { cause: error });
    throw error;
  }
}
