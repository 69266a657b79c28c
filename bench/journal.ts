import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../packages/changeover/src/engine/clock.ts';
import { openJournal } from '../packages/changeover/src/engine/journal.ts';
import { NO_FAULTS } from '../packages/changeover/src/plan/context.ts';

const STEPS = 500;
const WARM_UP_STEPS = 50;

export interface JournalFigures {
  /** Median of one step: intent and outcome, each on the disk when it returns. */
  readonly stepMs: number;
  /** Median of what no journal can beat: the same two records appended to a plain file, each with fsync. */
  readonly limitMs: number;
}

/**
 * One journaled step against two appends with fsync, on the same disk and turn by turn, so that a busy disk hits both. The folder lies
 * where temporary files do: on a disk in memory both figures say nothing about fsync.
 */
export async function benchJournal(): Promise<JournalFigures> {
  const folder = mkdtempSync(join(tmpdir(), 'changeover-bench-'));
  const journal = openJournal(folder, { clock: systemClock(), faults: NO_FAULTS });
  const plain = openSync(join(folder, 'plain'), 'a');
  try {
    const owner = await journal.acquire({ command: 'bench' });
    const { id } = owner.createRun({ plan: 'bench', hash: 'h', spec: {}, configFile: 'bench' });
    const before = { file: 'config/pipeline.json', sha256: 'f'.repeat(64) };
    const record = `${JSON.stringify({ run: id, step: 'copy 1000', before })}\n`;
    const steps: number[] = [];
    const limits: number[] = [];
    for (let number = 0; number < STEPS + WARM_UP_STEPS; number++) {
      const step = timed(() => {
        owner.intendStep(id, { name: `copy ${number}`, stage: 'data', before });
        owner.completeStep(id, `copy ${number}`);
      });
      const limit = timed(() => {
        for (let append = 0; append < 2; append++) {
          writeSync(plain, record);
          fsyncSync(plain);
        }
      });
      if (number < WARM_UP_STEPS) continue;
      steps.push(step);
      limits.push(limit);
    }
    owner.release();
    return { stepMs: median(steps), limitMs: median(limits) };
  } finally {
    closeSync(plain);
    journal.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

function timed(act: () => void): number {
  const startedMs = performance.now();
  act();
  return performance.now() - startedMs;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
