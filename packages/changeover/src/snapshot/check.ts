import { access, constants, readlink } from 'node:fs/promises';
import { dirname, isAbsolute, resolve } from 'node:path';
import { ChangeoverError } from '../errors.ts';
import type { Context } from '../plan/context.ts';
import type { Finding } from '../plan/words.ts';
import { freeBytes, showBytes } from './build.ts';
import { mountPoints, mountsBelow } from './mounts.ts';
import { fsPath, isWithin, joinRaw, rawName, rawPath, showRaw } from './raw-path.ts';
import type { RawPath } from './raw-path.ts';
import { probeSqlite } from './sqlite.ts';
import type { SnapshotDefinition } from './take.ts';
import { isMissing, lstatOrNull, realStateDir, resolveRoots, showIn, splitSqlite, walk } from './tree.ts';
import type { Root, TreeNode } from './tree.ts';

/** Findings of one kind in one folder are summed up: a tree of sockets is one line, not a thousand. */
const SHOWN = 3;
/** The copy itself, and as much again for the copies that a restore builds beside. */
const SPACE_FACTOR = 2;

/** What stands in the way of the backup, before anything is copied. */
export async function checkSnapshot(ctx: Context, definition: SnapshotDefinition): Promise<Finding[]> {
  const findings: Finding[] = [];
  const roots: Root[] = [];
  for (const path of new Set([...definition.paths, ...definition.sqlite])) {
    try {
      roots.push(...(await resolveRoots(ctx, [path])));
    } catch (error) {
      if (!(error instanceof ChangeoverError)) throw error;
      findings.push({ level: 'error', about: `backup ${path}`, message: error.message, remedy: error.hint });
    }
  }
  const outer = await resolveRoots(
    { root: ctx.root },
    roots.map(({ path }) => path),
  );
  const listed = new Set(roots.filter(({ path }) => definition.sqlite.includes(path)).map(({ at }) => at as string));
  const points = await mountPoints();
  let bytes = 0;
  for (const root of outer) {
    findings.push(...(await checkRoot(ctx, root, points)));
    const contents = await checkContents(ctx, root, outer, listed);
    findings.push(...contents.findings);
    bytes += contents.bytes;
  }
  findings.push(...(await checkSpace(ctx, bytes)));
  return findings;
}

async function checkRoot(ctx: Context, root: Root, points: ReadonlySet<string>): Promise<Finding[]> {
  const about = `backup ${root.path}`;
  const stateDir = await realStateDir(ctx);
  const findings: Finding[] = [];
  if (isWithin(root.at, stateDir)) {
    const message = `${root.path} lies in the state folder ${ctx.stateDir}: the backup would hold itself`;
    findings.push({ level: 'error', about, message, remedy: 'Remove it from backup.paths.' });
  } else if (isWithin(stateDir, root.at)) {
    const message = `the state folder ${ctx.stateDir} lies in ${root.path}: it is left out of the backup, and a restore exchanges the things in ${root.path} one by one instead of the folder at once`;
    findings.push({ level: 'warning', about, message, remedy: 'Give a stateDir outside of what is backed up.' });
  }
  for (const mount of mountsBelow(points, root.at)) {
    const message = `another file system is mounted at ${showRaw(mount as RawPath)}: a folder that holds one cannot be exchanged`;
    findings.push({
      level: 'error',
      about,
      message,
      remedy: 'Name the folders beside the mount point in backup.paths.',
    });
  }
  const link = await lstatOrNull(rawPath(resolve(ctx.root, root.path)));
  if (link?.isSymbolicLink() === true) {
    findings.push({
      level: 'info',
      about,
      message: `${root.path} is a symlink: ${showRaw(root.at)} is backed up and restored`,
    });
  }
  try {
    await access(fsPath(dirname(root.at) as RawPath), constants.W_OK);
  } catch {
    const message = `its folder ${showRaw(dirname(root.at) as RawPath)} is not writable, so it could not be restored`;
    findings.push({ level: 'warning', about, message, remedy: 'Run as a user who may write there.' });
  }
  return findings;
}

