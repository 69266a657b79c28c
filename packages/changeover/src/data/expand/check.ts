import type { ExpandDefinition, TableExpansion } from '../../plan/expand.ts';
import type { OpenStore } from '../../plan/stores.ts';
import type { Finding } from '../../plan/words.ts';
import { literal, quoted } from '../stores/postgres/text.ts';
import { pairedColumns } from './in-step.ts';
import type { Made } from './statements.ts';
import { checkValues } from './check-values.ts';
import { accessOf, findTable, isTrue, isUnusable, type TableFound } from './table.ts';
import { STEP_TRIGGER } from './trigger.ts';

type MadeOf = (table: string) => Promise<Made>;
type Found = readonly { readonly message: string; readonly remedy: string; readonly isWarning?: true }[];

/** What stands in the way of an expansion, or should be known before. Reads only; the store's own check has named what is wrong with its tables. */
export async function checkExpansion(
  definition: ExpandDefinition,
  store: OpenStore,
  madeOf: MadeOf,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const [name, expansion] of Object.entries(definition.tables)) {
    try {
      const table = await findTable(store, name);
      const isOurs = (await madeOf(name)).has('begun');
      const found = [
        ...checkColumns(table, expansion, isOurs),
        ...(await checkTriggers(store, table, expansion)),
        ...(await checkDependents(store, table, expansion)),
      ];
      // Values are read only when it is settled what becomes of them.
      if (found.every(({ isWarning }) => isWarning)) found.push(...(await checkValues(store, table, expansion)));
      const about = `data.${definition.name}: ${name}`;
      for (const { message, remedy, isWarning } of found)
        findings.push({ level: isWarning === true ? 'warning' : 'error', about, message, remedy });
    } catch (error) {
      if (!isUnusable(error)) throw error;
    }
  }
  return findings;
}

