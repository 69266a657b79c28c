import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

import { isAlive, type ProcessIdentity } from './identity.ts';
import { logFile, supervisorRecord } from './layout.ts';
import { settingsToEnvironment, type GatewaySettings } from './settings.ts';

/** Where every process of the gateway finds the listening socket. */
export const LISTENING_DESCRIPTOR = 3;
/**
 * Tells a worker that the authority has changed, so that a hold does not wait for the next tick. Only a hint: the truth is in the
 * journal, a lost signal costs milliseconds, and a process without a listener ignores this one.
 */
export const LOOK_NOW = 'SIGURG';

const INHERITED = 'CHANGEOVER_GATEWAY_INHERITED';

const CHECK_MS = 500;
const MAX_RETRY_MS = 5_000;

/** Who supervises, as the supervisor itself writes it down. It stays when the supervisor dies and goes when the gateway is stopped. */
export interface SupervisorRecord extends ProcessIdentity {
  readonly settingsHash: string;
  readonly keeper: ProcessIdentity | null;
}

export function writeSupervisorRecord(settings: GatewaySettings, record: SupervisorRecord): void {
  const path = supervisorRecord(settings);
  writeFileSync(`${path}.new`, JSON.stringify(record));
  renameSync(`${path}.new`, path);
}

export function removeSupervisorRecord(settings: GatewaySettings): void {
  rmSync(supervisorRecord(settings), { force: true });
}

export function readSupervisorRecord(settings: { readonly folder: string }): SupervisorRecord | null {
  try {
    return JSON.parse(readFileSync(supervisorRecord(settings), 'utf8')) as SupervisorRecord;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

export function liveSupervisor(settings: { readonly folder: string }): SupervisorRecord | null {
  const record = readSupervisorRecord(settings);
  return record !== null && isAlive(record) ? record : null;
}

/** True in a supervisor that goes on with the socket of one that died. */
export function hasInheritedSocket(): boolean {
  return process.env[INHERITED] === '1';
}

/** Starts a supervisor that outlives us. With `socket` it inherits the listening descriptor. */
export function startSupervisor(settings: GatewaySettings, socket: number | null): ChildProcess {
  const path = logFile(settings, 'supervisor');
  mkdirSync(dirname(path), { recursive: true });
  const log = openSync(path, 'a');
  try {
    const child = spawn(process.execPath, settings.entry.supervisor, {
      detached: true,
      stdio: ['ignore', log, log, ...(socket === null ? [] : [socket])],
      env: { ...settingsToEnvironment(settings), [INHERITED]: socket === null ? '0' : '1' },
    });
    child.unref();
    return child;
  } finally {
    closeSync(log);
  }
}

/**
 * In a worker: when the supervisor dies (its channel ends), starts a new one with the listening socket. All orphaned workers do so;
 * the kernel's lock lets one of the newcomers in and the others end. Goes on watching, because that one may die too, until the
 * returned function is called.
 */
export function keepSupervised(settings: GatewaySettings): () => void {
  const newcomers = new Set<ChildProcess>();
  let timer: NodeJS.Timeout | undefined;
  let retryMs = CHECK_MS;
  const check = (): void => {
    if (liveSupervisor(settings) === null) {
      const newcomer = startSupervisor(settings, LISTENING_DESCRIPTOR);
      newcomers.add(newcomer);
      newcomer.on('exit', () => newcomers.delete(newcomer));
      newcomer.on('error', (error) => {
        process.stderr.write(`cannot start a supervisor: ${error.message}\n`);
      });
      retryMs = Math.min(retryMs * 2, MAX_RETRY_MS);
    } else {
      retryMs = CHECK_MS;
    }
    timer = setTimeout(check, retryMs);
  };
  if (process.connected) process.once('disconnect', check);
  else check();
  return () => {
    process.off('disconnect', check);
    clearTimeout(timer);
    // One that is still starting would bring a stopped gateway back.
    const supervisor = liveSupervisor(settings)?.pid;
    for (const newcomer of newcomers) if (newcomer.pid !== supervisor) newcomer.kill('SIGTERM');
    if (process.connected) process.disconnect();
  };
}
