import { ChangeoverError } from '../../../errors.ts';
import type { Finding, Footprint } from '../../../plan/words.ts';
import { partitionsOf } from './capture.ts';
import type { CaptureMethod } from './change-log.ts';
import type { PostgresConnection } from './connection.ts';
import { identitySql } from './logical/capture.ts';
import type { PostgresShape } from './shape.ts';
import { literal, quoted } from './text.ts';
import {
  captureTrigger,
  fenceTrigger,
  fenceTruncateTrigger,
  captureFunctionSql,
  captureTriggerSql,
  fenceFunctionSql,
  fenceTriggerSql,
  sliceFenceFunctionSql,
  sliceFenceTriggerSql,
  type SliceRows,
} from './triggers.ts';

/** A transaction older than this keeps our triggers waiting. */
const LONG_TRANSACTION_S = 30;

type ShapeOf = (table: string) => Promise<PostgresShape>;
type Role = 'source' | 'target';

interface Use {
  readonly role: Role;
  readonly how: CaptureMethod;
}

/** What stands in the way of moving these tables, or should be known before. Reads only. */
export async function checkPostgres(
  connection: PostgresConnection,
  shapeOf: ShapeOf,
  tables: readonly string[],
  { role, how }: Use,
): Promise<Finding[]> {
  const findings = await checkDatabase(connection);
  if (role === 'source' && how === 'log') findings.push(...(await checkLog(connection)));
  for (const table of tables) {
    try {
      const shape = await shapeOf(table);
      findings.push(...(await checkTable(connection, shape, role)));
      if (role === 'source' && how === 'log') findings.push(...(await checkIdentity(connection, shape)));
    } catch (error) {
      if (!(error instanceof ChangeoverError)) throw error;
      const about = `${connection.store}: ${table}`;
      findings.push({ level: 'error', about, message: error.message, remedy: error.hint });
    }
  }
  return findings;
}

async function checkDatabase({ main, store }: PostgresConnection): Promise<Finding[]> {
  const findings: Finding[] = [];
  const [rights] = await main.query(
    "SELECT quote_ident(current_schema()), has_schema_privilege(current_schema(), 'CREATE'), quote_ident(current_user)",
  );
  const [schema, canCreate, user] = rights ?? [];
  if (canCreate !== 't')
    findings.push({
      level: 'error',
      about: store,
      message: `the role may not create tables in schema ${schema}`,
      remedy: `GRANT CREATE ON SCHEMA ${schema} TO ${user}`,
    });
  for (const [name] of await main.query('SELECT quote_ident(pubname) FROM pg_publication WHERE puballtables'))
    findings.push({
      level: 'error',
      about: store,
      message: `publication ${name} takes in all tables, so a subscriber would be sent our bookkeeping and stop`,
      remedy: `let it name its tables: DROP PUBLICATION ${name}; CREATE PUBLICATION ${name} FOR TABLE …`,
    });
  const open = await main.query(
    `SELECT pid, usename, state, extract(epoch FROM now() - xact_start)::int FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start < now() - interval '${LONG_TRANSACTION_S} s'`,
  );
  for (const [pid, who, state, age] of open)
    findings.push({
      level: 'warning',
      about: store,
      message: `a transaction has been open for ${age} s (pid ${pid}, ${who}, ${state}); triggers wait for writers like it`,
      remedy: `end it, or: SELECT pg_terminate_backend(${pid})`,
    });
  for (const [gid, age] of await main.query(
    'SELECT gid, extract(epoch FROM now() - prepared)::int FROM pg_prepared_xacts WHERE database = current_database()',
  ))
    findings.push({
      level: 'error',
      about: store,
      message: `prepared transaction ${gid} has been open for ${age} s and keeps its locks until somebody ends it`,
      remedy: `COMMIT PREPARED ${literal(gid ?? '')} or ROLLBACK PREPARED ${literal(gid ?? '')}`,
    });
  return findings;
}

