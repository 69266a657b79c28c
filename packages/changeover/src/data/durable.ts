import { closeSync, fsyncSync, openSync, type BigIntStats } from 'node:fs';
import { ChangeoverError } from '../errors.ts';

/** Makes the entries of a folder durable: without it a new file or a rename may be gone after a power loss. */
export function syncFolder(folder: string | Buffer): void {
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Which file of the system this is, whatever its name. */
export function identityOf(stat: BigIntStats): string {
  return `${stat.dev}:${stat.ino}`;
}

/** What tells without reading that a file is as it was. Nanoseconds as text: they exceed a double. */
export interface Stamp {
  readonly file: string;
  readonly size: number;
  readonly mtimeNs: string;
  readonly ctimeNs: string;
}

export function stampOf(stat: BigIntStats): Stamp {
  return {
    file: identityOf(stat),
    size: Number(stat.size),
    mtimeNs: String(stat.mtimeNs),
    ctimeNs: String(stat.ctimeNs),
  };
}

/**
 * Time of modification as `utimes` takes it: a double, which is exact to a quarter of a microsecond. As text, since Node takes a number
 * below zero, a time before 1970, for now.
 */
export function secondsOf({ mtimeNs }: Stamp): string {
  return String(Number(BigInt(mtimeNs)) / 1e9);
}

export function isSameStamp(a: Stamp | null, b: Stamp | null): boolean {
  if (a === null || b === null) return a === b;
  return a.file === b.file && a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs;
}

/** Clocks of file systems are coarse: within this time a file may change again and keep its stamp. */
const RACY_NS = 2_000_000_000n;

/** True when a later change of the file must show in its stamp, given when it was read. */
export function isSettled(stamp: Stamp, readAtMs: number): boolean {
  return BigInt(stamp.ctimeNs) < BigInt(Math.floor(readAtMs)) * 1_000_000n - RACY_NS;
}

export function isMissing(error: unknown): boolean {
  return codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR';
}

export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}

/** Runs `act`; errors of the system get the name of the store and of what was being done. */
export async function named<Result>(
  store: string,
  action: string,
  act: () => Promise<Result> | Result,
): Promise<Result> {
  try {
    return await act();
  } catch (cause) {
    if (cause instanceof ChangeoverError || !(cause instanceof Error) || codeOf(cause) === undefined) throw cause;
    throw new ChangeoverError('CHG_DATA_STORE_FAILED', { store, action, reason: cause.message }, { cause });
  }
}
