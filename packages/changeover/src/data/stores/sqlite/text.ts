/** An identifier as SQLite reads it. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A text literal as SQLite reads it. */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