/** What a replication slot needs. */
async function checkLog({ main, store }: PostgresConnection): Promise<Finding[]> {
  const [row] = await main.query(
    `SELECT current_setting('server_version_num')::int >= 140000, current_setting('server_version'), current_setting('wal_level'),
            (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user), quote_ident(current_user),
            has_database_privilege(current_database(), 'CREATE'), quote_ident(current_database()),
            current_setting('max_replication_slots')::int > (SELECT count(*) FROM pg_replication_slots)
              OR EXISTS (SELECT FROM pg_replication_slots WHERE slot_name LIKE 'changeover\\_%'),
            has_function_privilege(to_regprocedure('pg_log_standby_snapshot()'), 'EXECUTE')`,
  );
  const [isNew, version, level, mayReplicate, user, mayCreate, database, hasRoom, maySnapshot] = row ?? [];
  const error = (message: string, remedy: string): Finding => ({ level: 'error', about: store, message, remedy });
  return [
    ...(isNew === 't'
      ? []
      : [error(`Postgres ${version} cannot mark our own writes in its log`, "capture: 'triggers'")]),
    ...(level === 'logical'
      ? []
      : [
          error(
            `wal_level is ${level}, so the log does not hold rows`,
            "ALTER SYSTEM SET wal_level = logical, and restart; or capture: 'triggers'",
          ),
        ]),
    ...(mayReplicate === 't'
      ? []
      : [error('the role may not make a replication slot', `ALTER ROLE ${user} REPLICATION`)]),
    ...(mayCreate === 't'
      ? []
      : [error('the role may not make a publication', `GRANT CREATE ON DATABASE ${database} TO ${user}`)]),
    ...(hasRoom === 't' ? [] : [error('every replication slot is in use', 'raise max_replication_slots, and restart')]),
    ...(maySnapshot === 'f'
      ? [
          {
            level: 'warning' as const,
            about: store,
            message:
              'the role may not ask for a snapshot in the log, so up to 15 s of log are decoded again in the hold',
            remedy: `GRANT EXECUTE ON FUNCTION pg_log_standby_snapshot() TO ${user}`,
          },
        ]
      : []),
  ];
}

async function checkIdentity({ main, store }: PostgresConnection, shape: PostgresShape): Promise<Finding[]> {
  const [row] = await main.query(identitySql('$1', '$2'), [shape.oid, JSON.stringify(shape.key)]);
  if (row?.[0] === 't') return [];
  return [
    {
      level: 'error',
      about: `${store}: ${shape.name}`,
      message: `the log does not name its rows by ${shape.key.join(', ')}, and Postgres would refuse to change a published table without that`,
      remedy: `ALTER TABLE ${shape.qualified} REPLICA IDENTITY USING INDEX …, the unique index of ${shape.key.join(', ')}`,
    },
  ];
}

async function checkTable(connection: PostgresConnection, shape: PostgresShape, role: Role): Promise<Finding[]> {
  const { main, store } = connection;
  const findings: Finding[] = [];
  const about = `${store}: ${shape.name}`;
  const [row] = await main.query(
    `SELECT pg_has_role(c.relowner, 'USAGE'), quote_ident(pg_get_userbyid(c.relowner)), quote_ident(current_user), c.relpersistence,
            row_security_active(c.oid), EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid AND c.relkind = 'r')
     FROM pg_class c WHERE c.oid = $1`,
    [shape.oid],
  );
  const [owns, owner, user, persistence, hasRowSecurity, hasHeirs] = row ?? [];
  if (owns !== 't')
    findings.push({
      level: 'error',
      about,
      message: 'the role does not own the table, so it cannot make a trigger that always fires',
      remedy: `GRANT ${owner} TO ${user}`,
    });
  if (hasRowSecurity === 't')
    findings.push({
      level: 'error',
      about,
      message: 'row-level security hides rows from the role, so neither a copy nor a comparison would be complete',
      remedy: `ALTER ROLE ${user} BYPASSRLS`,
    });
  if (persistence === 'u')
    findings.push({
      level: role === 'source' ? 'warning' : 'error',
      about,
      message: 'the table is UNLOGGED: Postgres empties it after a crash',
      remedy: `ALTER TABLE ${shape.qualified} SET LOGGED`,
    });
  if (hasHeirs === 't')
    findings.push({
      level: 'error',
      about,
      message: 'other tables inherit from it, and row triggers do not reach them',
      remedy: 'turn the inheritance into partitions, or move the inheriting tables by name',
    });
  if (role === 'target') findings.push(...(await checkTarget(connection, shape, about)));
  return findings;
}

