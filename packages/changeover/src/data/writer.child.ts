/**
 * An application that tests let write all the time: `node writer.child.ts <kind> <address> <model file> [pause in ms]`. It changes `events` in every way that a
 * capture may miss, keeps a model of what was acknowledged, and saves that model on SIGTERM. Refused writes are not in the model.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectMariadb, connectPostgres, openSqlite, type TestDatabase } from '../testing/databases.ts';

export interface WriterModel {
  /** Note by id. */
  readonly rows: Record<string, string>;
  /** Refusals by what they said. */
  readonly errors: Record<string, number>;
  readonly writes: number;
}

const [kind, address = '', file = '', pauseMs = '2'] = process.argv.slice(2);
const db: TestDatabase = await connect();
async function connect(): Promise<TestDatabase> {
  if (kind === 'sqlite') return openSqlite(address, 0);
  return kind === 'mariadb' ? connectMariadb(address) : connectPostgres(address);
}

const model = JSON.parse(readFileSync(file, 'utf8')) as {
  rows: Record<string, string>;
  errors: Record<string, number>;
  writes: number;
};
const ending = new AbortController();
process.once('SIGTERM', () => {
  ending.abort();
});
let turn = Date.now() % 1_000_000;

const ids = () => Object.keys(model.rows);
const any = () => ids()[Math.floor(Math.random() * ids().length)];

async function insert(): Promise<void> {
  const note = `n${turn}`;
  const [row] = await db.all(
    `INSERT INTO events (kind, at, note) VALUES ('press', ${turn / 8}, '${note}') RETURNING id`,
  );
  model.rows[String(row?.['id'])] = note;
}

async function update(): Promise<void> {
  const id = any();
  if (id === undefined) return insert();
  await db.exec(`UPDATE events SET note = 'u${turn}' WHERE id = ${id}`);
  model.rows[id] = `u${turn}`;
}

async function remove(): Promise<void> {
  const id = any();
  if (id === undefined || ids().length < 20) return insert();
  await db.exec(`DELETE FROM events WHERE id = ${id}`);
  Reflect.deleteProperty(model.rows, id);
}

/** Two rows exchange their unique notes in one transaction. */
async function swap(): Promise<void> {
  const [a, b] = [any(), any()];
  if (a === undefined || b === undefined || a === b) return insert();
  const [noteOfA, noteOfB] = [model.rows[a] ?? '', model.rows[b] ?? ''];
  await transaction([
    `UPDATE events SET note = 'x${turn}' WHERE id = ${a}`,
    `UPDATE events SET note = '${noteOfA}' WHERE id = ${b}`,
    `UPDATE events SET note = '${noteOfB}' WHERE id = ${a}`,
  ]);
  model.rows[a] = noteOfB;
  model.rows[b] = noteOfA;
}

/** A row takes another key. */
async function rekey(): Promise<void> {
  const id = any();
  if (id === undefined) return insert();
  const other = 5_000_000 + turn;
  await db.exec(`UPDATE events SET id = ${other} WHERE id = ${id}`);
  model.rows[other] = model.rows[id] ?? '';
  Reflect.deleteProperty(model.rows, id);
}

/** REPLACE deletes the row that holds the note; SQLite's without a word. */
async function replace(): Promise<void> {
  const id = any();
  if (kind === 'postgres' || id === undefined) return insert();
  const note = model.rows[id] ?? '';
  const verb = kind === 'sqlite' ? 'INSERT OR REPLACE' : 'REPLACE';
  const [row] = await db.all(`${verb} INTO events (kind, note) VALUES ('again', '${note}') RETURNING id`);
  Reflect.deleteProperty(model.rows, id);
  model.rows[String(row?.['id'])] = note;
}

async function transaction(statements: readonly string[]): Promise<void> {
  await db.exec('BEGIN');
  try {
    for (const statement of statements) await db.exec(statement);
    await db.exec('COMMIT');
  } catch (error) {
    await db.exec('ROLLBACK');
    throw error;
  }
}

const acts = [insert, insert, update, update, remove, swap, rekey, replace];
console.log('writing');
while (!ending.signal.aborted) {
  turn++;
  try {
    await acts[turn % acts.length]?.();
    model.writes++;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    model.errors[message] = (model.errors[message] ?? 0) + 1;
  }
  await sleep(Number(pauseMs));
}
writeFileSync(file, JSON.stringify(model));
await db.close();
