import { once } from 'node:events';
import { connect } from 'node:net';
import { ChangeoverError } from '../../errors.ts';
import type { Context } from '../../plan/context.ts';
import { familyOf, isAlive, listenerOf, processes, startTimeOf } from '../process-table.ts';
import type { ProcessEntry } from '../process-table.ts';
import { readRecord, removeRecord, settleClaim, writeRecord } from './record.ts';
import type { UnitFiles, UnitRecord } from './record.ts';

/** The live processes of a unit, and how we know them. */
export interface Members {
  /** The one that is signalled first and shown; null when it belongs to a user whose processes we cannot see. */
  readonly leader: ProcessEntry | null;
  readonly all: readonly ProcessEntry[];
  /** Ours to the last child; a unit that we did not start is only known by who listens on its port. */
  readonly record: UnitRecord | null;
}

/** Null when the unit does not run. */
export async function membersOf(files: UnitFiles, port: number | null): Promise<Members | null> {
  const record = ownRecord(files);
  const table = processes();
  if (record !== null) {
    // A child may outlive the process that led the group.
    const all = table.filter(({ group }) => group === record.pid);
    const leader = all.find(({ pid }) => pid === record.pid) ?? all[0];
    if (leader !== undefined && (leader.pid !== record.pid || leader.startTime === record.startTime)) {
      return { leader, all, record };
    }
  }
  if (port === null || (await isRefused(port))) return null;
  const { isListening, pid } = listenerOf(port);
  if (!isListening) return null;
  const all = pid === null ? [] : familyOf(pid, table);
  return { leader: all[0] ?? null, all, record: null };
}

/** True when the unit runs: for what need not know each of its processes, which takes a look at all of the machine. */
export async function runs(files: UnitFiles, port: number | null): Promise<boolean> {
  const record = ownRecord(files);
  if (record !== null && record.pid !== null && startTimeOf(record.pid) === record.startTime) return true;
  return (await membersOf(files, port)) !== null;
}

/** The record with its pid, after a crash in between was settled. */
function ownRecord(files: UnitFiles): UnitRecord | null {
  const record = readRecord(files);
  if (record?.pid !== null) return record;
  const settled = settleClaim(files, record);
  if (settled === null) removeRecord(files);
  else writeRecord(files, settled);
  return settled;
}

/** A queue of connections that is full answers nothing at all. */
const CONNECT_TIMEOUT_MS = 100;

/** True when certainly nobody listens: told in a fraction of the time that the kernel takes to list all sockets of the machine. */
async function isRefused(port: number): Promise<boolean> {
  for (const host of ['127.0.0.1', '::1']) {
    const socket = connect({ port, host });
    try {
      await once(socket, 'connect', { signal: AbortSignal.timeout(CONNECT_TIMEOUT_MS) });
      return false;
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : null;
      // A machine without IPv6 has no such address.
      if (code !== 'ECONNREFUSED' && code !== 'EADDRNOTAVAIL') return false;
    } finally {
      socket.destroy();
    }
  }
  return true;
}

/** How long the end of a process may go unnoticed: it adds to the hold of a switch that stops a unit. */
const POLL_MS = 2;

/** Sends a signal to processes that are still those of the table; one that is gone needs none. */
export function signalAll(name: string, members: readonly ProcessEntry[], signal: NodeJS.Signals): void {
  for (const member of members) {
    if (!isAlive(member)) continue;
    try {
      process.kill(member.pid, signal);
    } catch (cause) {
      if (cause instanceof Error && 'code' in cause && cause.code === 'ESRCH') continue;
      throw new ChangeoverError('CHG_ENGINE_UNIT_FOREIGN', { name, pid: member.pid, signal }, { cause });
    }
  }
}

/** True when all are gone before `timeoutMs`. */
export async function areGone(ctx: Context, members: readonly ProcessEntry[], timeoutMs: number): Promise<boolean> {
  const deadlineMs = ctx.clock.monotonicMs() + timeoutMs;
  while (members.some(isAlive)) {
    if (ctx.clock.monotonicMs() > deadlineMs) return false;
    await ctx.clock.sleep(POLL_MS, ctx.signal);
  }
  return true;
}
