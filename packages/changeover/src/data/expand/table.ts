import { ChangeoverError } from '../../errors.ts';
import type { OpenStore, SchemaAccess, Value } from '../../plan/stores.ts';
import type { PostgresShape } from '../stores/postgres/shape.ts';
import { literal, quoted } from '../stores/postgres/text.ts';

export interface ColumnFound {
  readonly name: string;
  /** As `format_type` writes it. */
  readonly type: string;
  readonly isNotNull: boolean;
  /** A default, an identity, or a generated value: an INSERT may leave it out. */
  readonly hasDefault: boolean;
  readonly isGenerated: boolean;
}

/** One table as it is now. */
export interface TableFound {
  /** As the plan calls it. */
  readonly name: string;
  readonly oid: string;
  /** With its schema, quoted. */
  readonly qualified: string;
  /** Its schema, quoted. */
  readonly schema: string;
  /** Its name in queries, quoted: what expressions may call it by. */
  readonly alias: string;
  readonly isPartitioned: boolean;
  readonly columns: readonly ColumnFound[];
  /** Columns of its key, in order. Never empty. */
  readonly key: readonly ColumnFound[];
}

export function accessOf({ kind, schema }: OpenStore): Required<SchemaAccess> {
  if (schema?.outside === undefined) throw new TypeError(`${kind} cannot add columns beside writers`);
  return schema as Required<SchemaAccess>;
}

/** Throws where there is no such table, and where it has no key. */
export async function findTable(store: OpenStore, name: string): Promise<TableFound> {
  const access = accessOf(store);
  // Only a Postgres store has statements outside of transactions.
  const shape = (await store.shape(name)) as PostgresShape;
  const [found] = await access.query(
    "SELECT relname, relnamespace::regnamespace::text, relkind = 'p' FROM pg_class WHERE oid = $1",
    [shape.oid],
  );
  const columns = await findColumns(access, shape.oid);
  return {
    name,
    oid: shape.oid,
    qualified: shape.qualified,
    schema: String(found?.[1]),
    alias: quoted(String(found?.[0])),
    isPartitioned: isTrue(found?.[2]),
    columns,
    key: shape.key.flatMap((key) => columns.filter((column) => column.name === key)),
  };
}

/** True for the error of a table that `check` names: it is not there, or has no key. */
export function isUnusable(error: unknown): boolean {
  return (
    error instanceof ChangeoverError &&
    (error.code === 'CHG_DATA_TABLE_MISSING' || error.code === 'CHG_DATA_TABLE_KEYLESS')
  );
}

async function findColumns(access: SchemaAccess, oid: string): Promise<ColumnFound[]> {
  const rows = await access.query(
    `SELECT attname, format_type(atttypid, atttypmod), attnotnull, atthasdef OR attidentity <> '', attgenerated <> ''
     FROM pg_attribute WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped ORDER BY attnum`,
    [oid],
  );
  return rows.map(([name, type, notNull, hasDefault, generated]) => ({
    name: String(name),
    type: String(type),
    isNotNull: isTrue(notNull),
    hasDefault: isTrue(hasDefault),
    isGenerated: isTrue(generated),
  }));
}

/** What a key is kept as: the texts of its values. */
export type KeyTexts = readonly string[];

/** SQL of a row's key as JSON, whatever its types. */
export function keyJson({ key }: TableFound): string {
  return `pg_catalog.json_build_array(${key.map(({ name }) => `${quoted(name)}::pg_catalog.text`).join(', ')})`;
}

export function keyColumns({ key }: TableFound, suffix = ''): string {
  return key.map(({ name }) => `${quoted(name)}${suffix}`).join(', ');
}

/** The condition of the keys strictly after `after` and up to `upTo`. */
export function within(table: TableFound, after: KeyTexts | null, upTo: KeyTexts | null): string {
  const bound = (texts: KeyTexts) =>
    table.key.map(({ type }, index) => `${literal(texts[index] ?? '')}::${type}`).join(', ');
  const terms = [
    ...(after === null ? [] : [`(${keyColumns(table)}) > (${bound(after)})`]),
    ...(upTo === null ? [] : [`(${keyColumns(table)}) <= (${bound(upTo)})`]),
  ];
  return terms.length === 0 ? 'true' : terms.join(' AND ');
}

export function isTrue(cell: Value | undefined): boolean {
  return cell === 't';
}
