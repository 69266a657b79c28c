import type { Cascades, CascadePath } from './cascades.ts';
import { keyColumns, type MariadbShape } from './shape.ts';
import { literal, nameFor, quoted } from './text.ts';

/** What a refused writer reads, with SQLSTATE 45000 and error 1644. */
const REFUSAL = 'changeover: this side does not accept writes now';

export interface Trigger {
  readonly name: string;
  readonly timing: 'BEFORE' | 'AFTER';
  readonly event: 'INSERT' | 'UPDATE' | 'DELETE';
  readonly table: string;
  readonly body: string;
}

export function createSql({ name, timing, event, table, body }: Trigger): string {
  return `CREATE TRIGGER ${quoted(name)} ${timing} ${event} ON ${quoted(table)} FOR EACH ROW ${body}`;
}

/**
 * Sets `is_foreign`. Our own sessions carry the epoch in a variable, which counts only while it is the gate's. An application's write reads
 * nothing here: a read would begin the snapshot of its transaction earlier than the application does.
 */
const FOREIGN = `DECLARE is_foreign BOOL DEFAULT TRUE;
  IF @changeover_epoch IS NOT NULL THEN SELECT epoch <> @changeover_epoch INTO is_foreign FROM changeover_gate WHERE id = 1; END IF;`;

/**
 * Triggers that refuse every write but ours while the table's row in `changeover_fence` says so.
 *
 * The row is read under a shared lock, which sees the newest state whatever the transaction's snapshot is, and is kept until the
 * transaction ends: whoever holds the row exclusively knows that nobody has written the table and not committed, and that nobody can.
 *
 * @param cascades A table that is not moved itself is guarded where its changes reach moved ones.
 */
export function fenceTriggers(table: string, cascades: Cascades, isMoved: boolean): Trigger[] {
  const refuse = `SELECT fenced INTO is_fenced FROM changeover_fence WHERE tbl = ${literal(table)} LOCK IN SHARE MODE;
    IF is_fenced THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = ${literal(REFUSAL)}; END IF;`;
  const trigger = (event: Trigger['event'], condition: string): Trigger => ({
    name: nameFor('changeover_fence', table, event),
    timing: 'BEFORE',
    event,
    table,
    body: `BEGIN DECLARE is_fenced BOOL DEFAULT FALSE; ${FOREIGN} IF ${condition} THEN ${refuse} END IF; END`,
  });
  if (isMoved) return (['INSERT', 'UPDATE', 'DELETE'] as const).map((event) => trigger(event, 'is_foreign'));
  const referenced = cascades.from(table).map(({ steps }) => steps[0]?.referenced ?? []);
  return [
    trigger('UPDATE', `is_foreign AND (${referenced.map((columns) => differ(columns)).join(' OR ')})`),
    trigger('DELETE', 'is_foreign'),
  ];
}

/** Name of the table that logs changed keys of one table. Its columns are part of the name: a key of another type has another log. */
export function logOf(shape: MariadbShape): string {
  return nameFor('changeover_log', shape.name, ...keyColumns(shape).map(({ definition }) => definition));
}

/** The log keeps keys in the types of their columns, so that nothing depends on how a session writes them. NULL in the key: compare the whole table. */
export function logSql(shape: MariadbShape): string {
  const columns = keyColumns(shape).map(({ definition }, index) => `k${index} ${definition} NULL DEFAULT NULL`);
  return `CREATE TABLE IF NOT EXISTS ${quoted(logOf(shape))} (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, ${columns.join(', ')}) ENGINE = InnoDB`;
}

export function rescanSql(shape: MariadbShape): string {
  return `INSERT INTO ${quoted(logOf(shape))} (k0) VALUES (NULL)`;
}

type ShapeOf = (table: string) => MariadbShape;

/**
 * Triggers that log the keys of changed rows: of the table's own, and of the rows that its foreign keys will change without a trigger.
 *
 * Those are looked for before the change by the old values of the parent, and after it by the new ones, under shared locks: a snapshot
 * might not have them, and the parent's row is locked already, so that none can be added.
 */
