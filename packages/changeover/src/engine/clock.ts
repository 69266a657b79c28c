import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { hostname, uptime } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../plan/context.ts';

/** The clocks of this machine. `sleep` rejects with an `AbortError` when its signal aborts. */
export function systemClock(): Clock {
  let boot: string | null = null;
  return {
    wallMs: () => Date.now(),
    // libuv reads CLOCK_MONOTONIC (mach_continuous_time on macOS), which all processes of a boot share; performance.now() starts at 0 in each.
    monotonicMs: () => Number(process.hrtime.bigint() / 1000n) / 1000,
    bootId: () => (boot ??= readBootId()),
    sleep: async (ms, signal) => {
      await sleep(ms, undefined, signal === undefined ? {} : { signal });
    },
  };
}

function readBootId(): string {
  for (const read of [
    () => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8'),
    () =>
      execFileSync('sysctl', ['-n', 'kern.bootsessionuuid'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }),
  ]) {
    try {
      const id = read().trim();
      if (id !== '') return id;
    } catch {
      // This system keeps it elsewhere: the next way is tried, and the last one always answers.
      continue;
    }
  }
  const bootedAtMinute = Math.round((Date.now() / 1000 - uptime()) / 60);
  return `${hostname()}@${String(bootedAtMinute)}`;
}
