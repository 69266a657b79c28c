import { chmod, chown, lchown, mkdir, open, statfs, symlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ChangeoverError } from '../errors.ts';
import type { Context } from '../plan/context.ts';
import { forEachOf } from './durable.ts';
import type { ManifestEntry } from './manifest.ts';
import type { ObjectFolder } from './object.ts';
import { fsPath, joinRaw, unstorePath } from './raw-path.ts';
import type { RawPath } from './raw-path.ts';
import { setTimes } from './times.ts';

const FILES_AT_ONCE = 4;

/** An entry and where it is to be made. Parents come before their children. */
export interface Placement {
  readonly entry: ManifestEntry;
  readonly at: RawPath;
}

/** Makes files, folders and links of a snapshot somewhere, checked while they are written, and durable when it resolves. */
export async function build(
  ctx: Context,
  id: string,
  objects: ObjectFolder,
  placements: readonly Placement[],
  onBytes: (bytes: number) => void,
): Promise<void> {
  const folders = placements.filter(({ entry }) => entry.kind === 'folder');
  for (const { at } of folders) await mkdir(fsPath(at), { mode: 0o700 });
  await forEachOf(placements, FILES_AT_ONCE, async ({ entry, at }) => {
    ctx.signal.throwIfAborted();
    if (entry.kind === 'link') {
      await symlink(fsPath(unstorePath(entry.target)), fsPath(at));
      await lchownIfOther(at, entry);
    } else if (entry.kind === 'file') {
      await buildFile(objects, id, entry, at, onBytes);
      ctx.faults.at('snapshot.restore.file');
    }
  });
  // times last: every entry made in a folder changes that folder's
  await setTimes(placements.map(({ entry, at }) => ({ at, mtimeNs: entry.mtimeNs })));
  for (const { entry, at } of [...folders].reverse()) await dressFolder(at, entry);
}

async function buildFile(
  objects: ObjectFolder,
  id: string,
  entry: ManifestEntry & { kind: 'file' },
  at: RawPath,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const file = await open(fsPath(at), 'wx', 0o600);
  try {
    for await (const chunk of objects.read(entry, id)) {
      await file.writeFile(chunk);
      onBytes(chunk.length);
    }
    const now = await file.stat();
    // the owner first: changing it clears the set-id bits
    if (now.uid !== entry.uid || now.gid !== entry.gid) await file.chown(entry.uid, entry.gid);
    await file.chmod(entry.mode);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Gives a folder its owner and mode and makes its entries durable. Its own time is already right and is not changed by this. */
async function dressFolder(at: RawPath, entry: ManifestEntry): Promise<void> {
  const folder = await open(fsPath(at), 'r');
  try {
    const now = await folder.stat();
    if (now.uid !== entry.uid || now.gid !== entry.gid) await chown(fsPath(at), entry.uid, entry.gid);
    await chmod(fsPath(at), entry.mode);
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** For a folder that stays in place while what is in it is exchanged. */
export async function refreshFolder(at: RawPath, entry: ManifestEntry): Promise<void> {
  await setTimes([{ at, mtimeNs: entry.mtimeNs }]);
  await dressFolder(at, entry);
}

async function lchownIfOther(at: RawPath, entry: ManifestEntry): Promise<void> {
  if (entry.uid !== process.getuid?.() || entry.gid !== process.getgid?.()) {
    await lchown(fsPath(at), entry.uid, entry.gid);
  }
}

/** Throws `CHG_SNAPSHOT_NO_SPACE` before anything is changed. */
export async function needSpace(at: RawPath, shown: string, bytes: number): Promise<void> {
  const free = await freeBytes(dirname(at) as RawPath);
  if (free < bytes) {
    throw new ChangeoverError('CHG_SNAPSHOT_NO_SPACE', {
      path: shown,
      needed: showBytes(bytes),
      available: showBytes(free),
    });
  }
}

/** Free for us on the file system of `at`, or of its nearest parent that exists. */
export async function freeBytes(at: RawPath): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(fsPath(at));
    return bavail * bsize;
  } catch (error) {
    const parent = dirname(at) as RawPath;
    if (parent === at) throw error;
    return freeBytes(parent);
  }
}

export function showBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  return power === 0 ? `${bytes} B` : `${(bytes / 2 ** (10 * power)).toFixed(1)} ${units[power] ?? ''}`;
}

export function placementsBelow(entries: readonly ManifestEntry[], below: RawPath, target: RawPath): Placement[] {
  return entries.flatMap((entry) => {
    const path = unstorePath(entry.path);
    if (below !== '' && path !== below && !path.startsWith(`${below}/`)) return [];
    const rest = path.slice(below.length).replace(/^\//, '') as RawPath;
    return { entry, at: rest === '' ? target : joinRaw(target, rest) };
  });
}
