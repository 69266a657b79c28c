import type { Membership, SliceScope } from '../../plan/stores.ts';

/** Why a row is refused whose key a row of another slice has. */
export const TAKEN_KEY = 'a row of another slice has this key';

/** How a store writes SQL. */
export interface Words {
  readonly quoted: (name: string) => string;
  readonly literal: (text: string) => string;
  /** A table as statements name it, wherever they run. */
  readonly table: (name: string) => string;
  /** Added to the column that says whose a row is: slices are told apart byte by byte. Default: nothing. */
  readonly exactly?: string;
}

/** Rows of a table that belong to a slice through a row of another one. */
export interface Below {
  readonly table: string;
  /** From `FROM` on; the rows are `c`. `{key}` stands for the values of `key` in the row above. */
  readonly from: string;
  /** Column of the row above that they point at. */
  readonly key: string;
}

/**
 * Whether a row is of the slice, in SQL. Three answers: it `belongs`; it is `elsewhere`, provably another's or nobody's; or neither, because a row
 * that it belongs through is not there (any more): then it may have belonged.
 */
export class Belonging {
  readonly #scope: SliceScope;
  readonly #words: Words;

  constructor(scope: SliceScope, words: Words) {
    this.#scope = scope;
    this.#words = words;
  }

  /** @param row What a column's name is put after: `t.`, `NEW.`. Null for a table that is seen whole. */
  belongs(table: string, row: string): string | null {
    return this.#asked(table, row, (column) => this.#isOurs(column));
  }

  elsewhere(table: string, row: string): string | null {
    return this.#asked(table, row, (column) => `(${this.#isOurs(column)}) IS NOT TRUE`);
  }

  /** Whether the row that this one points at is there; null where it points at none. Only for rows that belong through another. */
  hasParent(table: string, row: string): string | null {
    const [hop] = this.#scope.tables[table]?.hops ?? [];
    if (hop === undefined) return null;
    const { quoted } = this.#words;
    const column = `${row}${quoted(hop.column)}`;
    return `(${column} IS NULL OR EXISTS (SELECT 1 FROM ${this.#words.table(hop.parent)} AS s0 WHERE s0.${quoted(hop.key)} = ${column}))`;
  }

  /** Columns of a row on which it depends whose the row is, and the rows below it. */
  columns(table: string): readonly string[] {
    const membership = this.#scope.tables[table];
    if (membership === undefined) return [];
    return [...new Set([membership.hops[0]?.column ?? membership.column, ...this.below(table).map(({ key }) => key)])];
  }

  /** What belongs through a row of `table`. */
  below(table: string): Below[] {
    const { quoted } = this.#words;
    return Object.entries(this.#scope.tables).flatMap(([child, { hops }]) => {
      const at = hops.findIndex(({ parent }) => parent === table);
      const hop = hops[at];
      if (hop === undefined) return [];
      const joins = hops.slice(0, at).map((_, index) => this.#join(hops, index, index === 0 ? 'c' : `s${index - 1}`));
      const last = at === 0 ? 'c' : `s${at - 1}`;
      const from = `FROM ${this.#words.table(child)} AS c ${joins.join(' ')} WHERE ${last}.${quoted(hop.column)} IN ({key})`;
      return [{ table: child, from, key: hop.key }];
    });
  }

  /** A table before those through which it belongs: without them nobody would know whose its rows are. */
  childrenFirst(tables: readonly string[]): string[] {
    const depth = (table: string) => this.#scope.tables[table]?.hops.length ?? 0;
    return tables.toSorted((one, other) => depth(other) - depth(one));
  }

  #asked(table: string, row: string, ask: (column: string) => string): string | null {
    const membership = this.#scope.tables[table];
    if (membership === undefined) return null;
    const { hops, column } = membership;
    const { quoted } = this.#words;
    const [first, ...others] = hops;
    if (first === undefined) return ask(`${row}${quoted(column)}`);
    const joins = others.map((_, index) => this.#join(hops, index + 1, `s${index}`));
    const whose = ask(`s${hops.length - 1}.${quoted(column)}`);
    return (
      `EXISTS (SELECT 1 FROM ${this.#words.table(first.parent)} AS s0 ${joins.join(' ')} ` +
      `WHERE s0.${quoted(first.key)} = ${row}${quoted(first.column)} AND ${whose})`
    );
  }

  /** The parent of hop `index` as `s<index>`, reached from `from`. */
  #join(hops: Membership['hops'], index: number, from: string): string {
    const { quoted, table } = this.#words;
    const hop = hops[index];
    if (hop === undefined) return '';
    return `JOIN ${table(hop.parent)} AS s${index} ON s${index}.${quoted(hop.key)} = ${from}.${quoted(hop.column)}`;
  }

  #isOurs(column: string): string {
    return `${column}${this.#words.exactly ?? ''} = ${this.#words.literal(this.#scope.name)}`;
  }
}