function checkColumns(table: TableFound, expansion: TableExpansion, isOurs: boolean): Found {
  const { add = {}, drop = [], givesUp = [], indexes = {} } = expansion;
  const found: { message: string; remedy: string; isWarning?: true }[] = [];
  const error = (message: string, remedy: string) => found.push({ message, remedy });
  const column = (name: string) => table.columns.find((one) => one.name === name);
  if (table.isPartitioned)
    error(
      'the table is partitioned: indexes and foreign keys cannot be made beside writers',
      'expand its partitions one by one',
    );
  for (const name of drop) {
    if (column(name) === undefined && !isOurs)
      error(`\`drop\` names ${name}, and there is no such column`, 'leave it out');
    if (table.key.some((key) => key.name === name))
      error(`\`drop\` names ${name}, which is part of the key`, 'keep the key, or move the rows to another table');
    if (name in add) error(`${name} is added and dropped`, 'give the new column another name');
  }
  const brought = new Map<string, string>();
  for (const [name, { up, down = {}, type }] of Object.entries(add)) {
    const there = column(name);
    if (there !== undefined && !isOurs)
      found.push({
        message: `there is a column ${name} already (${there.type}, wanted ${type}); it is used as it is, and no rollback takes it away`,
        remedy: 'give the new column another name, unless it was made for this move',
        isWarning: true,
      });
    if (up === undefined && Object.keys(down).length > 0)
      error(`${name} has \`down\` and no \`up\``, 'say what it is made of: up: "…"');
    if (up !== undefined && Object.keys(down).length === 0 && !givesUp.includes(name))
      error(
        `what the new side writes to ${name} does not come back`,
        `write down: { old_column: "…" }, or accept it: givesUp: ['${name}']`,
      );
    for (const old of Object.keys(down)) {
      const target = column(old);
      if (target === undefined || old in add)
        error(`\`down\` of ${name} names ${old}, which is not an old column`, 'leave it out');
      if (target?.isGenerated === true)
        error(`${old} is generated, so ${name} cannot be written to it`, 'write what it is made of');
      if (table.key.some((key) => key.name === old))
        error(`${old} is part of the key, which must not change`, 'leave it out of `down`');
      const other = brought.get(old);
      if (other !== undefined) error(`${other} and ${name} both say what ${old} is`, 'let one of them do it');
      brought.set(old, name);
    }
  }
  for (const name of drop) {
    const old = column(name);
    if (old?.isNotNull === true && !old.hasDefault && !brought.has(name))
      error(
        `${name} is NOT NULL and no \`down\` gives it a value, so a row that the new side adds would be refused`,
        `write a \`down\` for it, or: ALTER TABLE ${table.qualified} ALTER COLUMN ${quoted(name)} DROP NOT NULL`,
      );
  }
  for (const name of givesUp)
    if (!(name in add)) error(`\`givesUp\` names ${name}, which is not added`, 'leave it out');
  for (const name of Object.keys(indexes))
    if (!/\(/.test(indexes[name]?.on ?? '')) error(`index ${name} names no columns`, "write on: '(full_name)'");
  return found;
}

/** Ours fires last of the BEFORE triggers; what fires after it, knows its columns, or fires for what the backfill writes is named. */
async function checkTriggers(store: OpenStore, table: TableFound, expansion: TableExpansion): Promise<Found> {
  const paired = pairedColumns(table, expansion);
  if (paired.length === 0) return [];
  const names = [...new Set(paired.flatMap(({ name, down }) => [name, ...down.map(({ column }) => column)]))];
  const word = `\\m(${names.map((name) => name.replaceAll(/[^\w]/g, '.')).join('|')})\\M`;
  const rows = await accessOf(store).query(
    `SELECT tgname, tgtype & 2 = 2 AND tgname > ${literal(STEP_TRIGGER)}::name, p.prosrc ~* $2, tgtype & 16 = 16
     FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
     WHERE tgrelid = $1 AND NOT tgisinternal AND tgname <> ${literal(STEP_TRIGGER)} AND tgname NOT LIKE 'changeover\\_%'
       AND tgtype & 1 = 1 AND tgtype & 20 <> 0 AND tgenabled <> 'D'
     ORDER BY tgname`,
    [table.oid, word],
  );
  return rows.flatMap(([name, isLater, isKnowing, isForUpdates]): Found => {
    const trigger = `trigger ${String(name)}`;
    const on = `TRIGGER ${quoted(String(name))} ON ${table.qualified}`;
    if (isTrue(isLater))
      return [
        {
          message: `${trigger} fires after ours and may change the row again, unseen`,
          remedy: `let it fire before: ALTER ${on} RENAME TO …`,
        },
      ];
    if (isTrue(isKnowing))
      return [
        {
          message: `${trigger} reads or writes ${names.join(', ')}: if it keeps two of them equal by itself, it and ours do the same work`,
          remedy: `look at it, and drop it if the expansion replaces it: DROP ${on}`,
          isWarning: true,
        },
      ];
    return isTrue(isForUpdates)
      ? [
          {
            message: `${trigger} fires for every row that the backfill writes`,
            remedy: "let it look at current_setting('changeover.filling', true), if that must not be",
            isWarning: true,
          },
        ]
      : [];
  });
}

/** What would keep `finish` from dropping an old column, found before anything is added. */
async function checkDependents(store: OpenStore, table: TableFound, { drop = [] }: TableExpansion): Promise<Found> {
  if (drop.length === 0) return [];
  const rows = await accessOf(store).query(
    `SELECT DISTINCT a.attname, pg_describe_object(d.classid, d.objid, 0), d.deptype, pg_describe_object('pg_class'::regclass, r.ev_class, 0)
     FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
     LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
     WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = $1 AND a.attname = ANY(SELECT json_array_elements_text($2::json))
       AND d.deptype IN ('n', 'a') AND NOT (d.classid = 'pg_attrdef'::regclass AND EXISTS (
         SELECT FROM pg_attrdef f WHERE f.oid = d.objid AND f.adrelid = a.attrelid AND f.adnum = a.attnum))
     ORDER BY 1, 2`,
    [table.oid, JSON.stringify(drop)],
  );
  return rows.map(([column, what, kind, view]) =>
    kind === 'n'
      ? {
          message: `${String(view ?? what)} needs ${String(column)}, so \`finish\` could not drop it`,
          remedy: `change it beforehand, or leave ${String(column)} out of \`drop\``,
        }
      : {
          message: `${String(what)} goes when \`finish\` drops ${String(column)}`,
          remedy: 'name what replaces it in `indexes` or `constraints`, if anything does',
          isWarning: true,
        },
  );
}
