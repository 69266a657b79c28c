import { rmSync } from 'node:fs';
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

export interface TempFolder extends AsyncDisposable {
  /** Absolute, without symbolic links. */
  readonly path: string;
  /** Removes the folder with everything in it. Repeatable. */
  remove(): Promise<void>;
}

const left = new Set<string>();
process.once('exit', () => {
  for (const folder of left) rmSync(folder, { recursive: true, force: true });
});

/**
 * A new empty folder under the system's folder for temporary files. It goes with `remove`, at the end of an `await using`
 * block, or at the latest when the process exits.
 *
 * @example
 * await using temp = await tempFolder();
 * await writeFile(path.join(temp.path, 'a.txt'), 'a');
 */
export async function tempFolder(prefix = 'changeover-test-'): Promise<TempFolder> {
  const folder = await realpath(await mkdtemp(path.join(tmpdir(), prefix)));
  left.add(folder);
  const remove = async () => {
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
    left.delete(folder);
  };
  return { path: folder, remove, [Symbol.asyncDispose]: remove };
}
