import { ChangeoverError } from '../../../errors.ts';
import type { Key, TableShape, Value } from '../../../plan/stores.ts';
import { exactInteger } from '../../values.ts';
import type { Cell, Session } from './session.ts';
import { literal, quoted } from './text.ts';

export type Kind = 'integer' | 'real' | 'boolean' | 'bytes' | 'text' | 'blank-padded';

export interface PostgresColumn {
  readonly name: string;
  readonly type: string;
  readonly nullable: boolean;
  /**
   * The type to cast text to: its name without a length, so that the cast never cuts a value off; the column itself then refuses what is too
   * long. A domain is cast to what it is made of.
   */
  readonly cast: string;
  readonly kind: Kind;
  /** What it is called in a SELECT, where that is not its name. */
  readonly alias?: string;
}

export interface UniqueIndex {
  readonly name: string;
  readonly columns: readonly string[];
  readonly hasExpression: boolean;
}

export interface PostgresShape extends TableShape {
  readonly columns: readonly PostgresColumn[];
  /** Unique indexes other than the key's. */
  readonly unique: readonly UniqueIndex[];
  readonly oid: string;
  /** The table with its schema, quoted. */
  readonly qualified: string;
}

export const KIND_OF: Readonly<Record<string, Kind>> = {
  int2: 'integer',
  int4: 'integer',
  int8: 'integer',
  oid: 'integer',
  float4: 'real',
  float8: 'real',
  bool: 'boolean',
  bytea: 'bytes',
  bpchar: 'blank-padded',
};

/** Reads the shape of `table`, which may be `schema.table`. Throws where it does not exist or has no key. */
export async function readShape(session: Session, store: string, table: string): Promise<PostgresShape> {
  const [found] = await session.query(
    `SELECT c.oid::text, quote_ident(n.nspname) || '.' || quote_ident(c.relname)
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p')
       AND ((c.relname = $1 AND pg_table_is_visible(c.oid)) OR n.nspname || '.' || c.relname = $1)
     ORDER BY pg_table_is_visible(c.oid) DESC LIMIT 1`,
    [table],
  );
  const [oid, qualified] = found ?? [];
  if (oid == null || qualified == null) throw new ChangeoverError('CHG_DATA_TABLE_MISSING', { store, table });
  const columns = await readColumns(session, oid);
  const { key, unique } = await readIndexes(session, oid);
  if (key === null) throw new ChangeoverError('CHG_DATA_TABLE_KEYLESS', { store, table });
  return { name: table, oid, qualified, columns, key, unique };
}

async function readColumns(session: Session, oid: string): Promise<PostgresColumn[]> {
  const rows = await session.query(
    `SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
            quote_ident(n.nspname) || '.' || quote_ident(b.typname), b.typname
     FROM pg_attribute a
     JOIN pg_type t ON t.oid = a.atttypid
     JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
     JOIN pg_namespace n ON n.oid = b.typnamespace
     WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
     ORDER BY a.attnum`,
    [oid],
  );
  return rows.map(([name, type, notNull, cast, base]) => ({
    name: name ?? '',
    type: type ?? '',
    nullable: notNull !== 't',
    cast: cast ?? '',
    kind: KIND_OF[base ?? ''] ?? 'text',
  }));
}

async function readIndexes(
  session: Session,
  oid: string,
): Promise<{ key: readonly string[] | null; unique: UniqueIndex[] }> {
  const rows = await session.query(
    `SELECT i.indexrelid::regclass::text, i.indisprimary, i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL,
            i.indexprs IS NOT NULL, to_json(array_remove(array_agg(a.attname ORDER BY k.ord), NULL)), bool_and(a.attnotnull)
     FROM pg_index i
     CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, ord)
     LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
     WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND k.ord <= i.indnkeyatts
     GROUP BY i.indexrelid, i.indisprimary, i.indimmediate, i.indpred, i.indexprs
     ORDER BY i.indisprimary DESC, i.indexrelid`,
    [oid],
  );
  const indexes = rows.map(([name, , isWhole, hasExpression, columns, isNotNull]) => ({
    name: name ?? '',
    columns: JSON.parse(columns ?? '[]') as string[],
    hasExpression: hasExpression === 't',
    canBeKey: isWhole === 't' && isNotNull === 't',
  }));
  const key = indexes.find(({ canBeKey }) => canBeKey);
  return { key: key?.columns ?? null, unique: indexes.filter((index) => index !== key) };
}

export function columnOf(shape: PostgresShape, name: string): PostgresColumn {
  const column = shape.columns.find((one) => one.name === name);
  return column ?? { name, type: 'text', nullable: true, cast: 'pg_catalog.text', kind: 'text' };
}

/** The columns of a SELECT; blank-padded text loses its padding, so that it equals what was written. */
export function selection(columns: readonly PostgresColumn[], prefix = ''): string {
  return columns
    .map(
      ({ name, alias = name, kind }) =>
        `${prefix}${quoted(alias)}${kind === 'blank-padded' ? '::pg_catalog.text' : ''}`,
    )
    .join(', ');
}

export function readValue(kind: Kind, cell: Cell): Value {
  if (cell === null) return null;
  switch (kind) {
    case 'integer':
      return exactInteger(BigInt(cell));
    case 'real':
      return Number(cell);
    case 'boolean':
      return cell === 't' || cell === 'true';
    case 'bytes':
      return new Uint8Array(Buffer.from(cell.slice(2), 'hex'));
    case 'text':
    case 'blank-padded':
      return cell;
  }
}

/** A value as the text that Postgres reads for its type. */
export function writeValue(value: Value): Cell {
  if (value === null || typeof value === 'string') return value;
  if (typeof value === 'boolean') return value ? 't' : 'f';
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value);
  return `\\x${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}`;
}

/** The columns of the key, as ORDER BY takes them. */
export function orderOf({ key }: PostgresShape): string {
  return key.map(quoted).join(', ');
}

export function lastFirst({ key }: PostgresShape): string {
  return key.map((column) => `${quoted(column)} DESC`).join(', ');
}

/** The WHERE that keeps the rows of a range of keys, strictly after `after` and up to `upTo`; empty for the whole table. */
export function within(shape: PostgresShape, range: { readonly after: Key | null; readonly upTo: Key | null }): string {
  const columns = shape.key.map(quoted).join(', ');
  const bound = (key: Key) =>
    shape.key
      .map((column, index) => `${literal(writeValue(key[index] ?? null) ?? '')}::${columnOf(shape, column).cast}`)
      .join(', ');
  const terms = [
    ...(range.after === null ? [] : [`(${columns}) > (${bound(range.after)})`]),
    ...(range.upTo === null ? [] : [`(${columns}) <= (${bound(range.upTo)})`]),
  ];
  return terms.length === 0 ? '' : `WHERE ${terms.join(' AND ')}`;
}

export function readKey(shape: PostgresShape, cells: readonly Cell[]): Key {
  return shape.key.map((name, index) => readValue(columnOf(shape, name).kind, cells[index] ?? null));
}
