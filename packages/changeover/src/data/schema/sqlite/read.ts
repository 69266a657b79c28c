import { ChangeoverError } from '../../../errors.ts';
import type { SchemaAccess, Value } from '../../../plan/stores.ts';
import type {
  CheckDescription,
  ColumnDescription,
  ColumnType,
  ForeignKeyDescription,
  IndexDescription,
  TableDescription,
} from '../description.ts';
import { closing, isSign, isWord, listItems, sourceText, tokensOf, type Token } from '../tokens.ts';

/** What a column's declaration says and no pragma tells. */
interface Declaration {
  readonly collation: string | null;
  readonly generated: string | null;
}

interface Parsed {
  /** By the name in lower case: SQLite does not tell cases apart. */
  readonly columns: ReadonlyMap<string, Declaration>;
  readonly checks: readonly CheckDescription[];
  /** For each foreign key, in the order of the text, whether it is checked at the commit. */
  readonly deferred: readonly boolean[];
}

/** A table of a SQLite file, from its schema and the text of its statement. */
export async function readSqliteTable(access: SchemaAccess, store: string, table: string): Promise<TableDescription> {
  const [entry] = await access.query("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?", [table]);
  if (entry === undefined) throw new ChangeoverError('CHG_DATA_TABLE_MISSING', { store, table });
  const sql = String(entry[0]);
  const parsed = parseTable(sql, table);
  const info = await access.query(
    'SELECT name, type, "notnull", pk, hidden, dflt_value FROM pragma_table_xinfo(?) ORDER BY cid',
    [table],
  );
  const primaryKey = info
    .filter((row) => Number(row[3]) > 0)
    .sort((a, b) => Number(a[3]) - Number(b[3]))
    .map((row) => String(row[0]));
  const [flags] = await access.query("SELECT wr, strict FROM pragma_table_list WHERE schema = 'main' AND name = ?", [
    table,
  ]);
  const hasRowid = Number(flags?.[0]) === 0;
  const triggers = await access.query(
    "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ? AND name NOT LIKE 'changeover\\_%' ESCAPE '\\'",
    [table],
  );
  return {
    name: table,
    columns: info.map((row) => columnOf(row, parsed, primaryKey, hasRowid)),
    primaryKey,
    indexes: await readIndexes(access, table),
    checks: parsed.checks,
    foreignKeys: await readForeignKeys(access, table, parsed.deferred),
    natives: [],
    prerequisites: [],
    sql,
    options: [...(hasRowid ? [] : ['WITHOUT ROWID']), ...(Number(flags?.[1]) === 1 ? ['STRICT'] : [])],
    leftBehind: triggers.map(([name]) => `trigger ${String(name)}`),
  };
}

function columnOf(
  row: readonly Value[],
  parsed: Parsed,
  primaryKey: readonly string[],
  hasRowid: boolean,
): ColumnDescription {
  const name = String(row[0]);
  const declared = String(row[1]);
  const { collation = null, generated = null } = parsed.columns.get(name.toLowerCase()) ?? {};
  // INTEGER PRIMARY KEY, and only with that spelling, is the rowid: SQLite gives it where an insert leaves it out.
  const isRowid = hasRowid && primaryKey.length === 1 && primaryKey[0] === name && /^integer$/i.test(declared);
  return {
    name,
    type: typeOf(declared),
    declared,
    isNullable: Number(row[2]) === 0 && !primaryKey.includes(name),
    collation: collation === null || /^binary$/i.test(collation) ? null : collation.toUpperCase(),
    default: row[5] === null || generated !== null ? null : String(row[5]),
    generated: generated === null ? null : { expression: generated, isStored: Number(row[4]) === 3 },
    identity: isRowid ? 'default' : null,
  };
}

/**
 * Declared types that mean more than their affinity come first; then https://www.sqlite.org/datatype3.html#determination_of_column_affinity
 */
function typeOf(declared: string): ColumnType {
  const name = declared.toUpperCase();
  if (/^BOOL/.test(name)) return { kind: 'boolean' };
  if (/^JSONB?$/.test(name)) return { kind: 'json', isBinary: false };
  if (/^(UUID|GUID)$/.test(name)) return { kind: 'uuid' };
  if (/^(DATE|TIME)/.test(name)) return { kind: 'undeclared', isTime: true };
  if (name.includes('INT')) return { kind: 'integer', bits: 64 };
  if (/CHAR|CLOB|TEXT/.test(name)) return { kind: 'text', isPadded: false };
  if (name === '' || name === 'ANY') return { kind: 'undeclared', isTime: false };
  if (name.includes('BLOB')) return { kind: 'bytes' };
  if (/REAL|FLOA|DOUB/.test(name)) return { kind: 'real', bits: 64 };
  return { kind: 'number' };
}

