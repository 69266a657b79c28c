import { setTimeout as sleep } from 'node:timers/promises';
import path from 'node:path';
import type { Context, Faults } from '../plan/context.ts';
import { NO_FAULTS } from '../plan/context.ts';

export interface TestContextOptions {
  readonly epoch?: number;
  readonly runId?: string;
  readonly signal?: AbortSignal;
  readonly faults?: Faults;
}

/** A context with real clocks, for code that is given one. The state folder is `<root>/.changeover`; `report` drops everything. */
export function testContext(root: string, options: TestContextOptions = {}): Context {
  return {
    root,
    stateDir: path.join(root, '.changeover'),
    runId: options.runId ?? 'run-1',
    epoch: options.epoch ?? 1,
    signal: options.signal ?? new AbortController().signal,
    faults: options.faults ?? NO_FAULTS,
    clock: {
      wallMs: () => Date.now(),
      monotonicMs: () => Number(process.hrtime.bigint() / 1000n) / 1000,
      bootId: () => 'test-boot',
      sleep: async (ms, signal) => {
        await sleep(ms, undefined, signal === undefined ? {} : { signal });
      },
    },
    report: { progress: () => undefined, warn: () => undefined, log: () => undefined },
  };
}
