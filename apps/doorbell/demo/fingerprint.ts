import { createHash } from 'node:crypto';
import { lstat, readdir, readFile } from 'node:fs/promises';
import path from 'node:path';

/** Relative path to what makes a file what it is: bytes, mode and time. */
export type Fingerprint = ReadonlyMap<
  string,
  { readonly sha256: string; readonly mode: number; readonly mtimeMs: number; readonly bytes: Buffer }
>;

export async function fingerprint(root: string): Promise<Fingerprint> {
  const files = new Map<string, { sha256: string; mode: number; mtimeMs: number; bytes: Buffer }>();
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = path.join(entry.parentPath, entry.name);
    const bytes = await readFile(file);
    const { mode, mtimeMs } = await lstat(file);
    files.set(path.relative(root, file), {
      sha256: createHash('sha256').update(bytes).digest('hex'),
      mode,
      mtimeMs,
      bytes,
    });
  }
  return files;
}

/** Files that the household itself changes all the time; the ledger speaks for what they gained. */
const GROWING = ['data/logs/events.log', 'data/known_faces_cache.pkl'];

export interface Kept {
  readonly identical: number;
  /** Files of before that are not as they were, in words. */
  readonly problems: readonly string[];
}

/** Everything that was there before the move is there again, byte for byte; the log begins with what it was. */
export function compareWithBefore(before: Fingerprint, after: Fingerprint): Kept {
  const problems: string[] = [];
  let identical = 0;
  for (const [file, was] of before) {
    const is = after.get(file);
    if (is === undefined) problems.push(`${file} is missing`);
    else if (file === 'data/logs/events.log') {
      if (!is.bytes.subarray(0, was.bytes.length).equals(was.bytes))
        problems.push(`${file} does not begin with its former content`);
    } else if (!GROWING.includes(file)) {
      if (is.sha256 !== was.sha256) problems.push(`${file} has other bytes`);
      else if (is.mode !== was.mode) problems.push(`${file} has another mode`);
      else if (is.mtimeMs !== was.mtimeMs) problems.push(`${file} has another time`);
      else identical += 1;
    }
  }
  return { identical, problems };
}
