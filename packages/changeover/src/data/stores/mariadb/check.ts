import { ChangeoverError } from '../../../errors.ts';
import type { Finding, Footprint } from '../../../plan/words.ts';
import { readCascades, type Cascades } from './cascades.ts';
import type { MariadbConnection } from './connection.ts';
import { Guard } from './guard.ts';
import type { MariadbShape } from './shape.ts';
import { literal, quoted } from './text.ts';
import { captureTriggers, createSql, fenceTriggers, logOf, logSql } from './triggers.ts';

/** A transaction older than this keeps our triggers waiting. */
const LONG_TRANSACTION_S = 30;

type ShapeOf = (table: string) => Promise<MariadbShape>;
type Role = 'source' | 'target';

/** What stands in the way of moving these tables, or should be known before. Reads only. */
export async function checkMariadb(
  connection: MariadbConnection,
  shapeOf: ShapeOf,
  tables: readonly string[],
  role: Role,
): Promise<Finding[]> {
  const findings = await checkServer(connection);
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

async function checkServer({ main, store }: MariadbConnection): Promise<Finding[]> {
  const findings: Finding[] = [];
  const find = (level: Finding['level'], message: string, remedy: string) =>
    findings.push({ level, about: store, message, remedy });
  const [server] = await main.texts('SELECT version(), CURRENT_USER(), DATABASE(), @@GLOBAL.sql_mode');
  const [version = '', user = '', database = '', sqlMode = ''] = (server ?? []).map((text) => text ?? '');
  if (!isSupported(version))
    find(
      'error',
      `version ${version} has one trigger for each event, or no NOWAIT`,
      'update to MariaDB 10.3 or MySQL 8.0',
    );
  else if (!isMariadb(version))
    find(
      'warning',
      `this is MySQL ${version}; everything here is tested with MariaDB 10.11 only`,
      'rehearse the whole move on a copy of this database first: changeover rehearse',
    );
  const account = accountOf(user);
  const rights = await readRights(main, account, database);
  const missing = NEEDED.filter((right) => !rights.has(right));
  if (missing.length > 0)
    find(
      'error',
      `the account has no right to ${missing.join(', ')}`,
      `GRANT ${missing.join(', ')} ON ${quoted(database)}.* TO ${account}`,
    );
  if (!rights.has('PROCESS'))
    find(
      'error',
      'the account may not see the numbers of InnoDB’s files, so a TRUNCATE would go unnoticed',
      `GRANT PROCESS ON *.* TO ${account}`,
    );
  const [log] = await main.texts('SELECT @@log_bin, @@log_bin_trust_function_creators');
  if (log?.[0] === '1' && log[1] !== '1' && !rights.has('SUPER'))
    find(
      'error',
      'the binary log is on, and then only SUPER may create triggers',
      'SET GLOBAL log_bin_trust_function_creators = 1',
    );
  if (!/STRICT_(ALL|TRANS)_TABLES/.test(sqlMode))
    find(
      'warning',
      `sql_mode is not strict (${sqlMode}): the application’s values are cut off silently, ours are refused`,
      "SET GLOBAL sql_mode = CONCAT(@@GLOBAL.sql_mode, ',STRICT_TRANS_TABLES')",
    );
  if (rights.has('PROCESS'))
    for (const [id, who, age] of await main.texts(
      `SELECT p.ID, p.USER, TIMESTAMPDIFF(SECOND, t.trx_started, NOW()) FROM information_schema.INNODB_TRX t
       JOIN information_schema.PROCESSLIST p ON p.ID = t.trx_mysql_thread_id
       WHERE p.DB = DATABASE() AND p.ID <> CONNECTION_ID() AND t.trx_started < NOW() - INTERVAL ${LONG_TRANSACTION_S} SECOND`,
    ))
      find(
        'warning',
        `a transaction has been open for ${age} s (connection ${id}, ${who}); triggers wait for it`,
        `end it, or: KILL ${id}`,
      );
  for (const [, , , xid] of await main.texts('XA RECOVER'))
    find(
      'error',
      `XA transaction ${xid} is prepared and keeps its rows until somebody ends it`,
      `XA COMMIT ${literal(xid ?? '')} or XA ROLLBACK ${literal(xid ?? '')}`,
    );
  return findings;
}

/** Rights on the database. PROCESS and SUPER stand for the whole server. */
const NEEDED = ['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'CREATE', 'DROP', 'ALTER', 'TRIGGER'];

async function readRights(main: MariadbConnection['main'], account: string, database: string): Promise<Set<string>> {
  const rows = await main.texts(
    `SELECT PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES WHERE GRANTEE = ${literal(account)}
     UNION SELECT PRIVILEGE_TYPE FROM information_schema.SCHEMA_PRIVILEGES
     WHERE GRANTEE = ${literal(account)} AND ${literal(database)} LIKE TABLE_SCHEMA ESCAPE '\\'`,
  );
  return new Set(rows.map(([right]) => right ?? ''));
}

/** `user@host` as it stands in a GRANT. */
function accountOf(user: string): string {
  const at = user.lastIndexOf('@');
  return `${literal(user.slice(0, at))}@${literal(user.slice(at + 1))}`;
}

function isMariadb(version: string): boolean {
  return version.includes('MariaDB');
}

function isSupported(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map((part) => Number.parseInt(part, 10));
  return isMariadb(version) ? major > 10 || (major === 10 && minor >= 3) : major >= 8;
}

async function checkTable({ main, store }: MariadbConnection, shape: MariadbShape, role: Role): Promise<Finding[]> {
  const findings: Finding[] = [];
  const about = `${store}: ${shape.name}`;
  const find = (level: Finding['level'], message: string, remedy: string) =>
    findings.push({ level, about, message, remedy });
  if (shape.engine !== 'InnoDB')
    find(
      'error',
      `its engine ${shape.engine} knows no transactions`,
      `ALTER TABLE ${quoted(shape.name)} ENGINE = InnoDB`,
    );
  const foreign = await main.texts(
    `SELECT k.CONSTRAINT_NAME, k.REFERENCED_TABLE_SCHEMA FROM information_schema.KEY_COLUMN_USAGE k
     JOIN information_schema.REFERENTIAL_CONSTRAINTS r
       ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND r.TABLE_NAME = k.TABLE_NAME
     WHERE k.TABLE_SCHEMA = DATABASE() AND k.TABLE_NAME = ${literal(shape.name)} AND k.REFERENCED_TABLE_SCHEMA <> DATABASE()
       AND (r.DELETE_RULE NOT IN ('RESTRICT', 'NO ACTION') OR r.UPDATE_RULE NOT IN ('RESTRICT', 'NO ACTION'))`,
  );
  for (const [name, schema] of foreign)
    find(
      'error',
      `foreign key ${name} changes its rows when a table of database ${schema} changes, where we have no triggers`,
      `ALTER TABLE ${quoted(shape.name)} DROP FOREIGN KEY ${quoted(name ?? '')}, and add it again without CASCADE and SET NULL`,
    );
  if (role === 'source') return findings;
  const triggers = await main.texts(
    `SELECT TRIGGER_NAME FROM information_schema.TRIGGERS
     WHERE TRIGGER_SCHEMA = DATABASE() AND EVENT_OBJECT_TABLE = ${literal(shape.name)} AND LEFT(TRIGGER_NAME, 11) <> 'changeover_'`,
  );
  if (triggers.length > 0)
    find(
      'warning',
      `its triggers fire for moved rows too: ${triggers.map(([name]) => name).join(', ')}`,
      'let them skip our sessions: IF @changeover_epoch IS NULL THEN … END IF',
    );
  return findings;
}

export async function footprintOfMariadb(
  connection: MariadbConnection,
  shapeOf: ShapeOf,
  tables: readonly string[],
  role: Role,
): Promise<Footprint[]> {
  const { main, store } = connection;
  const right = 'CREATE, DROP on the database';
  const own = (name: string, adds = `table ${name}`): Footprint => ({
    where: store,
    adds,
    right,
    removal: `DROP TABLE ${name}`,
  });
  const footprint = ['changeover_gate', 'changeover_ledger', 'changeover_fence', 'changeover_sessions'].map((name) =>
    own(name),
  );
  const cascades: Cascades = await readCascades(main, tables);
  const shapes = new Map<string, MariadbShape>();
  for (const table of tables) shapes.set(table, await shapeOf(table));
  const known = (table: string): MariadbShape => {
    const shape = shapes.get(table);
    if (shape === undefined) throw new TypeError(`the shape of ${table} was not read`);
    return shape;
  };
  if (role === 'source') {
    footprint.push(own('changeover_captured'));
    for (const shape of shapes.values()) footprint.push(own(logOf(shape), logSql(shape)));
  }
  for (const table of Guard.tablesOf(tables, cascades)) {
    const isMoved = tables.includes(table);
    const triggers = [
      ...fenceTriggers(table, cascades, isMoved),
      ...(role === 'source' ? captureTriggers(table, known, cascades, isMoved) : []),
    ];
    for (const trigger of triggers)
      footprint.push({
        where: `${store}: ${table}`,
        adds: createSql(trigger),
        right: 'TRIGGER on the database',
        removal: `DROP TRIGGER ${quoted(trigger.name)}`,
      });
  }
  return footprint;
}
