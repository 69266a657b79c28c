import { ChangeoverError } from '../../../errors.ts';
import type { SchemaAccess } from '../../../plan/stores.ts';
import { literal } from '../../stores/mariadb/text.ts';
import { unescaped } from '../../stores/mariadb/values.ts';
import type {
  CheckDescription,
  ColumnDescription,
  Expression,
  ForeignKeyDescription,
  IndexDescription,
  NativeConstraint,
  TableDescription,
} from '../description.ts';
import { mariadbType } from './types.ts';

/** One row of `information_schema.COLUMNS`. */
interface CatalogueColumn {
  readonly name: string;
  readonly declared: string;
  readonly isNullable: boolean;
  readonly collation: string | null;
  readonly default: string | null;
  readonly extra: string;
  readonly generation: string;
}

/** A table of a MariaDB or MySQL database, from its catalogue. */
export async function readMariadbTable(access: SchemaAccess, store: string, table: string): Promise<TableDescription> {
  const checks = await readChecks(access, table);
  const catalogue = await readColumns(access, table, checks);
  if (catalogue.length === 0) throw new ChangeoverError('CHG_DATA_TABLE_MISSING', { store, table });
  const { primaryKey, indexes } = await readIndexes(access, table);
  return {
    name: table,
    columns: catalogue.map(columnOf),
    primaryKey,
    indexes,
    checks: checks
      .filter(({ name, expression }) => !isJsonCheck(name, expression))
      .map((check) => checkOf(check, table, catalogue)),
    foreignKeys: await readForeignKeys(access, table),
    natives: catalogue.flatMap((column) => onUpdateOf(column, table)),
    prerequisites: [],
    sql: null,
    options: [],
    leftBehind: await readLeftBehind(access, table, catalogue),
  };
}

async function readColumns(
  access: SchemaAccess,
  table: string,
  checks: readonly CheckDescription[],
): Promise<CatalogueColumn[]> {
  const [server] = await access.query('SELECT version()');
  const isMariadb = String(server?.[0]).includes('MariaDB');
  const rows = await access.query(
    `SELECT COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLLATION_NAME, COLUMN_DEFAULT, EXTRA, GENERATION_EXPRESSION, DATA_TYPE
     FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ${literal(table)} ORDER BY ORDINAL_POSITION`,
  );
  return rows.map((row) => {
    const [name = '', type = '', nullable, , , extra = '', generation = '', base = ''] = row.map((cell) =>
      String(cell ?? ''),
    );
    const isJson =
      base === 'longtext' && checks.some((check) => isJsonCheck(check.name, check.expression) && check.name === name);
    const written = row[4] === null || row[4] === undefined ? null : String(row[4]);
    return {
      name,
      declared: isJson ? 'json' : withoutWidth(type),
      isNullable: nullable === 'YES',
      collation: row[3] === null ? null : String(row[3]),
      // MySQL gives a constant as a bare text, and says so of what is none.
      default: written === null || isMariadb || /DEFAULT_GENERATED/.test(extra) ? written : literal(written),
      extra,
      generation,
    };
  });
}

/** MariaDB's JSON is a LONGTEXT with this check, named after the column. */
function isJsonCheck(name: string, expression: string): boolean {
  return expression === `json_valid(\`${name.replaceAll('`', '``')}\`)`;
}

/** Widths of whole numbers say nothing of what is stored; that of TINYINT(1) says that it was BOOLEAN. */
function withoutWidth(type: string): string {
  return /^tinyint\(1\)$/.test(type)
    ? type
    : type.replace(/^(tinyint|smallint|mediumint|int|bigint|year)\(\d+\)/, '$1');
}

function columnOf(column: CatalogueColumn): ColumnDescription {
  const { name, declared, isNullable, extra, generation, collation } = column;
  const type = mariadbType(declared);
  const isText = type.kind === 'text';
  return {
    name,
    type,
    declared,
    isNullable,
    // A binary collation compares the numbers of the characters.
    collation: !isText || collation === null || /(_bin|^binary)$/.test(collation) ? null : collation,
    default: generation === '' ? defaultOf(column) : null,
    generated: generation === '' ? null : { expression: plain(generation), isStored: !/VIRTUAL/.test(extra) },
    identity: /auto_increment/.test(extra) ? 'default' : null,
  };
}

