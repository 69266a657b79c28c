import { createHash } from 'node:crypto';

/** An identifier as MariaDB reads it. */
export function quoted(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``;
}

/** A text literal as our own sessions read it: their `NO_BACKSLASH_ESCAPES` leaves the quote as the one character that needs care. */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** A name of ours for one table: short, whatever the table is called; names end at 64 characters. */
export function nameFor(prefix: string, ...parts: readonly string[]): string {
  return `${prefix}_${createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 12)}`;
}
