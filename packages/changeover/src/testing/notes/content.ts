import { createHash } from 'node:crypto';
import type { Note } from './note.ts';

/** What a client writes is a function of token and version, so that its ledger need not hold it and a reader can check it. */
export function noteOf(token: string, version: number, withTags: boolean): Note {
  const seed = seedOf(token, version);
  const tags = withTags ? TAGS.filter((_, at) => ((seed[0] ?? 0) >> at) % 2 === 1) : [];
  return { token, body: `${token} v${version} ${AWKWARD[(seed[1] ?? 0) % AWKWARD.length] ?? ''}`, tags };
}

/** The picture of a note: the same for all of its versions. */
export function pictureOf(token: string): Uint8Array {
  const seed = seedOf(token, 0);
  return Buffer.concat(Array.from({ length: 8 + ((seed[0] ?? 0) % 32) }, () => seed));
}

/** The version that a note's body names, or null where it is no body of ours. */
export function versionOf(note: Note, withTags: boolean): number | null {
  const version = Number(/^\S+ v(\d+) /.exec(note.body)?.[1]);
  if (!Number.isSafeInteger(version)) return null;
  const expected = noteOf(note.token, version, withTags);
  return note.body === expected.body && note.tags.join() === expected.tags.join() ? version : null;
}

const TAGS = ['blue', 'green', 'red'] as const;

/** Ends of bodies that formats, quotings and encodings have tripped over. */
const AWKWARD = [
  'plain',
  '',
  `it's "quoted"`,
  'back\\slash \\n',
  'line\nbreak\ttab',
  'Zoë 門 🔔',
  "{'a': None}",
  ' \u2028 ',
];

function seedOf(token: string, version: number): Buffer {
  return createHash('sha256').update(`${token} ${version}`).digest();
}