async function checkTarget(connection: PostgresConnection, shape: PostgresShape, about: string): Promise<Finding[]> {
  if (await connection.canActAsReplica()) return [];
  const findings: Finding[] = [];
  const [user] = (await connection.main.query('SELECT quote_ident(current_user)'))[0] ?? [];
  const keys = await connection.main.query(
    "SELECT quote_ident(conname) FROM pg_constraint WHERE contype = 'f' AND (conrelid = $1 OR confrelid = $1)",
    [shape.oid],
  );
  const remedy = `GRANT SET ON PARAMETER session_replication_role TO ${user}`;
  if (keys.length > 0)
    findings.push({
      level: 'error',
      about,
      message: `foreign keys (${keys.map(([name]) => name).join(', ')}) would refuse a child that is moved before its parent, or cascade`,
      remedy,
    });
  const triggers = await connection.main.query(
    "SELECT quote_ident(tgname) FROM pg_trigger WHERE tgrelid = $1 AND NOT tgisinternal AND tgname NOT LIKE 'changeover\\_%'",
    [shape.oid],
  );
  if (triggers.length > 0)
    findings.push({
      level: 'warning',
      about,
      message: `its triggers fire for moved rows too: ${triggers.map(([name]) => name).join(', ')}`,
      remedy,
    });
  return findings;
}

function slotFootprint(where: string): Footprint[] {
  return [
    {
      where,
      adds: 'CREATE PUBLICATION changeover_… WITH (publish_via_partition_root = true)',
      right: 'CREATE on the database, owner of the tables',
      removal: 'DROP PUBLICATION changeover_…',
    },
    {
      where,
      adds: "SELECT pg_create_logical_replication_slot('changeover_…', 'pgoutput')",
      right: 'REPLICATION',
      removal: "SELECT pg_drop_replication_slot('changeover_…')",
    },
  ];
}

export async function footprintOfPostgres(
  connection: PostgresConnection,
  shapeOf: ShapeOf,
  tables: readonly string[],
  { role, how }: Use,
  rows: SliceRows | null,
): Promise<Footprint[]> {
  const { own: names } = connection;
  const home = await connection.home();
  const right = `CREATE on schema ${home}`;
  const own = (name: string): Footprint => ({
    where: connection.store,
    adds: `table ${home}.${names.prefix}_${name}`,
    right,
    removal: `DROP TABLE ${home}.${names.prefix}_${name}`,
  });
  const footprint = [own('gate'), own('ledger')];
  if (role === 'source') footprint.push(own('changes'), own('captured'));
  const isLog = role === 'source' && how === 'log';
  if (isLog) footprint.push(own('slot'), ...slotFootprint(connection.store));
  if (rows === null)
    footprint.push({
      where: connection.store,
      adds: fenceFunctionSql(home),
      right,
      removal: `DROP FUNCTION ${home}.changeover_fence()`,
    });
  for (const table of tables) {
    const shape = await shapeOf(table);
    const partitions = await partitionsOf(connection.main, shape.qualified);
    const statements = [
      ...(role === 'source' && !isLog
        ? [captureFunctionSql(home, shape, names, rows), ...captureTriggerSql(home, shape, partitions, names)]
        : []),
      ...(rows === null
        ? fenceTriggerSql(home, [shape.qualified, ...partitions])
        : [sliceFenceFunctionSql(home, shape, names, rows), ...sliceFenceTriggerSql(home, shape, partitions, names)]),
    ];
    const triggers = [
      captureTrigger(names),
      fenceTrigger(names),
      ...(rows === null ? [] : [fenceTruncateTrigger(names)]),
    ];
    const removal = triggers.map((name) => `DROP TRIGGER ${quoted(name)} ON ${shape.qualified}`).join('; ');
    for (const adds of statements)
      footprint.push({ where: `${connection.store}: ${table}`, adds, right: `owner of ${shape.qualified}`, removal });
  }
  return footprint;
}
