import type { Side } from '../../plan/words.ts';
import { isSameStamp, isSettled, type Stamp } from '../durable.ts';
import type { Sidecar } from '../sidecar.ts';
import type { RawPath } from './folder.ts';

/** What a file was when it was last read. */
export interface ReadFile {
  readonly stamp: Stamp;
  readonly readAtMs: number;
  readonly sha256: string;
}

export interface SyncedFile {
  /** Contents on both sides when it was last made equal; empty where that was begun and perhaps not ended. */
  readonly sha256: string;
  readonly isVerified: boolean;
}

/** What is known about the files of one sync, in the sidecar. */
export class FileState {
  readonly #sidecar: Sidecar;

  constructor(sidecar: Sidecar) {
    this.#sidecar = sidecar;
  }

  read(side: Side): Map<RawPath, ReadFile> {
    const sql =
      'SELECT path, file, size, mtime_ns, ctime_ns, read_at_ms, sha256 FROM file WHERE store = ? AND side = ?';
    return new Map(
      this.#sidecar.all(sql, side).map((row) => [
        String(row['path']) as RawPath,
        {
          stamp: {
            file: String(row['file']),
            size: Number(row['size']),
            mtimeNs: String(row['mtime_ns']),
            ctimeNs: String(row['ctime_ns']),
          },
          readAtMs: Number(row['read_at_ms']),
          sha256: String(row['sha256']),
        },
      ]),
    );
  }

  synced(): Map<RawPath, SyncedFile> {
    return new Map(
      this.#sidecar
        .all('SELECT path, sha256, is_verified FROM file_synced WHERE store = ?')
        .map((row) => [
          String(row['path']) as RawPath,
          { sha256: String(row['sha256']), isVerified: row['is_verified'] === 1 },
        ]),
    );
  }

  /** Files that were read again and are as they were. */
  remember(side: Side, files: readonly (readonly [RawPath, ReadFile])[]): void {
    this.#sidecar.transaction(() => {
      for (const [path, read] of files) this.setRead(side, path, read);
    });
  }

  setRead(side: Side, path: RawPath, { stamp, readAtMs, sha256 }: ReadFile): void {
    const sql = 'INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)';
    const { file, size, mtimeNs, ctimeNs } = stamp;
    this.#sidecar.run(sql, side, path, file, size, mtimeNs, ctimeNs, Math.floor(readAtMs), sha256);
  }

  setSynced(path: RawPath, sha256: string): void {
    this.#sidecar.run('INSERT OR REPLACE INTO file_synced VALUES (?, ?, ?, 0)', path, sha256);
  }

  setVerified(paths: Iterable<RawPath>): void {
    const sql = 'UPDATE file_synced SET is_verified = 1 WHERE store = ? AND path = ?';
    this.#sidecar.transaction(() => {
      for (const path of paths) this.#sidecar.run(sql, path);
    });
  }

  forget(path: RawPath): void {
    this.#sidecar.run('DELETE FROM file WHERE store = ? AND path = ?', path);
    this.#sidecar.run('DELETE FROM file_synced WHERE store = ? AND path = ?', path);
  }
}

/** The hash of a file that cannot have changed since it was read; null when it must be read again. */
export function knownHash(known: ReadFile | undefined, stamp: Stamp): string | null {
  return known && isSameStamp(known.stamp, stamp) && isSettled(stamp, known.readAtMs) ? known.sha256 : null;
}
