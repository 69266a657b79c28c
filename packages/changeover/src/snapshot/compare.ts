import { mkdir, readlink, realpath, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { ChangeoverError } from '../errors.ts';
import type { Context } from '../plan/context.ts';
import type { FileEntry, Manifest, ManifestEntry } from './manifest.ts';
import { FRESH_MS, hashFile } from './object.ts';
import { fsPath, rawName, rawPath, unstorePath } from './raw-path.ts';
import type { RawPath } from './raw-path.ts';
import { backupSqlite } from './sqlite.ts';
import { identityOf, isMissing, lstatOrNull, realStateDir, showIn, sidecarPaths, walk } from './tree.ts';
import type { Root, TreeNode } from './tree.ts';

export interface RootDifference {
  readonly root: Root;
  readonly changed: readonly string[];
  readonly added: readonly string[];
  readonly missing: readonly string[];
  /** Same content, other times or owners: nothing is lost by a restore, yet there is something to put right. */
  readonly isTouched: boolean;
}

/** Where the roots of a snapshot are now. The plan's folder may have moved since. */
async function locateRoots(ctx: Context, { header }: Manifest): Promise<Root[]> {
  return Promise.all(
    header.roots.map(async ({ path, at }): Promise<Root> => {
      const absolute = resolve(ctx.root, path);
      try {
        return { path, at: rawName(await realpath(absolute, 'buffer')) };
      } catch (error) {
        if (!isMissing(error)) throw error;
        return { path, at: header.planRoot === ctx.root ? unstorePath(at) : rawPath(absolute) };
      }
    }),
  );
}

/** What differs between a snapshot and the disk, by content, mode and link target. */
export async function compareSnapshot(ctx: Context, manifest: Manifest, id: string): Promise<RootDifference[]> {
  const scratch = join(ctx.stateDir, 'snapshots', id, 'compare');
  await rm(scratch, { recursive: true, force: true });
  await mkdir(scratch, { recursive: true, mode: 0o700 });
  try {
    const roots = await locateRoots(ctx, manifest);
    const differences: RootDifference[] = [];
    for (const [index, root] of roots.entries()) {
      const entries = manifest.entries.filter((entry) => entry.root === index);
      differences.push(await compareRoot(ctx, root, entries, { id, scratch }));
    }
    return differences;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function compareRoot(
  ctx: Context,
  root: Root,
  entries: readonly ManifestEntry[],
  options: { readonly id: string; readonly scratch: string },
): Promise<RootDifference> {
  const left = new Map<string, ManifestEntry>(entries.map((entry) => [unstorePath(entry.path), entry]));
  const sidecars = new Set<string>(
    entries
      .filter((entry) => entry.kind === 'file' && entry.sqlite)
      .flatMap((entry) => sidecarPaths(unstorePath(entry.path))),
  );
  const changed: string[] = [];
  const added: string[] = [];
  let isTouched = false;
  for await (const node of walk(root.at, { skip: [await realStateDir(ctx)], signal: ctx.signal })) {
    if (sidecars.has(node.path)) continue;
    const entry = left.get(node.path);
    if (entry === undefined) {
      added.push(showIn(root, node.path));
      continue;
    }
    left.delete(node.path);
    if (!(await isSame(ctx, entry, node, options))) changed.push(showIn(root, node.path));
    else if (
      BigInt(entry.mtimeNs) !== node.stat.mtimeNs ||
      entry.uid !== Number(node.stat.uid) ||
      entry.gid !== Number(node.stat.gid)
    ) {
      isTouched = true;
    }
  }
  const missing = [...left.keys()].map((path) => showIn(root, path as RawPath));
  return { root, changed, added, missing, isTouched };
}

async function isSame(
  ctx: Context,
  entry: ManifestEntry,
  node: TreeNode,
  options: { readonly id: string; readonly scratch: string },
): Promise<boolean> {
  if (entry.kind !== node.kind) return false;
  if (entry.kind === 'link') return rawName(await readlink(fsPath(node.at), 'buffer')) === unstorePath(entry.target);
  if (entry.mode !== (Number(node.stat.mode) & 0o7777)) return false;
  if (entry.kind === 'folder') return true;
  if (entry.sqlite) return isSameDatabase(ctx, entry, node, options);
  if (isUntouched(entry, identityOf(node.stat), node)) return true;
  if (entry.size !== Number(node.stat.size)) return false;
  return (await hashFile(node.at, ctx.signal))?.sha256 === entry.sha256;
}

/** A backup of an unchanged database has the same bytes as the backup before. The live file itself is never read. */
async function isSameDatabase(
  ctx: Context,
  entry: FileEntry,
  node: TreeNode,
  { id, scratch }: { readonly id: string; readonly scratch: string },
): Promise<boolean> {
  const [wal] = sidecarPaths(node.at);
  const walStat = wal === undefined ? null : await lstatOrNull(wal);
  if (isUntouched(entry, identityOf(node.stat, walStat), node, walStat?.ctimeNs)) return true;
  const copy = join(scratch, 'database');
  try {
    if (!(await backupSqlite(node.at, copy, { id, signal: ctx.signal }))) return false;
    return (await hashFile(rawPath(copy), ctx.signal))?.sha256 === entry.sha256;
  } catch (error) {
    if (!(error instanceof ChangeoverError)) throw error;
    ctx.report.log(error.message); // a database that SQLite cannot read is not the one that was taken: restoring it is the point
    return false;
  } finally {
    await rm(copy, { force: true });
  }
}

function isUntouched(entry: FileEntry, identity: string, node: TreeNode, walChangedNs = 0n): boolean {
  const changedNs = node.stat.ctimeNs > walChangedNs ? node.stat.ctimeNs : walChangedNs;
  return entry.source === identity && Number(changedNs / 1_000_000n) + FRESH_MS < entry.seenAtMs;
}
