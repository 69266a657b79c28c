import { createHash } from 'node:crypto';
import type { Belonging } from '../../slices/belonging.ts';
import { WHOLE, type Own } from './own.ts';
import type { PostgresShape } from './shape.ts';
import { columnOf } from './shape.ts';
import { literal, quoted } from './text.ts';

/** What a refused writer reads, with SQLSTATE 25006: the same as in a read-only transaction. */
const REFUSAL = 'changeover: this side does not accept writes now';
const CROSSING = 'changeover: a row may not leave its slice now';

export const captureTrigger = ({ prefix }: Own) => `${prefix}_capture`;
export const truncateTrigger = ({ prefix }: Own) => `${prefix}_truncate`;
/** The fence's own trigger; that of a slice is per row, and has a second one for TRUNCATE. */
export const fenceTrigger = ({ prefix }: Own) => `${prefix}_fence`;
export const fenceTruncateTrigger = ({ prefix }: Own) => `${prefix}_fence_truncate`;

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

/** Name of a function of ours for one table: short, whatever the table is called. */
function functionOf(home: string, { prefix }: Own, what: 'capture' | 'fence', shape: PostgresShape): string {
  const id = createHash('sha256').update(shape.qualified).digest('hex').slice(0, 16);
  return `${home}.${quoted(`${prefix}_${what}_${id}`)}`;
}

/** What a trigger's function has to know of the slice: which rows are of it, and the keys of the tables below. */
export interface SliceRows {
  readonly belonging: Belonging;
  readonly shapes: ReadonlyMap<string, PostgresShape>;
}

/**
 * The function that logs keys. SECURITY DEFINER, so that a legacy role without rights on our table can go on writing; a pinned
 * search_path, so that nobody can slip it another table; no sequence, so that `lastval()` of the session stays the application's.
 */
export function captureFunctionSql(home: string, shape: PostgresShape, own: Own, rows: SliceRows | null): string {
  const key = (row: string, of = shape) =>
    `ARRAY[${of.key.map((column) => `${row}.${quoted(column)}::pg_catalog.text`).join(', ')}]`;
  const into = `INSERT INTO ${home}.${own.prefix}_changes (tbl, key)`;
  const elsewhere = (row: string) => rows?.belonging.elsewhere(shape.name, row) ?? 'false';
  const log = (row: 'OLD' | 'NEW', unless = elsewhere(`${row}.`)) =>
    `${unless === 'false' ? '' : `IF NOT (${unless}) THEN `}${into} VALUES (${literal(shape.name)}, ${key(row)});${unless === 'false' ? '' : ' END IF;'}`;
  const isBoth = rows === null ? 'false' : `${elsewhere('OLD.')} AND ${elsewhere('NEW.')}`;
  const belowOf = (ids: (column: string) => string) =>
    (rows?.belonging.below(shape.name) ?? []).map(({ table, from, key: column }) => {
      const child = rows?.shapes.get(table);
      return child === undefined
        ? ''
        : `${into} SELECT ${literal(table)}, ${key('c', child)} ${from.replace('{key}', () => ids(quoted(column)))};`;
    });
  const changed = (rows?.belonging.columns(shape.name) ?? []).map(
    (column) => `OLD.${quoted(column)} IS DISTINCT FROM NEW.${quoted(column)}`,
  );
  const moved = belowOf((column) => `OLD.${column}, NEW.${column}`).join('\n');
  const settled = shape.key.every((column) => SETTLED.has(columnOf(shape, column).cast.replace(/^pg_catalog\./, '')));
  return `CREATE OR REPLACE FUNCTION ${functionOf(home, own, 'capture', shape)}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp ${settled ? '' : SETTINGS} AS $changeover$
  BEGIN
    IF TG_OP = 'TRUNCATE' THEN
      INSERT INTO ${home}.${own.prefix}_changes (tbl) VALUES (${literal(shape.name)});
      UPDATE ${home}.${own.prefix}_captured
      SET fingerprint = regexp_replace(fingerprint, '(^|,)' || TG_RELID || ':[0-9]+', '\\1' || TG_RELID || ':' || pg_relation_filenode(TG_RELID))
      WHERE tbl = ${literal(shape.name)} AND pg_relation_filenode(TG_RELID) IS NOT NULL;
    ELSIF TG_OP = 'INSERT' THEN
      ${log('NEW')}
    ELSIF TG_OP = 'DELETE' THEN
      ${log('OLD')}
      ${belowOf((column) => `OLD.${column}`).join('\n')}
    ELSE
      ${crossingSql(shape, own, rows)}
      ${log('NEW', isBoth)}
      IF ${key('OLD')} IS DISTINCT FROM ${key('NEW')} THEN ${log('OLD')} END IF;
      ${moved === '' ? '' : `IF ${changed.join(' OR ')} THEN ${moved} END IF;`}
    END IF;
    RETURN NULL;
  END $changeover$`;
}

