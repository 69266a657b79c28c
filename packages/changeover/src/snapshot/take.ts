import { appendFile, mkdir, readFile, readlink, readdir, rm, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { ChangeoverError } from '../errors.ts';
import type { Context } from '../plan/context.ts';
import type { SnapshotSummary } from '../plan/ports.ts';
import { forEachOf, syncFolder } from './durable.ts';
import { writeManifest } from './manifest.ts';
import type { Compression, FileEntry, ManifestEntry } from './manifest.ts';
import { mountPoints, mountsBelow } from './mounts.ts';
import { FRESH_MS, hashFile, ObjectFolder } from './object.ts';
import { fsPath, rawName, showRaw, storePath, unstorePath } from './raw-path.ts';
import type { RawPath } from './raw-path.ts';
import { backupSqlite } from './sqlite.ts';
import { identityOf, isMissing, lstatOrNull, realStateDir, resolveRoots, showIn, splitSqlite, walk } from './tree.ts';
import type { Root, SqliteGroup, TreeNode } from './tree.ts';

export interface SnapshotDefinition {
  /** Files and folders, relative to the plan or absolute. */
  readonly paths: readonly string[];
  /** SQLite databases among them or beside them, taken by SQLite's own backup. Those with a usual name are found anyway. */
  readonly sqlite: readonly string[];
  readonly compress: Compression;
}

const LEDGER = 'ledger.jsonl';
const FILES_AT_ONCE = 4;

interface Found {
  readonly root: number;
  readonly groups: readonly SqliteGroup[];
  readonly rest: readonly TreeNode[];
}

/** Copies everything into `folder`; see `SnapshotPort.take`. */
export async function takeSnapshot(
  ctx: Context,
  definition: SnapshotDefinition,
  id: string,
  folder: string,
): Promise<SnapshotSummary> {
  const roots = await resolveRoots(ctx, [...definition.paths, ...definition.sqlite]);
  await refuseMounts(roots);
  await mkdir(join(folder, 'objects'), { recursive: true, mode: 0o700 });
  const ledger = await openLedger(folder, { roots, compress: definition.compress });
  ctx.faults.at('snapshot.take.opened');

  const listed = new Set((await resolveRoots(ctx, definition.sqlite)).map((root) => root.at));
  const found: Found[] = [];
  for (const [root, { at }] of roots.entries()) {
    const nodes: TreeNode[] = [];
    for await (const node of walk(at, { skip: [await realStateDir(ctx)], signal: ctx.signal })) nodes.push(node);
    found.push({ root, ...splitSqlite(nodes, listed) });
  }

  const taking = new Taking(ctx, id, folder, roots, definition.compress, ledger, totalOf(found));
  const entries: ManifestEntry[] = [];
  for (const { root, groups, rest } of found) {
    const plain = [...rest];
    for (const group of groups) {
      const entry = await taking.sqlite(root, group);
      if (entry === 'not a database') plain.push(group.main, ...group.sidecars);
      else if (entry !== null) entries.push(entry);
    }
    await forEachOf(plain, FILES_AT_ONCE, async (node) => {
      const entry = await taking.node(root, node);
      if (entry !== null) entries.push(entry);
    });
  }
  entries.sort((a, b) => a.root - b.root || compareBytes(unstorePath(a.path), unstorePath(b.path)));

  await syncObjects(folder);
  const files = entries.filter((entry) => entry.kind === 'file');
  const stored = new Map(files.map((file) => [file.object, file.stored]));
  const summary: SnapshotSummary = {
    id,
    takenAtMs: ctx.clock.wallMs(),
    files: files.length,
    bytes: files.reduce((sum, file) => sum + file.size, 0),
    storedBytes: [...stored.values()].reduce((sum, bytes) => sum + bytes, 0),
  };
  const header = {
    format: 'changeover-snapshot' as const,
    version: 1 as const,
    ...summary,
    planRoot: ctx.root,
    roots: roots.map(({ path, at }) => ({ path, at: storePath(at) })),
    compress: definition.compress,
  };
  await writeManifest(folder, { header, entries }, ctx.faults);
  await rm(join(folder, LEDGER), { force: true });
  await rm(join(folder, 'incoming'), { recursive: true, force: true });
  return summary;
}

class Taking {
  readonly #ctx: Context;
  readonly #id: string;
  readonly #folder: string;
  readonly #roots: readonly Root[];
  readonly #objects: ObjectFolder;
  readonly #ledger: ReadonlyMap<string, FileEntry>;
  readonly #total: number;
  #done = 0;

  constructor(
    ctx: Context,
    id: string,
    folder: string,
    roots: readonly Root[],
    compress: Compression,
    ledger: ReadonlyMap<string, FileEntry>,
    total: number,
  ) {
    this.#ctx = ctx;
    this.#id = id;
    this.#folder = folder;
    this.#roots = roots;
    this.#objects = new ObjectFolder(folder, compress, ctx);
    this.#ledger = ledger;
    this.#total = total;
  }

  async node(root: number, node: TreeNode): Promise<ManifestEntry | null> {
    this.#ctx.signal.throwIfAborted();
    try {
      switch (node.kind) {
        case 'folder':
          return { kind: 'folder', ...baseOf(root, node) };
        case 'link':
          return {
            kind: 'link',
            ...baseOf(root, node),
            target: storePath(rawName(await readlink(fsPath(node.at), 'buffer'))),
          };
        case 'special':
          this.#ctx.report.warn(`${this.#shown(root, node.path)} is a socket, pipe or device: it is not backed up`);
          return null;
        case 'file':
          return await this.#file(root, node);
      }
    } catch (cause) {
      if (isMissing(cause)) return null;
      throw this.#failed(root, node.path, cause);
    }
  }

  async sqlite(root: number, { main, sidecars }: SqliteGroup): Promise<FileEntry | 'not a database' | null> {
    const wal = sidecars.find((node) => node.at.endsWith('-wal'));
    const source = identityOf(main.stat, wal?.stat ?? null);
    const known = this.#ledger.get(ledgerKey(root, main.path));
    const isOld = Math.max(...[main, ...sidecars].map((node) => Number(node.stat.ctimeNs / 1_000_000n))) + FRESH_MS;
    if (known?.sqlite === true && known.source === source && isOld < known.seenAtMs && (await this.#has(known))) {
      this.#advance(known.size);
      return known;
    }
    const copy = this.#objects.incoming();
    try {
      const seenAtMs = Date.now();
      const isDatabase = await backupSqlite(main.at, copy, { id: this.#id, signal: this.#ctx.signal });
      if (!isDatabase) return 'not a database';
      this.#ctx.faults.at('snapshot.sqlite.copied');
      const object = await this.#objects.store(copy, (bytes) => {
        this.#advance(bytes);
      });
      return await this.#record({ kind: 'file', ...baseOf(root, main), ...object, sqlite: true, source, seenAtMs });
    } catch (cause) {
      if ((await lstatOrNull(main.at)) === null) return null;
      throw this.#failed(root, main.path, cause);
    } finally {
      await rm(copy, { force: true });
    }
  }

  async #file(root: number, node: TreeNode): Promise<FileEntry | null> {
    const known = this.#ledger.get(ledgerKey(root, node.path));
    if (known !== undefined && !known.sqlite && (await this.#has(known)) && (await this.#isStill(known, node))) {
      this.#advance(known.size);
      return { ...known, ...baseOf(root, node) };
    }
    const shown = this.#shown(root, node.path);
    const copy = await this.#objects.copyStable(node.at, shown, this.#id, (bytes) => {
      this.#advance(bytes);
    });
    if (copy === null) return null;
    const { stat, seenAtMs, ...object } = copy;
    const base = baseOf(root, { ...node, stat });
    return this.#record({ kind: 'file', ...base, ...object, sqlite: false, source: identityOf(stat), seenAtMs });
  }

  /** By its stat where that is beyond doubt, else by reading it. */
  async #isStill(known: FileEntry, node: TreeNode): Promise<boolean> {
    if (known.source === identityOf(node.stat) && Number(node.stat.ctimeNs / 1_000_000n) + FRESH_MS < known.seenAtMs)
      return true;
    if (known.size !== Number(node.stat.size)) return false;
    return (await hashFile(node.at, this.#ctx.signal))?.sha256 === known.sha256;
  }

  #has(entry: FileEntry): Promise<boolean> {
    return this.#objects.has(entry.object, entry.stored);
  }

  async #record(entry: FileEntry): Promise<FileEntry> {
    await appendFile(join(this.#folder, LEDGER), `${JSON.stringify(entry)}\n`, { mode: 0o600 });
    this.#ctx.faults.at('snapshot.ledger.appended');
    return entry;
  }

  #advance(bytes: number): void {
    this.#done += bytes;
    this.#ctx.report.progress({
      what: 'backup',
      done: this.#done,
      total: Math.max(this.#total, this.#done),
      unit: 'bytes',
    });
  }

  #shown(root: number, path: RawPath): string {
    const named = this.#roots[root];
    return named === undefined ? showRaw(path) : showIn(named, path);
  }

  #failed(root: number, path: RawPath, cause: unknown): unknown {
    if (cause instanceof ChangeoverError || this.#ctx.signal.aborted) return cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    return new ChangeoverError(
      'CHG_SNAPSHOT_COPY_FAILED',
      { path: this.#shown(root, path), reason, id: this.#id },
      { cause },
    );
  }
}

