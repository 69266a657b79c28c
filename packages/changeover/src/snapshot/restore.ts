import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { ChangeoverError } from '../errors.ts';
import type { Context } from '../plan/context.ts';
import { build, needSpace, placementsBelow, refreshFolder } from './build.ts';
import { compareSnapshot } from './compare.ts';
import type { RootDifference } from './compare.ts';
import { syncFolder } from './durable.ts';
import type { Manifest, ManifestEntry } from './manifest.ts';
import { mountPoints } from './mounts.ts';
import { ObjectFolder } from './object.ts';
import { fsPath, isWithin, joinRaw, rawName, rawPath, showRaw, unstorePath } from './raw-path.ts';
import type { RawPath } from './raw-path.ts';
import { refuseMounts } from './take.ts';
import { lstatOrNull, realStateDir, RESTORE_FOLDER_PREFIX, sidecarPaths } from './tree.ts';
import type { Root } from './tree.ts';

/** What is exchanged in one rename: a root as a whole, or, where it cannot be renamed, each thing in it. */
interface Unit {
  readonly at: RawPath;
  /** Path in the root. */
  readonly path: RawPath;
  /** Null: nothing was there, so what is there now goes. */
  readonly entry: ManifestEntry | null;
}

interface RootWork {
  readonly root: Root;
  readonly entries: readonly ManifestEntry[];
  readonly units: readonly Unit[];
  /** Folders that stay while what is in them is exchanged. */
  readonly opened: readonly { readonly at: RawPath; readonly entry: ManifestEntry }[];
}

/**
 * Puts a snapshot back. Everything is first built beside its place, checked and durable; then, after `standStill`, each root is exchanged
 * by renames, with the old content moved aside until all roots are done. A killed restore is repeated from the start: it never needs what
 * was moved aside, and it never removes it before the snapshot is in place.
 *
 * @param standStill Called once, before the exchange, unless there is nothing to put right: a program that has a file open goes on
 *   writing into the old one, so it must have ended when this resolves.
 */
export async function restoreSnapshot(
  ctx: Context,
  manifest: Manifest,
  id: string,
  folder: string,
  standStill: () => Promise<void>,
): Promise<void> {
  const objects = new ObjectFolder(folder, manifest.header.compress, ctx);
  const different = await worksOf(ctx, manifest, id, async (work, isDifferent) => {
    await removeStaging(work, id);
    if (!isDifferent) await removeAside(work, id);
  });
  if (different.length === 0) return;
  await buildAll(ctx, different, id, objects);
  ctx.signal.throwIfAborted();
  ctx.faults.at('snapshot.restore.built');
  await standStill();
  // Until then programs went on writing: what they added goes too, and what they changed since is put back as well.
  const works = await worksOf(ctx, manifest, id, () => Promise.resolve());
  const isBuilt = new Set(different.map(({ root }) => root.path));
  await buildAll(
    ctx,
    works.filter(({ root }) => !isBuilt.has(root.path)),
    id,
    objects,
  );
  for (const work of works) await guarded(work.root, id, () => exchange(ctx, work, id), ctx);
  for (const work of [...different, ...works]) await removeAside(work, id);
  for (const { opened } of works) {
    for (const { at, entry } of [...opened].reverse()) await refreshFolder(at, entry);
  }
  ctx.faults.at('snapshot.restore.done');
}

/** The roots that differ from the snapshot now, and what is to be exchanged in each. */
async function worksOf(
  ctx: Context,
  manifest: Manifest,
  id: string,
  each: (work: RootWork, isDifferent: boolean) => Promise<void>,
): Promise<RootWork[]> {
  const differences = await compareSnapshot(ctx, manifest, id);
  await refuseMounts(differences.map(({ root }) => root));
  const points = await mountPoints();
  const works: RootWork[] = [];
  for (const [index, difference] of differences.entries()) {
    const entries = manifest.entries.filter((entry) => entry.root === index);
    const work = await planRoot(ctx, difference.root, entries, points);
    await each(work, isDifferent(difference));
    if (isDifferent(difference)) works.push(work);
  }
  return works;
}

async function buildAll(ctx: Context, works: readonly RootWork[], id: string, objects: ObjectFolder): Promise<void> {
  for (const { root, entries } of works) await needSpace(root.at, root.path, bytesOf(entries));

  const total = works.reduce((sum, { entries }) => sum + bytesOf(entries), 0);
  let done = 0;
  for (const work of works) {
    await guarded(
      work.root,
      id,
      async () => {
        for (const unit of work.units) {
          if (unit.entry === null) continue;
          const staged = await stagedPath(unit, id);
          await build(ctx, id, objects, placementsBelow(work.entries, unit.path, staged), (bytes) => {
            done += bytes;
            ctx.report.progress({ what: 'restore', done, total, unit: 'bytes' });
          });
          await syncFolder(fsPath(dirname(staged) as RawPath));
        }
      },
      ctx,
    );
  }
}

function isDifferent({ changed, added, missing, isTouched }: RootDifference): boolean {
  return isTouched || changed.length + added.length + missing.length > 0;
}

