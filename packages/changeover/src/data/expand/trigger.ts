import { createHash } from 'node:crypto';
import { quoted } from '../stores/postgres/text.ts';
import { isInStep, isSame, isUp, stored, type PairedColumn } from './in-step.ts';
import type { TableFound } from './table.ts';

/** Triggers fire in the order of their names: this one sees what the application's own have made of a row. */
export const STEP_TRIGGER = 'zzz_changeover_expand';

/** Set in the transactions of the backfill, which writes what the trigger would write. */
export const FILLING = "SELECT set_config('changeover.filling', 'yes', true)";
const IS_FILLING = "current_setting('changeover.filling', true) = 'yes'";

/** The same for every session that writes, and the same that the backfill and the verification have. */
const SETTINGS =
  "SET TimeZone = 'UTC' SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = 1 SET bytea_output = 'hex'";

/** BEFORE, ROW, INSERT and UPDATE, as pg_trigger.tgtype has them. */
const TRIGGER_TYPE = 1 + 2 + 4 + 16;

export function stepFunction(home: string, table: TableFound): string {
  const id = createHash('sha256').update(table.qualified).digest('hex').slice(0, 16);
  return `${home}.${quoted(`changeover_expand_${id}`)}`;
}

/**
 * The body of the function that keeps a row in step. It changes nothing but the row that is being written, so it never fires itself. Who writes is
 * told by what is written: a new column that is given or changed is the new side's word, anything else is the old side's. First all that
 * the new side says goes down; then what the old columns say goes up, since one `down` may change what another `up` reads.
 */
export function stepBody({ alias }: TableFound, columns: readonly PairedColumn[]): string {
  const of = (row: 'NEW' | 'OLD', values: readonly string[], into: readonly string[] = []) =>
    `SELECT ${values.join(', ')}${into.length === 0 ? '' : ` INTO ${into.join(', ')}`} FROM (SELECT ${row}.*) AS ${alias}`;
  const word = (index: number) => `changeover_says_${index}`;
  const isChanged = ({ name }: PairedColumn) => `NOT (${isSame([`NEW.${quoted(name)}`], [`OLD.${quoted(name)}`])})`;

  const says = (values: (column: PairedColumn) => string) =>
    columns.map((column, index) => `    ${word(index)} := ${values(column)};`).join('\n');
  const down = columns.map((column, index) => {
    const values = column.down.map(({ value }) => value);
    const targets = column.down.map((old) => `NEW.${quoted(old.column)}`);
    if (values.length === 0) return '';
    return `  IF ${word(index)} AND (${of('NEW', [`NOT (${isUp(column)})`])}) THEN
    ${of('NEW', values, targets)};
  END IF;\n`;
  });
  const isStale = (column: PairedColumn) => {
    const up = stored(column.up, column.type);
    const moved = `NOT (${isSame([`(${of('NEW', [up])})`], [`(${of('OLD', [up])})`])})`;
    return column.down.length === 0 ? moved : `(${moved} OR (${of('NEW', [`NOT ${isInStep(column)}`])}))`;
  };
  const up = (isUpdate: boolean) =>
    columns
      .map((column, index) => {
        const own = `NEW.${quoted(column.name)}`;
        const isOld = isUpdate ? ` OR NOT ${word(index)} AND ${isStale(column)}` : '';
        return `    IF ${own} IS NULL${isOld} THEN
      ${own} := (${of('NEW', [column.up])});
    END IF;`;
      })
      .join('\n');
  return `
#variable_conflict use_column
DECLARE
${columns.map((_, index) => `  ${word(index)} boolean;`).join('\n')}
BEGIN
  IF TG_OP = 'INSERT' THEN
${says(({ name }) => `NEW.${quoted(name)} IS NOT NULL`)}
  ELSE
${says(isChanged)}
  END IF;
${down.join('')}  IF TG_OP = 'INSERT' THEN
${up(false)}
  ELSE
${up(true)}
  END IF;
  RETURN NEW;
END `;
}

/** With the search_path of the role that moves, so that a function of its own means the same to every writer. */
export function stepFunctionSql(home: string, path: string, table: TableFound, body: string): string {
  return `CREATE OR REPLACE FUNCTION ${stepFunction(home, table)}() RETURNS trigger LANGUAGE plpgsql
  SET search_path = ${path} ${SETTINGS} AS $changeover$${body}$changeover$`;
}

/** ALWAYS: a session with session_replication_role = replica skips every other trigger. */
export function stepTriggerSql(home: string, table: TableFound): string[] {
  return [
    `DROP TRIGGER IF EXISTS ${STEP_TRIGGER} ON ${table.qualified}`,
    `CREATE TRIGGER ${STEP_TRIGGER} BEFORE INSERT OR UPDATE ON ${table.qualified} FOR EACH ROW
      WHEN (${IS_FILLING} IS NOT TRUE) EXECUTE FUNCTION ${stepFunction(home, table)}()`,
    `ALTER TABLE ${table.qualified} ENABLE ALWAYS TRIGGER ${STEP_TRIGGER}`,
  ];
}

/** SQL that finds a row only if the trigger on the table `$1` is as it was made, with `$2` as the body of its function. */
export const IS_INTACT = `
  SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
  WHERE t.tgrelid = $1 AND t.tgname = '${STEP_TRIGGER}' AND t.tgenabled = 'A' AND t.tgtype = ${TRIGGER_TYPE} AND p.prosrc = $2`;