export async function refuseMounts(roots: readonly Root[]): Promise<void> {
  const points = await mountPoints();
  for (const root of roots) {
    const [mount] = mountsBelow(points, root.at);
    if (mount !== undefined) {
      throw new ChangeoverError('CHG_SNAPSHOT_MOUNT_INSIDE', { mount: showRaw(mount as RawPath), path: root.path });
    }
  }
}

/**
 * What an interrupted take has already stored, by path. A line is appended after its content is durable, so a line is a promise;
 * a torn last line is none. Another definition under the same id starts afresh.
 */
async function openLedger(folder: string, definition: unknown): Promise<Map<string, FileEntry>> {
  const file = join(folder, LEDGER);
  const head = JSON.stringify(definition);
  await rm(join(folder, 'incoming'), { recursive: true, force: true });
  await mkdir(join(folder, 'incoming'), { mode: 0o700 });
  const known = new Map<string, FileEntry>();
  let lines: string[] = [];
  try {
    lines = (await readFile(file, 'utf8')).split('\n');
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  const torn = lines.pop();
  if (lines[0] !== head) {
    await unlinkIfThere(file);
    await appendFile(file, `${head}\n`, { mode: 0o600 });
    return known;
  }
  if (torn !== undefined && torn !== '') await appendFile(file, '\n');
  for (const line of lines.slice(1)) {
    const entry = parseLine(line);
    if (entry !== null) known.set(ledgerKey(entry.root, unstorePath(entry.path)), entry);
  }
  return known;
}

function parseLine(line: string): FileEntry | null {
  try {
    return JSON.parse(line) as FileEntry;
  } catch {
    return null; // torn by the kill: its file is copied again
  }
}

async function unlinkIfThere(file: string): Promise<void> {
  try {
    await unlink(file);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}

async function syncObjects(folder: string): Promise<void> {
  const objects = join(folder, 'objects');
  for (const name of await readdir(objects)) await syncFolder(join(objects, name));
  for (const path of [objects, folder, join(folder, '..')]) await syncFolder(path);
}

function totalOf(found: readonly Found[]): number {
  let total = 0;
  for (const { groups, rest } of found) {
    for (const { main } of groups) total += Number(main.stat.size);
    for (const node of rest) if (node.kind === 'file') total += Number(node.stat.size);
  }
  return total;
}

function baseOf(
  root: number,
  node: TreeNode,
): { root: number; path: ReturnType<typeof storePath>; mode: number; uid: number; gid: number; mtimeNs: string } {
  return {
    root,
    path: storePath(node.path),
    mode: Number(node.stat.mode) & 0o7777,
    uid: Number(node.stat.uid),
    gid: Number(node.stat.gid),
    mtimeNs: String(node.stat.mtimeNs),
  };
}

function ledgerKey(root: number, path: RawPath): string {
  return `${root}:${path}`;
}

function compareBytes(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
