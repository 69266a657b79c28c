import { spawn } from 'node:child_process';
import { lstat, lutimes } from 'node:fs/promises';

export interface TimedFile {
  readonly file: Buffer;
  readonly mtimeNs: string;
}

/** `touch` is started once for each file; from this many on an interpreter that is started once is faster. */
const WORTH_AN_INTERPRETER = 16;

const PYTHON = [
  'python3',
  '-c',
  `import os, sys
parts = sys.stdin.buffer.read().split(b'\\0')
for iso, ns, path in zip(parts[0::3], parts[1::3], parts[2::3]): os.utime(path, ns=(int(ns), int(ns)), follow_symlinks=False)`,
] as const;
const TOUCH = ['xargs', '-0', '-n', '3', 'sh', '-c', 'exec touch -h -m -d "$1" "$3"', 'touch'] as const;

/**
 * Sets times of modification. Node takes seconds as a double, exact to a quarter of a microsecond; the rest is left to a program that
 * knows nanoseconds. Where there is none, that quarter is what the platform allows.
 */
export async function setTimes(files: readonly TimedFile[]): Promise<void> {
  const inexact: TimedFile[] = [];
  for (const { file, mtimeNs } of files) {
    const seconds = Number(BigInt(mtimeNs)) / 1e9;
    await lutimes(file, seconds, seconds);
    if ((await lstat(file, { bigint: true })).mtimeNs !== BigInt(mtimeNs)) inexact.push({ file, mtimeNs });
  }
  if (inexact.length === 0) return;
  const input = Buffer.concat(inexact.map(record));
  const programs = inexact.length < WORTH_AN_INTERPRETER ? [TOUCH, PYTHON] : [PYTHON, TOUCH];
  for (const program of programs) if (await run(program, input)) return;
}

/** ISO time, nanoseconds and path, each ended by NUL. */
function record({ file, mtimeNs }: TimedFile): Buffer {
  const ns = BigInt(mtimeNs);
  const fraction = ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  const second = new Date(Number((ns - fraction) / 1_000_000n)).toISOString().slice(0, -5);
  return Buffer.concat([Buffer.from(`${second}.${String(fraction).padStart(9, '0')}Z\0${ns}\0`), file, Buffer.of(0)]);
}

function run([program, ...args]: readonly [string, ...string[]], input: Buffer): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ['pipe', 'ignore', 'ignore'] });
    const ended = (isDone: boolean) => () => {
      resolve(isDone);
    };
    child.once('error', ended(false));
    child.once('close', (code) => {
      resolve(code === 0);
    });
    // It ended before it had read everything.
    child.stdin.once('error', ended(false));
    child.stdin.end(input);
  });
}
