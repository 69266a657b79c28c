import { existsSync, statfsSync } from 'node:fs';
import path from 'node:path';
import type { Context } from '../../plan/context.ts';
import type { Finding, Side } from '../../plan/words.ts';
import { bytesOf, findChanges } from './file-changes.ts';
import type { FileState } from './file-state.ts';
import { fsPath, rawPath, shown, type Folder, type RawPath } from './folder.ts';

/** Links and devices that are named one by one. */
const NAMED_FILES = 20;

type Folders = Readonly<Record<Side, Folder>>;

/** What stands in the way of moving these files. Reads only. */
export async function checkFiles(ctx: Context, about: string, folders: Folders, state: FileState): Promise<Finding[]> {
  const { legacy, next } = folders;
  const places = placesOf(ctx, about, legacy, next);
  if (places.length > 0) return places;
  const unmovable = [...(await unmovableIn(ctx, legacy)), ...(await unmovableIn(ctx, next))];
  if (unmovable.length > 0) {
    const message = `${unmovable.length} links and devices are among the files`;
    const remedy = 'remove them, or leave them out by `only`';
    return [...unmovable.slice(0, NAMED_FILES), { level: 'error', about, message, remedy }];
  }
  if (!legacy.stat(rawPath(''))) {
    return [{ level: 'warning', about, message: `${legacy.name} does not exist: there are no files` }];
  }
  return [...(await foreignIn(ctx, about, folders, state)), ...(await spaceFor(ctx, about, folders, state))];
}

function placesOf(ctx: Context, about: string, legacy: Folder, next: Folder): Finding[] {
  const isWithin = (inner: RawPath, outer: RawPath) => `${inner}/`.startsWith(`${outer}/`);
  const stateDir = rawPath(path.resolve(ctx.stateDir));
  if (isWithin(legacy.root, next.root) || isWithin(next.root, legacy.root)) {
    const message = `${legacy.name} and ${next.name} lie in one another`;
    return [{ level: 'error', about, message, remedy: 'move the files to a folder of their own' }];
  }
  if (isWithin(stateDir, legacy.root) || isWithin(stateDir, next.root)) {
    const message = `our own state folder ${ctx.stateDir} lies in a folder that is moved`;
    return [{ level: 'error', about, message, remedy: 'put the state folder elsewhere' }];
  }
  return [];
}

async function unmovableIn(ctx: Context, folder: Folder): Promise<Finding[]> {
  const findings: Finding[] = [];
  await folder.files(ctx.signal, (file, what) => {
    const message = `it is ${what}; only plain files are moved`;
    findings.push({ level: 'error', about: `${folder.name}/${shown(file)}`, message });
  });
  return findings;
}

/** Files of the new folder that the copy would meet and must not touch. */
async function foreignIn(ctx: Context, about: string, { legacy, next }: Folders, state: FileState): Promise<Finding[]> {
  const synced = state.synced();
  const own = new Set((await legacy.files(ctx.signal)).map((file) => file.path));
  const files = await next.files(ctx.signal);
  const [first, ...more] = files.filter((file) => !synced.has(file.path) && !own.has(file.path));
  if (!first) return [];
  const message = `${next.name} holds ${more.length + 1} files that are not from ${legacy.name}, e.g. ${shown(first.path)}`;
  return [{ level: 'error', about, message, remedy: 'move them away, or leave them out by `only`' }];
}

async function spaceFor(ctx: Context, about: string, { legacy, next }: Folders, state: FileState): Promise<Finding[]> {
  const { changed } = await findChanges(ctx, 'forward', legacy, state);
  let folder = fsPath(next.root).toString();
  while (!existsSync(folder)) folder = path.dirname(folder);
  const { bavail, bsize } = statfsSync(folder, { bigint: true });
  const needed = bytesOf(changed);
  if (BigInt(needed) <= bavail * bsize) return [];
  const message = `${next.name} needs ${needed} bytes, and ${bavail * bsize} are free`;
  return [{ level: 'error', about, message, remedy: `free some space on the disk of ${folder}` }];
}
