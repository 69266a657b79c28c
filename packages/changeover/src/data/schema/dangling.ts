import type { SchemaAccess } from '../../plan/stores.ts';
import type { Finding } from '../../plan/words.ts';
import type { ForeignKeyDescription, TableDescription } from './description.ts';
import type { Dialect } from './dialect.ts';
import type { TableDesign } from './translate.ts';

const SHOWN_KEYS = 3;

/**
 * Rows whose foreign keys point at nothing, as the target compares: byte by byte. SQLite enforces foreign keys only where the application asks it
 * to, on each connection, and MariaDB not where it asks for that; the target would refuse such rows when everything has been copied.
 */
export async function findDangling(
  access: SchemaAccess,
  dialect: Dialect,
  designs: readonly TableDesign[],
  key: (table: string) => Promise<readonly string[]>,
  about: (table: string) => string,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const { table, source } of designs)
    for (const made of table.foreignKeys) {
      const foreignKey = source.foreignKeys.find(({ name }) => name === made.source);
      const parent = designs.find((design) => design.source.name === foreignKey?.parent)?.source;
      if (foreignKey === undefined || parent === undefined) continue;
      if (!isUnique(parent, foreignKey.parentColumns)) {
        findings.push({
          level: 'error',
          about: about(table.name),
          message: `${made.name}: ${parent.name} (${foreignKey.parentColumns.join(', ')}) is not unique, so nothing may point at it in the target`,
          remedy: `CREATE UNIQUE INDEX on it in the legacy, or leave it out: schema: { omit: ['${made.name}'] }`,
        });
        continue;
      }
      const found = await lookFor(access, dialect, { source, parent, foreignKey, key: await key(source.name) });
      if (found.rows === 0) continue;
      const more = found.rows > found.keys.length ? '; …' : '';
      findings.push({
        level: 'error',
        about: about(table.name),
        message: `${made.name}: ${found.rows} rows point at rows of ${parent.name} that are not there: ${found.keys.join('; ')}${more}`,
        remedy: `correct or delete them: ${found.sql}; or leave it out: schema: { omit: ['${made.name}'] }`,
      });
    }
  return findings;
}

/** Without columns it is the primary key that is pointed at. */
function isUnique({ primaryKey, indexes }: TableDescription, columns: readonly string[]): boolean {
  const sorted = (names: readonly (string | null)[]) => JSON.stringify(names.toSorted());
  const unique = indexes.filter(({ isUnique: own, where, isNative }) => own && where === null && !isNative);
  return (
    (columns.length === 0 && primaryKey.length > 0) ||
    [primaryKey, ...unique.map(({ terms }) => terms.map(({ column }) => column))].some(
      (names) => sorted(names) === sorted(columns),
    )
  );
}

interface Reference {
  readonly source: TableDescription;
  readonly parent: TableDescription;
  readonly foreignKey: ForeignKeyDescription;
  readonly key: readonly string[];
}

async function lookFor(access: SchemaAccess, dialect: Dialect, reference: Reference) {
  const quoted = (name: string) => dialect.quoted(name);
  const { source, parent, foreignKey, key } = reference;
  const parentColumns = foreignKey.parentColumns.length > 0 ? foreignKey.parentColumns : parent.primaryKey;
  const isSet = foreignKey.columns.map((column) => `c.${quoted(column)} IS NOT NULL`).join(' AND ');
  const isSame = foreignKey.columns
    .map((column, index) => dialect.isSame(`p.${quoted(parentColumns[index] ?? '')}`, `c.${quoted(column)}`))
    .join(' AND ');
  const rest = `FROM ${quoted(source.name)} AS c WHERE ${isSet} AND NOT EXISTS (SELECT 1 FROM ${quoted(parent.name)} AS p WHERE ${isSame})`;
  const [counted] = await access.query(`SELECT count(*) ${rest}`);
  const shown = key.map((column) => `c.${quoted(column)}`).join(', ');
  const rows = await access.query(`SELECT ${shown} ${rest} ORDER BY ${shown} LIMIT ${SHOWN_KEYS}`);
  return {
    rows: Number(counted?.[0]),
    keys: rows.map((values) => key.map((column, index) => `${column} ${String(values[index])}`).join(', ')),
    sql: `SELECT * ${rest}`,
  };
}
