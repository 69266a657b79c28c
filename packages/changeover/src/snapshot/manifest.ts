import { createHash } from 'node:crypto';
import { open, rename } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { ChangeoverError } from '../errors.ts';
import type { Faults } from '../plan/context.ts';
import type { SnapshotSummary } from '../plan/ports.ts';
import { syncFolder } from './durable.ts';
import type { StoredPath } from './raw-path.ts';
import { isMissing } from './tree.ts';

export const COMPRESSIONS = ['none', 'gzip', 'zstd'] as const;
export type Compression = (typeof COMPRESSIONS)[number];

interface EntryBase {
  /** Index into the header's roots. */
  readonly root: number;
  readonly path: StoredPath;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeNs: string;
}

export interface FileEntry extends EntryBase {
  readonly kind: 'file';
  readonly size: number;
  readonly sha256: string;
  /** Name below `objects/`, and its bytes on disk. */
  readonly object: string;
  readonly stored: number;
  /** Taken by SQLite's own backup: compared by another backup, never by reading the live file. */
  readonly sqlite: boolean;
  /** What the source looked like, to see later without reading whether it is the same, and when it was looked at. */
  readonly source: string;
  readonly seenAtMs: number;
}

export type ManifestEntry =
  | FileEntry
  | (EntryBase & { readonly kind: 'folder' })
  | (EntryBase & { readonly kind: 'link'; readonly target: StoredPath });

export interface ManifestHeader extends SnapshotSummary {
  readonly format: 'changeover-snapshot';
  readonly version: 1;
  /** The plan's folder when it was taken. */
  readonly planRoot: string;
  readonly roots: readonly { readonly path: string; readonly at: StoredPath }[];
  readonly compress: Compression;
}

export interface Manifest {
  readonly header: ManifestHeader;
  readonly entries: readonly ManifestEntry[];
}

export const MANIFEST = 'manifest.jsonl';

/**
 * Writes the manifest last of all: its existence is what "taken" means. One line of header, one per entry, and one with the hash
 * of all lines before, so that a damaged manifest is noticed too.
 */
export async function writeManifest(folder: string, manifest: Manifest, faults: Faults): Promise<void> {
  const file = join(folder, MANIFEST);
  const handle = await open(`${file}.new`, 'w', 0o600);
  try {
    const hash = createHash('sha256');
    const write = async (lines: readonly unknown[]): Promise<void> => {
      const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
      hash.update(text);
      await handle.write(text);
    };
    await write([manifest.header]);
    for (let from = 0; from < manifest.entries.length; from += 1000) {
      await write(manifest.entries.slice(from, from + 1000));
    }
    await handle.write(`${JSON.stringify({ end: hash.digest('hex') })}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  faults.at('snapshot.manifest.written');
  await rename(`${file}.new`, file);
  faults.at('snapshot.manifest.renamed');
  await syncFolder(folder);
}

/** The header of a taken snapshot, or null. */
export async function readHeader(folder: string): Promise<ManifestHeader | null> {
  for await (const line of manifestLines(folder)) return JSON.parse(line) as ManifestHeader;
  return null;
}

/** Throws `CHG_SNAPSHOT_NOT_TAKEN` or `CHG_SNAPSHOT_DAMAGED`. */
export async function readManifest(folder: string, id: string): Promise<Manifest> {
  const damaged = (reason: string, cause?: unknown): never => {
    throw new ChangeoverError('CHG_SNAPSHOT_DAMAGED', { id, reason }, { cause });
  };
  const hash = createHash('sha256');
  let header: ManifestHeader | null = null;
  const entries: ManifestEntry[] = [];
  let end: string | null = null;
  for await (const line of manifestLines(folder)) {
    if (line.startsWith('{"end":')) {
      end = line;
      break;
    }
    hash.update(`${line}\n`);
    try {
      if (header === null) header = JSON.parse(line) as ManifestHeader;
      else entries.push(JSON.parse(line) as ManifestEntry);
    } catch (cause) {
      damaged(`line ${entries.length + 2} of its manifest is not JSON`, cause);
    }
  }
  if (header === null) throw new ChangeoverError('CHG_SNAPSHOT_NOT_TAKEN', { id, folder });
  if (end !== JSON.stringify({ end: hash.digest('hex') }))
    damaged('its manifest does not have the hash that it ends with');
  return { header, entries };
}

async function* manifestLines(folder: string): AsyncGenerator<string> {
  let file: FileHandle;
  try {
    file = await open(join(folder, MANIFEST), 'r');
  } catch (error) {
    if (isMissing(error)) return;
    throw error;
  }
  try {
    yield* file.readLines();
  } finally {
    await file.close();
  }
}
