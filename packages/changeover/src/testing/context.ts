import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Context, Faults } from '../plan/context.ts';
import { CRASH_POINTS } from '../plan/crash-points.ts';

/** A context for tests: root and state folder side by side in `folder`, epoch 1, nothing reported. */
export function testContext(folder: string, overrides: Partial<Context> = {}): Context {
  return {
    root: path.join(folder, 'root'),
    stateDir: path.join(folder, 'state'),
    runId: 'run-1',
    epoch: 1,
    liveSide: null,
    signal: new AbortController().signal,
    faults: { at: () => undefined },
    clock: {
      wallMs: () => Date.now(),
      monotonicMs: () => Number(process.hrtime.bigint() / 1_000_000n),
      bootId: () => 'boot',
      sleep: (ms, signal) => sleep(ms, undefined, { signal }),
    },
    report: { progress: () => undefined, warn: () => undefined, log: () => undefined },
    ...overrides,
  };
}

/** Kills this very process with SIGKILL when it passes `point` for the `pass`th time (from 1). For children that tests start. */
export function killAt(point: string, pass = 1): Faults {
  return signalAt(point, pass, 'SIGKILL');
}

/** Stops this very process with SIGSTOP at `point`; SIGCONT lets it go on from there. */
export function stopAt(point: string, pass = 1): Faults {
  return signalAt(point, pass, 'SIGSTOP');
}

function signalAt(point: string, pass: number, signal: 'SIGKILL' | 'SIGSTOP'): Faults {
  if (!CRASH_POINTS.some((known) => known === point)) throw new Error(`no crash point ${point}`);
  let passes = 0;
  return {
    at(reached) {
      if (reached !== point || ++passes !== pass) return;
      process.kill(process.pid, signal);
      // The signal may reach another thread first; not one more instruction of ours may run before it takes effect.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, signal === 'SIGKILL' ? Infinity : 100);
    },
  };
}
