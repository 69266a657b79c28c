import { ChangeoverError } from '../../errors.ts';
import type { Context } from '../../plan/context.ts';
import { sourceSide, type Direction } from '../../plan/words.ts';
import { stampOf, type Stamp } from '../durable.ts';
import { readFile } from './file-copy.ts';
import { knownHash, type FileState, type ReadFile } from './file-state.ts';
import { rawPath, type Folder, type RawPath } from './folder.ts';

export interface ChangedFile {
  readonly path: RawPath;
  readonly stamp: Stamp;
  /** Contents when it was last synced; null for a file that never was. */
  readonly synced: string | null;
}

export interface FileChanges {
  /** Files whose contents are not known to be those that were synced last. */
  readonly changed: readonly ChangedFile[];
  /** Files that were synced and are gone. */
  readonly deleted: readonly RawPath[];
  /** All plain files of the source, and their bytes. */
  readonly files: number;
  readonly bytes: number;
}

/**
 * What changed in the source since it was synced last. Only files whose stamp changed, or that changed so shortly before they were read
 * that a later change may not show in it, are read again.
 */
export async function findChanges(
  ctx: Context,
  direction: Direction,
  source: Folder,
  state: FileState,
): Promise<FileChanges> {
  const side = sourceSide(direction);
  const found = await source.files(ctx.signal);
  const known = state.read(side);
  const synced = state.synced();
  // An empty folder may have been emptied; a folder that is not there is taken for a mount that failed, not for deletes.
  if (synced.size > 0 && !source.stat(rawPath(''))) {
    throw new ChangeoverError('CHG_DATA_FILES_SOURCE_GONE', { folder: source.name, count: synced.size });
  }
  const changed: ChangedFile[] = [];
  const same: [RawPath, ReadFile][] = [];
  let bytes = 0;
  for (const { path, stat } of found) {
    const stamp = stampOf(stat);
    bytes += stamp.size;
    const last = synced.get(path);
    const before = known.get(path);
    const hash = knownHash(before, stamp);
    if (last && hash === last.sha256) continue;
    // Of another size it must be copied anyway; else it may only have been touched.
    const read =
      last && hash === null && (before?.stamp.size ?? stamp.size) === stamp.size
        ? await readFile(source.at(path), ctx.clock)
        : null;
    if (read !== null && typeof read !== 'string' && read.sha256 === last?.sha256) same.push([path, read]);
    else changed.push({ path, stamp, synced: last?.sha256 ?? null });
  }
  if (same.length > 0 && ctx.epoch > 0) state.remember(side, same);
  const present = new Set(found.map(({ path }) => path));
  const deleted = [...synced.keys()].filter((path) => !present.has(path) && source.matches(path));
  return { changed, deleted, files: found.length, bytes };
}

export function bytesOf(files: readonly ChangedFile[]): number {
  return files.reduce((sum, { stamp }) => sum + stamp.size, 0);
}