/** A mount point cannot be renamed, and a folder that holds our own state must not be: those are opened, and their content exchanged. */
async function planRoot(
  ctx: Context,
  root: Root,
  entries: readonly ManifestEntry[],
  points: ReadonlySet<string>,
): Promise<RootWork> {
  const stateDir = await realStateDir(ctx);
  const byPath = new Map<string, ManifestEntry>(entries.map((entry) => [unstorePath(entry.path), entry]));
  const units: Unit[] = [];
  const opened: { at: RawPath; entry: ManifestEntry }[] = [];
  const plan = async (at: RawPath, path: RawPath): Promise<void> => {
    const entry = byPath.get(path) ?? null;
    const isFixed = points.has(at) || isWithin(stateDir, at);
    if (entry?.kind !== 'folder' || !isFixed || (await lstatOrNull(at))?.isDirectory() !== true) {
      units.push({ at, path, entry });
      return;
    }
    opened.push({ at, entry });
    const names = new Set(childrenOf(byPath.keys(), path));
    for (const name of await readdir(fsPath(at), { encoding: 'buffer' })) names.add(rawName(name));
    for (const name of [...names].sort()) {
      const child = joinRaw(at, name);
      if (child !== stateDir && !name.startsWith(RESTORE_FOLDER_PREFIX)) await plan(child, joinRaw(path, name));
    }
  };
  await plan(root.at, rawPath(''));
  // a left-over WAL would be replayed into the restored database
  for (const unit of [...units]) {
    if (unit.entry?.kind !== 'file' || !unit.entry.sqlite) continue;
    for (const at of sidecarPaths(unit.at)) {
      if (!units.some((other) => other.at === at)) units.push({ at, path: rawPath(basename(at)), entry: null });
    }
  }
  return { root, entries, units, opened };
}

function childrenOf(paths: Iterable<string>, parent: RawPath): RawPath[] {
  const prefix = parent === '' ? '' : `${parent}/`;
  return [...paths].flatMap((path) => {
    const rest = path.startsWith(prefix) ? path.slice(prefix.length) : '';
    return rest !== '' && !rest.includes('/') ? (rest as RawPath) : [];
  });
}

function workFolder(at: RawPath, id: string): RawPath {
  return joinRaw(dirname(at) as RawPath, `${RESTORE_FOLDER_PREFIX}${id}`);
}

async function stagedPath(unit: Unit, id: string): Promise<RawPath> {
  const staging = joinRaw(workFolder(unit.at, id), 'new');
  await mkdir(fsPath(dirname(unit.at) as RawPath), { recursive: true });
  await mkdir(fsPath(staging), { recursive: true, mode: 0o700 });
  return joinRaw(staging, basename(unit.at));
}

async function removeStaging({ units }: RootWork, id: string): Promise<void> {
  for (const folder of new Set(units.map(({ at }) => workFolder(at, id)))) {
    await rm(fsPath(joinRaw(folder, 'new')), { recursive: true, force: true });
  }
}

async function removeAside({ units }: RootWork, id: string): Promise<void> {
  for (const folder of new Set(units.map(({ at }) => workFolder(at, id)))) {
    await rm(fsPath(folder), { recursive: true, force: true });
  }
}

/** All old things go aside before any new thing comes, so that a restored database never stands beside a foreign WAL. */
async function exchange(ctx: Context, work: RootWork, id: string): Promise<void> {
  const asides = new Map<RawPath, RawPath>();
  const moved: { readonly at: RawPath; readonly aside: RawPath }[] = [];
  try {
    for (const { at } of work.units) {
      if ((await lstatOrNull(at)) === null) continue;
      const folder = workFolder(at, id);
      const aside = asides.get(folder) ?? (await nextAside(folder));
      asides.set(folder, aside);
      await rename(fsPath(at), fsPath(joinRaw(aside, basename(at))));
      moved.push({ at, aside: joinRaw(aside, basename(at)) });
    }
    ctx.faults.at('snapshot.restore.aside');
    for (const unit of work.units) {
      if (unit.entry !== null) await rename(fsPath(await stagedPath(unit, id)), fsPath(unit.at));
    }
  } catch (error) {
    await putBack(moved, error);
    throw error;
  }
  for (const folder of new Set(work.units.map(({ at }) => dirname(at) as RawPath))) await syncFolder(fsPath(folder));
  ctx.faults.at('snapshot.restore.placed');
}

/** A fresh folder for each attempt: what an earlier, killed attempt moved aside is kept until the snapshot is in place. */
async function nextAside(folder: RawPath): Promise<RawPath> {
  for (let attempt = 1; ; attempt += 1) {
    const aside = joinRaw(folder, `old-${attempt}`);
    if ((await lstatOrNull(aside)) !== null) continue;
    await mkdir(fsPath(aside), { recursive: true, mode: 0o700 });
    return aside;
  }
}

async function putBack(
  moved: readonly { readonly at: RawPath; readonly aside: RawPath }[],
  error: unknown,
): Promise<void> {
  const errors: unknown[] = [];
  for (const { at, aside } of [...moved].reverse()) {
    try {
      if ((await lstatOrNull(at)) === null) await rename(fsPath(aside), fsPath(at));
    } catch (failure) {
      errors.push(failure);
    }
  }
  if (errors.length > 0)
    throw new AggregateError([error, ...errors], 'the exchange failed, and so did putting it back');
}

function bytesOf(entries: readonly ManifestEntry[]): number {
  return entries.reduce((sum, entry) => sum + (entry.kind === 'file' ? entry.size : 0), 0);
}

async function guarded(root: Root, id: string, work: () => Promise<void>, ctx: Context): Promise<void> {
  try {
    await work();
  } catch (cause) {
    if (cause instanceof ChangeoverError || ctx.signal.aborted) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    const aside = showRaw(workFolder(root.at, id));
    throw new ChangeoverError('CHG_SNAPSHOT_RESTORE_FAILED', { path: root.path, reason, aside }, { cause });
  }
}
