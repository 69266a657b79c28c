import type { Json } from '../plan/words.ts';
import { parseJson } from './database.ts';
import type { JournalDatabase } from './database.ts';

/** One answer to one question, kept for good. */
export interface AuditEntry {
  readonly atMs: number;
  readonly actor: string;
  readonly host: string;
  readonly planHash: string | null;
  readonly question: string;
  readonly answer: string;
}

export type MessageLevel = 'error' | 'warning' | 'log';

export interface Message {
  readonly atMs: number;
  readonly level: MessageLevel;
  readonly text: string;
}

/** Of one run; older ones are removed. */
const MAX_MESSAGES = 1000;
/** A message of more characters is cut. */
const MAX_MESSAGE_LENGTH = 4000;

export function addAudit(database: JournalDatabase, entry: AuditEntry): void {
  database.run(
    'INSERT INTO audit (at_ms, actor, host, plan_hash, question, answer) VALUES (?, ?, ?, ?, ?, ?)',
    entry.atMs,
    entry.actor,
    entry.host,
    entry.planHash,
    entry.question,
    entry.answer,
  );
}

export function auditTrail(database: JournalDatabase): AuditEntry[] {
  return database.all('SELECT * FROM audit ORDER BY number').map((row) => ({
    atMs: Number(row.at_ms),
    actor: String(row.actor),
    host: String(row.host),
    planHash: row.plan_hash === null ? null : String(row.plan_hash),
    question: String(row.question),
    answer: String(row.answer),
  }));
}

export function addMessage(database: JournalDatabase, run: string, message: Message): void {
  const { text } = message;
  const number = Number(
    database.one('SELECT coalesce(max(number), 0) + 1 AS next FROM messages WHERE run = ?', run)?.next,
  );
  database.run(
    'INSERT INTO messages (run, number, at_ms, level, text) VALUES (?, ?, ?, ?, ?)',
    run,
    number,
    message.atMs,
    message.level,
    text.length > MAX_MESSAGE_LENGTH ? `${text.slice(0, MAX_MESSAGE_LENGTH)}… (${text.length} characters)` : text,
  );
  database.run('DELETE FROM messages WHERE run = ? AND number <= ?', run, number - MAX_MESSAGES);
}

export function messagesOf(database: JournalDatabase, run: string): Message[] {
  return database.all('SELECT * FROM messages WHERE run = ? ORDER BY number', run).map((row) => ({
    atMs: Number(row.at_ms),
    level: row.level as MessageLevel,
    text: String(row.text),
  }));
}

export function putFact(database: JournalDatabase, name: string, value: Json): void {
  if (value === null) database.run('DELETE FROM facts WHERE name = ?', name);
  else database.run('INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)', name, JSON.stringify(value));
}

export function getFact(database: JournalDatabase, name: string): Json {
  const row = database.one('SELECT value FROM facts WHERE name = ?', name);
  return row === undefined ? null : parseJson(database, row.value);
}
