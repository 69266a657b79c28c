import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, read, readSync, writeSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Clock } from '../../plan/context.ts';
import { codeOf, isMissing, isSameStamp, stampOf } from '../durable.ts';
import type { ReadFile } from './file-state.ts';

const BLOCK_BYTES = 1024 * 1024;
/** Up to this size a file is read faster than it is handed to another thread. */
const SMALL_BYTES = 128 * 1024;

const readAsync = promisify(read);

/** A whole file as it was read; `torn` when it changed meanwhile, `gone` when it is not there or no plain file any more. */
export type Outcome = (ReadFile & { readonly mode: number }) | 'torn' | 'gone';

/** Hashes a file, and copies it to `draft` where one is given. The draft is not synced yet, and is removed again unless the file stood still. */
export async function readFile(file: Buffer, clock: Clock, draft?: Buffer): Promise<Outcome> {
  // Whatever is waiting for this process gets its turn between two files.
  await setImmediate();
  const source = openPlain(file);
  if (source === null) return 'gone';
  let outcome: Outcome = 'torn';
  try {
    const readAtMs = clock.wallMs();
    const stat = fstatSync(source, { bigint: true });
    if (!stat.isFile()) return 'gone';
    const stamp = stampOf(stat);
    const sha256 = await passOn(source, stamp.size, draft);
    if (isSameStamp(stamp, stampOf(fstatSync(source, { bigint: true })))) {
      outcome = { stamp, readAtMs, sha256, mode: Number(stat.mode & 0o7777n) };
    }
    return outcome;
  } finally {
    closeSync(source);
    if (draft && typeof outcome === 'string') await rm(draft, { force: true });
  }
}

/** Never follows a link and never waits for the other end of a pipe. */
function openPlain(file: Buffer): number | null {
  try {
    return openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (isMissing(error) || codeOf(error) === 'ELOOP' || codeOf(error) === 'ENXIO') return null;
    throw error;
  }
}

async function passOn(source: number, size: number, draft: Buffer | undefined): Promise<string> {
  const target = draft && openSync(draft, 'wx', 0o600);
  try {
    const hash = createHash('sha256');
    const isSmall = size <= SMALL_BYTES;
    const block = Buffer.allocUnsafe(isSmall ? size + 1 : BLOCK_BYTES);
    for (let at = 0; ;) {
      const length = isSmall
        ? readSync(source, block, 0, block.length, at)
        : (await readAsync(source, block, 0, block.length, at)).bytesRead;
      if (length === 0) break;
      hash.update(block.subarray(0, length));
      for (let done = 0; target !== undefined && done < length;)
        done += writeSync(target, block, done, length - done, at + done);
      at += length;
    }
    return hash.digest('hex');
  } finally {
    if (target !== undefined) closeSync(target);
  }
}
