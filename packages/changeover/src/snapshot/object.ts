import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import { constants, createReadStream, createWriteStream } from 'node:fs';
import type { BigIntStats } from 'node:fs';
import { mkdir, open, rename, stat, unlink } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline as pipe } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip, createZstdCompress, createZstdDecompress } from 'node:zlib';
import { ChangeoverError } from '../errors.ts';
import type { Context } from '../plan/context.ts';
import type { Compression } from './manifest.ts';
import { fsPath } from './raw-path.ts';
import type { RawPath } from './raw-path.ts';
import { isMissing, lstatOrNull } from './tree.ts';

const READ_BYTES = 1 << 20;
const COPY_ATTEMPTS = 5;
/** A file is trusted to be unchanged by its stat only when that is older than any clock's granularity. */
export const FRESH_MS = 2000;

const SUFFIX = { none: '', gzip: '.gz', zstd: '.zst' } as const satisfies Record<Compression, string>;

export interface StoredObject {
  readonly object: string;
  readonly sha256: string;
  readonly size: number;
  readonly stored: number;
}

export interface StableCopy extends StoredObject {
  /** Of the content that was copied. */
  readonly stat: BigIntStats;
  readonly seenAtMs: number;
}

/** The folder of one snapshot's contents, each under the name of its hash. */
export class ObjectFolder {
  readonly #folder: string;
  readonly #compress: Compression;
  readonly #ctx: Context;
  #serial = 0;

  constructor(folder: string, compress: Compression, ctx: Context) {
    this.#folder = folder;
    this.#compress = compress;
    this.#ctx = ctx;
  }

