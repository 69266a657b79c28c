import { ChangeoverError } from '../../../errors.ts';
import type { Finding, Footprint } from '../../../plan/words.ts';
import { partitionsOf } from './capture.ts';
import type { PostgresConnection } from './connection.ts';
import type { PostgresShape } from './shape.ts';
import { literal, quoted } from './text.ts';
import {
  CAPTURE_TRIGGER,
  FENCE_TRIGGER,
  captureFunctionSql,
  captureTriggerSql,
  fenceFunctionSql,
  fenceTriggerSql,
} from './triggers.ts';

/** A transaction older than this keeps our triggers waiting. */
const LONG_TRANSACTION_S = 30;

type ShapeOf = (table: string) => Promise<PostgresShape>;
type Role = 'source' | 'target';

/** What stands in the way of moving these tables, or should be known before. Reads only. */
export async function checkPostgres(
  connection: PostgresConnection,
  shapeOf: ShapeOf,
  tables: readonly string[],
  role: Role,
): Promise<Finding[]> {
  const findings = await checkDatabase(connection);
  for (const table of tables) {
    try {
      findings.push(...(await checkTable(connection, await shapeOf(table), role)));
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

export async function footprintOfPostgres(
  connection: PostgresConnection,
  shapeOf: ShapeOf,
  tables: readonly string[],
  role: Role,
): Promise<Footprint[]> {
  const home = await connection.home();
  const right = `CREATE on schema ${home}`;
  const own = (name: string): Footprint => ({
    where: connection.store,
    adds: `table ${home}.${name}`,
    right,
    removal: `DROP TABLE ${home}.${name}`,
  });
  const footprint = [own('changeover_gate'), own('changeover_ledger')];
  if (role === 'source') footprint.push(own('changeover_changes'), own('changeover_captured'));
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
      ...(role === 'source' ? [captureFunctionSql(home, shape), ...captureTriggerSql(home, shape, partitions)] : []),
      ...fenceTriggerSql(home, [shape.qualified, ...partitions]),
    ];
    const removal = `DROP TRIGGER ${quoted(CAPTURE_TRIGGER)} ON ${shape.qualified}; DROP TRIGGER ${quoted(FENCE_TRIGGER)} ON ${shape.qualified}`;
    for (const adds of statements)
      footprint.push({ where: `${connection.store}: ${table}`, adds, right: `owner of ${shape.qualified}`, removal });
  }
  return footprint;
}
