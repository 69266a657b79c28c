import type { Context } from './context.ts';
import type { ExpandDefinition } from './expand.ts';
import type { Key, Row, Store } from './stores.ts';
import type { Json } from './words.ts';

/** What a row function may use besides its row. */
export interface MapTools {
  /** The row of another table of the same source, as it is now, or null. */
  lookup(table: string, key: Key): Promise<Row | null>;
  readonly ctx: Context;
}

/** A function over one row; null means that the row has no counterpart on the other side. May be slow (it is awaited, with progress). */
export type RowFunction = (row: Row, tools: MapTools) => Row | null | Promise<Row | null>;

/** The same value in every row of the target. A row of the target with another value comes from somewhere else, and does not go back. */
export interface Constant {
  readonly constant: null | boolean | number | string;
}

/** A value that the source computes in its SELECT, in its own SQL. */
export interface Expression {
  /** SQL over the columns of one row of the source. It must give the same value for the same row, whenever it is computed. */
  readonly expression: string;
  /** Source column → SQL over the columns of one row of the target, which computes the column again. */
  readonly back?: Readonly<Record<string, string>>;
  /** What a rollback cannot return, in words: what the value is made of keeps its former values. Needed where there is no `back`. */
  readonly givesUp?: string;
}

/** Where a target column's values come from: a source column by its name, a constant, or an expression. */
export type ColumnSource = string | Constant | Expression;

/**
 * How one table of the target comes out of one table of the source.
 *
 * One source table may feed several target tables: those that hold a part of its columns each are `partOf` one of them, of all others only
 * one carries rows back and the rest is `derived`. Several source tables may feed one target table: constants tell their rows apart, or
 * they are `partOf` one of them.
 */
export interface TableMapping {
  /** Source table. Default: the name of this mapping. */
  readonly from?: string;
  /** Target table. Default: the name of this mapping. */
  readonly to?: string;
  /**
   * Target column → where its values come from. Default: every column under its own name. Columns that are not named are not moved and must
   * be named in `givesUp`. Ignored where `row` is given.
   */
  readonly columns?: Readonly<Record<string, ColumnSource>>;
  /**
   * Name of another mapping of this sync, of which this one holds further columns of the same rows, under the same key. Both come from one
   * source table, whose columns they divide, or go to one target table, whose columns they fill together. There is a whole row where there is
   * one of the other mapping; a part of which every column is NULL needs no row.
   */
  readonly partOf?: string;
  /** Row functions, for everything that columns cannot say. `back` is what makes a rollback lossless. */
  readonly row?: { readonly to: RowFunction; readonly back?: RowFunction };
  /** Target key from the source key alone, and back; needed for deletes. Default: the same values. `null`: no counterpart. */
  readonly key?: { to(key: Key): Key; back(key: Key): Key | null };
  /**
   * `rows`: changes are carried back row by row. `derived`: the legacy needs nothing back, it is contained in another table.
   * `none`: given up; `givesUp` must say so. Default `rows`.
   */
  readonly reverse?: 'rows' | 'derived' | 'none';
  /** What a rollback cannot return, in words that `plan` and `status` show. */
  readonly givesUp?: readonly string[];
}

/** How the legacy keeps the values of a column, where its type does not say it, and which type they get. */
export interface ColumnForm {
  /** Type in the target's own words, such as `timestamptz`, `timestamptz(0)` or `uuid`. */
  readonly type: string;
  /**
   * `unix-seconds`, `unix-milliseconds`: numbers. Times as text: `sql-text` (`2026-05-01 12:00:00`, fraction without trailing zeros), `js-text`
   * (`2026-05-01T12:00:00.000Z`), `python-text` (`2026-05-01T12:00:00`, six digits of a fraction or none). `uuid-bytes`: 16 bytes;
   * `uuid-hex`: 32 digits without dashes.
   */
  readonly from: (typeof COLUMN_FORMS)[number];
  /** IANA zone of times that do not name one: needed for `sql-text` and `python-text`. */
  readonly zone?: string;
}

export const COLUMN_FORMS = [
  'unix-seconds',
  'unix-milliseconds',
  'sql-text',
  'js-text',
  'python-text',
  'uuid-bytes',
  'uuid-hex',
] as const;

/** The target's tables are made from the legacy's schema. */
export interface SchemaOptions {
  /**
   * `table.column` of the target → its type in the target's own words, or how its values are read. Whatever a rule calls lossy or ambiguous is
   * refused unless the column is named here; naming it accepts what `plan` says is lost.
   */
  readonly columns?: Readonly<Record<string, string | ColumnForm>>;
  /** Defaults, generated columns, checks, indexes and foreign keys that are not made, by the names that `plan` shows. */
  readonly omit?: readonly string[];
}

/** How the rows of a sync fall into slices that are moved one at a time: the tenants, networks or accounts of a system. Names are the new side's. */
export interface SliceOptions {
  /** Column that says whose a row is. A slice is named by its value, as text. */
  readonly column: string;
  /** Tables without that column: their own column that holds the key of a row of `parent`, to which they then belong. */
  readonly through?: Readonly<Record<string, SliceParent>>;
  /** Tables that belong to no slice. They are moved by the run without a slice, which comes first. */
  readonly shared?: readonly string[];
}

export interface SliceParent {
  readonly column: string;
  readonly parent: string;
  /** Column of `parent` that is pointed at. Default `id`. */
  readonly key?: string;
}

/** Rows of one store moved to another store, online, in both directions. */
export interface SyncDefinition {
  readonly kind: 'sync';
  readonly name: string;
  readonly from: Store;
  readonly to: Store;
  readonly tables: Readonly<Record<string, TableMapping>>;
  /** Rows in a chunk of the copy. Default 1000. */
  readonly chunkRows: number;
  /** Null: the target's tables are there already, or `next.setup` makes them. */
  readonly schema: SchemaOptions | null;
  /** Null: everything moves at once. */
  readonly slices: SliceOptions | null;
  readonly spec: Json;
}

/** A folder of files moved to another folder, online, in both directions. */
export interface FilesDefinition {
  readonly kind: 'files';
  readonly name: string;
  /** Folder of the legacy, relative to the plan or absolute. */
  readonly from: string;
  readonly to: string;
  /** Only files whose name matches; default all. Matched against the path relative to the folder, with `/`. */
  readonly only: readonly string[] | null;
  readonly spec: Json;
}

export type DataDefinition = SyncDefinition | FilesDefinition | ExpandDefinition;