async function readIndexes(access: SchemaAccess, table: string): Promise<IndexDescription[]> {
  const list = await access.query(
    `SELECT l.name, l."unique", l.origin, s.sql FROM pragma_index_list(?) AS l
     LEFT JOIN sqlite_schema AS s ON s.type = 'index' AND s.name = l.name WHERE l.origin <> 'pk' ORDER BY l.seq DESC`,
    [table],
  );
  const indexes: IndexDescription[] = [];
  for (const [name, unique, origin, sql] of list) {
    const terms = await access.query(
      'SELECT name, "desc", coll FROM pragma_index_xinfo(?) WHERE key = 1 ORDER BY seqno',
      [String(name)],
    );
    const columns = terms.map(([column]) => (column === null ? 'expression' : String(column)));
    const text = sql === null || sql === undefined ? null : String(sql);
    const { where, definition } = text === null ? { where: null, definition: '' } : partsOfIndex(text);
    indexes.push({
      // SQLite's own names of constraints are reserved.
      name: origin === 'u' ? `${table}_${columns.join('_')}_key` : String(name),
      isUnique: Number(unique) === 1,
      isConstraint: origin === 'u',
      terms: terms.map(([column, isDescending, collation]) => ({
        column: column === null || column === undefined ? null : String(column),
        isDescending: Number(isDescending) === 1,
        collation: collation === 'BINARY' ? null : String(collation),
      })),
      where,
      isNative: terms.some(([column]) => column === null),
      definition,
    });
  }
  return indexes;
}

function partsOfIndex(sql: string): { where: string | null; definition: string } {
  const tokens = tokensOf(sql);
  const open = tokens.findIndex((token) => isSign(token, '('));
  const end = closing(tokens, open);
  const rest = tokens.slice(end + 1);
  return {
    where: isWord(rest[0], 'WHERE') ? sourceText(sql, rest.slice(1)) : null,
    definition: sql.slice(tokens[open]?.start ?? 0),
  };
}

async function readForeignKeys(
  access: SchemaAccess,
  table: string,
  deferred: readonly boolean[],
): Promise<ForeignKeyDescription[]> {
  const rows = await access.query(
    'SELECT id, "table", "from", "to", on_update, on_delete FROM pragma_foreign_key_list(?) ORDER BY id DESC, seq',
    [table],
  );
  const keys = new Map<number, ForeignKeyDescription>();
  for (const [id, parent, from, to, onUpdate, onDelete] of rows) {
    const known = keys.get(Number(id));
    const named = await namesOf(access, String(parent));
    const columns = [...(known?.columns ?? []), String(from)];
    keys.set(Number(id), {
      name: `${table}_${columns.join('_')}_fkey`,
      source: `${table}_${columns.join('_')}_fkey`,
      columns,
      parent: named.table,
      parentColumns:
        to === null || to === undefined ? [] : [...(known?.parentColumns ?? []), named.columnOf(String(to))],
      onUpdate: String(onUpdate),
      onDelete: String(onDelete),
      isDeferrable: deferred[keys.size - (known === undefined ? 0 : 1)] ?? false,
      isDeferred: deferred[keys.size - (known === undefined ? 0 : 1)] ?? false,
      isMatchFull: false,
    });
  }
  return [...keys.values()];
}

/** A foreign key names its parent as it was written, in whatever case. */
async function namesOf(access: SchemaAccess, written: string) {
  const [table] = await access.query("SELECT name FROM sqlite_schema WHERE type = 'table' AND lower(name) = lower(?)", [
    written,
  ]);
  const columns = await access.query('SELECT name FROM pragma_table_info(?)', [written]);
  return {
    table: String(table?.[0] ?? written),
    columnOf: (column: string) =>
      String(columns.find(([name]) => String(name).toLowerCase() === column.toLowerCase())?.[0] ?? column),
  };
}

function parseTable(sql: string, table: string): Parsed {
  const tokens = tokensOf(sql);
  const open = tokens.findIndex((token) => isSign(token, '('));
  const columns = new Map<string, Declaration>();
  const checks: CheckDescription[] = [];
  const deferred: boolean[] = [];
  for (const item of open === -1 ? [] : listItems(tokens, open)) {
    const isConstraint = isWord(item[0], 'CONSTRAINT', 'PRIMARY', 'UNIQUE', 'CHECK', 'FOREIGN');
    let collation: string | null = null;
    let generated: string | null = null;
    for (let index = isConstraint ? 0 : 1; index < item.length; index++) {
      const token = item[index];
      const next = item[index + 1];
      if (isSign(token, '(')) index = closing(item, index);
      else if (isWord(token, 'COLLATE')) collation = next?.value ?? null;
      else if (isWord(token, 'AS') && isSign(next, '(')) generated = inside(sql, item, index + 1);
      else if (isWord(token, 'REFERENCES')) deferred.push(isDeferredIn(item.slice(index)));
      else if (isWord(token, 'CHECK') && isSign(next, '(')) {
        const named = isWord(item[index - 2], 'CONSTRAINT') ? item[index - 1]?.value : undefined;
        checks.push({ name: named ?? `${table}_check_${checks.length + 1}`, expression: inside(sql, item, index + 1) });
      }
    }
    if (!isConstraint) columns.set((item[0]?.value ?? '').toLowerCase(), { collation, generated });
  }
  return { columns, checks, deferred };
}

function isDeferredIn(tokens: readonly Token[]): boolean {
  return tokens.some(
    (token, index) =>
      isWord(token, 'DEFERRABLE') &&
      !isWord(tokens[index - 1], 'NOT') &&
      isWord(tokens[index + 1], 'INITIALLY') &&
      isWord(tokens[index + 2], 'DEFERRED'),
  );
}

function inside(sql: string, tokens: readonly Token[], open: number): string {
  return sourceText(sql, tokens.slice(open + 1, closing(tokens, open)));
}
