import { closeSync, fsyncSync, openSync, type BigIntStats } from 'node:fs';
import { ChangeoverError } from '../errors.ts';

/** Makes the entries of a folder durable: without it a new file or a rename may be gone after a power loss. */
export function syncFolder(folder: string): void {
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
