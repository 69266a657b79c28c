import { readdir, rm, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { ChangeoverError } from '../errors.ts';
import type { Context } from '../plan/context.ts';
import type { SnapshotPort, SnapshotSummary } from '../plan/ports.ts';
import type { Verdict } from '../plan/words.ts';
import { checkSnapshot } from './check.ts';
import { compareSnapshot } from './compare.ts';
import { forEachOf, syncFolder } from './durable.ts';
import { MANIFEST, readHeader, readManifest } from './manifest.ts';
import type { ManifestHeader } from './manifest.ts';
import { ObjectFolder } from './object.ts';
import { restoreSnapshot } from './restore.ts';
import { takeSnapshot } from './take.ts';
import type { SnapshotDefinition } from './take.ts';
import { isMissing } from './tree.ts';

const SHOWN_FAILURES = 5;
const OBJECTS_AT_ONCE = 2;

/**
 * The backup of a plan: files, folders and SQLite databases, copied with a SHA-256 manifest into `<stateDir>/snapshots/<id>`.
 * Each file is consistent in itself; files are taken one after the other, so a snapshot is no single instant of a live system.
 * Not taken: sockets, pipes, devices, extended attributes; hard links come back as separate files.
 *
 * @example
 * const snapshot = createSnapshot({ paths: ['.env', 'data'], sqlite: ['data/events.db'], compress: 'zstd' });
 * await snapshot.take(ctx, 'before-cutover');
 */
export function createSnapshot(definition: SnapshotDefinition): SnapshotPort {
  const { paths, sqlite, compress } = definition;
  return {
    spec: { paths, sqlite, compress },
    check: (ctx) => checkSnapshot(ctx, definition),
    async take(ctx, id) {
      const folder = folderOf(ctx, id);
      const header = await readHeader(folder);
      return header === null ? takeSnapshot(ctx, definition, id, folder) : summaryOf(header);
    },
    async isTaken(ctx, id) {
      return (await readHeader(folderOf(ctx, id))) !== null;
    },
    verify: (ctx, id) => verifySnapshot(ctx, id, folderOf(ctx, id)),
    async compare(ctx, id) {
      const differences = await compareSnapshot(ctx, await readManifest(folderOf(ctx, id), id), id);
      return {
        changed: differences.flatMap(({ changed }) => changed),
        added: differences.flatMap(({ added }) => added),
        missing: differences.flatMap(({ missing }) => missing),
      };
    },
    async restore(ctx, id, { standStill = () => Promise.resolve() } = {}) {
      const folder = folderOf(ctx, id);
      await restoreSnapshot(ctx, await readManifest(folder, id), id, folder, standStill);
    },
    async drop(ctx, id) {
      const folder = folderOf(ctx, id);
      try {
        // the manifest first: what is half removed must not pass for a snapshot
        await unlink(join(folder, MANIFEST));
        await syncFolder(folder);
      } catch (error) {
        if (!isMissing(error)) throw error;
      }
      ctx.faults.at('snapshot.drop.unlisted');
      await rm(folder, { recursive: true, force: true });
    },
    async list(ctx) {
      const summaries: SnapshotSummary[] = [];
      for (const id of await idsIn(join(ctx.stateDir, 'snapshots'))) {
        const header = await readHeader(folderOf(ctx, id));
        if (header !== null) summaries.push(summaryOf(header));
      }
      return summaries.sort((a, b) => a.takenAtMs - b.takenAtMs);
    },
  };
}

async function verifySnapshot(ctx: Context, id: string, folder: string): Promise<Verdict[]> {
  const check = `snapshot ${id}: stored content`;
  let manifest;
  try {
    manifest = await readManifest(folder, id);
  } catch (error) {
    if (!(error instanceof ChangeoverError)) throw error;
    const outcome = error.code === 'CHG_SNAPSHOT_NOT_TAKEN' ? 'INCONCLUSIVE' : 'FAIL';
    return [{ check, outcome, evidence: error.message, measured: 0 }];
  }
  const files = manifest.entries.filter((entry) => entry.kind === 'file');
  const objects = new ObjectFolder(folder, manifest.header.compress, ctx);
  const total = files.reduce((sum, file) => sum + file.size, 0);
  let done = 0;
  const failures: string[] = [];
  await forEachOf(new Map(files.map((file) => [file.object, file])).values(), OBJECTS_AT_ONCE, async (file) => {
    ctx.signal.throwIfAborted();
    try {
      for await (const chunk of objects.read(file, id)) {
        done += chunk.length;
        ctx.report.progress({ what: 'verify backup', done, total, unit: 'bytes' });
      }
    } catch (error) {
      if (!(error instanceof ChangeoverError)) throw error;
      failures.push(error.message);
    }
  });
  const measured = files.length;
  if (failures.length > 0) {
    const shown = failures.slice(0, SHOWN_FAILURES).join(' ');
    return [
      { check, outcome: 'FAIL', evidence: `${failures.length} of ${measured} files are damaged. ${shown}`, measured },
    ];
  }
  if (measured === 0) return [{ check, outcome: 'INCONCLUSIVE', evidence: 'it holds no file', measured }];
  return [{ check, outcome: 'PASS', evidence: `${measured} files with ${total} bytes have their SHA-256`, measured }];
}

function folderOf(ctx: Context, id: string): string {
  if (!isId(id)) throw new ChangeoverError('CHG_SNAPSHOT_ID_INVALID', { id });
  return join(ctx.stateDir, 'snapshots', id);
}

function isId(id: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(id);
}

async function idsIn(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).filter(isId);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

function summaryOf({ id, takenAtMs, files, bytes, storedBytes }: ManifestHeader): SnapshotSummary {
  return { id, takenAtMs, files, bytes, storedBytes };
}
