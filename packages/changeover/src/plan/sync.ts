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

/**
 * How one table of the target comes out of one table of the source. One source table may feed several target tables (a split);
 * then at most one of them carries rows back and the others are `derived`.
 */
export interface TableMapping {
  /** Source table. Default: the same name. */
  readonly from?: string;
  /**
   * Target column → source column. Default: every column under its own name. Columns that are not named are not moved and must be
   * named in `givesUp`. Ignored where `row` is given.
   */
  readonly columns?: Readonly<Record<string, string>>;
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
