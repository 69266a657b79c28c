import { ChangeoverError } from '../../../errors.ts';
import type { Finding, Footprint } from '../../../plan/words.ts';
import type { SqliteConnection } from './connection.ts';
import type { SqliteFile } from './open-sqlite.ts';
import { readShape, type SqliteShape } from './shape.ts';
import { literal, quoted } from './text.ts';
import { captureTriggers, fenceTriggers } from './triggers.ts';

/** What stands in the way of moving these tables, or should be known before. Reads only. */
export function checkSqlite(
  connection: SqliteConnection,
  file: SqliteFile,
  tables: readonly string[],
  role: 'source' | 'target',
): Finding[] {
  const findings: Finding[] = [];
  const journal = String(connection.all('PRAGMA journal_mode')[0]?.[0]);
  if (connection.own.slice !== null && file.busyTimeoutMs === null)
    findings.push({
      level: 'error',
      about: file.name,
      message:
        'while one slice is written by us, the others write to the same file: a writer that does not wait for locks would fail',
      remedy: `let its writers wait, and declare it: sqlite(${literal(file.name)}, { busyTimeoutMs: 5000 })`,
    });
  else if (journal !== 'wal' && file.busyTimeoutMs === null)
    findings.push({
      level: role === 'source' ? 'error' : 'warning',
      about: file.name,
      message: `the journal mode is ${journal}: even our reads make a writer fail that does not wait for locks`,
      remedy: `PRAGMA journal_mode = WAL on ${file.name}, or declare how long its writers wait: sqlite(${literal(file.name)}, { busyTimeoutMs: 5000 })`,
    });
  for (const table of tables) {
    try {
      findings.push(...checkTable(connection, file, readShape(connection, table), role));
    } catch (error) {
      if (!(error instanceof ChangeoverError)) throw error;
      const about = `${file.name}: ${table}`;
      findings.push({ level: 'error', about, message: error.message, remedy: error.hint });
    }
  }
  return findings;
}

function checkTable(
  connection: SqliteConnection,
  file: SqliteFile,
  shape: SqliteShape,
  role: 'source' | 'target',
): Finding[] {
  const findings: Finding[] = [];
  const about = `${file.name}: ${shape.name}`;
  const condition = shape.key.map((column) => `${quoted(column)} IS NULL`).join(' OR ');
  const nulls = Number(connection.all(`SELECT count(*) FROM ${quoted(shape.name)} WHERE ${condition}`)[0]?.[0]);
  if (nulls > 0)
    findings.push({
      level: 'error',
      about,
      message: `${nulls} rows have NULL in their key (${shape.key.join(', ')})`,
      remedy: `give them a key or delete them: SELECT rowid, * FROM ${quoted(shape.name)} WHERE ${condition}`,
    });
  const expressions = shape.unique.filter((index) => index.hasExpression);
  if (role === 'source')
    for (const index of expressions)
      findings.push({
        level: 'warning',
        about,
        message: `unique index ${index.name} is on an expression: a row that REPLACE deletes through it is not captured`,
        remedy: `make sure that nothing writes ${shape.name} with INSERT OR REPLACE or UPDATE OR REPLACE`,
      });
  const triggers = connection
    .all(
      "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ? AND name NOT LIKE 'changeover\\_%' ESCAPE '\\'",
      shape.name,
    )
    .map(([name]) => String(name));
  if (role === 'target' && triggers.length > 0)
    findings.push({
      level: 'warning',
      about,
      message: `its triggers fire for moved rows too: ${triggers.join(', ')}`,
      remedy: `let them skip our transactions: WHEN (SELECT bypass FROM ${connection.own.prefix}_gate) = 0`,
    });
  return findings;
}

export function footprintOfSqlite(
  connection: SqliteConnection,
  file: SqliteFile,
  tables: readonly string[],
  role: 'source' | 'target',
): Footprint[] {
  const { own } = connection;
  const right = `write access to ${file.name} and its folder`;
  const footprint: Footprint[] = [
    {
      where: file.name,
      adds: `tables ${own.prefix}_gate and ${own.prefix}_ledger`,
      right,
      removal: `DROP TABLE ${own.prefix}_gate; DROP TABLE ${own.prefix}_ledger`,
    },
  ];
  if (role === 'source')
    footprint.push({
      where: file.name,
      adds: `tables ${own.prefix}_changes and ${own.prefix}_captured`,
      right,
      removal: `DROP TABLE ${own.prefix}_changes; DROP TABLE ${own.prefix}_captured`,
    });
  for (const table of tables) {
    const shape = readShape(connection, table);
    const keyOf = (other: string) => readShape(connection, other).key;
    const triggers = [...(role === 'source' ? captureTriggers(shape, own, keyOf) : []), ...fenceTriggers(shape, own)];
    for (const { name, sql } of triggers)
      footprint.push({ where: `${file.name}: ${table}`, adds: sql, right, removal: `DROP TRIGGER ${quoted(name)}` });
  }
  return footprint;
}
