import { ChangeoverError } from '../../../errors.ts';
import type { TableShape } from '../../../plan/stores.ts';
import type { SqliteConnection } from './connection.ts';
import { literal } from './text.ts';

export type Affinity = 'integer' | 'text' | 'blob' | 'real' | 'numeric';

export interface SqliteColumn {
  readonly name: string;
  readonly type: string;
  readonly nullable: boolean;
  readonly affinity: Affinity;
  /** Of a value that is computed with each row; absent for a column of the table. */
  readonly sql?: string;
}

export interface UniqueIndex {
  readonly name: string;
  readonly columns: readonly string[];
  /** True where one of its terms is an expression; `columns` then holds the plain ones only. */
  readonly hasExpression: boolean;
}

export interface SqliteShape extends TableShape {
  readonly columns: readonly SqliteColumn[];
  /** Every unique index, that of the primary key included, except the one that is the key itself with binary collation. */
  readonly unique: readonly UniqueIndex[];
  /** `CREATE TABLE` as SQLite keeps it. */
  readonly sql: string;
  readonly isAutoincrement: boolean;
}

/** https://www.sqlite.org/datatype3.html#determination_of_column_affinity */
export function affinityOf(type: string): Affinity {
  const upper = type.toUpperCase();
  if (upper.includes('INT')) return 'integer';
  if (/CHAR|CLOB|TEXT/.test(upper)) return 'text';
  if (upper === '' || upper === 'ANY' || upper.includes('BLOB')) return 'blob';
  if (/REAL|FLOA|DOUB/.test(upper)) return 'real';
  return 'numeric';
}

/** Reads the shape of `table` from the schema. Throws where it does not exist or has no key. */
export function readShape(connection: SqliteConnection, table: string): SqliteShape {
  const { store } = connection;
  const [entry] = connection.all("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?", table);
  if (entry === undefined) throw new ChangeoverError('CHG_DATA_TABLE_MISSING', { store, table });
  const sql = String(entry[0]);
  const info = connection.all(`SELECT name, type, "notnull", pk, hidden FROM pragma_table_xinfo(${literal(table)})`);
  const primary = info
    .filter((column) => Number(column[3]) > 0)
    .sort((a, b) => Number(a[3]) - Number(b[3]))
    .map((column) => String(column[0]));
  const columns = info
    .filter((column) => Number(column[4]) === 0) // generated columns are not ours to move
    .map((column): SqliteColumn => {
      const name = String(column[0]);
      const type = String(column[1]);
      // A primary key says nothing about NULL in SQLite, except for INTEGER PRIMARY KEY and WITHOUT ROWID tables.
      return { name, type, nullable: Number(column[2]) === 0, affinity: affinityOf(type) };
    });
  const unique = readUniqueIndexes(connection, table);
  const key = primary.length > 0 ? primary : keyFromIndex(unique, columns);
  if (key === null) throw new ChangeoverError('CHG_DATA_TABLE_KEYLESS', { store, table });
  return {
    name: table,
    key,
    columns,
    unique: unique.filter(({ isKey }) => !isKey),
    sql,
    isAutoincrement: /\bAUTOINCREMENT\b/i.test(sql),
  };
}

interface ReadIndex extends UniqueIndex {
  readonly isPartial: boolean;
  /** The primary key's own index, where every term compares byte by byte: a conflict on it has the same key. */
  readonly isKey: boolean;
}

function readUniqueIndexes(connection: SqliteConnection, table: string): ReadIndex[] {
  const list = connection.all(
    `SELECT name, origin, partial FROM pragma_index_list(${literal(table)}) WHERE "unique" = 1`,
  );
  return list.map(([name, origin, partial]) => {
    const terms = connection.all(`SELECT name, coll FROM pragma_index_xinfo(${literal(String(name))}) WHERE key = 1`);
    const columns = terms.filter(([column]) => column !== null).map(([column]) => String(column));
    const isBinary = terms.every(([, collation]) => collation === 'BINARY');
    return {
      name: String(name),
      columns,
      hasExpression: columns.length < terms.length,
      isPartial: Number(partial) === 1,
      isKey: origin === 'pk' && isBinary,
    };
  });
}

function keyFromIndex(unique: readonly ReadIndex[], columns: readonly SqliteColumn[]): readonly string[] | null {
  const nullable = new Set(columns.filter((column) => column.nullable).map((column) => column.name));
  const index = unique.find(
    ({ isPartial, hasExpression, columns: terms }) =>
      !isPartial && !hasExpression && terms.every((term) => !nullable.has(term)),
  );
  return index?.columns ?? null;
}
