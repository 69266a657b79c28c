import { createHash } from 'node:crypto';

const HASH_LENGTH = 8;

/** A name of at most `limit` bytes: a longer one keeps its beginning and gets a hash of the whole, so that two stay two. */
export function fittingName(name: string, limit: number | null): string {
  if (limit === null || Buffer.byteLength(name) <= limit) return name;
  const hash = createHash('sha256').update(name).digest('hex').slice(0, HASH_LENGTH);
  let head = '';
  for (const character of name) {
    if (Buffer.byteLength(head + character) > limit - HASH_LENGTH - 1) break;
    head += character;
  }
  return `${head}_${hash}`;
}
