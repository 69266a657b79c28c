import type { TableExpansion } from '../../plan/expand.ts';
import type { OpenStore, SchemaAccess } from '../../plan/stores.ts';
import { sqlState } from '../stores/postgres/session.ts';
import { quoted } from '../stores/postgres/text.ts';
import { pairedColumns, stored, type PairedColumn } from './in-step.ts';
import { accessOf, keyJson, type TableFound } from './table.ts';

/** Values are looked at for so long; a table that is too large for that is looked at by the backfill and the verification. */
const MAX_SCAN_MS = 10_000;
const QUERY_CANCELED = '57014';

/** The same row gives another value at another time, or in another session. */
const UNSTEADY =
  /\b(now|transaction_timestamp|statement_timestamp|current_date|current_time|current_timestamp|localtime|localtimestamp|current_user|session_user|current_role|user|current_setting|current_schema)\b(?!")/i;
const READS_OTHERS = /\b(select|table|values)\b/i;

interface Found {
  readonly message: string;
  readonly remedy: string;
  readonly isWarning?: true;
}

/** Whether the expressions are ones, and what they make of the rows that are there. */
export async function checkValues(store: OpenStore, table: TableFound, expansion: TableExpansion): Promise<Found[]> {
  const access = accessOf(store);
  const found: Found[] = [];
  for (const [name, { up, default: standard }] of Object.entries(expansion.add ?? {}))
    if (up === undefined && standard !== undefined && (await volatileIn(access, standard)) !== null)
      found.push({
        message: `the default of ${name} gives every row another value, so adding it would rewrite the whole table under a lock`,
        remedy: `add it without a default, and set that later: ALTER TABLE ${table.qualified} ALTER COLUMN ${quoted(name)} SET DEFAULT …`,
      });
  const paired = pairedColumns(table, expansion);
  for (const column of paired) {
    found.push(...(await checkExpression(access, `up of ${column.name}`, column.up)));
    for (const { column: old, value } of column.down)
      found.push(...(await checkExpression(access, `down of ${column.name} to ${old}`, value)));
  }
  if (found.length > 0) return found;
  for (const column of paired) {
    found.push(...(await checkRows(access, table, paired, column, expansion.add?.[column.name]?.notNull === true)));
  }
  return found;
}

/** The first function of the expression that is volatile by any of its definitions. */
async function volatileIn(access: SchemaAccess, expression: string): Promise<string | null> {
  const [row] = await access.query(
    "SELECT proname FROM pg_proc WHERE provolatile = 'v' AND lower($1) ~ ('\\m' || regexp_replace(lower(proname), '\\W', '.', 'g') || '\\M\"?\\s*\\(') LIMIT 1",
    [withoutTexts(expression)],
  );
  return row === undefined ? null : String(row[0]);
}

async function checkExpression(access: SchemaAccess, what: string, expression: string): Promise<Found[]> {
  const text = withoutTexts(expression);
  const volatile = await volatileIn(access, expression);
  const unsteady = volatile ?? UNSTEADY.exec(text)?.[0] ?? null;
  if (unsteady !== null)
    return [
      {
        message: `${what} uses ${unsteady}, which gives the same row another value at another time`,
        remedy: 'make it of the columns of the row alone',
      },
    ];
  if (READS_OTHERS.test(text))
    return [
      {
        message: `${what} reads other rows, which may change without this one being written`,
        remedy: 'make it of the columns of the row alone, or move the rows with `sync` to another database',
      },
    ];
  return /--|\/\*/.test(text)
    ? [{ message: `${what} has a comment in it`, remedy: 'write the comment in the plan, outside of the SQL' }]
    : [];
}

/** Texts and quoted names say nothing about what an expression does. */
function withoutTexts(expression: string): string {
  return expression.replaceAll(/'(?:[^']|'')*'/g, "''");
}

/** Runs `up` over the rows, as far as it comes in a few seconds: what it cannot be made of is found before the legacy writes through it. */
async function checkRows(
  access: SchemaAccess,
  table: TableFound,
  paired: readonly PairedColumn[],
  column: PairedColumn,
  isNotNull: boolean,
): Promise<Found[]> {
  const isNew = (name: string) => paired.some((one) => one.name === name);
  const old = table.columns.filter(({ name }) => !isNew(name)).map(({ name }) => quoted(name));
  const before = `(SELECT ${old.join(', ')} FROM ${table.qualified}) AS ${table.alias}`;
  const after = `(SELECT ${[...old, ...paired.map(({ name, type }) => `NULL::${type} AS ${quoted(name)}`)].join(', ')}
    FROM ${table.qualified}) AS ${table.alias}`;
  const up = stored(column.up, column.type);
  const down = column.down.map(({ value, type }) => stored(value, type));
  const remedy = `correct \`up\` or \`down\` of ${column.name}`;
  try {
    await access.query(`SELECT ${up} FROM ${before} WHERE false`);
    if (down.length > 0) await access.query(`SELECT ${down.join(', ')} FROM ${after} WHERE false`);
    await access.query(`SET statement_timeout = ${MAX_SCAN_MS}`);
    const [row] = await access.query(
      `SELECT count(*) FILTER (WHERE (${up}) IS NULL), min(${keyJson(table)}::pg_catalog.text) FILTER (WHERE (${up}) IS NULL), count(${up}) FROM ${before}`,
    );
    const [nulls, key] = row ?? [];
    if (!isNotNull || Number(nulls) === 0) return [];
    return [
      {
        message: `${column.name} is to be NOT NULL, and \`up\` gives NULL for ${Number(nulls)} rows, e.g. ${String(key)}`,
        remedy: `write a \`default\`, which is taken where \`up\` gives NULL, or leave \`notNull\` out`,
      },
    ];
  } catch (error) {
    if (sqlState(error) === null) throw error;
    if (sqlState(error) === QUERY_CANCELED)
      return [
        {
          message: `${column.name}: not every row could be looked at in ${MAX_SCAN_MS / 1000} s; the backfill meets the others`,
          remedy: 'nothing, if `up` has a value for every row that the old application may write',
          isWarning: true,
        },
      ];
    return [{ message: `${column.name}: ${(error as Error).message}`, remedy }];
  } finally {
    await access.query('SET statement_timeout = 0');
  }
}
