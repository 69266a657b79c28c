/**
 * The new doorbell against the legacy one: two real processes with the same people and the same visitors, pressed in turns, so that a busy
 * machine hits both.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { people } from '../apps/doorbell/seed/people.ts';
import { press, type Run } from './doorbell/load.ts';
import { peakMb } from './doorbell/process.ts';
import { startLegacy, startNext, type Side } from './doorbell/sides.ts';
import { startTelegram } from './doorbell/telegram.ts';

const ROUNDS = 3;
/** Presses a second, and for how long. */
const LOADS = [
  [1, 5],
  [10, 5],
  [50, 3],
] as const;
const WARM_UP = [2, 8] as const;

export interface DoorbellFigures {
  /** Median time from a press to its stored event at one press a second, the legacy's divided by ours: above 1 ours is faster. */
  readonly pressToStoredSpeedup: number;
  /** CPU time for each stored event at 10 and 50 presses a second, the legacy's divided by ours: above 1 ours needs less. */
  readonly cpuPerEventRatio: number;
  /** Peak of the memory, the legacy's divided by ours: above 1 ours needs less. */
  readonly memoryRatio: number;
  /** Share of the presses at 10 and 50 a second that are events afterwards. What the legacy drops it answers with success. */
  readonly legacyStoredShare: number;
  readonly storedShare: number;
  /** Median time from a press to its message at one press a second, in milliseconds. The legacy of this repository sends none. */
  readonly pressToMessageMs: number;
}

interface Results {
  readonly runs: Map<number, Run[]>;
  readonly peaks: number[];
}

/** @param factor Share of the rounds of a full run, at least one. */
export async function benchDoorbell(factor: number): Promise<DoorbellFigures> {
  const folder = mkdtempSync(join(tmpdir(), 'doorbell-bench-'));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  const everybody = await people();
  const porch = join(folder, 'porch');
  await mkdir(porch);
  for (const { id, portraits } of everybody) await writeFile(join(porch, `${id}.jpg`), portraits.at(-1)?.jpeg ?? '');
  const telegram = stack.use(await startTelegram());

  const legacy: Results = { runs: new Map(), peaks: [] };
  const next: Results = { runs: new Map(), peaks: [] };
  for (let round = 0; round < Math.max(1, Math.round(ROUNDS * factor)); round++) {
    await using roundStack = new AsyncDisposableStack();
    const root = (name: string) => join(folder, `${name}-${round}`);
    const sides: [Side, Results, readonly number[] | null][] = [
      [await startLegacy(roundStack, root('legacy'), porch, everybody), legacy, null],
      [await startNext(roundStack, root('next'), porch, everybody, telegram.url), next, telegram.arrivals],
    ];
    if (round % 2 === 1) sides.reverse();
    for (const [side, , messages] of sides) await press(side, ...WARM_UP, messages);
    for (const [rate, seconds] of LOADS) {
      for (const [side, { runs }, messages] of sides)
        runs.set(rate, [...(runs.get(rate) ?? []), await press(side, rate, seconds, messages)]);
    }
    for (const [side, { peaks }] of sides) peaks.push(peakMb(side.pid));
  }
  for (const [name, results] of Object.entries({ legacy, next })) show(name, results);

  const atOne = (results: Results, of: (run: Run) => readonly number[]) =>
    quantile((results.runs.get(1) ?? []).flatMap(of), 0.5);
  const cpuPerEvent = (results: Results) =>
    sum(busy(results), (run) => run.cpuMs) / sum(busy(results), (run) => run.stored);
  const share = (results: Results) =>
    sum(busy(results), (run) => run.stored) / sum(busy(results), (run) => run.pressed);
  return {
    pressToStoredSpeedup: atOne(legacy, (run) => run.toStoredMs) / atOne(next, (run) => run.toStoredMs),
    cpuPerEventRatio: cpuPerEvent(legacy) / cpuPerEvent(next),
    memoryRatio: quantile(legacy.peaks, 0.5) / quantile(next.peaks, 0.5),
    legacyStoredShare: share(legacy),
    storedShare: share(next),
    pressToMessageMs: atOne(next, (run) => run.toMessageMs),
  };
}

/** At one press a second, CPU time is also what an idle process needs. */
function busy({ runs }: Results): Run[] {
  return [...runs].filter(([rate]) => rate > 1).flatMap(([, all]) => all);
}

function show(name: string, { runs, peaks }: Results): void {
  for (const [rate, all] of runs) {
    const stored = sum(all, (run) => run.stored);
    const cpu = sum(all, (run) => run.cpuMs);
    const times = (of: (run: Run) => readonly number[]) => {
      const values = all.flatMap(of);
      return values.length === 0
        ? 'none'
        : `${quantile(values, 0.5).toFixed(0)}/${quantile(values, 0.99).toFixed(0)} ms`;
    };
    console.log(
      `  ${name} at ${rate}/s: pressed ${sum(all, (run) => run.pressed)}, answered 200 ${sum(all, (run) => run.answered)}, ` +
        `stored ${stored}; ${(stored / (cpu / 1000)).toFixed(1)} events/CPU s; p50/p99 to stored ` +
        `${times((run) => run.toStoredMs)}, to message ${times((run) => run.toMessageMs)}`,
    );
  }
  console.log(`  ${name}: peak memory ${peaks.map((mb) => mb.toFixed(0)).join(', ')} MB`);
}

function sum(runs: readonly Run[], of: (run: Run) => number): number {
  return runs.reduce((total, run) => total + of(run), 0);
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
