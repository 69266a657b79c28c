import type { BigIntStats } from 'node:fs';
import { lstat, readdir, realpath } from 'node:fs/promises';
import { basename, dirname, extname, resolve } from 'node:path';
import { ChangeoverError } from '../errors.ts';
import type { Context } from '../plan/context.ts';
import { fsPath, isWithin, joinRaw, rawName, rawPath, showRaw } from './raw-path.ts';
import type { RawPath } from './raw-path.ts';

/** A path that the plan names, and where it really is: a named symlink stands for what it leads to. */
export interface Root {
  readonly path: string;
  readonly at: RawPath;
}

export interface TreeNode {
  /** Relative to the root; empty for the root itself. */
  readonly path: RawPath;
  readonly at: RawPath;
  readonly kind: 'file' | 'folder' | 'link' | 'special';
  readonly stat: BigIntStats;
}

export const RESTORE_FOLDER_PREFIX = '.changeover-restore-';
const SQLITE_SIDECARS = ['-wal', '-shm', '-journal'] as const;
const SQLITE_EXTENSIONS = new Set(['.db', '.db3', '.sqlite', '.sqlite3', '.s3db']);

export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}

/** The roots of `paths`, without those that lie in another one. Throws `CHG_SNAPSHOT_PATH_MISSING`. */
export async function resolveRoots(ctx: Pick<Context, 'root'>, paths: readonly string[]): Promise<Root[]> {
  const roots = await Promise.all(
    paths.map(async (path): Promise<Root> => {
      const absolute = resolve(ctx.root, path);
      try {
        return { path, at: rawName(await realpath(absolute, 'buffer')) };
      } catch (cause) {
        throw new ChangeoverError('CHG_SNAPSHOT_PATH_MISSING', { path, absolute }, { cause });
      }
    }),
  );
  return roots.filter(
    (root, index) =>
      !roots.some((other, at) => at !== index && isWithin(root.at, other.at) && (root.at !== other.at || at < index)),
  );
}

/** The state folder as it is met in a walk of real paths, whether it exists or not. */
export async function realStateDir(ctx: Pick<Context, 'stateDir'>): Promise<RawPath> {
  const names: string[] = [];
  for (let at = resolve(ctx.stateDir); ; at = dirname(at)) {
    try {
      return joinRaw(rawName(await realpath(at, 'buffer')), ...names.map(rawPath));
    } catch (error) {
      if (!isMissing(error)) throw error;
      names.unshift(basename(at));
    }
  }
}

/** Everything in a root, parents before children, in the order of the bytes of the names. `skip` holds absolute paths. */
export async function* walk(
  at: RawPath,
  options: {
    readonly skip?: readonly RawPath[];
    readonly signal?: AbortSignal;
    /** Called instead of throwing when a folder cannot be read. */
    readonly onUnreadable?: (at: RawPath, error: unknown) => void;
  } = {},
): AsyncGenerator<TreeNode> {
  const pending: { path: RawPath; at: RawPath }[] = [{ path: rawPath(''), at }];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    options.signal?.throwIfAborted();
    const stat = await lstatOrNull(next.at);
    if (stat === null) continue; // gone since its folder was listed: a live tree
    const node: TreeNode = { ...next, kind: kindOf(stat), stat };
    yield node;
    if (node.kind !== 'folder') continue;
    let names: RawPath[];
    try {
      names = (await readdir(fsPath(node.at), { encoding: 'buffer' })).map((name) => rawName(name));
    } catch (error) {
      if (isMissing(error)) continue;
      if (options.onUnreadable === undefined) throw error;
      options.onUnreadable(node.at, error);
      continue;
    }
    for (const name of names.sort().reverse()) {
      const child = joinRaw(node.at, name);
      if (options.skip?.includes(child) === true || name.startsWith(RESTORE_FOLDER_PREFIX)) continue;
      pending.push({ path: joinRaw(node.path, name), at: child });
    }
  }
}

export async function lstatOrNull(at: RawPath): Promise<BigIntStats | null> {
  try {
    return await lstat(fsPath(at), { bigint: true });
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

function kindOf(stat: BigIntStats): TreeNode['kind'] {
  if (stat.isFile()) return 'file';
  if (stat.isDirectory()) return 'folder';
  return stat.isSymbolicLink() ? 'link' : 'special';
}

/** A file that is taken as SQLite, with the sidecars that its own backup API makes superfluous. */
export interface SqliteGroup {
  readonly main: TreeNode;
  readonly sidecars: readonly TreeNode[];
}

/**
 * Separates SQLite files from the rest, by name alone: reading a header means opening the file, and closing it again drops every
 * POSIX lock that this process has on it. `listed` are the plan's own.
 */
export function splitSqlite(
  nodes: readonly TreeNode[],
  listed: ReadonlySet<string>,
): { readonly groups: SqliteGroup[]; readonly rest: TreeNode[] } {
  const byPath = new Map<string, TreeNode>(nodes.map((node) => [node.at, node]));
  const groups: SqliteGroup[] = [];
  const grouped = new Set<TreeNode>();
  for (const main of nodes) {
    if (main.kind !== 'file') continue;
    const sidecars = sidecarPaths(main.at).flatMap((path) => byPath.get(path) ?? []);
    const looksLikeSqlite =
      main.stat.size > 0n && (SQLITE_EXTENSIONS.has(extname(main.at).toLowerCase()) || sidecars.length > 0);
    if (!listed.has(main.at) && !looksLikeSqlite) continue;
    groups.push({ main, sidecars });
    for (const node of [main, ...sidecars]) grouped.add(node);
  }
  return { groups, rest: nodes.filter((node) => !grouped.has(node)) };
}

export function sidecarPaths(main: RawPath): RawPath[] {
  return SQLITE_SIDECARS.map((suffix) => joinRaw(dirname(main) as RawPath, `${basename(main)}${suffix}`));
}

/** Identity of a file's content without reading it. */
export function identityOf(...stats: readonly (BigIntStats | null)[]): string {
  return stats
    .map((stat) =>
      stat === null
        ? '-'
        : [stat.dev, stat.ino, stat.size, stat.mtimeNs, stat.ctimeNs].map((part) => part.toString(36)).join('.'),
    )
    .join('+');
}

export function showIn(root: Root, path: RawPath): string {
  return path === '' ? root.path : `${root.path.replace(/\/+$/, '')}/${showRaw(path)}`;
}
