import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** What Linux counts in: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html */
const TICK_MS = 10;
/** The backends of closed connections are gone by then, and counted with the server. */
const SETTLE_MS = 300;

export interface Measured<T> {
  readonly result: T;
  /** Processor time of programs that `act` ran to their end, and of the server; null where the system does not tell. */
  readonly processorMs: number | null;
}

/** On a machine with other work the time by the clock says little; the processor time says what the work cost. */
export async function withProcessorTime<T>(server: number, act: () => Promise<T>): Promise<Measured<T>> {
  const isKnown = existsSync('/proc/self/stat');
  const before = isKnown ? spentMs(server) : 0;
  const result = await act();
  if (!isKnown) return { result, processorMs: null };
  await sleep(SETTLE_MS);
  return { result, processorMs: spentMs(server) - before };
}

function spentMs(server: number): number {
  let ticks = 0;
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid)) continue;
    const stat = statOf(pid);
    if (stat === null) continue;
    const { parent, own, ended } = stat;
    if (pid === server) ticks += own + ended;
    else if (parent === server) ticks += own;
    else if (pid === process.pid) ticks += ended;
  }
  return ticks * TICK_MS;
}

/** Ticks of a process, and of those of its children that have ended; null where it has ended itself. */
function statOf(pid: number): { readonly parent: number; readonly own: number; readonly ended: number } | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may hold anything.
    const fields = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number);
    const [parent = 0, user = 0, system = 0, endedUser = 0, endedSystem = 0] = [1, 11, 12, 13, 14].map(
      (index) => fields[index],
    );
    return { parent, own: user + system, ended: endedUser + endedSystem };
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')) return null;
    throw error;
  }
}
