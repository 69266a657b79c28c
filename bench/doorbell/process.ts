import { readdirSync, readFileSync } from 'node:fs';

/** Linux counts CPU time in hundredths of a second, whatever its kernel's own tick. */
const MS_PER_TICK = 10;
const BYTES_PER_KB = 1024;
const BYTES_PER_MB = 1 << 20;
/** Positions in `/proc/PID/stat` behind the name: user and system time, both with all threads. */
const USER_TIME = 11;
const SYSTEM_TIME = 12;

/** CPU time that a process and those it started have used so far, in milliseconds. */
export function cpuMs(pid: number): number {
  return tree(pid).reduce((sum, one) => {
    const fields = readFileSync(`/proc/${one}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
    return sum + (Number(fields[USER_TIME]) + Number(fields[SYSTEM_TIME])) * MS_PER_TICK;
  }, 0);
}

/** The most memory that a process and those it started have held, in MB: each at its own peak. */
export function peakMb(pid: number): number {
  const peaks = tree(pid).map((one) => /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${one}/status`, 'utf8'))?.[1]);
  return (peaks.reduce((sum, kb) => sum + Number(kb ?? 0), 0) * BYTES_PER_KB) / BYTES_PER_MB;
}

function tree(pid: number): number[] {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
  );
  return [pid, ...children.flatMap(tree)];
}