/** The local time of a session, and the same as a point in time: MariaDB calls both CURRENT_TIMESTAMP. */
function defaultOf({ default: written, declared }: CatalogueColumn): Expression | null {
  if (written === null || written === 'NULL') return null;
  const now = /^current_timestamp(?:\((\d?)\))?$/i.exec(written);
  if (now !== null) {
    const word = declared.startsWith('timestamp') ? 'current_timestamp' : 'localtimestamp';
    return now[1] === undefined || now[1] === '' ? word : `${word}(${now[1]})`;
  }
  const bits = /^b'([01]+)'$/.exec(written);
  if (bits !== null) return String(BigInt(`0b${bits[1] ?? '0'}`));
  // Bytes that are no text are shown as question marks.
  const isBytes = mariadbType(declared).kind === 'bytes';
  if (!isBytes || !/^'[^']*'$/.test(written)) return plain(written);
  const text = unescaped(written.slice(1, -1));
  return text.includes('?') ? `binary ${written}` : `x'${Buffer.from(text, 'latin1').toString('hex')}'`;
}

/** Texts as the standard writes them: the catalogue puts backslashes before what is special in them. */
function plain(expression: Expression): Expression {
  if (!expression.includes('\\')) return expression;
  return expression.replace(/'((?:[^'\\]|''|\\[^])*)'/g, (_, inner: string) =>
    literal(unescaped(inner.replaceAll("''", "'"))),
  );
}

/** What only an UPDATE sets: no other engine has it in a column. */
function onUpdateOf({ name, extra }: CatalogueColumn, table: string): NativeConstraint[] {
  const definition = /on update \S+/i.exec(extra)?.[0];
  return definition === undefined ? [] : [{ name: `${table}.${name}:on-update`, definition }];
}

async function readChecks(access: SchemaAccess, table: string): Promise<CheckDescription[]> {
  // In MariaDB the name of a check is the table's own, and its catalogue says which table that is.
  const [own] = await access.query(
    `SELECT COUNT(*) FROM information_schema.COLUMNS
     WHERE TABLE_SCHEMA = 'information_schema' AND TABLE_NAME = 'CHECK_CONSTRAINTS' AND COLUMN_NAME = 'TABLE_NAME'`,
  );
  const from =
    String(own?.[0]) === '1'
      ? `information_schema.CHECK_CONSTRAINTS c WHERE c.TABLE_NAME = ${literal(table)}`
      : `information_schema.CHECK_CONSTRAINTS c JOIN information_schema.TABLE_CONSTRAINTS t
           ON t.CONSTRAINT_SCHEMA = c.CONSTRAINT_SCHEMA AND t.CONSTRAINT_NAME = c.CONSTRAINT_NAME AND t.CONSTRAINT_TYPE = 'CHECK'
         WHERE t.TABLE_NAME = ${literal(table)}`;
  const rows = await access.query(
    `SELECT c.CONSTRAINT_NAME, c.CHECK_CLAUSE FROM ${from} AND c.CONSTRAINT_SCHEMA = DATABASE() ORDER BY c.CONSTRAINT_NAME`,
  );
  return rows.map(([name, clause]) => ({ name: String(name), expression: String(clause) }));
}

/** MariaDB names a column's own check after the column. */
function checkOf(
  { name, expression }: CheckDescription,
  table: string,
  columns: readonly CatalogueColumn[],
): CheckDescription {
  const isColumns = columns.some((column) => column.name === name);
  return {
    name: isColumns || /^CONSTRAINT_\d+$/.test(name) ? `${table}_${name}_check` : name,
    expression: plain(expression),
  };
}

/** Names of indexes are each table's own here, and the whole schema's elsewhere. */
function nameOfIndex(table: string, name: string): string {
  return name.startsWith(`${table}_`) ? name : `${table}_${name}`;
}

