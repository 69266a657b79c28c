import type { SchemaAccess, Store, Value } from '../../plan/stores.ts';
import type { ColumnDescription, TableDescription } from './description.ts';

/** One thing that is made in the target, by one statement. */
export interface Made {
  /** `validation`: a foreign key that is there already is checked against the rows. */
  readonly kind: 'type' | 'sequence' | 'table' | 'index' | 'constraint' | 'validation';
  /** Table that it belongs to. */
  readonly table: string;
  readonly name: string;
  readonly sql: string;
  /** Null: it goes with what it belongs to. */
  readonly removal: string | null;
}

/**
 * Statements in the order in which they are made: the table with its key, then, when the rows are there, what speeds up and constrains it, and
 * when all tables have that, what ties them together.
 */
export interface TableStatements {
  readonly first: readonly Made[];
  readonly later: readonly Made[];
  readonly last: readonly Made[];
}

/** What stands in the way of a table, and what to do about it. */
export interface Problem {
  readonly message: string;
  readonly remedy: string;
}

/**
 * What making tables has to know of one engine. A new engine is a folder with a `read` and a `write` file, and its type rules, named in
 * `dialects.ts`.
 */
export interface Dialect {
  readonly kind: Store['kind'];
  /** Longest name in bytes; null: no limit. */
  readonly nameLimit: number | null;
  /** True where two names that differ in case only are the same name. */
  readonly ignoresCase: boolean;
  /** Names of columns that the engine keeps for itself, in lower case. */
  readonly reservedColumns: readonly string[];
  quoted(name: string): string;
  read(access: SchemaAccess, store: string, table: string): Promise<TableDescription>;
  /** A constant in the engine's words, for a column of this type. */
  literal(value: Value, column: ColumnDescription): string;
  /** The time of the insert, as text or as a time, in the engine's words; null where it has none that is the same. */
  now(word: string, column: ColumnDescription): string | null;
  /** What this engine cannot make of a table, whatever the rules say; `table` is in its own words, as it is for `statements`. */
  problems(table: TableDescription): readonly Problem[];
  statements(table: TableDescription): TableStatements;
  exists(access: SchemaAccess, made: Made): Promise<boolean>;
  /** What keeps us from writing rows in any order into tables with foreign keys; null where nothing does. */
  foreignKeyObstacle(access: SchemaAccess): Promise<Problem | null>;
  /**
   * Rows that are equal in columns of these types, as the engine compares them. `rows` is JSON: a list of rows, each the row's key and then its
   * values as text. Resolves with the keys of the first few groups.
   */
  duplicates(access: SchemaAccess, types: readonly string[], rows: string): Promise<readonly (readonly string[])[]>;
  /** The condition that two values are the same byte by byte, as the new side compares them by default. */
  isSame(one: string, other: string): string;
  /** True where rows may point at nothing although there is a foreign key. */
  readonly mayDangle: boolean;
  /** False where only a connection that asks for it has its foreign keys enforced. */
  readonly enforcesForeignKeys: boolean;
  /** True where a rollback undoes every statement: then all are tried in one transaction, otherwise by making and removing them. */
  readonly supportsTransactionalDdl: boolean;
}
