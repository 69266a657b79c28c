import { setTimeout as sleep } from 'node:timers/promises';
import { NO_FAULTS, type Context } from '../../plan/context.ts';
import type { WorkerSetup } from './messages.ts';

/** What the stores ask of a context, inside a thread: crash points and reports stay with the thread that started it. */
export function workerContext({ run, epoch }: Pick<WorkerSetup, 'run' | 'epoch'>): Context {
  return {
    root: process.cwd(),
    stateDir: process.cwd(),
    runId: run,
    epoch,
    liveSide: null,
    signal: new AbortController().signal,
    faults: NO_FAULTS,
    clock: {
      wallMs: () => Date.now(),
      monotonicMs: () => performance.now(),
      bootId: () => '',
      sleep: (ms, signal) => sleep(ms, undefined, { signal }),
    },
    report: { progress: () => undefined, warn: () => undefined, log: () => undefined },
  };
}
