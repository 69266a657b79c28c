import { WHOLE, type Own } from './own.ts';
import type { SqliteShape } from './shape.ts';
import { literal, quoted } from './text.ts';

/** Our own transactions pass every trigger: the row is set inside them only (see `SqliteConnection.write`). */
const foreignWrite = ({ prefix }: Own) => `(SELECT bypass FROM ${prefix}_gate) = 0`;

/** What a refused writer reads. */
const REFUSAL = 'changeover: this side does not accept writes now';
const CROSSING = 'changeover: a row may not leave its slice now';

/** The key of another table. */
type KeyOf = (table: string) => readonly string[];

export interface Trigger {
  readonly name: string;
  readonly sql: string;
}

/**
 * Triggers that log the keys of changed rows.
 *
 * `INSERT OR REPLACE` and `UPDATE OR REPLACE` delete conflicting rows without firing a delete trigger, so the keys of the rows
 * that hold the new row's unique values are logged before it is written.
 */
export function captureTriggers(shape: SqliteShape, own: Own = WHOLE, keyOf: KeyOf = () => []): Trigger[] {
  const table = quoted(shape.name);
  const FOREIGN_WRITE = foreignWrite(own);
  const trigger = (event: string, head: string, statements: readonly string[]): Trigger => {
    const name = `${own.prefix}_capture_${shape.name}_${event}`;
    const body = statements.map((statement) => `${statement};`).join(' ');
    return { name, sql: `CREATE TRIGGER ${quoted(name)} ${head} ON ${table} WHEN ${FOREIGN_WRITE} BEGIN ${body} END` };
  };
  /** Unless all of these rows are another slice's. */
  const mayBeOurs = (...rows: readonly string[]) => {
    const elsewhere = rows.map((row) => own.slice?.elsewhere(shape.name, row) ?? null);
    return elsewhere.includes(null) ? null : `NOT (${elsewhere.join(' AND ')})`;
  };
  const into = `INSERT INTO ${own.prefix}_changes (tbl, ${keySlots(shape.key)}) SELECT ${literal(shape.name)}`;
  const log = (row: 'OLD' | 'NEW', ...conditions: readonly (string | null)[]) =>
    `${into}, ${keyValues(shape.key, `${row}.`)}${where(conditions)}`;
  const replaced = replacedRows(shape, own).map(
    (holds) => `${into}, ${keyValues(shape.key)} FROM ${table}${where([holds, mayBeOurs(`${table}.`)])}`,
  );
  const before =
    replaced.length === 0
      ? []
      : [trigger('replace_insert', 'BEFORE INSERT', replaced), trigger('replace_update', 'BEFORE UPDATE', replaced)];
  return [
    ...before,
    ...crossingTriggers(shape, own),
    trigger('insert', 'AFTER INSERT', [log('NEW', mayBeOurs('NEW.'))]),
    trigger('update', 'AFTER UPDATE', [
      log('OLD', keyChanged(shape), mayBeOurs('OLD.')),
      log('NEW', mayBeOurs('OLD.', 'NEW.')),
      ...logBelow(shape, own, keyOf, ['OLD', 'NEW']),
    ]),
    trigger('delete', 'AFTER DELETE', [log('OLD', mayBeOurs('OLD.')), ...logBelow(shape, own, keyOf, ['OLD'])]),
  ];
}

function where(conditions: readonly (string | null)[]): string {
  const own = conditions.filter((condition) => condition !== null);
  return own.length < 2 ? own.map((one) => ` WHERE ${one}`).join('') : ` WHERE (${own.join(') AND (')})`;
}

/** Conditions on the rows of the table that `OR REPLACE` takes away for NEW: those that hold one of its unique values. */
function replacedRows(shape: SqliteShape, { slice }: Own): string[] {
  // A row of the same key is the same row, except where it may be another slice's.
  const keys = slice === null ? [] : [shape.key];
  const unique = shape.unique.filter((index) => index.columns.length > 0 && !index.hasExpression);
  return [...keys, ...unique.map(({ columns }) => columns)].map((columns) =>
    columns.map((column) => `${quoted(column)} = NEW.${quoted(column)}`).join(' AND '),
  );
}

