import { ChangeoverError } from '../../../errors.ts';
import type { SchemaAccess } from '../../../plan/stores.ts';
import type {
  CheckDescription,
  ColumnDescription,
  ColumnType,
  ForeignKeyDescription,
  IndexDescription,
  NativeConstraint,
  Prerequisite,
  TableDescription,
} from '../description.ts';
import { postgresType } from './types.ts';

/** What the catalogue says of a type, as `TYPE` asks for it. */
interface CatalogueType {
  readonly name: string;
  readonly quoted: string;
  readonly shown: string;
  readonly isBuiltIn: boolean;
  readonly kind: string;
  readonly extension: string | null;
  readonly values: readonly string[] | null;
  readonly base: string | null;
  readonly element: number | null;
}

interface CatalogueColumn {
  readonly name: string;
  readonly typeId: number;
  readonly modifier: number;
  readonly isNullable: boolean;
  readonly collation: string | null;
  readonly default: string | null;
  readonly generated: string;
  readonly identity: string;
  readonly sequence: string | null;
  readonly isOwned: boolean;
}

interface CatalogueConstraint {
  readonly name: string;
  readonly type: string;
  readonly definition: string;
  readonly expression: string | null;
  readonly columns: readonly string[] | null;
  readonly parent: string | null;
  readonly parentColumns: readonly string[] | null;
  readonly onUpdate: string;
  readonly onDelete: string;
  readonly match: string;
  readonly isDeferrable: boolean;
  readonly isDeferred: boolean;
}

const COLUMNS = `
  SELECT json_build_object('name', a.attname, 'typeId', a.atttypid::int8, 'modifier', a.atttypmod, 'isNullable', NOT a.attnotnull,
    'collation', CASE WHEN a.attcollation <> t.typcollation THEN
      (SELECT CASE WHEN n.nspname = 'pg_catalog' THEN '' ELSE quote_ident(n.nspname) || '.' END || quote_ident(c.collname)
       FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace WHERE c.oid = a.attcollation) END,
    'default', CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END,
    'generated', CASE WHEN a.attgenerated <> '' THEN a.attgenerated::text || pg_get_expr(d.adbin, d.adrelid) ELSE '' END,
    'identity', a.attidentity,
    'isOwned', EXISTS (SELECT FROM pg_depend p WHERE p.classid = 'pg_class'::regclass AND p.refclassid = 'pg_class'::regclass
      AND p.refobjid = a.attrelid AND p.refobjsubid = a.attnum AND p.deptype = 'a'),
    'sequence', (SELECT s.relname FROM pg_depend p JOIN pg_class s ON s.oid = p.refobjid AND s.relkind = 'S'
      WHERE p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid AND p.refclassid = 'pg_class'::regclass LIMIT 1))
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`;

const TYPE = `
  SELECT json_build_object('name', t.typname, 'quoted', quote_ident(t.typname), 'shown', format_type(t.oid, $2::int),
    'isBuiltIn', n.nspname = 'pg_catalog', 'kind', t.typtype,
    'extension', (SELECT e.extname FROM pg_depend p JOIN pg_extension e ON e.oid = p.refobjid
      WHERE p.classid = 'pg_type'::regclass AND p.objid = t.oid AND p.deptype = 'e'),
    'values', (SELECT json_agg(v.enumlabel ORDER BY v.enumsortorder) FROM pg_enum v WHERE v.enumtypid = t.oid),
    'base', CASE WHEN t.typtype = 'd' THEN t.typbasetype::text || ' ' || t.typtypmod END,
    'element', CASE WHEN t.typcategory = 'A' THEN t.typelem::int8 END)
  FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.oid = $1`;

const CONSTRAINTS = `
  SELECT json_build_object('name', c.conname, 'type', c.contype, 'definition', pg_get_constraintdef(c.oid),
    'expression', pg_get_expr(c.conbin, c.conrelid),
    'columns', (SELECT json_agg(a.attname ORDER BY k.ord) FROM unnest(c.conkey) WITH ORDINALITY AS k(num, ord)
      JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.num),
    'parent', (SELECT CASE WHEN pg_table_is_visible(r.oid) THEN r.relname ELSE n.nspname || '.' || r.relname END
      FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace WHERE r.oid = c.confrelid),
    'parentColumns', (SELECT json_agg(a.attname ORDER BY k.ord) FROM unnest(c.confkey) WITH ORDINALITY AS k(num, ord)
      JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.num),
    'onUpdate', c.confupdtype, 'onDelete', c.confdeltype, 'match', c.confmatchtype,
    'isDeferrable', c.condeferrable, 'isDeferred', c.condeferred)
  FROM pg_constraint c WHERE c.conrelid = $1 AND c.contype IN ('p', 'c', 'f', 'x') AND c.conparentid = 0 ORDER BY c.conname`;

