const MAX_NAME_LENGTH = 32;
const LETTERS = 32;

/**
 * Most headers only pass, and are told apart from the few others by length and first letter, without making a string in lower case.
 * Only a name for which this is true need be looked up among `names`.
 */
export function screenFor(names: Iterable<string>): (length: number, firstCode: number) => boolean {
  const seen = new Uint8Array(MAX_NAME_LENGTH * LETTERS);
  for (const name of names) seen[name.length * LETTERS + (name.charCodeAt(0) & (LETTERS - 1))] = 1;
  return (length, firstCode) => length < MAX_NAME_LENGTH && seen[length * LETTERS + (firstCode & (LETTERS - 1))] === 1;
}

/** Removes the headers that a Connection header names from a flat list of names and values. */
export function dropListed(headers: string[], listed: string): void {
  if (listed === 'keep-alive' || listed === 'close') return;
  const names = new Set(listed.split(',').map((name) => name.trim().toLowerCase()));
  for (let index = headers.length - 2; index >= 0; index -= 2) {
    if (names.has((headers[index] ?? '').toLowerCase())) headers.splice(index, 2);
  }
}
