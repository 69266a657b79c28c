import { spawn } from 'node:child_process';
import { lstat, lutimes } from 'node:fs/promises';
import { fsPath } from './raw-path.ts';
import type { RawPath } from './raw-path.ts';

export interface TimedPath {
  readonly at: RawPath;
  readonly mtimeNs: string;
}

/** `touch` is started once for each path; from this many on an interpreter that is started once is faster. */
const WORTH_AN_INTERPRETER = 200;

/** Programs that set nanoseconds. Each reads ISO time, nanoseconds and path, separated by NUL. */
const SETTERS: readonly (readonly [string, ...string[]])[] = [
  [
    'python3',
    '-c',
    `import os, sys
parts = sys.stdin.buffer.read().split(b'\\0')
for ns, path in zip(parts[1::3], parts[2::3]): os.utime(path, ns=(int(ns), int(ns)), follow_symlinks=False)`,
  ],
  ['xargs', '-0', '-n', '3', 'sh', '-c', 'exec touch -h -m -d "$1" "$3"', 'touch'],
];

/**
 * Sets modification times. Node takes seconds as a double, which is exact to a quarter of a microsecond; the rest is left to a
 * program that knows nanoseconds, in one call for all paths. Where there is none, that quarter is what the platform allows.
 */
export async function setTimes(paths: readonly TimedPath[]): Promise<void> {
  const inexact: TimedPath[] = [];
  for (const { at, mtimeNs } of paths) {
    const wanted = BigInt(mtimeNs);
    const seconds = Number(wanted) / 1e9;
    await lutimes(fsPath(at), seconds, seconds);
    if ((await lstat(fsPath(at), { bigint: true })).mtimeNs !== wanted) inexact.push({ at, mtimeNs });
  }
  if (inexact.length === 0) return;
  const input = Buffer.concat(inexact.map(toRecord));
  const setters = inexact.length < WORTH_AN_INTERPRETER ? SETTERS.toReversed() : SETTERS;
  for (const setter of setters) if (await feed(setter, input)) return;
}

function toRecord({ at, mtimeNs }: TimedPath): Buffer {
  const ns = BigInt(mtimeNs);
  const fraction = ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  const instant = new Date(Number((ns - fraction) / 1_000_000n)).toISOString().slice(0, -5);
  const iso = `${instant}.${String(fraction).padStart(9, '0')}Z`;
  return Buffer.concat([Buffer.from(`${iso}\0${mtimeNs}\0`), fsPath(at), Buffer.of(0)]);
}

function feed([program, ...args]: readonly [string, ...string[]], input: Buffer): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ['pipe', 'ignore', 'ignore'] });
    child.once('error', () => resolve(false));
    child.once('close', (code) => resolve(code === 0));
    child.stdin.once('error', () => resolve(false)); // it ended before it read everything
    child.stdin.end(input);
  });
}
