import { spawn } from 'node:child_process';
import { lstat, lutimes } from 'node:fs/promises';
import { fsPath } from './raw-path.ts';
import type { RawPath } from './raw-path.ts';

export interface TimedPath {
  readonly at: RawPath;
  readonly mtimeNs: string;
}

/**
 * Sets modification times. Node takes seconds as a double, which is exact to a quarter of a microsecond; what is left is set by
 * `touch`, all of it in one call, where the platform has one that knows nanoseconds.
 */
export async function setTimes(paths: readonly TimedPath[]): Promise<void> {
  const inexact: TimedPath[] = [];
  for (const { at, mtimeNs } of paths) {
    const wanted = BigInt(mtimeNs);
    const seconds = Number(wanted) / 1e9;
    await lutimes(fsPath(at), seconds, seconds);
    if ((await lstat(fsPath(at), { bigint: true })).mtimeNs !== wanted) inexact.push({ at, mtimeNs });
  }
  if (inexact.length > 0 && process.platform !== 'win32') await touch(inexact);
}

/** `xargs` is fed separators that no path can hold, so that no name is ever read as anything else. */
function touch(paths: readonly TimedPath[]): Promise<void> {
  const input = paths.map(({ at, mtimeNs }) => {
    const ns = BigInt(mtimeNs);
    const fraction = ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
    const instant = new Date(Number((ns - fraction) / 1_000_000n)).toISOString().slice(0, -5);
    return Buffer.concat([Buffer.from(`${instant}.${String(fraction).padStart(9, '0')}Z\0`), fsPath(at), Buffer.of(0)]);
  });
  return new Promise((done) => {
    const child = spawn('xargs', ['-0', '-n', '2', 'touch', '-h', '-m', '-d'], { stdio: ['pipe', 'ignore', 'ignore'] });
    // without a fitting `touch` the times stay as exact as Node sets them, and that is all that the platform allows
    child.once('error', () => {
      done();
    });
    child.once('close', () => {
      done();
    });
    child.stdin.once('error', () => {
      done();
    });
    child.stdin.end(Buffer.concat(input));
  });
}
