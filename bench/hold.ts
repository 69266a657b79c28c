import { fileURLToPath } from 'node:url';
import { startChild } from 'changeover/testing';
import { NotesSystem } from '../scripts/crash/system.ts';
import type { Sample } from './hold-load.ts';

const LOAD = fileURLToPath(new URL('./hold-load.ts', import.meta.url));
const RATE_PER_SECOND = 1000;
const SWITCHES = 5;
/** The requests of the second around a switch are compared with those of quiet seconds. */
const WINDOW_MS = 1000;
const QUIET_MS = 3000;

export interface HoldFigures {
  /** Median over the switches: 99th percentile of the second around a cutover, less that of quiet seconds in the same load. */
  readonly extraLatencyP99Ms: number;
  /** The longest hold of any of the switches. */
  readonly maxHoldMs: number;
  readonly requests: number;
  readonly failed: number;
}

/** Cutovers and rollbacks of a small service under an open-loop load, quiet and switching seconds in one run. */
export async function benchHold(): Promise<HoldFigures> {
  const system = await NotesSystem.start('sqlite');
  try {
    const extras: number[] = [];
    let maxHoldMs = 0;
    let requests = 0;
    let failed = 0;
    for (let round = 0; round < SWITCHES; round++) {
      await must(system, ['run']);
      const load = startChild(LOAD, { args: [`http://127.0.0.1:${system.ports.gateway}`, String(RATE_PER_SECOND)] });
      await load.line(/^loading$/);
      await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
      const { holdMs, heldAtMs } = await cutOver(system);
      await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
      await load.kill('SIGTERM');
      const samples = JSON.parse(await load.line(/^\[/)) as Sample[];
      await must(system, ['rollback']);

      const isAround = ([dueMs]: Sample) => Math.abs(dueMs - heldAtMs) < WINDOW_MS / 2;
      // The first second warms connections up.
      const steady = samples.slice(RATE_PER_SECOND);
      extras.push(p99(steady.filter(isAround)) - p99(steady.filter((sample) => !isAround(sample))));
      maxHoldMs = Math.max(maxHoldMs, holdMs);
      requests += samples.length;
      failed += samples.filter(([, , ok]) => ok === 0).length;
    }
    const extraLatencyP99Ms = extras.toSorted((one, other) => one - other)[Math.floor(SWITCHES / 2)] ?? Number.NaN;
    return { extraLatencyP99Ms: round(extraLatencyP99Ms), maxHoldMs: round(maxHoldMs), requests, failed };
  } finally {
    await system.end();
  }
}

async function cutOver(system: NotesSystem): Promise<{ holdMs: number; heldAtMs: number }> {
  const seen = { heldAtMs: 0 };
  const { code, output } = await system.begin(['cutover'], {}, (line) => {
    if (line.includes('"state":"LOCK"')) seen.heldAtMs = Date.now();
  }).ended;
  if (code !== 0) throw new Error(`the cutover ended with ${String(code)}:\n${output}`);
  const { holdMs } = JSON.parse(output.trim().split('\n').at(-1) ?? '') as { holdMs: number };
  return { holdMs, heldAtMs: seen.heldAtMs };
}

async function must(system: NotesSystem, args: readonly string[]): Promise<void> {
  const { code, output } = await system.verb(args);
  if (code !== 0) throw new Error(`${args.join(' ')} ended with ${String(code)}:\n${output}`);
}

function p99(samples: readonly Sample[]): number {
  const sorted = samples.map(([, latencyMs]) => latencyMs).toSorted((one, other) => one - other);
  return sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