const INDEXES = `
  SELECT json_build_object('name', x.relname, 'isUnique', i.indisunique,
    'isConstraint', EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = x.oid AND c.contype = 'u'),
    'isNative', i.indexprs IS NOT NULL OR m.amname <> 'btree' OR i.indnatts <> i.indnkeyatts OR coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false)
      OR EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = x.oid AND c.contype = 'u' AND c.condeferrable),
    'terms', (SELECT json_agg(json_build_object('column', a.attname, 'isDescending', i.indoption[k.ord - 1] & 1 = 1,
        'collation', CASE WHEN a.attcollation <> i.indcollation[k.ord - 1] THEN i.indcollation[k.ord - 1]::regcollation::text END)
        ORDER BY k.ord)
      FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(num, ord)
      LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.num WHERE k.ord <= i.indnkeyatts),
    'where', pg_get_expr(i.indpred, i.indrelid),
    'definition', coalesce((SELECT pg_get_constraintdef(c.oid) FROM pg_constraint c WHERE c.conindid = x.oid AND c.contype = 'u'),
      pg_get_indexdef(x.oid)),
    'head', 'CREATE ' || CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END || 'INDEX ' || quote_ident(x.relname) || ' ON '
      || quote_ident(n.nspname) || '.' || quote_ident(r.relname) || ' ')
  FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class r ON r.oid = i.indrelid JOIN pg_namespace n ON n.oid = r.relnamespace
    JOIN pg_am m ON m.oid = x.relam
  WHERE i.indrelid = $1 AND NOT i.indisprimary AND NOT i.indisexclusion AND i.indisvalid ORDER BY x.relname`;

const LEFT_BEHIND = `
  SELECT 'trigger ' || tgname FROM pg_trigger WHERE tgrelid = $1 AND NOT tgisinternal AND tgname NOT LIKE 'changeover\\_%'
  UNION ALL SELECT 'rule ' || rulename FROM pg_rewrite WHERE ev_class = $1
  UNION ALL SELECT 'policy ' || polname FROM pg_policy WHERE polrelid = $1
  UNION ALL SELECT 'partition ' || c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = $1
  ORDER BY 1`;

const SEQUENCE = `
  SELECT format('CREATE SEQUENCE %I AS %s INCREMENT BY %s MINVALUE %s MAXVALUE %s START WITH %s CACHE %s%s', c.relname,
    format_type(s.seqtypid, NULL), s.seqincrement, s.seqmin, s.seqmax, s.seqstart, s.seqcache, CASE WHEN s.seqcycle THEN ' CYCLE' ELSE '' END)
  FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid
  WHERE c.oid IN (SELECT p.refobjid FROM pg_depend p JOIN pg_attrdef d ON d.oid = p.objid
    WHERE p.classid = 'pg_attrdef'::regclass AND p.refclassid = 'pg_class'::regclass AND d.adrelid = $1) AND c.relname = $2`;

const DOMAIN_PARTS = `
  SELECT coalesce(' DEFAULT ' || t.typdefault, '') || CASE WHEN t.typnotnull THEN ' NOT NULL' ELSE '' END
    || coalesce((SELECT string_agg(' CONSTRAINT ' || quote_ident(c.conname) || ' ' || pg_get_constraintdef(c.oid), '' ORDER BY c.conname)
      FROM pg_constraint c WHERE c.contypid = t.oid AND c.contype = 'c'), '')
  FROM pg_type t WHERE t.oid = $1`;

const ACTIONS: Readonly<Record<string, string>> = {
  a: 'NO ACTION',
  r: 'RESTRICT',
  c: 'CASCADE',
  n: 'SET NULL',
  d: 'SET DEFAULT',
};

