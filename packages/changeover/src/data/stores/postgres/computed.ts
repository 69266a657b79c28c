import { ChangeoverError } from '../../../errors.ts';
import type { Computed, Row } from '../../../plan/stores.ts';
import { sqlState, type Session } from './session.ts';
import { KIND_OF, type PostgresColumn, type PostgresShape } from './shape.ts';
import { quoted } from './text.ts';
import { givenRows, readRow } from './write.ts';

/** What was read about the expressions of a table, as long as its shape stays. */
const known = new WeakMap<PostgresShape, Map<string, PostgresColumn>>();

/** The shape of rows that are read with expressions. Throws where one of them is not a value of each row. */
export async function withComputed(
  session: Session,
  store: string,
  shape: PostgresShape,
  computed: readonly Computed[],
): Promise<PostgresShape> {
  if (computed.length === 0) return shape;
  const columns = await columnsOf(session, store, shape, computed);
  return { ...shape, qualified: `(${selecting(shape.qualified, computed)})`, columns: [...shape.columns, ...columns] };
}

/** What `computed` gives for rows that are not written. */
export async function computeRows(
  session: Session,
  store: string,
  shape: PostgresShape,
  rows: readonly Row[],
  computed: readonly Computed[],
): Promise<Row[]> {
  const columns = await columnsOf(session, store, shape, computed);
  const { from, values } = givenRows(shape, rows);
  // The expression may name its table.
  const name = quoted(shape.name.split('.').at(-1) ?? shape.name);
  const sql = `SELECT ${computed.map(({ sql: own }) => `(${own}\n)`).join(', ')} FROM (${from}) AS ${name} ORDER BY changeover_position`;
  return (await session.query(sql, values)).map((cells) => readRow({ ...shape, columns }, cells));
}

function selecting(from: string, computed: readonly Computed[]): string {
  // A comment at the end of an expression must not swallow the bracket.
  return `SELECT *, ${computed.map(({ sql }, index) => `(${sql}\n) AS ${aliasOf(index)}`).join(', ')} FROM ${from}`;
}

function aliasOf(index: number): string {
  return `changeover_value_${index}`;
}

async function columnsOf(
  session: Session,
  store: string,
  shape: PostgresShape,
  computed: readonly Computed[],
): Promise<PostgresColumn[]> {
  let columns = known.get(shape);
  if (columns === undefined) known.set(shape, (columns = new Map<string, PostgresColumn>()));
  const result: PostgresColumn[] = [];
  for (const [index, { name, sql }] of computed.entries()) {
    let column = columns.get(sql);
    if (column === undefined) columns.set(sql, (column = await columnOf(session, store, shape, { name, sql })));
    result.push({ ...column, alias: aliasOf(index) });
  }
  return result;
}

async function columnOf(
  session: Session,
  store: string,
  shape: PostgresShape,
  { name, sql }: Computed,
): Promise<PostgresColumn> {
  const invalid = (reason: string, cause?: unknown) =>
    new ChangeoverError(
      'CHG_DATA_EXPRESSION_INVALID',
      { store, table: shape.name, expression: sql, reason },
      { cause },
    );
  let found;
  try {
    // COALESCE takes no function that gives several rows; an aggregate makes one row out of none, and would make one row out of all.
    [found] = await session.query(
      `SELECT t.typname, quote_ident(n.nspname) || '.' || quote_ident(t.typname), e.is_there
       FROM (SELECT) AS one
       LEFT JOIN (SELECT COALESCE((${sql}\n)) AS value, true AS is_there FROM ${shape.qualified} WHERE false) AS e ON true
       JOIN pg_type g ON g.oid = pg_typeof(e.value)
       JOIN pg_type t ON t.oid = CASE WHEN g.typtype = 'd' THEN g.typbasetype ELSE g.oid END
       JOIN pg_namespace n ON n.oid = t.typnamespace`,
    );
  } catch (cause) {
    if (sqlState(cause) === null) throw cause;
    throw invalid(cause instanceof Error ? cause.message : String(cause), cause);
  }
  const [type, cast, isThere] = found ?? [];
  if (isThere != null) throw invalid('it is made of many rows');
  return {
    name,
    type: type ?? 'text',
    nullable: true,
    cast: cast ?? 'pg_catalog.text',
    kind: KIND_OF[type ?? ''] ?? 'text',
  };
}