/** The keys of the rows that belong through this one, where it goes, or becomes another's. */
function logBelow(
  shape: SqliteShape,
  { prefix, slice }: Own,
  keyOf: KeyOf,
  rows: readonly ('OLD' | 'NEW')[],
): string[] {
  const columns = slice?.columns(shape.name) ?? [];
  const changed = columns.map((column) => `OLD.${quoted(column)} IS NOT NEW.${quoted(column)}`).join(' OR ');
  return (slice?.below(shape.name) ?? []).map(({ table, from, key }) => {
    const own = keyOf(table);
    const ids = rows.map((row) => `${row}.${quoted(key)}`).join(', ');
    return (
      `INSERT INTO ${prefix}_changes (tbl, ${keySlots(own)}) SELECT ${literal(table)}, ${keyValues(own, 'c.')} ` +
      `${from.replace('{key}', () => ids)}${rows.length === 1 ? '' : ` AND (${changed})`}`
    );
  });
}

/** On the new side an update that carries a row into or out of the slice is refused: its other side does not follow it there. */
function crossingTriggers(shape: SqliteShape, own: Own): Trigger[] {
  if (!own.keepsTogether) return [];
  const asked = (ask: 'belongs' | 'elsewhere', row: string) => own.slice?.[ask](shape.name, row) ?? null;
  const [oldIs, newIs, oldNot, newNot] = [
    asked('belongs', 'OLD.'),
    asked('belongs', 'NEW.'),
    asked('elsewhere', 'OLD.'),
    asked('elsewhere', 'NEW.'),
  ];
  if (oldIs === null) return [];
  const name = `${own.prefix}_capture_${shape.name}_crossing`;
  const when = `${foreignWrite(own)} AND ((${oldIs} AND ${newNot}) OR (${oldNot} AND ${newIs}))`;
  const head = `BEFORE UPDATE ON ${quoted(shape.name)} WHEN ${when}`;
  return [{ name, sql: `CREATE TRIGGER ${quoted(name)} ${head} BEGIN SELECT RAISE(ABORT, ${literal(CROSSING)}); END` }];
}

/** Triggers that refuse every write but ours. RAISE is not subject to the outer statement's conflict policy. */
export function fenceTriggers(shape: SqliteShape, own: Own = WHOLE): Trigger[] {
  const table = quoted(shape.name);
  return (['INSERT', 'UPDATE', 'DELETE'] as const).map((event) => {
    const name = `${own.prefix}_fence_${shape.name}_${event.toLowerCase()}`;
    const rows = [...(event === 'INSERT' ? [] : ['OLD.']), ...(event === 'DELETE' ? [] : ['NEW.'])];
    const ours = rows.map((row) => own.slice?.belongs(shape.name, row) ?? 'true');
    const inTable = own.slice?.belongs(shape.name, `${table}.`) ?? null;
    if (event !== 'DELETE' && inTable !== null)
      for (const holds of replacedRows(shape, own))
        ours.push(`EXISTS (SELECT 1 FROM ${table} WHERE ${holds} AND ${inTable})`);
    const when = own.slice === null ? '' : ` AND (${ours.join(' OR ')})`;
    const head = `BEFORE ${event} ON ${table} WHEN ${foreignWrite(own)}${when}`;
    return { name, sql: `CREATE TRIGGER ${quoted(name)} ${head} BEGIN SELECT RAISE(ABORT, ${literal(REFUSAL)}); END` };
  });
}

/** Columns of the change table that hold such a key. */
function keySlots(key: readonly string[]): string {
  return key.map((_, index) => `k${index}`).join(', ');
}

function keyValues(key: readonly string[], row = ''): string {
  return key.map((column) => `${row}${quoted(column)}`).join(', ');
}

/** Byte by byte: under NOCASE an update from 'a' to 'A' changes the key all the same. */
function keyChanged(shape: SqliteShape): string {
  return shape.key.map((column) => `OLD.${quoted(column)} IS NOT NEW.${quoted(column)} COLLATE BINARY`).join(' OR ');
}
