import type { Value } from '../../plan/stores.ts';
import type { ColumnRule } from './rules.ts';
import type { TableDesign } from './translate.ts';

/** Most rows whose values are kept for the question; it is asked only where the plan names a collation or a type of the target's own. */
const MAX_ROWS = 200_000;

/** A key or unique index whose columns the target may compare otherwise than the source. */
export interface DoubtfulIndex {
  readonly name: string;
  readonly rules: readonly ColumnRule[];
}

/** Indexes under which two values that differ in the source may be one in the target. */
export function doubtfulIndexes({ table, columns }: TableDesign): DoubtfulIndex[] {
  const unique = [
    { name: 'the primary key', names: table.primaryKey },
    ...table.indexes
      .filter(({ isUnique, isNative, where }) => isUnique && !isNative && where === null)
      .map(({ name, terms }) => ({ name, names: terms.flatMap(({ column }) => (column === null ? [] : [column])) })),
  ];
  return unique
    .map(({ name, names }) => ({
      name,
      rules: names.flatMap((column) => columns.find((rule) => rule.column === column) ?? []),
    }))
    .filter(({ rules }) => rules.some(comparesItsOwnWay));
}

function comparesItsOwnWay({ declared, type, isNamed }: ColumnRule): boolean {
  return isNamed && (/\bcollate\b/i.test(declared) || (type.kind === 'native' && type.needs === null));
}

/** The values of one such index, row by row, with the keys of the rows. */
export class CollectedValues {
  readonly index: DoubtfulIndex;
  readonly #rows: (readonly string[])[] = [];

  constructor(index: DoubtfulIndex) {
    this.index = index;
  }

  get isWhole(): boolean {
    return this.#rows.length < MAX_ROWS;
  }

  /** NULLs are never equal. */
  add(key: string, values: readonly Value[]): void {
    if (this.isWhole && values.every((value) => value !== null)) this.#rows.push([key, ...values.map(String)]);
  }

  /** As the engine is asked: a list of rows, each the key and then the values. */
  json(): string {
    return JSON.stringify(this.#rows);
  }
}
