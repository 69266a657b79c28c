import type { OpenStore, Row, TableShape, Value } from '../plan/stores.ts';
import { exactInteger } from './values.ts';

/** How values of a column compare. `exact` covers all types whose output may differ from their input: the store itself decides. */
type Comparison = 'integer' | 'real' | 'boolean' | 'text' | 'exact';

/** By the type's name as the store declares it: SQLite's, Postgres's, and `any` of stores without types. */
function comparisonOf(type: string): Comparison {
  const name = type.toLowerCase();
  if (/^(tiny|small|medium|big)?int(eger)?\d?\b|serial|^int[248]$/.test(name)) return 'integer';
  if (/^(real|double|float)/.test(name)) return 'real';
  if (/^bool/.test(name)) return 'boolean';
  if (/^(text|varchar|character varying|clob)/.test(name)) return 'text';
  return 'exact';
}

/** A value in the form that a column of this type gives back; where that cannot be told, the value as it is. */
function normalized(value: Value, comparison: Comparison): Value {
  if (value === null) return null;
  switch (comparison) {
    case 'integer':
      if (typeof value === 'boolean') return value ? 1 : 0;
      if (typeof value === 'bigint') return exactInteger(value);
      return typeof value === 'string' && /^-?\d+$/.test(value) ? exactInteger(BigInt(value)) : value;
    case 'real':
      if (typeof value === 'bigint') return BigInt(Number(value)) === value ? Number(value) : value;
      return typeof value === 'boolean' ? Number(value) : value;
    case 'boolean':
      if (value === 1 || value === 1n) return true;
      return value === 0 || value === 0n ? false : value;
    case 'text':
      return typeof value === 'bigint' || Number.isSafeInteger(value) ? String(value) : value;
    case 'exact':
      return typeof value === 'bigint' ? exactInteger(value) : value;
  }
}

/** True for equal values of one type, as a store gives them. */
export function isSameValue(a: Value, b: Value): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0;
  return a === b || (typeof a === 'number' && Number.isNaN(a) && Number.isNaN(b));
}

/** Compares rows that a target should hold with the rows that it holds, by the types of the target's columns. */
export class RowComparison {
  readonly #store: OpenStore;
  readonly #shape: TableShape;
  readonly #comparisons: ReadonlyMap<string, Comparison>;

  constructor(store: OpenStore, shape: TableShape) {
    this.#store = store;
    this.#shape = shape;
    this.#comparisons = new Map(shape.columns.map(({ name, type }) => [name, comparisonOf(type)]));
  }

  /** Rows in the form in which the target's keys come back, so that they find their counterpart. */
  async withKeys(rows: readonly Row[]): Promise<readonly Row[]> {
    const isPlain = this.#shape.key.every((column) => this.#comparisonOf(column) !== 'exact');
    return isPlain || this.#store.canonical === undefined ? rows : this.#canonical(rows);
  }

  keyValue(column: string, value: Value): Value {
    return normalized(value, this.#comparisonOf(column));
  }

  /** Names of the columns in which each pair differs, in the order of the pairs; no names where the rows are equal. */
  async differences(pairs: readonly (readonly [expected: Row, actual: Row])[]): Promise<string[][]> {
    const found = pairs.map(([expected, actual]) => this.#columnsThatDiffer(expected, actual));
    const doubtful = found.flatMap((columns, index) => (columns.length > 0 ? [index] : []));
    if (doubtful.length === 0 || this.#store.canonical === undefined) return found;
    const settled = await this.#canonical(doubtful.map((index) => pairs[index]?.[0] ?? {}));
    doubtful.forEach((index, position) => {
      const actual = pairs[index]?.[1];
      const expected = settled[position];
      if (actual !== undefined && expected !== undefined) found[index] = this.#columnsThatDiffer(expected, actual);
    });
    return found;
  }

  /** Only the columns that the row carries; the store fills the others, which are not ours to compare. */
  async #canonical(rows: readonly Row[]): Promise<Row[]> {
    const whole = (await this.#store.canonical?.(this.#shape.name, rows)) ?? rows;
    return rows.map((row, index) =>
      Object.fromEntries(Object.keys(row).map((column) => [column, whole[index]?.[column] ?? null])),
    );
  }

  #columnsThatDiffer(expected: Row, actual: Row): string[] {
    return Object.keys(expected).filter((column) => {
      const comparison = this.#comparisonOf(column);
      return !isSameValue(
        normalized(expected[column] ?? null, comparison),
        normalized(actual[column] ?? null, comparison),
      );
    });
  }

  #comparisonOf(column: string): Comparison {
    return this.#comparisons.get(column) ?? 'exact';
  }
}