/** On the new side an update that carries a row into or out of the slice is refused: its other side does not follow it there. */
function crossingSql(shape: PostgresShape, { keepsTogether }: Own, rows: SliceRows | null): string {
  const asked = (ask: 'belongs' | 'elsewhere', row: string) => rows?.belonging[ask](shape.name, row) ?? 'false';
  if (!keepsTogether || rows === null) return '';
  return `IF (${asked('belongs', 'OLD.')} AND ${asked('elsewhere', 'NEW.')}) OR (${asked('elsewhere', 'OLD.')} AND ${asked('belongs', 'NEW.')}) THEN
        RAISE EXCEPTION '%', ${literal(CROSSING)} USING ERRCODE = 'read_only_sql_transaction';
      END IF;`;
}

/** Row triggers reach all partitions by themselves, later ones too; a TRUNCATE reaches only the table that it names. */
export function captureTriggerSql(
  home: string,
  shape: PostgresShape,
  partitions: readonly string[],
  own: Own,
): string[] {
  const [CAPTURE_TRIGGER, TRUNCATE_TRIGGER] = [captureTrigger(own), truncateTrigger(own)];
  const run = `EXECUTE FUNCTION ${functionOf(home, own, 'capture', shape)}()`;
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
  const FENCE_TRIGGER = fenceTrigger(WHOLE);
  return tables.flatMap((table) => [
    `CREATE OR REPLACE TRIGGER ${FENCE_TRIGGER} BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON ${table}
      FOR EACH STATEMENT EXECUTE FUNCTION ${home}.changeover_fence()`,
    `ALTER TABLE ${table} ENABLE ALWAYS TRIGGER ${FENCE_TRIGGER}`,
  ]);
}

/**
 * The fence of one slice: it looks at each row after the application's own triggers have had it. A transaction with an older snapshot may not
 * see the parent that its new row points at; whose that row is nobody can say then, and it is asked to try again.
 */
export function sliceFenceFunctionSql(home: string, shape: PostgresShape, own: Own, { belonging }: SliceRows): string {
  const belongs = (row: string) => belonging.belongs(shape.name, row) ?? 'true';
  const hasParent = belonging.hasParent(shape.name, 'NEW.');
  const unseen =
    hasParent === null
      ? ''
      : `IF TG_OP <> 'DELETE' AND current_setting('transaction_isolation') <> 'read committed' AND NOT ${hasParent} THEN
        RAISE EXCEPTION '%', ${literal(REFUSAL)} USING ERRCODE = 'serialization_failure';
      END IF;`;
  return `CREATE OR REPLACE FUNCTION ${functionOf(home, own, 'fence', shape)}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $changeover$
  BEGIN
    IF current_setting('changeover.epoch', true) = (SELECT epoch::text FROM ${home}.${own.prefix}_gate) THEN
      RETURN NULL;
    END IF;
    IF TG_OP <> 'TRUNCATE' THEN
      ${unseen}
      IF NOT coalesce(TG_OP <> 'INSERT' AND ${belongs('OLD.')}, false) AND NOT coalesce(TG_OP <> 'DELETE' AND ${belongs('NEW.')}, false) THEN
        RETURN NULL;
      END IF;
    END IF;
    RAISE EXCEPTION '%', ${literal(REFUSAL)} USING ERRCODE = 'read_only_sql_transaction';
  END $changeover$`;
}

export function sliceFenceTriggerSql(
  home: string,
  shape: PostgresShape,
  partitions: readonly string[],
  own: Own,
): string[] {
  const run = functionOf(home, own, 'fence', shape);
  const [rowTrigger, truncate] = [fenceTrigger(own), fenceTruncateTrigger(own)];
  const tables = [shape.qualified, ...partitions];
  return [
    `CREATE OR REPLACE TRIGGER ${rowTrigger} AFTER INSERT OR UPDATE OR DELETE ON ${shape.qualified} FOR EACH ROW EXECUTE FUNCTION ${run}()`,
    ...tables.map(
      (table) =>
        `CREATE OR REPLACE TRIGGER ${truncate} BEFORE TRUNCATE ON ${table} FOR EACH STATEMENT EXECUTE FUNCTION ${run}()`,
    ),
    ...tables.flatMap((table) => [
      `ALTER TABLE ${table} ENABLE ALWAYS TRIGGER ${rowTrigger}`,
      `ALTER TABLE ${table} ENABLE ALWAYS TRIGGER ${truncate}`,
    ]),
  ];
}
