import type { SchemaAccess, Value } from '../../../plan/stores.ts';
import { literal, quoted } from '../../stores/sqlite/text.ts';
import type { ColumnDescription, ForeignKeyDescription, TableDescription } from '../description.ts';
import type { Dialect, Made, TableStatements } from '../dialect.ts';
import { readSqliteTable } from './read.ts';

/** SQLite cannot add a constraint to a table that is there: checks and foreign keys are part of it from the beginning, indexes follow. */
export const sqliteDialect: Dialect = {
  kind: 'sqlite',
  nameLimit: null,
  ignoresCase: true,
  reservedColumns: [],
  enforcesForeignKeys: false,
  mayDangle: true,
  supportsTransactionalDdl: true,
  quoted,
  read: readSqliteTable,
  // A reference that SQLite follows by NOCASE alone leads nowhere elsewhere.
  isSame: (one, other) => `${one} = ${other} COLLATE BINARY`,
  literal: sqliteLiteral,
  now: (word, { declared }) => {
    if (/^(now\(\)|current_timestamp)$/.test(word))
      return /with time zone|timestamptz/i.test(declared)
        ? "(strftime('%Y-%m-%d %H:%M:%f', 'now') || '+00')"
        : 'CURRENT_TIMESTAMP';
    if (word === 'localtimestamp') return "(strftime('%Y-%m-%d %H:%M:%S', 'now', 'localtime'))";
    return word === 'current_date' ? 'CURRENT_DATE' : null;
  },
  problems: ({ name }) =>
    /^sqlite_/i.test(name)
      ? [
          {
            message: 'names that begin with sqlite_ are reserved',
            remedy: `tables: { other_name: { from: '${name}' } }`,
          },
        ]
      : [],
  statements,
  duplicates,
  // Our own connections do not ask for them to be enforced.
  foreignKeyObstacle: () => Promise.resolve(null),
  exists: async (access: SchemaAccess, { kind, name }: Made) => {
    const type = kind === 'table' ? 'table' : 'index';
    return (await access.query('SELECT 1 FROM sqlite_schema WHERE type = ? AND name = ?', [type, name])).length > 0;
  },
};

async function duplicates(access: SchemaAccess, types: readonly string[], rows: string): Promise<string[][]> {
  const values = types.map((type, index) => {
    const collation = /\bcollate\s+("[^"]+"|\w+)/i.exec(type)?.[1];
    return `CAST(value ->> ${index + 1} AS TEXT)${collation === undefined ? '' : ` COLLATE ${collation}`}`;
  });
  const sql = `SELECT json_group_array(value ->> 0) FROM json_each(?) GROUP BY ${values.join(', ')} HAVING count(*) > 1 LIMIT 3`;
  return (await access.query(sql, [rows])).map(([keys]) => JSON.parse(String(keys)) as string[]);
}

function sqliteLiteral(value: Value): string {
  if (value === null) return 'NULL';
  if (typeof value === 'boolean') return value ? '1' : '0';
  if (value instanceof Uint8Array) return `x'${Buffer.from(value).toString('hex')}'`;
  return typeof value === 'string' ? literal(value) : `(${value})`;
}

function statements(table: TableDescription): TableStatements {
  const { name } = table;
  const first: Made = {
    kind: 'table',
    table: name,
    name,
    sql: table.sql ?? createTable(table),
    removal: `DROP TABLE ${quoted(name)}`,
  };
  const later = table.indexes
    // In the text of the source's own statement the constraints are there already.
    .filter(({ isConstraint }) => table.sql === null || !isConstraint)
    .map((index): Made => {
      const terms = index.terms.map(
        ({ column, isDescending, collation }) =>
          `${quoted(column ?? '')}${collation === null ? '' : ` COLLATE ${collation}`}${isDescending ? ' DESC' : ''}`,
      );
      const where = index.where === null ? '' : ` WHERE ${index.where}`;
      const definition = index.isNative ? index.definition : `(${terms.join(', ')})${where}`;
      const sql = `CREATE ${index.isUnique ? 'UNIQUE ' : ''}INDEX ${quoted(index.name)} ON ${quoted(name)} ${definition}`;
      return { kind: 'index', table: name, name: index.name, sql, removal: `DROP INDEX ${quoted(index.name)}` };
    });
  return { first: [first], later, last: [] };
}

function createTable({ name, columns, primaryKey, checks, foreignKeys }: TableDescription): string {
  const rowid = columns.find(({ identity }) => identity !== null && primaryKey.length === 1);
  const isRowid = rowid !== undefined && primaryKey[0] === rowid.name;
  const lines = columns.map((column) => columnLine(column, isRowid && column === rowid));
  if (primaryKey.length > 0 && !isRowid) lines.push(`PRIMARY KEY (${primaryKey.map(quoted).join(', ')})`);
  for (const check of checks) lines.push(`CONSTRAINT ${quoted(check.name)} CHECK (${check.expression})`);
  for (const key of foreignKeys) lines.push(foreignKeyLine(key));
  return `CREATE TABLE ${quoted(name)} (\n  ${lines.join(',\n  ')}\n)`;
}

function columnLine(column: ColumnDescription, isRowid: boolean): string {
  if (isRowid) return `${quoted(column.name)} INTEGER PRIMARY KEY AUTOINCREMENT`;
  const parts = [quoted(column.name), column.declared];
  if (!column.isNullable) parts.push('NOT NULL');
  if (column.collation !== null) parts.push(`COLLATE ${column.collation}`);
  if (column.default !== null) parts.push(`DEFAULT ${column.default}`);
  if (column.generated !== null)
    parts.push(
      `GENERATED ALWAYS AS (${column.generated.expression}) ${column.generated.isStored ? 'STORED' : 'VIRTUAL'}`,
    );
  return parts.join(' ');
}

function foreignKeyLine(key: ForeignKeyDescription): string {
  const parent = key.parentColumns.length === 0 ? '' : ` (${key.parentColumns.map(quoted).join(', ')})`;
  const actions = `ON UPDATE ${key.onUpdate} ON DELETE ${key.onDelete}${key.isDeferred ? ' DEFERRABLE INITIALLY DEFERRED' : ''}`;
  return `FOREIGN KEY (${key.columns.map(quoted).join(', ')}) REFERENCES ${quoted(key.parent)}${parent} ${actions}`;
}
