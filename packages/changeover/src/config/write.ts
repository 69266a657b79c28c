import { createHash } from 'node:crypto';
import { chmod, mkdir, open, readFile, realpath, rename, rm, rmdir, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { ChangeoverError } from '../errors.ts';
import type { Context } from '../plan/context.ts';
import type { CrashPoint } from '../plan/crash-points.ts';

const SECRET_MODE = 0o600;
const NEW_FILE_MODE = 0o644;

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

export function isMissing(error: unknown): boolean {
  return codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR';
}

/** Bytes and mode of a file, or null. */
export async function look(path: string): Promise<{ readonly bytes: Buffer; readonly mode: number } | null> {
  try {
    return { bytes: await readFile(path), mode: (await stat(path)).mode & 0o7777 };
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

/** True when a file with secrets in it is readable by others. */
export function isTooOpen(mode: number): boolean {
  return (mode & 0o077) !== 0;
}

async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Beside the file and always the same, so that what a kill leaves is overwritten or removed by the next attempt. */
function temporaryOf(path: string): string {
  return join(dirname(path), `.${basename(path)}.changeover-new`);
}

/** A symlink stays a symlink: what it leads to is written. */
async function followLinks(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (isMissing(error)) return path;
    throw error;
  }
}

/**
 * Makes a file hold exactly these bytes, durably and at once: readers see the old or the new content, never a part. Mode and owner stay.
 * `CHG_CONFIG_WRITE_FAILED` leaves the file as it was.
 */
export async function writeDurably(
  ctx: Context,
  path: string,
  bytes: Uint8Array,
  options: { readonly isSecret: boolean; readonly mode?: number; readonly after: CrashPoint },
): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true });
    const target = await followLinks(path);
    const there = await statOrNull(target);
    const mode = options.isSecret ? SECRET_MODE : (options.mode ?? there?.mode ?? NEW_FILE_MODE);
    const temporary = temporaryOf(target);
    await rm(temporary, { force: true });
    const file = await open(temporary, 'wx', SECRET_MODE);
    try {
      await file.writeFile(bytes);
      if (there !== null && (there.uid !== process.getuid?.() || there.gid !== process.getgid?.()))
        await file.chown(there.uid, there.gid);
      await file.chmod(mode);
      await file.sync();
    } finally {
      await file.close();
    }
    ctx.faults.at('config.file.written');
    await rename(temporary, target);
    ctx.faults.at(options.after);
    await syncFolder(dirname(target));
  } catch (cause) {
    throw new ChangeoverError(
      'CHG_CONFIG_WRITE_FAILED',
      { file: path, reason: codeOf(cause) || String(cause) },
      { cause },
    );
  }
}

async function statOrNull(
  path: string,
): Promise<{ readonly mode: number; readonly uid: number; readonly gid: number } | null> {
  try {
    const { mode, uid, gid } = await stat(path);
    return { mode: mode & 0o7777, uid, gid };
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

export async function restrict(path: string): Promise<void> {
  await chmod(path, SECRET_MODE);
}

/** Removes what a killed write left beside a file. */
export async function removeLeftover(path: string): Promise<void> {
  await rm(temporaryOf(await followLinks(path)), { force: true });
}

export async function removeDurably(path: string): Promise<void> {
  try {
    await unlink(path);
    await syncFolder(dirname(path));
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}

/** Removes folders that are empty, the deepest first. */
export async function removeEmptyFolders(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    try {
      await rmdir(path);
    } catch (error) {
      if (!isMissing(error) && codeOf(error) !== 'ENOTEMPTY') throw error;
      return;
    }
  }
}

/** Keeps bytes under their hash in a folder that only we read. Returns the name. */
export async function keepBytes(folder: string, bytes: Uint8Array): Promise<string> {
  const name = createHash('sha256').update(bytes).digest('hex');
  const path = join(folder, name);
  const there = await look(path);
  if (there !== null && there.bytes.equals(bytes)) return name;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const file = await open(`${path}.new`, 'w', SECRET_MODE);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
  await syncFolder(folder);
  return name;
}
