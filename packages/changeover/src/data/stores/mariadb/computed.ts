import { ChangeoverError } from '../../../errors.ts';
import type { Computed, Row } from '../../../plan/stores.ts';
import { rowReader } from './rows.ts';
import { errorNumber, type Session } from './session.ts';
import { selection, type MariadbColumn, type MariadbShape } from './shape.ts';
import { quoted } from './text.ts';
import { sqlOf, type Kind } from './values.ts';

/** Types as the protocol numbers them: https://mariadb.com/kb/en/result-set-packets/#field-types */
const KIND_OF: ReadonlyMap<number, Kind> = new Map([
  [0, 'decimal'],
  [1, 'integer'],
  [2, 'integer'],
  [3, 'integer'],
  [4, 'single'],
  [5, 'double'],
  [7, 'instant'],
  [8, 'integer'],
  [9, 'integer'],
  [10, 'date'],
  [11, 'time'],
  [12, 'instant'],
  [13, 'integer'],
  [16, 'bit'],
  [246, 'decimal'],
]);

/** What was read about the expressions of a table, as long as its shape stays. */
const known = new WeakMap<MariadbShape, Map<string, MariadbColumn>>();

/** The columns that expressions are read as. Throws where one of them is not a value of each row. */
export async function computedColumns(
  session: Session,
  store: string,
  shape: MariadbShape,
  computed: readonly Computed[],
): Promise<MariadbColumn[]> {
  let columns = known.get(shape);
  if (columns === undefined) known.set(shape, (columns = new Map<string, MariadbColumn>()));
  const result: MariadbColumn[] = [];
  for (const { name, sql } of computed) {
    let column = columns.get(sql);
    if (column === undefined) columns.set(sql, (column = await columnOf(session, store, shape, { name, sql })));
    result.push(column);
  }
  return result;
}

/** What `computed` gives for rows that are not written. */
export async function computeRows(
  session: Session,
  store: string,
  shape: MariadbShape,
  rows: readonly Row[],
  computed: readonly Computed[],
): Promise<Row[]> {
  const columns = await computedColumns(session, store, shape, computed);
  if (rows.length === 0) return [];
  const given = rows.map((row, index) => {
    const values = shape.columns.map(
      (column) => `${sqlOf(column, row[column.name] ?? null)} AS ${quoted(column.name)}`,
    );
    return `SELECT ${[...values, `${index} AS changeover_position`].join(', ')}`;
  });
  const sql = `SELECT ${selection(columns)} FROM (${given.join(' UNION ALL ')}) AS ${quoted(shape.name)} ORDER BY changeover_position`;
  return (await session.query(sql)).map(rowReader(session, { ...shape, key: [] }, columns));
}

async function columnOf(
  session: Session,
  store: string,
  shape: MariadbShape,
  { name, sql }: Computed,
): Promise<MariadbColumn> {
  const invalid = (reason: string, cause?: unknown) =>
    new ChangeoverError(
      'CHG_DATA_EXPRESSION_INVALID',
      { store, table: shape.name, expression: sql, reason },
      { cause },
    );
  let answer;
  try {
    answer = await session.answer(`SELECT (${sql}\n) FROM ${quoted(shape.name)} WHERE FALSE`);
  } catch (cause) {
    if (errorNumber(cause) === 0) throw cause;
    throw invalid(cause instanceof Error ? cause.message : String(cause), cause);
  }
  // An aggregate makes one row out of none, and would make one row out of all.
  if (answer.rows > 0) throw invalid('it is made of many rows');
  const [{ type, isBinary } = { type: 0, isBinary: false }] = answer.types;
  const kind = KIND_OF.get(type) ?? (isBinary ? 'bytes' : 'text');
  return { name, type: '', nullable: true, kind, scale: 0, definition: '', sql };
}