export function captureTriggers(table: string, shapeOf: ShapeOf, cascades: Cascades, isMoved: boolean): Trigger[] {
  const paths = cascades.from(table);
  const statements = (event: Trigger['event'], timing: Trigger['timing']): string[] => {
    const own = isMoved && timing === 'AFTER' ? ownKeys(shapeOf(table), event) : [];
    if (event === 'INSERT') return own;
    if (timing === 'AFTER' && event === 'DELETE') return own;
    const row = timing === 'BEFORE' ? 'OLD' : 'NEW';
    return [...own, ...paths.map((path) => reached(path, shapeOf(path.table), row, event))];
  };
  const triggers: Trigger[] = [];
  for (const timing of ['BEFORE', 'AFTER'] as const)
    for (const event of ['INSERT', 'UPDATE', 'DELETE'] as const) {
      const body = statements(event, timing);
      if (body.length === 0) continue;
      triggers.push({
        name: nameFor('changeover_capture', table, event, timing),
        timing,
        event,
        table,
        body: `BEGIN ${FOREIGN} IF is_foreign THEN ${body.join(' ')} END IF; END`,
      });
    }
  return triggers;
}

function ownKeys(shape: MariadbShape, event: Trigger['event']): string[] {
  if (event === 'INSERT') return [`${logKey(shape, 'NEW')};`];
  if (event === 'DELETE') return [`${logKey(shape, 'OLD')};`];
  return [`${logKey(shape, 'NEW')};`, `IF ${differ(shape.key)} THEN ${logKey(shape, 'OLD')}; END IF;`];
}

function logKey(shape: MariadbShape, row: 'OLD' | 'NEW'): string {
  return `INSERT INTO ${quoted(logOf(shape))} (${slots(shape)}) VALUES (${shape.key.map((column) => `${row}.${quoted(column)}`).join(', ')})`;
}

/** Logs the rows that a change of the parent reaches along one way. */
function reached(path: CascadePath, shape: MariadbShape, row: 'OLD' | 'NEW', event: Trigger['event']): string {
  const [first] = path.steps;
  const last = path.steps.at(-1);
  if (first === undefined || last === undefined) return '';
  const alias = (index: number) => `t${index}`;
  const joins = path.steps.map((step, index) => {
    const table = `${quoted(step.child)} AS ${alias(index)}`;
    if (index === 0) return table;
    const on = step.columns.map(
      (column, position) =>
        `${alias(index)}.${quoted(column)} = ${alias(index - 1)}.${quoted(step.referenced[position] ?? '')}`,
    );
    return `JOIN ${table} ON ${on.join(' AND ')}`;
  });
  const where = first.columns.map(
    (column, position) => `${alias(0)}.${quoted(column)} = ${row}.${quoted(first.referenced[position] ?? '')}`,
  );
  const found = `FROM ${joins.join(' ')} WHERE ${where.join(' AND ')}`;
  const end = alias(path.steps.length - 1);
  const insert = path.isCyclic
    ? `INSERT INTO ${quoted(logOf(shape))} (k0) SELECT NULL ${found} LIMIT 1 LOCK IN SHARE MODE;`
    : `INSERT INTO ${quoted(logOf(shape))} (${slots(shape)}) SELECT ${shape.key.map((column) => `${end}.${quoted(column)}`).join(', ')} ${found} LOCK IN SHARE MODE;`;
  return event === 'UPDATE' ? `IF ${differ(first.referenced)} THEN ${insert} END IF;` : insert;
}

function slots(shape: MariadbShape): string {
  return shape.key.map((_, index) => `k${index}`).join(', ');
}

/** Byte by byte: under a collation that takes 'a' for 'A' an update from one to the other changes the value all the same. */
function differ(columns: readonly string[]): string {
  const same = columns.map((name) => {
    const column = quoted(name);
    // The text of a FLOAT has fewer digits than its value.
    return `OLD.${column} <=> NEW.${column} AND CAST(OLD.${column} AS BINARY) <=> CAST(NEW.${column} AS BINARY)`;
  });
  return `NOT (${same.join(' AND ')})`;
}