async function readIndexes(
  access: SchemaAccess,
  table: string,
): Promise<{ primaryKey: string[]; indexes: IndexDescription[] }> {
  const rows = await access.query(
    `SELECT INDEX_NAME, NON_UNIQUE, COLUMN_NAME, COLLATION, SUB_PART, INDEX_TYPE FROM information_schema.STATISTICS
     WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ${literal(table)} ORDER BY INDEX_NAME, SEQ_IN_INDEX`,
  );
  const primaryKey: string[] = [];
  const found = new Map<string, IndexDescription & { readonly words: readonly string[]; readonly kind: string }>();
  for (const [name, nonUnique, column, order, part, kind] of rows) {
    if (name === 'PRIMARY') {
      primaryKey.push(String(column));
      continue;
    }
    const known = found.get(String(name));
    const isDescending = order === 'D';
    const isWhole = column !== null && part === null;
    const word = `${column === null ? 'expression' : String(column)}${part === null ? '' : `(${String(part)})`}${isDescending ? ' DESC' : ''}`;
    found.set(String(name), {
      name: nameOfIndex(table, String(name)),
      isUnique: String(nonUnique) === '0',
      isConstraint: false,
      terms: [
        ...(known?.terms ?? []),
        { column: column === null ? null : String(column), isDescending, collation: null },
      ],
      where: null,
      isNative: (known?.isNative ?? false) || !isWhole || !['BTREE', 'HASH'].includes(String(kind)),
      definition: '',
      words: [...(known?.words ?? []), word],
      kind: String(kind) === 'BTREE' ? '' : `${String(kind)} `,
    });
  }
  const indexes = [...found.values()].map(({ words, kind, ...index }) => ({
    ...index,
    definition: `${kind}(${words.join(', ')})`,
  }));
  return { primaryKey, indexes };
}

async function readForeignKeys(access: SchemaAccess, table: string): Promise<ForeignKeyDescription[]> {
  const rows = await access.query(
    `SELECT k.CONSTRAINT_NAME, k.COLUMN_NAME, IF(k.REFERENCED_TABLE_SCHEMA = DATABASE(), '', CONCAT(k.REFERENCED_TABLE_SCHEMA, '.')),
            k.REFERENCED_TABLE_NAME, k.REFERENCED_COLUMN_NAME, r.UPDATE_RULE, r.DELETE_RULE
     FROM information_schema.KEY_COLUMN_USAGE k JOIN information_schema.REFERENTIAL_CONSTRAINTS r
       ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND r.TABLE_NAME = k.TABLE_NAME
     WHERE k.TABLE_SCHEMA = DATABASE() AND k.TABLE_NAME = ${literal(table)} AND k.REFERENCED_TABLE_NAME IS NOT NULL
     ORDER BY k.CONSTRAINT_NAME, k.ORDINAL_POSITION`,
  );
  const found = new Map<string, ForeignKeyDescription>();
  for (const row of rows) {
    const [name = '', column = '', schema = '', parent = '', parentColumn = '', onUpdate = '', onDelete = ''] =
      row.map(String);
    const known = found.get(name);
    found.set(name, {
      name,
      source: name,
      columns: [...(known?.columns ?? []), column],
      parent: `${schema}${parent}`,
      parentColumns: [...(known?.parentColumns ?? []), parentColumn],
      onUpdate,
      onDelete,
      isDeferrable: false,
      isDeferred: false,
      isMatchFull: false,
    });
  }
  return [...found.values()];
}

async function readLeftBehind(
  access: SchemaAccess,
  table: string,
  columns: readonly CatalogueColumn[],
): Promise<string[]> {
  const rows = await access.query(
    `SELECT CONCAT('trigger ', TRIGGER_NAME) FROM information_schema.TRIGGERS
       WHERE TRIGGER_SCHEMA = DATABASE() AND EVENT_OBJECT_TABLE = ${literal(table)} AND LEFT(TRIGGER_NAME, 11) <> 'changeover_'
     UNION ALL SELECT CONCAT('partition ', PARTITION_NAME) FROM information_schema.PARTITIONS
       WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ${literal(table)} AND PARTITION_NAME IS NOT NULL
     UNION ALL SELECT 'the history of its rows' FROM information_schema.TABLES
       WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ${literal(table)} AND TABLE_TYPE = 'SYSTEM VERSIONED'`,
  );
  const invisible = columns
    .filter(({ extra }) => /\bINVISIBLE\b/.test(extra))
    .map(({ name }) => `INVISIBLE of ${name}`);
  return [...rows.map(([what]) => String(what)), ...invisible];
}
