import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, readlinkSync, realpathSync, statSync } from 'node:fs';

/** A process that is told from a later one with the same pid by its kernel start time. */
export interface ProcessId {
  readonly pid: number;
  readonly startTime: string;
}

export interface ProcessEntry extends ProcessId {
  readonly parent: number;
  readonly group: number;
  readonly isStopped: boolean;
}

const HAS_PROC = existsSync('/proc/self/stat');

/** The kernel's start time of a live process; null for one that is gone or only a zombie. Comparable within one boot. */
export function startTimeOf(pid: number): string | null {
  return entryOf(pid)?.startTime ?? null;
}

export function isAlive(process: ProcessId): boolean {
  return startTimeOf(process.pid) === process.startTime;
}

export function entryOf(pid: number): ProcessEntry | null {
  if (!Number.isSafeInteger(pid) || pid < 1) return null;
  return HAS_PROC ? procEntry(pid) : (psEntries(['-p', String(pid)])[0] ?? null);
}

/** Every live process that this user can see. */
export function processes(): ProcessEntry[] {
  if (!HAS_PROC) return psEntries(['-A']);
  return procPids().flatMap((pid) => procEntry(pid) ?? []);
}

/** The process and everything that descends from it. */
export function familyOf(pid: number, table: readonly ProcessEntry[] = processes()): ProcessEntry[] {
  const family = table.filter((entry) => entry.pid === pid);
  for (const member of family) family.push(...table.filter((entry) => entry.parent === member.pid));
  return family;
}

/** Its command line, for people; the pid alone where it cannot be read. */
export function describeProcess(pid: number): string {
  const command = HAS_PROC
    ? readOrNull(`/proc/${pid}/cmdline`)?.replaceAll('\0', ' ')
    : runOrNull('ps', ['-o', 'command=', '-p', String(pid)]);
  const shown = command?.trim().slice(0, 200) ?? '';
  return shown === '' ? `process ${pid}` : `process ${pid} (${shown})`;
}

export interface Listener {
  readonly isListening: boolean;
  /** Null when nobody listens, or when the process belongs to a user whose processes cannot be looked into. */
  readonly pid: number | null;
}

/**
 * Who listens on a TCP port of this machine, on a loopback or a wildcard address. Where several processes share the socket
 * (a master and its workers) it is the one that the others descend from.
 */
export function listenerOf(port: number): Listener {
  return HAS_PROC ? procListener(port) : lsofListener(port);
}

/** Who holds a POSIX lock on a file, as the kernel knows it; null when nobody does or this system does not tell. */
export function lockHolderOf(path: string): number | null {
  if (!HAS_PROC) return null;
  const inode = String(statSync(path).ino);
  const file = realpathSync(path);
  for (const line of (readOrNull('/proc/locks') ?? '').split('\n')) {
    const [, kind, , mode, pid, place] = line.trim().split(/\s+/);
    if (kind !== 'POSIX' || mode !== 'WRITE' || place?.split(':')[2] !== inode) continue;
    // An inode number is only unique on its own disk.
    if (linksOf(Number(pid)).includes(file)) return Number(pid);
  }
  return null;
}

function procListener(port: number): Listener {
  const sockets = new Set(listeningSockets(port));
  if (sockets.size === 0) return { isListening: false, pid: null };
  const pid = eldest(procPids().filter((each) => hasSocket(each, sockets)));
  // It may have been closed while we searched.
  return { isListening: pid !== null || listeningSockets(port).length > 0, pid };
}

/** Inode numbers of the sockets that listen on `port`. */
function listeningSockets(port: number): string[] {
  return ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((table) =>
    (readOrNull(table) ?? '').split('\n').flatMap((line) => {
      const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
      if (local === undefined || inode === undefined || state !== '0A') return [];
      const [address = '', hexPort = ''] = local.split(':');
      return parseInt(hexPort, 16) === port && LOCAL_ADDRESS.test(address) ? [inode] : [];
    }),
  );
}

/** 0.0.0.0, 127.0.0.1, ::, ::1 and the IPv4 ones inside IPv6, as words in the machine's byte order. */
const LOCAL_ADDRESS = /^(0{8}|0100007F|7F000001|0{32}|0{24}(01000000|00000001)|0{16}FFFF0000(0{8}|0100007F))$/;

function hasSocket(pid: number, sockets: ReadonlySet<string>): boolean {
  return linksOf(pid).some((link) => sockets.has(/^socket:\[(\d+)\]$/.exec(link)?.[1] ?? ''));
}

/** What the open descriptors of a process point at; none when it is gone or of another user. */
function linksOf(pid: number): string[] {
  const fds = orNull(() => readdirSync(`/proc/${pid}/fd`)) ?? [];
  return fds.flatMap((fd) => orNull(() => readlinkSync(`/proc/${pid}/fd/${fd}`)) ?? []);
}

function lsofListener(port: number): Listener {
  const pids = (runOrNull('lsof', ['-nP', `-iTCP:${port}`, '-sTCP:LISTEN', '-t']) ?? '')
    .split('\n')
    .flatMap((line) => (line.trim() === '' ? [] : [Number(line)]));
  return { isListening: pids.length > 0, pid: eldest(pids) };
}

function eldest(pids: readonly number[]): number | null {
  const table = processes();
  const isDescendant = (pid: number): boolean =>
    pids.some((other) => other !== pid && familyOf(other, table).some((entry) => entry.pid === pid));
  return pids.find((pid) => !isDescendant(pid)) ?? null;
}

function procPids(): number[] {
  return readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? [Number(name)] : []));
}

function procEntry(pid: number): ProcessEntry | null {
  const stat = readOrNull(`/proc/${pid}/stat`);
  if (stat === null) return null;
  // The second field is the program's name in parentheses and may itself hold spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state, parent, group] = fields;
  const threads = Number(fields[17]);
  const startTime = fields[19];
  if (state === undefined || startTime === undefined || state === 'X') return null;
  // The first thread is a zombie as soon as it ends; until the last one has ended, files and sockets stay open.
  if (state === 'Z' && threads <= 1) return null;
  return { pid, startTime, parent: Number(parent), group: Number(group), isStopped: state === 'T' };
}

function psEntries(which: readonly string[]): ProcessEntry[] {
  const lines = (runOrNull('ps', [...which, '-o', 'pid=,ppid=,pgid=,stat=,lstart=']) ?? '').split('\n');
  return lines.flatMap((line) => {
    const [pid, parent, group, state, ...start] = line.trim().split(/\s+/);
    if (pid === undefined || state === undefined || state.startsWith('Z')) return [];
    return {
      pid: Number(pid),
      startTime: start.join(' '),
      parent: Number(parent),
      group: Number(group),
      isStopped: state.startsWith('T'),
    };
  });
}

function readOrNull(path: string): string | null {
  return orNull(() => readFileSync(path, 'utf8'));
}

/** Null for what is gone already, or of another user. */
function orNull<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (isGoneOrForbidden(error)) return null;
    throw error;
  }
}

/** Output of a program that says "none found" by its exit code. */
function runOrNull(program: string, args: readonly string[]): string | null {
  try {
    return execFileSync(program, args, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' },
    });
  } catch (error) {
    if (error instanceof Error && 'status' in error && error.status !== null) return null;
    throw error;
  }
}

function isGoneOrForbidden(error: unknown): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    ['ENOENT', 'ESRCH', 'EACCES', 'EPERM', 'ENOTDIR'].includes(String(error.code))
  );
}
