import type { SchemaAccess, Value } from '../../../plan/stores.ts';
import { literal, quoted } from '../../stores/postgres/text.ts';
import type { ColumnDescription, ForeignKeyDescription, IndexDescription, TableDescription } from '../description.ts';
import type { Dialect, Made, Problem, TableStatements } from '../dialect.ts';
import { readPostgresTable } from './read.ts';

/** NAMEDATALEN - 1: what is longer, Postgres cuts off without an error. */
const NAME_BYTES = 63;

const UTC_TEXT: Readonly<Record<string, string>> = {
  current_timestamp: 'YYYY-MM-DD HH24:MI:SS',
  "datetime('now')": 'YYYY-MM-DD HH24:MI:SS',
  current_date: 'YYYY-MM-DD',
  "date('now')": 'YYYY-MM-DD',
  current_time: 'HH24:MI:SS',
  "time('now')": 'HH24:MI:SS',
};

export const postgresDialect: Dialect = {
  kind: 'postgres',
  nameLimit: NAME_BYTES,
  ignoresCase: false,
  reservedColumns: ['tableoid', 'xmin', 'cmin', 'xmax', 'cmax', 'ctid'],
  enforcesForeignKeys: true,
  mayDangle: false,
  supportsTransactionalDdl: true,
  quoted,
  read: readPostgresTable,
  isSame: (one, other) => `${one} = ${other}`,
  literal: postgresLiteral,
  now: (word, { type }) => {
    const isLocal = word.startsWith('localtimestamp');
    if (type.kind === 'timestamp' && isLocal && !type.hasZone) return 'LOCALTIMESTAMP';
    if (type.kind === 'timestamp') return type.hasZone ? 'now()' : "(now() AT TIME ZONE 'UTC')";
    const format = UTC_TEXT[word];
    return type.kind === 'text' && format !== undefined ? `to_char(now() AT TIME ZONE 'UTC', '${format}')` : null;
  },
  problems: ({ name }) =>
    /^[^.]+(\.[^.]+)?$/.test(name)
      ? []
      : [
          {
            message: 'a dot stands between a schema and a table',
            remedy: `tables: { other_name: { from: '${name}' } }`,
          },
        ],
  statements,
  duplicates,
  foreignKeyObstacle,
  exists,
};

/** Parameters have rights of their own since version 15. */
const PARAMETER_RIGHTS_VERSION = 150_000;

async function foreignKeyObstacle(access: SchemaAccess): Promise<Problem | null> {
  const [role] = await access.query(
    "SELECT rolsuper, quote_ident(current_user), current_setting('server_version_num') FROM pg_roles WHERE rolname = current_user",
  );
  const [isSuperuser, user, version] = role ?? [];
  if (isSuperuser === 't') return null;
  if (Number(version) >= PARAMETER_RIGHTS_VERSION) {
    const [right] = await access.query("SELECT has_parameter_privilege('session_replication_role', 'SET')");
    if (right?.[0] === 't') return null;
  }
  return {
    message: 'the foreign keys to be made would refuse a child that is moved before its parent, or cascade',
    remedy: `GRANT SET ON PARAMETER session_replication_role TO ${String(user)}`,
  };
}

async function duplicates(access: SchemaAccess, types: readonly string[], rows: string): Promise<string[][]> {
  const values = types.map((type, index) => `(r ->> ${index + 1})::${type}`);
  const sql = `SELECT json_agg(r ->> 0) FROM json_array_elements($1::json) AS e(r) GROUP BY ${values.join(', ')} HAVING count(*) > 1 LIMIT 3`;
  return (await access.query(sql, [rows])).map(([keys]) => JSON.parse(String(keys)) as string[]);
}

function postgresLiteral(value: Value): string {
  if (value === null) return 'NULL';
  if (typeof value === 'boolean') return String(value);
  if (value instanceof Uint8Array) return `'\\x${Buffer.from(value).toString('hex')}'::bytea`;
  return typeof value === 'string' ? literal(value).trimStart() : `'${value}'`;
}

/** A table as a statement names it: with its schema only where the plan gives one. */
function qualified(table: string): string {
  return table.split('.').map(quoted).join('.');
}