  /** A name for a file that is being made; the folder is emptied whenever a take begins. */
  incoming(): string {
    return join(this.#folder, 'incoming', String((this.#serial += 1)));
  }

  async has(object: string, stored: number): Promise<boolean> {
    try {
      return (await stat(join(this.#folder, 'objects', object))).size === stored;
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
  }

  /**
   * Copies a file that may be live. The copy counts when the file was at rest, or when the same bytes are read a second time: a file
   * that only grew passes with the length it had, and one that was replaced by a rename passes whole. Otherwise it is copied again.
   * Null when the file is gone.
   */
  async copyStable(
    at: RawPath,
    shown: string,
    id: string,
    onBytes: (bytes: number) => void,
  ): Promise<StableCopy | null> {
    for (let attempt = 1; ; attempt += 1) {
      const source = await openRegular(at);
      if (source === null) return null;
      const temporary = this.incoming();
      try {
        const seenAtMs = Date.now();
        const before = await source.stat({ bigint: true });
        const size = Number(before.size);
        const { sha256, bytes } = await this.#write(source, size, temporary, onBytes);
        const after = await source.stat({ bigint: true });
        const wasAtRest =
          bytes === size &&
          after.size === before.size &&
          after.mtimeNs === before.mtimeNs &&
          after.ctimeNs === before.ctimeNs &&
          Number(before.ctimeNs / 1_000_000n) + FRESH_MS < seenAtMs;
        if (wasAtRest || (bytes === size && (await hashHandle(source, size, this.#ctx.signal)) === sha256)) {
          return { ...(await this.#keep(temporary, sha256, size)), stat: before, seenAtMs };
        }
        onBytes(-bytes);
      } finally {
        await source.close();
      }
      if (attempt === COPY_ATTEMPTS) {
        throw new ChangeoverError('CHG_SNAPSHOT_UNSTABLE', { path: shown, attempts: COPY_ATTEMPTS, id });
      }
      await this.#ctx.clock.sleep(25 * 2 ** attempt, this.#ctx.signal);
    }
  }

  /** Stores a file of our own that nobody writes (the output of a backup). */
  async store(path: string, onBytes: (bytes: number) => void): Promise<StoredObject> {
    const source = await open(path, 'r');
    try {
      const { size } = await source.stat();
      const temporary = this.incoming();
      const { sha256 } = await this.#write(source, size, temporary, onBytes);
      return await this.#keep(temporary, sha256, size);
    } finally {
      await source.close();
    }
  }

  /** The content, checked while it is read: a chunk is only to be trusted when the iteration ends. */
  async *read(object: Omit<StoredObject, 'stored'>, id: string): AsyncGenerator<Buffer> {
    const hash = createHash('sha256');
    let bytes = 0;
    const file = createReadStream(join(this.#folder, 'objects', object.object), {
      highWaterMark: Math.max(1, Math.min(READ_BYTES, object.size)),
    });
    const expand =
      this.#compress === 'gzip' ? createGunzip() : this.#compress === 'zstd' ? createZstdDecompress() : null;
    // a failure of the file destroys the expander with it, and so ends the iteration below
    if (expand !== null) pipe(file, expand, () => undefined);
    try {
      for await (const chunk of expand ?? file) {
        hash.update(chunk as Buffer);
        bytes += (chunk as Buffer).length;
        yield chunk as Buffer;
      }
    } catch (cause) {
      this.#ctx.signal.throwIfAborted();
      const reason = `the content ${object.object} cannot be read (${cause instanceof Error ? cause.message : String(cause)})`;
      throw new ChangeoverError('CHG_SNAPSHOT_DAMAGED', { id, reason }, { cause });
    } finally {
      file.destroy();
      expand?.destroy();
    }
    if (bytes !== object.size || hash.digest('hex') !== object.sha256) {
      throw new ChangeoverError('CHG_SNAPSHOT_DAMAGED', {
        id,
        reason: `the content ${object.object} has ${bytes} bytes with another hash; ${object.size} bytes were stored`,
      });
    }
  }

  async #write(
    source: FileHandle,
    size: number,
    target: string,
    onBytes: (bytes: number) => void,
  ): Promise<{ sha256: string; bytes: number }> {
    const hash = createHash('sha256');
    let bytes = 0;
    const signal = this.#ctx.signal;
    async function* chunks(): AsyncGenerator<Buffer> {
      for await (const chunk of readHandle(source, size, hash)) {
        bytes += chunk.length;
        onBytes(chunk.length);
        yield chunk;
      }
    }
    const output = createWriteStream(target, { flags: 'w', mode: 0o600, flush: true });
    if (this.#compress === 'none') await pipeline(chunks, output, { signal });
    else {
      const squeeze = this.#compress === 'gzip' ? createGzip() : createZstdCompress();
      await pipeline(chunks, squeeze, output, { signal });
    }
    return { sha256: hash.digest('hex'), bytes };
  }

  async #keep(temporary: string, sha256: string, size: number): Promise<StoredObject> {
    const object = `${sha256.slice(0, 2)}/${sha256.slice(2)}${SUFFIX[this.#compress]}`;
    const path = join(this.#folder, 'objects', object);
    const { size: stored } = await stat(temporary);
    this.#ctx.faults.at('snapshot.object.written');
    if (await this.has(object, stored)) await unlink(temporary);
    else {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      await rename(temporary, path);
    }
    this.#ctx.faults.at('snapshot.object.stored');
    return { object, sha256, size, stored };
  }
}

/** Hash of a file's first `size` bytes as they are now; null when it is gone. Never call it on a live SQLite file. */
export async function hashFile(
  at: RawPath,
  signal: AbortSignal,
): Promise<{ sha256: string; stat: BigIntStats } | null> {
  const handle = await openRegular(at);
  if (handle === null) return null;
  try {
    const stats = await handle.stat({ bigint: true });
    return { sha256: await hashHandle(handle, Number(stats.size), signal), stat: stats };
  } finally {
    await handle.close();
  }
}

async function hashHandle(handle: FileHandle, size: number, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of readHandle(handle, size, hash)) {
    signal.throwIfAborted();
    if (chunk.length === 0) break;
  }
  return hash.digest('hex');
}

async function* readHandle(handle: FileHandle, size: number, hash: Hash): AsyncGenerator<Buffer> {
  for (let position = 0; position < size;) {
    const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, size - position));
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    const chunk = buffer.subarray(0, bytesRead);
    hash.update(chunk);
    yield chunk;
  }
}

async function openRegular(at: RawPath): Promise<FileHandle | null> {
  // opening what has become a pipe in the meantime would wait for its writer for ever
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  try {
    const handle = await open(fsPath(at), flags);
    if ((await handle.stat()).isFile()) return handle;
    await handle.close();
    return null;
  } catch (error) {
    if (isMissing(error)) return null;
    const now = await lstatOrNull(at);
    if (now === null || !now.isFile()) return null;
    throw error;
  }
}
