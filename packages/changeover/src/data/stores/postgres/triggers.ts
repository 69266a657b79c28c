import { createHash } from 'node:crypto';
import type { PostgresShape } from './shape.ts';
import { columnOf } from './shape.ts';
import { literal, quoted } from './text.ts';

/** What a refused writer reads, with SQLSTATE 25006: the same as in a read-only transaction. */
const REFUSAL = 'changeover: this side does not accept writes now';

export const CAPTURE_TRIGGER = 'changeover_capture';
export const TRUNCATE_TRIGGER = 'changeover_truncate';
export const FENCE_TRIGGER = 'changeover_fence';

/** Our own transactions carry the epoch in a setting that ends with them. */
const FOREIGN_WRITE = "coalesce(current_setting('changeover.epoch', true), '') = ''";

/** Types whose text does not depend on settings of the session that writes. */
const SETTLED = new Set([
  'int2',
  'int4',
  'int8',
  'text',
  'varchar',
  'bpchar',
  'uuid',
  'bool',
  'numeric',
  'name',
  'oid',
]);
const SETTINGS = `SET TimeZone = 'UTC' SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = 1 SET bytea_output = 'hex'`;

/** Name of the function that captures one table: short, whatever the table is called. */
function captureFunction(home: string, shape: PostgresShape): string {
  const id = createHash('sha256').update(shape.qualified).digest('hex').slice(0, 16);
  return `${home}.${quoted(`changeover_capture_${id}`)}`;
}

/**
 * The function that logs keys. SECURITY DEFINER, so that a legacy role without rights on our table can go on writing; a pinned
 * search_path, so that nobody can slip it another table; no sequence, so that `lastval()` of the session stays the application's.
 */
export function captureFunctionSql(home: string, shape: PostgresShape): string {
  const key = (row: 'OLD' | 'NEW') =>
    `ARRAY[${shape.key.map((column) => `${row}.${quoted(column)}::pg_catalog.text`).join(', ')}]`;
  const log = (row: 'OLD' | 'NEW') =>
    `INSERT INTO ${home}.changeover_changes (tbl, key) VALUES (${literal(shape.name)}, ${key(row)});`;
  const settled = shape.key.every((column) => SETTLED.has(columnOf(shape, column).cast.replace(/^pg_catalog\./, '')));
  return `CREATE OR REPLACE FUNCTION ${captureFunction(home, shape)}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp ${settled ? '' : SETTINGS} AS $changeover$
  BEGIN
    IF TG_OP = 'TRUNCATE' THEN
      INSERT INTO ${home}.changeover_changes (tbl) VALUES (${literal(shape.name)});
    ELSIF TG_OP = 'INSERT' THEN
      ${log('NEW')}
    ELSIF TG_OP = 'DELETE' THEN
      ${log('OLD')}
    ELSE
      ${log('NEW')}
      IF ${key('OLD')} IS DISTINCT FROM ${key('NEW')} THEN ${log('OLD')} END IF;
    END IF;
    RETURN NULL;
  END $changeover$`;
}

/** Row triggers reach all partitions by themselves, later ones too; a TRUNCATE reaches only the table that it names. */
export function captureTriggerSql(home: string, shape: PostgresShape, partitions: readonly string[]): string[] {
  const run = `EXECUTE FUNCTION ${captureFunction(home, shape)}()`;
  return [
    `CREATE TRIGGER ${CAPTURE_TRIGGER} AFTER INSERT OR UPDATE OR DELETE ON ${shape.qualified} FOR EACH ROW WHEN (${FOREIGN_WRITE}) ${run}`,
    ...[shape.qualified, ...partitions].map(
      (table) =>
        `CREATE TRIGGER ${TRUNCATE_TRIGGER} AFTER TRUNCATE ON ${table} FOR EACH STATEMENT WHEN (${FOREIGN_WRITE}) ${run}`,
    ),
    // ALWAYS: a session with session_replication_role = replica skips every other trigger.
    ...[shape.qualified, ...partitions].flatMap((table) => [
      `ALTER TABLE ${table} ENABLE ALWAYS TRIGGER ${CAPTURE_TRIGGER}`,
      `ALTER TABLE ${table} ENABLE ALWAYS TRIGGER ${TRUNCATE_TRIGGER}`,
    ]),
  ];
}

/**
 * The function that refuses. Its existence is the fence, not a row that it reads: an older REPEATABLE READ transaction would not see such a
 * row, but it meets the trigger. The gate is read only for a writer that says it is ours.
 */
export function fenceFunctionSql(home: string): string {
  return `CREATE OR REPLACE FUNCTION ${home}.changeover_fence() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $changeover$
  BEGIN
    IF current_setting('changeover.epoch', true) = (SELECT epoch::text FROM ${home}.changeover_gate) THEN
      RETURN NULL;
    END IF;
    RAISE EXCEPTION '%', ${literal(REFUSAL)} USING ERRCODE = 'read_only_sql_transaction';
  END $changeover$`;
}

export function fenceTriggerSql(home: string, tables: readonly string[]): string[] {
  return tables.flatMap((table) => [
    `CREATE OR REPLACE TRIGGER ${FENCE_TRIGGER} BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON ${table}
      FOR EACH STATEMENT EXECUTE FUNCTION ${home}.changeover_fence()`,
    `ALTER TABLE ${table} ENABLE ALWAYS TRIGGER ${FENCE_TRIGGER}`,
  ]);
}