function statements(table: TableDescription): TableStatements {
  const { name } = table;
  const target = qualified(name);
  const first = table.prerequisites.map((needed): Made => {
    const what =
      needed.kind === 'sequence' ? 'SEQUENCE' : needed.create.startsWith('CREATE DOMAIN') ? 'DOMAIN' : 'TYPE';
    return {
      kind: needed.kind,
      table: name,
      name: needed.name,
      sql: needed.create,
      removal: `DROP ${what} ${quoted(needed.name)}`,
    };
  });
  const lines = table.columns.map(columnLine);
  if (table.primaryKey.length > 0) lines.push(`PRIMARY KEY (${table.primaryKey.map(quoted).join(', ')})`);
  const owners = table.prerequisites
    .filter(({ ownedBy }) => ownedBy !== null)
    .map((one) => `; ALTER SEQUENCE ${quoted(one.name)} OWNED BY ${target}.${quoted(one.ownedBy ?? '')}`);
  const sql = `CREATE TABLE ${target} (\n  ${lines.join(',\n  ')}\n)${owners.join('')}`;
  first.push({ kind: 'table', table: name, name, sql, removal: `DROP TABLE ${target}` });
  const add = (constraint: string, definition: string): Made => ({
    kind: 'constraint',
    table: name,
    name: constraint,
    sql: `ALTER TABLE ${target} ADD CONSTRAINT ${quoted(constraint)} ${definition}`,
    removal: `ALTER TABLE ${target} DROP CONSTRAINT ${quoted(constraint)}`,
  });
  const later = [
    ...table.indexes.map((index) => indexMade(table, index, add)),
    ...table.natives.map((one) => add(one.name, one.definition)),
    ...table.checks.flatMap((check) => [
      add(check.name, `CHECK (${check.expression}) NOT VALID`),
      validation(name, check.name),
    ]),
  ];
  const last = table.foreignKeys.flatMap((key) => [
    add(key.name, `${foreignKeyDefinition(key)} NOT VALID`),
    validation(name, key.name),
  ]);
  return { first, later, last };
}

function validation(table: string, name: string): Made {
  const sql = `ALTER TABLE ${qualified(table)} VALIDATE CONSTRAINT ${quoted(name)}`;
  return { kind: 'validation', table, name, sql, removal: null };
}

function indexMade(
  table: TableDescription,
  index: IndexDescription,
  add: (name: string, definition: string) => Made,
): Made {
  const terms = index.terms.map(
    ({ column, isDescending, collation }) =>
      `${quoted(column ?? '')}${collation === null ? '' : ` COLLATE ${collation}`}${isDescending ? ' DESC' : ''}`,
  );
  if (index.isConstraint) return add(index.name, index.isNative ? index.definition : `UNIQUE (${terms.join(', ')})`);
  const where = index.where === null ? '' : ` WHERE ${index.where}`;
  const definition = index.isNative ? index.definition : `(${terms.join(', ')})${where}`;
  return {
    kind: 'index',
    table: table.name,
    name: index.name,
    sql: `CREATE ${index.isUnique ? 'UNIQUE ' : ''}INDEX ${quoted(index.name)} ON ${qualified(table.name)} ${definition}`,
    // An index lies in the schema of its table.
    removal: `DROP INDEX ${[...table.name.split('.').slice(0, -1), index.name].map(quoted).join('.')}`,
  };
}

function columnLine(column: ColumnDescription): string {
  const parts = [quoted(column.name), column.declared];
  if (column.collation !== null) parts.push(`COLLATE ${column.collation}`);
  if (column.generated !== null)
    parts.push(
      `GENERATED ALWAYS AS (${column.generated.expression}) ${column.generated.isStored ? 'STORED' : 'VIRTUAL'}`,
    );
  if (column.identity === 'always') parts.push('GENERATED ALWAYS AS IDENTITY');
  if (column.identity === 'default') parts.push('GENERATED BY DEFAULT AS IDENTITY');
  if (!column.isNullable) parts.push('NOT NULL');
  if (column.default !== null) parts.push(`DEFAULT ${column.default}`);
  return parts.join(' ');
}

function foreignKeyDefinition(key: ForeignKeyDescription): string {
  const parent = key.parentColumns.length === 0 ? '' : ` (${key.parentColumns.map(quoted).join(', ')})`;
  const deferral = key.isDeferrable ? ` DEFERRABLE${key.isDeferred ? ' INITIALLY DEFERRED' : ''}` : '';
  const match = key.isMatchFull ? ' MATCH FULL' : '';
  const columns = key.columns.map(quoted).join(', ');
  return `FOREIGN KEY (${columns}) REFERENCES ${qualified(key.parent)}${parent}${match} ON UPDATE ${key.onUpdate} ON DELETE ${key.onDelete}${deferral}`;
}

async function exists(access: SchemaAccess, made: Made): Promise<boolean> {
  const [sql, values] = existence(made);
  const [row] = await access.query(sql, values);
  return row?.[0] === 't';
}

function existence({ kind, table, name }: Made): [string, string[]] {
  switch (kind) {
    case 'type':
      return ['SELECT to_regtype($1) IS NOT NULL', [quoted(name)]];
    case 'sequence':
    case 'table':
      return ['SELECT to_regclass($1) IS NOT NULL', [qualified(name)]];
    case 'index':
      return [
        'SELECT EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = to_regclass($1) AND c.relname = $2)',
        [qualified(table), name],
      ];
    case 'constraint':
    case 'validation':
      return [
        `SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = to_regclass($1) AND conname = $2${kind === 'validation' ? ' AND convalidated' : ''})`,
        [qualified(table), name],
      ];
  }
}
