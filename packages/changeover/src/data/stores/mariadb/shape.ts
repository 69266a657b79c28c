import { ChangeoverError } from '../../../errors.ts';
import type { TableShape } from '../../../plan/stores.ts';
import type { Session } from './session.ts';
import { literal, quoted } from './text.ts';
import { kindOf, type Kind } from './values.ts';

export interface MariadbColumn {
  readonly name: string;
  /** As declared: `bigint(20) unsigned`. */
  readonly type: string;
  readonly nullable: boolean;
  readonly kind: Kind;
  /** Digits after the point of a decimal or a time; bytes of a fixed binary; else 0. */
  readonly scale: number;
  /** The type with its character set and collation, as it stands in CREATE TABLE. */
  readonly definition: string;
  /** Of a value that is computed with each row; absent for a column of the table. */
  readonly sql?: string;
}

export interface UniqueIndex {
  readonly name: string;
  readonly columns: readonly string[];
  readonly hasExpression: boolean;
}

export interface MariadbShape extends TableShape {
  readonly columns: readonly MariadbColumn[];
  /** Columns that the server computes: they are read, so that a row function can use them, and never written. */
  readonly generated: readonly MariadbColumn[];
  /** Unique indexes other than the key's. */
  readonly unique: readonly UniqueIndex[];
  /** The column with AUTO_INCREMENT, if any. */
  readonly counter: string | null;
  readonly engine: string;
}

/** Reads the shape of `table`. Throws where it does not exist or has no key. */
export async function readShape(session: Session, store: string, table: string): Promise<MariadbShape> {
  const [found] = await session.texts(
    `SELECT ENGINE FROM information_schema.TABLES
     WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ${literal(table)} AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')`,
  );
  if (found === undefined) throw new ChangeoverError('CHG_DATA_TABLE_MISSING', { store, table });
  const all = await readColumns(session, table);
  const { key, unique } = await readIndexes(session, table);
  if (key === null) throw new ChangeoverError('CHG_DATA_TABLE_KEYLESS', { store, table });
  return {
    name: table,
    key,
    columns: all.filter(({ isGenerated }) => !isGenerated),
    generated: all.filter(({ isGenerated }) => isGenerated),
    unique,
    counter: all.find(({ isCounter }) => isCounter)?.name ?? null,
    engine: found[0] ?? 'none',
  };
}

interface ReadColumn extends MariadbColumn {
  readonly isGenerated: boolean;
  readonly isCounter: boolean;
}

async function readColumns(session: Session, table: string): Promise<ReadColumn[]> {
  const rows = await session.texts(
    `SELECT COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, DATA_TYPE, NUMERIC_SCALE, DATETIME_PRECISION, CHARACTER_OCTET_LENGTH,
            CHARACTER_SET_NAME, COLLATION_NAME, EXTRA, GENERATION_EXPRESSION
     FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ${literal(table)} ORDER BY ORDINAL_POSITION`,
  );
  return rows.map(([name, type, nullable, base, digits, precision, bytes, charset, collation, extra, expression]) => {
    const kind = kindOf(base ?? '', type ?? '');
    const scale = kind === 'decimal' ? digits : kind === 'binary' ? bytes : precision;
    const text = charset == null || charset === 'binary' ? '' : ` CHARACTER SET ${charset} COLLATE ${collation ?? ''}`;
    return {
      name: name ?? '',
      type: type ?? '',
      nullable: nullable === 'YES',
      kind,
      scale: Number(scale ?? 0),
      definition: `${type ?? ''}${text}`,
      isGenerated: (expression ?? '') !== '',
      isCounter: (extra ?? '').includes('auto_increment'),
    };
  });
}

async function readIndexes(
  session: Session,
  table: string,
): Promise<{ key: readonly string[] | null; unique: UniqueIndex[] }> {
  const rows = await session.texts(
    `SELECT INDEX_NAME, COLUMN_NAME, NULLABLE = 'YES', SUB_PART IS NOT NULL FROM information_schema.STATISTICS
     WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ${literal(table)} AND NON_UNIQUE = 0
     ORDER BY INDEX_NAME = 'PRIMARY' DESC, INDEX_NAME, SEQ_IN_INDEX`,
  );
  const indexes = new Map<string, { columns: string[]; hasExpression: boolean; canBeKey: boolean }>();
  for (const [name, column, isNullable, isPrefix] of rows) {
    const index = indexes.get(name ?? '') ?? { columns: [], hasExpression: false, canBeKey: true };
    indexes.set(name ?? '', index);
    // The index of an expression (MySQL) or of a prefix has no column whose whole value is unique.
    const isWhole = column != null && isPrefix !== '1';
    if (isWhole) index.columns.push(column);
    else index.hasExpression = true;
    if (!isWhole || isNullable === '1') index.canBeKey = false;
  }
  const unique = [...indexes].map(([name, index]) => ({ name, ...index }));
  const key = unique.find(({ canBeKey }) => canBeKey);
  return { key: key?.columns ?? null, unique: unique.filter((index) => index !== key) };
}

/** The column of that name, generated ones included. Throws where the table has none. */
export function columnOf(shape: MariadbShape, name: string): MariadbColumn {
  const column = [...shape.columns, ...shape.generated].find((one) => one.name === name);
  if (column === undefined) throw new TypeError(`table ${shape.name} has no column ${name}`);
  return column;
}

export function keyColumns(shape: MariadbShape): readonly MariadbColumn[] {
  return shape.key.map((name) => columnOf(shape, name));
}

/** The columns of a SELECT, in a form that loses nothing: FLOAT as text has six digits only, BIT would be bytes. */
export function selection(columns: readonly MariadbColumn[]): string {
  return columns
    .map(({ name, kind, sql }) => {
      // A comment at the end of an expression must not swallow the bracket.
      const value = sql === undefined ? quoted(name) : `(${sql}\n)`;
      if (kind === 'single') return `(${value} + 0e0)`;
      return kind === 'bit' ? `CAST(${value} AS UNSIGNED)` : value;
    })
    .join(', ');
}
