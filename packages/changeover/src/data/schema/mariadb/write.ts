import type { SchemaAccess, Value } from '../../../plan/stores.ts';
import { literal, quoted } from '../../stores/mariadb/text.ts';
import type { ColumnDescription, ForeignKeyDescription, IndexDescription, TableDescription } from '../description.ts';
import type { Dialect, Made, Problem, TableStatements } from '../dialect.ts';
import { readMariadbTable } from './read.ts';

/** Identifiers end at 64 characters; so many bytes are never more than that. */
const NAME_BYTES = 64;

/** Checks are part of a table from the beginning; DDL commits by itself, so nothing here can be tried and rolled back. */
export const mariadbDialect: Dialect = {
  kind: 'mariadb',
  nameLimit: NAME_BYTES,
  ignoresCase: true,
  reservedColumns: [],
  enforcesForeignKeys: true,
  // A session may write without them, and by their collation 'a' points at 'A'.
  mayDangle: true,
  supportsTransactionalDdl: false,
  quoted,
  read: readMariadbTable,
  isSame: (one, other) => `(${one} = ${other} AND BINARY ${one} = BINARY ${other})`,
  literal: mariadbLiteral,
  now: (word, { type, declared }) => {
    const isDay = /^(current_date|date\('now'\))$/.test(word);
    if (type.kind === 'text' && !isDay) return word.includes('time') ? '(CAST(UTC_TIMESTAMP() AS CHAR))' : null;
    if (type.kind !== 'timestamp') return null;
    const digits = /\(\d\)/.exec(declared)?.[0] ?? '()';
    return type.hasZone || word.startsWith('localtimestamp')
      ? `CURRENT_TIMESTAMP${digits}`
      : `(UTC_TIMESTAMP${digits})`;
  },
  problems,
  statements,
  duplicates,
  // Our own connections write without them.
  foreignKeyObstacle: () => Promise.resolve(null),
  exists,
};

function problems(table: TableDescription): Problem[] {
  const long = new Set(
    table.columns.filter(({ declared }) => /^(tiny|medium|long)?(text|blob)\b/.test(declared)).map(({ name }) => name),
  );
  const keys = [
    { what: 'the primary key', columns: table.primaryKey },
    ...table.indexes.map(({ name, terms }) => ({ what: name, columns: terms.flatMap(({ column }) => column ?? []) })),
    ...table.foreignKeys.map(({ name, columns }) => ({ what: name, columns })),
  ];
  return keys.flatMap(({ what, columns }) =>
    columns
      .filter((column) => long.has(column))
      .map((column) => ({
        message: `${what}: MariaDB has no index over the whole of ${column}, which may be of any length`,
        remedy: `schema: { columns: { '${table.name}.${column}': 'varchar(191)' } }, or varbinary, of the length that you need`,
      })),
  );
}

async function duplicates(access: SchemaAccess, types: readonly string[], rows: string): Promise<string[][]> {
  const values = types.map((type, index) => {
    const collation = /\bcollate\s+(\w+)/i.exec(type)?.[1];
    return `v${index}${collation === undefined ? '' : ` COLLATE ${collation}`}`;
  });
  const columns = types.map((_, index) => `v${index} LONGTEXT PATH '$[${index + 1}]'`);
  // One row is one key: nothing of it has to be quoted.
  const found = await access.query(
    `SELECT JSON_ARRAYAGG(k) FROM JSON_TABLE(${literal(rows)}, '$[*]' COLUMNS (k LONGTEXT PATH '$[0]', ${columns.join(', ')})) AS j
     GROUP BY ${values.join(', ')} HAVING COUNT(*) > 1 LIMIT 3`,
  );
  return found.map(([keys]) => JSON.parse(String(keys)) as string[]);
}

function mariadbLiteral(value: Value): string {
  if (value === null) return 'NULL';
  if (typeof value === 'boolean') return value ? '1' : '0';
  if (value instanceof Uint8Array) return `x'${Buffer.from(value).toString('hex')}'`;
  return typeof value === 'string' ? literal(value) : String(value);
}

function statements(table: TableDescription): TableStatements {
  const { name } = table;
  const lines = table.columns.map(columnLine);
  if (table.primaryKey.length > 0) lines.push(`PRIMARY KEY (${table.primaryKey.map(quoted).join(', ')})`);
  for (const check of table.checks) lines.push(`CONSTRAINT ${quoted(check.name)} CHECK (${check.expression})`);
  const first: Made = {
    kind: 'table',
    table: name,
    name,
    sql: `CREATE TABLE ${quoted(name)} (\n  ${lines.join(',\n  ')}\n) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin`,
    removal: `DROP TABLE ${quoted(name)}`,
  };
  const last = table.foreignKeys.map((key): Made => ({
    kind: 'constraint',
    table: name,
    name: key.name,
    sql: `ALTER TABLE ${quoted(name)} ADD CONSTRAINT ${quoted(key.name)} ${foreignKeyDefinition(key)}`,
    removal: `ALTER TABLE ${quoted(name)} DROP FOREIGN KEY ${quoted(key.name)}`,
  }));
  return { first: [first], later: table.indexes.map((index) => indexMade(name, index)), last };
}

function indexMade(table: string, { name, isUnique, isNative, terms, definition }: IndexDescription): Made {
  const list = `(${terms.map(({ column, isDescending }) => `${quoted(column ?? '')}${isDescending ? ' DESC' : ''}`).join(', ')})`;
  return {
    kind: 'index',
    table,
    name,
    sql: `CREATE ${isUnique ? 'UNIQUE ' : ''}INDEX ${quoted(name)} ON ${quoted(table)} ${isNative ? definition : list}`,
    removal: `DROP INDEX ${quoted(name)} ON ${quoted(table)}`,
  };
}

function columnLine(column: ColumnDescription): string {
  const parts = [quoted(column.name), column.declared];
  if (column.collation !== null) parts.push(`COLLATE ${column.collation}`);
  if (column.generated !== null)
    parts.push(
      `GENERATED ALWAYS AS (${column.generated.expression}) ${column.generated.isStored ? 'STORED' : 'VIRTUAL'}`,
    );
  // A TIMESTAMP that is not said to be nullable is not, and sets itself.
  else parts.push(column.isNullable ? 'NULL' : 'NOT NULL');
  if (column.identity !== null) parts.push('AUTO_INCREMENT');
  if (column.default !== null) parts.push(`DEFAULT ${column.default}`);
  return parts.join(' ');
}

function foreignKeyDefinition({ columns, parent, parentColumns, onUpdate, onDelete }: ForeignKeyDescription): string {
  const referenced = `${quoted(parent)} (${parentColumns.map(quoted).join(', ')})`;
  return `FOREIGN KEY (${columns.map(quoted).join(', ')}) REFERENCES ${referenced} ON UPDATE ${onUpdate} ON DELETE ${onDelete}`;
}

async function exists(access: SchemaAccess, { kind, table, name }: Made): Promise<boolean> {
  const own = `TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ${literal(table)}`;
  const sql = {
    type: null,
    sequence: null,
    validation: null,
    table: `information_schema.TABLES WHERE ${own}`,
    index: `information_schema.STATISTICS WHERE ${own} AND INDEX_NAME = ${literal(name)}`,
    constraint: `information_schema.TABLE_CONSTRAINTS WHERE ${own} AND CONSTRAINT_NAME = ${literal(name)}`,
  }[kind];
  return sql !== null && (await access.query(`SELECT 1 FROM ${sql} LIMIT 1`)).length > 0;
}
