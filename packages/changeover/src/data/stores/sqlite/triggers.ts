import type { SqliteShape } from './shape.ts';
import { literal, quoted } from './text.ts';

/** Our own transactions pass every trigger: the row is set inside them only (see `SqliteConnection.write`). */
const FOREIGN_WRITE = '(SELECT bypass FROM changeover_gate) = 0';

/** What a refused writer reads. */
const REFUSAL = 'changeover: this side does not accept writes now';

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
export function captureTriggers(shape: SqliteShape): Trigger[] {
  const table = quoted(shape.name);
  const trigger = (event: string, head: string, statements: readonly string[]): Trigger => {
    const name = `changeover_capture_${shape.name}_${event}`;
    const body = statements.map((statement) => `${statement};`).join(' ');
    return { name, sql: `CREATE TRIGGER ${quoted(name)} ${head} ON ${table} WHEN ${FOREIGN_WRITE} BEGIN ${body} END` };
  };
  const replaced = shape.unique
    .filter((index) => index.columns.length > 0 && !index.hasExpression)
    .map((index) => {
      const holds = index.columns.map((column) => `${quoted(column)} = NEW.${quoted(column)}`).join(' AND ');
      return `INSERT INTO changeover_changes (tbl, ${keySlots(shape)}) SELECT ${literal(shape.name)}, ${keyValues(shape)} FROM ${table} WHERE ${holds}`;
    });
  const before =
    replaced.length === 0
      ? []
      : [trigger('replace_insert', 'BEFORE INSERT', replaced), trigger('replace_update', 'BEFORE UPDATE', replaced)];
  return [
    ...before,
    trigger('insert', 'AFTER INSERT', [logKey(shape, 'NEW')]),
    trigger('update', 'AFTER UPDATE', [`${logKey(shape, 'OLD')} WHERE ${keyChanged(shape)}`, logKey(shape, 'NEW')]),
    trigger('delete', 'AFTER DELETE', [logKey(shape, 'OLD')]),
  ];
}

/** Triggers that refuse every write but ours. RAISE is not subject to the outer statement's conflict policy. */
export function fenceTriggers(table: string): Trigger[] {
  return ['INSERT', 'UPDATE', 'DELETE'].map((event) => {
    const name = `changeover_fence_${table}_${event.toLowerCase()}`;
    const head = `BEFORE ${event} ON ${quoted(table)} WHEN ${FOREIGN_WRITE}`;
    return { name, sql: `CREATE TRIGGER ${quoted(name)} ${head} BEGIN SELECT RAISE(ABORT, ${literal(REFUSAL)}); END` };
  });
}

/** Columns of the change table that hold a key of this width. */
function keySlots(shape: { readonly key: readonly string[] }): string {
  return shape.key.map((_, index) => `k${index}`).join(', ');
}

function keyValues(shape: SqliteShape, row = ''): string {
  return shape.key.map((column) => `${row}${quoted(column)}`).join(', ');
}

function logKey(shape: SqliteShape, row: 'OLD' | 'NEW'): string {
  return `INSERT INTO changeover_changes (tbl, ${keySlots(shape)}) SELECT ${literal(shape.name)}, ${keyValues(shape, `${row}.`)}`;
}

/** Byte by byte: under NOCASE an update from 'a' to 'A' changes the key all the same. */
function keyChanged(shape: SqliteShape): string {
  return shape.key.map((column) => `OLD.${quoted(column)} IS NOT NEW.${quoted(column)} COLLATE BINARY`).join(' OR ');
}