async function checkContents(
  ctx: Context,
  root: Root,
  roots: readonly Root[],
  listed: ReadonlySet<string>,
): Promise<{ readonly findings: Finding[]; readonly bytes: number }> {
  const unreadable: string[] = [];
  const special: string[] = [];
  const outside: string[] = [];
  const nodes: TreeNode[] = [];
  const onUnreadable = (at: RawPath): void => void unreadable.push(showRaw(at));
  for await (const node of walk(root.at, { skip: [await realStateDir(ctx)], signal: ctx.signal, onUnreadable })) {
    nodes.push(node);
    if (node.kind === 'special') special.push(showIn(root, node.path));
    if (node.kind === 'file' && !(await isReadable(node.at))) unreadable.push(showIn(root, node.path));
    if (node.kind === 'link' && (await leadsOutside(node, roots))) outside.push(showIn(root, node.path));
  }
  const { groups, rest } = splitSqlite(nodes, listed);
  const about = `backup ${root.path}`;
  const findings: Finding[] = [
    ...summed('error', about, unreadable, 'cannot be read', 'Run as a user who may read them.'),
    ...summed('warning', about, special, 'sockets, pipes or devices: not backed up, and gone after a restore'),
    ...summed(
      'warning',
      about,
      outside,
      'symlinks that lead out of the backup: only the links are kept',
      'Add what they lead to to backup.paths.',
    ),
  ];
  for (const { main } of groups) findings.push(...checkSqlite(root, main, listed.has(main.at)));
  const files = [...groups.map(({ main }) => main), ...rest].filter((node) => node.kind === 'file');
  return { findings, bytes: files.reduce((sum, node) => sum + Number(node.stat.size), 0) };
}

function checkSqlite(root: Root, node: TreeNode, isListed: boolean): Finding[] {
  const about = `backup ${showIn(root, node.path)}`;
  try {
    const mode = probeSqlite(node.at);
    if (mode === 'not a database') {
      if (!isListed) return [];
      return [
        {
          level: 'error',
          about,
          message: 'it is named in backup.sqlite and is no SQLite database',
          remedy: 'Name it in backup.paths.',
        },
      ];
    }
    if (mode === 'wal')
      return [{ level: 'info', about, message: 'SQLite in WAL mode: copied by its own backup, hindering no writer' }];
    const message =
      'SQLite without WAL: writers wait for milliseconds at a time while it is copied, and fail if their busy timeout is 0';
    return [
      {
        level: 'warning',
        about,
        message,
        remedy: "Run `PRAGMA journal_mode=WAL`, or give the legacy's connections a busy timeout.",
      },
    ];
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return [
      {
        level: 'error',
        about,
        message: `SQLite cannot open it: ${reason}`,
        remedy: 'Run as a user who may read and write it.',
      },
    ];
  }
}

async function checkSpace(ctx: Context, bytes: number): Promise<Finding[]> {
  const free = await freeBytes(rawPath(ctx.stateDir));
  const figures = `${showBytes(bytes)} to back up, ${showBytes(free)} free in ${ctx.stateDir}`;
  if (free >= bytes * SPACE_FACTOR) return [{ level: 'info', about: 'backup space', message: figures }];
  const message = `${figures}: twice the data is needed`;
  return [
    {
      level: 'error',
      about: 'backup space',
      message,
      remedy: 'Free space, or give a stateDir on a larger file system.',
    },
  ];
}

async function isReadable(at: RawPath): Promise<boolean> {
  try {
    await access(fsPath(at), constants.R_OK);
    return true;
  } catch (error) {
    return isMissing(error); // gone since: a live tree
  }
}

async function leadsOutside(node: TreeNode, roots: readonly Root[]): Promise<boolean> {
  const target = rawName(await readlink(fsPath(node.at), 'buffer'));
  const absolute = isAbsolute(target) ? target : joinRaw(dirname(node.at) as RawPath, target);
  return !roots.some((root) => isWithin(absolute, root.at));
}

function summed(
  level: Finding['level'],
  about: string,
  paths: readonly string[],
  what: string,
  remedy?: string,
): Finding[] {
  if (paths.length === 0) return [];
  const more = paths.length > SHOWN ? ` and ${paths.length - SHOWN} more` : '';
  const message = `${what}: ${paths.slice(0, SHOWN).join(', ')}${more}`;
  return [{ level, about, message, ...(remedy === undefined ? {} : { remedy }) }];
}
