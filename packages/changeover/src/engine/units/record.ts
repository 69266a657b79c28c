import { createHash } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { ChangeoverError } from '../../errors.ts';
import { entryOf } from '../process-table.ts';

/** What is known of a process that we started, kept beside its log. */
export interface UnitRecord {
  /** Names one start; the process carries it in its environment and in its claim. */
  readonly token: string;
  /** Null between the decision to start and the knowledge of the pid. */
  readonly pid: number | null;
  readonly startTime: string | null;
  readonly passive: boolean;
}

/** Variable by which a started process can be told from another one with its pid. */
export const TOKEN_VARIABLE = 'CHANGEOVER_UNIT';

/** Where a unit's log, record and claims are. Any name is safe: what is no plain file name is replaced and told apart by a hash. */
export interface UnitFiles {
  readonly log: string;
  readonly record: string;
  claim(token: string): string;
}

export function unitFiles(stateDir: string, name: string): UnitFiles {
  const isPlain = /^[\w][\w.-]{0,63}$/.test(name);
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 8);
  const file = isPlain ? name : `${name.replaceAll(/[^\w-]+/g, '-').slice(0, 40)}-${hash}`;
  const base = join(stateDir, 'units', file);
  return { log: `${base}.log`, record: `${base}.json`, claim: (token) => `${base}.${token}.claim` };
}

export function readRecord(files: UnitFiles): UnitRecord | null {
  let text: string;
  try {
    text = readFileSync(files.record, 'utf8');
  } catch (error) {
    if (isCode(error, 'ENOENT')) return null;
    throw error;
  }
  try {
    return JSON.parse(text) as UnitRecord;
  } catch (cause) {
    const detail = `it is no JSON: ${text.slice(0, 60)}`;
    throw new ChangeoverError('CHG_ENGINE_UNIT_RECORD', { path: files.record, detail }, { cause });
  }
}

/** Durable when it returns. */
export function writeRecord(files: UnitFiles, record: UnitRecord): void {
  const folder = dirname(files.record);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const temporary = `${files.record}.new`;
  const file = openSync(temporary, 'w', 0o600);
  try {
    writeSync(file, JSON.stringify(record));
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(temporary, files.record);
  const parent = openSync(folder, 'r');
  try {
    fsyncSync(parent);
  } finally {
    closeSync(parent);
  }
}

export function removeRecord(files: UnitFiles): void {
  const record = readRecord(files);
  rmSync(files.record, { force: true });
  // A claim that was taken from a shell must stay: the shell may still be on its way to it.
  if (record !== null && record.pid !== null) rmSync(files.claim(record.token), { force: true });
}

/**
 * The shell that becomes the unit. It takes the claim before anything else: a link is made atomically and holds the pid, so either
 * the unit runs and can be found, or the claim was taken from it and it never runs.
 */
export const LAUNCH = 'ln -s "$$" "$1" || exit 97; exec /bin/sh -c "$2"';

/** One plain command takes the shell's place, so that the pid we know is its own; a list, a pipe or an assignment needs the shell. */
export function replacingShell(run: string): string {
  const isPlain = /^[^;&|<>()`\n]+$/.test(run) && !/^\s*(\w+=|exec\s)/.test(run);
  return isPlain ? `exec ${run}` : run;
}

/**
 * What became of a start whose process was killed before it knew the pid: the pid, or null when nothing runs. After null
 * nothing will: the claim is ours, and a shell on its way to it gives up.
 */
export function settleClaim(files: UnitFiles, record: UnitRecord): UnitRecord | null {
  const claim = files.claim(record.token);
  try {
    symlinkSync('nobody', claim);
    return null;
  } catch (error) {
    if (!isCode(error, 'EEXIST')) throw error;
  }
  const pid = Number(readlinkSync(claim));
  const entry = Number.isNaN(pid) ? null : entryOf(pid);
  if (entry?.group !== pid || !carriesToken(pid, record.token)) return null;
  return { ...record, pid, startTime: entry.startTime };
}

/** True as well where the environment of the process cannot be read: it leads its group, as only started units and shells do. */
function carriesToken(pid: number, token: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(`${TOKEN_VARIABLE}=${token}`);
  } catch (error) {
    if (isCode(error, 'ENOENT') || isCode(error, 'EACCES') || isCode(error, 'EPERM')) return true;
    throw error;
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
