import { ChangeoverError } from '../../../errors.ts';
import type { Computed } from '../../../plan/stores.ts';
import { sqliteCode, type SqliteConnection } from './connection.ts';
import type { SqliteColumn, SqliteShape } from './shape.ts';
import { quoted } from './text.ts';

/** The statement itself is wrong. */
const SQLITE_ERROR = 1;

/** The shape of rows that are read with expressions. Throws where one of them is not a value of each row. */
export function withComputed(
  connection: SqliteConnection,
  shape: SqliteShape,
  computed: readonly Computed[],
): SqliteShape {
  if (computed.length === 0) return shape;
  for (const { sql } of computed) assertValue(connection, shape, sql);
  const columns = computed.map(({ name, sql }): SqliteColumn => ({
    name,
    type: '',
    nullable: true,
    affinity: 'numeric',
    sql,
  }));
  return { ...shape, columns: [...shape.columns, ...columns] };
}

/** What a SELECT says for a column. */
export function selected({ name, sql }: SqliteColumn): string {
  // A comment at the end of the expression must not swallow the bracket.
  return sql === undefined ? quoted(name) : `(${sql}\n)`;
}

function assertValue(connection: SqliteConnection, shape: SqliteShape, sql: string): void {
  let reason: string | null = null;
  let cause: unknown;
  try {
    // An aggregate makes one row out of none, and would make one row out of all.
    const rows = connection.all(`SELECT (${sql}\n) FROM ${quoted(shape.name)} WHERE 0`);
    if (rows.length > 0) reason = 'it is made of many rows';
  } catch (error) {
    if (sqliteCode(error) !== SQLITE_ERROR) throw error;
    cause = error;
    reason = error instanceof Error ? error.message : String(error);
  }
  if (reason === null) return;
  const fields = { store: connection.store, table: shape.name, expression: sql, reason };
  throw new ChangeoverError('CHG_DATA_EXPRESSION_INVALID', fields, { cause });
}
