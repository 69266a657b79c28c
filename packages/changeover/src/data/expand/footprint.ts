import type { Footprint } from '../../plan/words.ts';
import { quoted } from '../stores/postgres/text.ts';
import type { TableSteps } from './statements.ts';
import { STEP_TRIGGER } from './trigger.ts';

const INSTANT = 'for an instant, asked for at most 100 ms at a time';
const SHORT = `ACCESS EXCLUSIVE ${INSTANT}`;
const SHARED = 'SHARE UPDATE EXCLUSIVE, writers go on';

/** Every statement that a run and `finish` do to a table, in their order, with the lock that each takes. */
export function footprintOf(steps: TableSteps, store: string, chunkRows: number): Footprint[] {
  const { table, expansion, missing } = steps;
  const added: Footprint[] = [];
  const add = (sql: string, lock: string, removal: string) => {
    const right = `owner of ${table.qualified}`;
    added.push({ where: `${store}: ${table.name}`, adds: `${sql} -- lock: ${lock}`, right, removal });
  };
  const columns = missing.map((name) => `DROP COLUMN ${quoted(name)}`).join(', ');
  for (const sql of steps.begin(missing)) {
    if (sql.startsWith('CREATE OR REPLACE FUNCTION')) add(sql, 'none', `goes with the trigger`);
    else if (sql.includes(' ADD COLUMN ')) add(sql, SHORT, `ALTER TABLE ${table.qualified} ${columns}`);
    else if (/^(CREATE TRIGGER|ALTER TABLE)/.test(sql))
      add(sql, SHORT, `DROP TRIGGER ${STEP_TRIGGER} ON ${table.qualified}`);
  }
  if (steps.paired.length > 0)
    add(
      `${steps.update('a range of keys')}, in batches of at most ${chunkRows} rows`,
      'ROW EXCLUSIVE, and the rows of one batch',
      'goes with the columns',
    );
  for (const { name, sql, column } of steps.constraints) {
    const isForeign = /^FOREIGN/i.test(sql);
    const drop = steps.dropConstraint(name);
    add(steps.addConstraint(name, sql), isForeign ? `SHARE ROW EXCLUSIVE on both tables ${INSTANT}` : SHORT, drop);
    add(steps.validate(name), SHARED, 'goes with the constraint');
    if (column !== null) add(`${steps.setNotNull(column)}; ${drop}`, SHORT, 'goes with the column');
  }
  for (const name of Object.keys(expansion.indexes ?? {})) add(steps.index(name), SHARED, steps.dropIndex(name));
  for (const sql of steps.contract().filter((one) => one.startsWith('ALTER')))
    add(`finish: ${sql}`, SHORT, 'nothing brings it back');
  return added;
}
