/**
 * A table as any engine may declare it. A reader makes it from one engine's catalogue, the rules turn it into what the target can hold, and
 * a writer makes statements of it. Names are as the engine keeps them, unquoted.
 */

/**
 * What a type holds, whatever an engine calls it. `number` is SQLite's NUMERIC (an integer or a double, per value); `undeclared` is a type
 * that says nothing of what is stored; `native` is one that only its own engine has.
 */
export type ColumnType =
  | { readonly kind: 'integer'; readonly bits: 16 | 32 | 64 }
  | { readonly kind: 'real'; readonly bits: 32 | 64 }
  | { readonly kind: 'decimal' }
  | { readonly kind: 'number' }
  | { readonly kind: 'boolean' }
  /** `isPadded`: CHAR(n) of the standard, whose trailing blanks do not count. */
  | { readonly kind: 'text'; readonly isPadded: boolean }
  | { readonly kind: 'bytes' }
  | { readonly kind: 'uuid' }
  /** `isBinary`: the document is kept, its text is not. */
  | { readonly kind: 'json'; readonly isBinary: boolean }
  | { readonly kind: 'date' }
  | { readonly kind: 'time' }
  | { readonly kind: 'timestamp'; readonly hasZone: boolean }
  | { readonly kind: 'interval' }
  | { readonly kind: 'enum'; readonly values: readonly string[] }
  | { readonly kind: 'array' }
  | { readonly kind: 'domain'; readonly base: ColumnType }
  | { readonly kind: 'undeclared'; readonly isTime: boolean }
  /** `needs`: what has to be there before it, such as `extension citext`; null where the engine itself brings the type. */
  | { readonly kind: 'native'; readonly needs: string | null };

/** A piece of SQL in the words of the engine that it was read from. */
export type Expression = string;

export interface ColumnDescription {
  readonly name: string;
  readonly type: ColumnType;
  /** The type in the engine's own words, with length and precision. */
  readonly declared: string;
  readonly isNullable: boolean;
  /** Null: compares byte by byte, or as the database does by default. */
  readonly collation: string | null;
  readonly default: Expression | null;
  readonly generated: { readonly expression: Expression; readonly isStored: boolean } | null;
  /**
   * Who gives a key that an insert leaves out. `always` refuses others, `default` takes them; `sequence` is a default that asks a sequence of
   * its own.
   */
  readonly identity: 'always' | 'default' | 'sequence' | null;
}

export interface IndexDescription {
  readonly name: string;
  readonly isUnique: boolean;
  /** True for a UNIQUE constraint of the table. */
  readonly isConstraint: boolean;
  /** Terms in order; `column` null: an expression. */
  readonly terms: readonly {
    readonly column: string | null;
    readonly isDescending: boolean;
    readonly collation: string | null;
  }[];
  /** Condition of a partial index. */
  readonly where: Expression | null;
  /** Set where it cannot be said in the terms above; only its own engine can make it. */
  readonly isNative: boolean;
  /** From `USING` or the list of terms on, in the engine's own words. */
  readonly definition: string;
}

export interface CheckDescription {
  readonly name: string;
  readonly expression: Expression;
}

export interface ForeignKeyDescription {
  readonly name: string;
  /** Its name in the table that it was read from. */
  readonly source: string;
  readonly columns: readonly string[];
  readonly parent: string;
  /** Columns of the parent; empty: its primary key. */
  readonly parentColumns: readonly string[];
  readonly onUpdate: string;
  readonly onDelete: string;
  readonly isDeferrable: boolean;
  readonly isDeferred: boolean;
  readonly isMatchFull: boolean;
}

/** A constraint that only its own engine can make: an exclusion. */
export interface NativeConstraint {
  readonly name: string;
  readonly definition: string;
}

/** Something that has to be there before the table: an enum, a domain, a sequence. */
export interface Prerequisite {
  readonly kind: 'type' | 'sequence';
  readonly name: string;
  readonly create: string;
  /** Column that a sequence goes with. */
  readonly ownedBy: string | null;
}

export interface TableDescription {
  readonly name: string;
  readonly columns: readonly ColumnDescription[];
  /** Empty: a unique index is the key. */
  readonly primaryKey: readonly string[];
  readonly indexes: readonly IndexDescription[];
  readonly checks: readonly CheckDescription[];
  readonly foreignKeys: readonly ForeignKeyDescription[];
  readonly natives: readonly NativeConstraint[];
  readonly prerequisites: readonly Prerequisite[];
  /** The whole statement, where the engine keeps it as it was written. */
  readonly sql: string | null;
  /** What the statement says of the whole table, such as STRICT; made only with the statement itself. */
  readonly options: readonly string[];
  /** What the table has and nobody makes anew: triggers, rules, policies, partitions. */
  readonly leftBehind: readonly string[];
}