/** A table of a Postgres database, from its catalogue. */
export async function readPostgresTable(access: SchemaAccess, store: string, table: string): Promise<TableDescription> {
  const [found] = await access.query(
    `SELECT c.oid::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p') AND ((c.relname = $1 AND pg_table_is_visible(c.oid)) OR n.nspname || '.' || c.relname = $1)
     ORDER BY pg_table_is_visible(c.oid) DESC LIMIT 1`,
    [table],
  );
  if (found === undefined) throw new ChangeoverError('CHG_DATA_TABLE_MISSING', { store, table });
  const oid = String(found[0]);
  const prerequisites = new Map<string, Prerequisite>();
  const columns: ColumnDescription[] = [];
  for (const column of await objects<CatalogueColumn>(access, COLUMNS, oid)) {
    const { type, declared } = await typeOf(access, column.typeId, column.modifier, prerequisites);
    if (column.sequence !== null) {
      const [row] = await access.query(SEQUENCE, [oid, column.sequence]);
      if (row !== undefined)
        prerequisites.set(`sequence ${column.sequence}`, {
          kind: 'sequence',
          name: column.sequence,
          create: String(row[0]),
          ownedBy: column.isOwned ? column.name : null,
        });
    }
    columns.push({
      name: column.name,
      type,
      declared,
      isNullable: column.isNullable,
      collation: column.collation,
      default: column.default,
      generated:
        column.generated === ''
          ? null
          : { expression: column.generated.slice(1), isStored: column.generated.startsWith('s') },
      identity: identityOf(column),
    });
  }
  const constraints = await objects<CatalogueConstraint>(access, CONSTRAINTS, oid);
  return {
    name: table,
    columns,
    primaryKey: constraints.find(({ type }) => type === 'p')?.columns ?? [],
    indexes: (await objects<IndexDescription & { readonly head: string }>(access, INDEXES, oid)).map(
      ({ head, ...index }) => ({
        ...index,
        definition: index.definition.startsWith(head) ? index.definition.slice(head.length) : index.definition,
      }),
    ),
    checks: constraints.filter(({ type }) => type === 'c').map(checkOf),
    foreignKeys: constraints.filter(({ type }) => type === 'f').map(foreignKeyOf),
    natives: constraints
      .filter(({ type }) => type === 'x')
      .map(({ name, definition }): NativeConstraint => ({ name, definition })),
    prerequisites: [...prerequisites.values()],
    sql: null,
    options: [],
    leftBehind: (await access.query(LEFT_BEHIND, [oid])).map(([what]) => String(what)),
  };
}

async function objects<T>(access: SchemaAccess, sql: string, oid: string): Promise<T[]> {
  return (await access.query(sql, [oid])).map(([json]) => JSON.parse(String(json)) as T);
}

function identityOf({ identity, sequence }: CatalogueColumn): ColumnDescription['identity'] {
  if (identity === 'a') return 'always';
  if (identity === 'd') return 'default';
  return sequence === null ? null : 'sequence';
}

function checkOf({ name, expression }: CatalogueConstraint): CheckDescription {
  return { name, expression: expression ?? '' };
}

function foreignKeyOf(constraint: CatalogueConstraint): ForeignKeyDescription {
  return {
    name: constraint.name,
    source: constraint.name,
    columns: constraint.columns ?? [],
    parent: constraint.parent ?? '',
    parentColumns: constraint.parentColumns ?? [],
    onUpdate: ACTIONS[constraint.onUpdate] ?? 'NO ACTION',
    onDelete: ACTIONS[constraint.onDelete] ?? 'NO ACTION',
    isDeferrable: constraint.isDeferrable,
    isDeferred: constraint.isDeferred,
    isMatchFull: constraint.match === 'f',
  };
}

/** The type of a column, and what has to be made for it: an enum, a domain. Their own names stand without a schema. */
async function typeOf(
  access: SchemaAccess,
  typeId: number,
  modifier: number,
  prerequisites: Map<string, Prerequisite>,
): Promise<{ type: ColumnType; declared: string }> {
  const [row] = await access.query(TYPE, [String(typeId), String(modifier)]);
  const found = JSON.parse(String(row?.[0])) as CatalogueType;
  if (found.element !== null) {
    const element = await typeOf(access, found.element, modifier, prerequisites);
    const declared = found.isBuiltIn ? found.shown : `${element.declared}[]`;
    return { type: element.type.kind === 'native' ? element.type : { kind: 'array' }, declared };
  }
  if (found.isBuiltIn) return { type: postgresType(found.name), declared: found.shown };
  if (found.extension !== null)
    return { type: { kind: 'native', needs: `extension ${found.extension}` }, declared: found.shown };
  if (found.kind === 'e') {
    const values = found.values ?? [];
    const list = values.map((value) => `'${value.replaceAll("'", "''")}'`).join(', ');
    prerequisites.set(`type ${found.name}`, {
      kind: 'type',
      name: found.name,
      create: `CREATE TYPE ${found.quoted} AS ENUM (${list})`,
      ownedBy: null,
    });
    return { type: { kind: 'enum', values }, declared: found.quoted };
  }
  if (found.kind === 'd' && found.base !== null) {
    const [base = 0, baseModifier = -1] = found.base.split(' ').map(Number);
    const inner = await typeOf(access, base, baseModifier, prerequisites);
    const [parts] = await access.query(DOMAIN_PARTS, [String(typeId)]);
    prerequisites.set(`type ${found.name}`, {
      kind: 'type',
      name: found.name,
      create: `CREATE DOMAIN ${found.quoted} AS ${inner.declared}${String(parts?.[0] ?? '')}`,
      ownedBy: null,
    });
    return { type: { kind: 'domain', base: inner.type }, declared: found.quoted };
  }
  return { type: { kind: 'native', needs: `type ${found.name}` }, declared: found.quoted };
}
