import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startChild, type Child } from 'changeover/testing';
import type { Direction } from '../../packages/changeover/src/plan/words.ts';
import type { Random } from './random.ts';
import type { SoakSettings } from './settings.ts';

export const WRITERS = 4;
const START_TIMEOUT_MS = 60_000;
/**
 * What ends a runner without a fault of it: a server that was killed, a newer owner, writers that keep a lock too long.
 */
const EXPECTED =
  /CHG_DATA_STORE_UNREACHABLE|CHG_DATA_EPOCH_STALE|CHG_DATA_LOCK_TIMEOUT|CHG_DATA_STORE_BUSY|terminat|ECONN|not queryable|starting up|shutting down|recovery mode|not yet accepting/i;

const program = (name: string) => new URL(name, import.meta.url).pathname;

/** The writers of a round; each may be killed and goes on where its ledger ends. */
export class Writers {
  readonly #settings: SoakSettings;
  readonly #random: Random;
  readonly #running: Child[] = [];
  readonly #outputs: string[] = [];

  constructor(settings: SoakSettings, random: Random) {
    this.#settings = settings;
    this.#random = random;
  }

  async start(): Promise<void> {
    for (let writer = 0; writer < WRITERS; writer++) this.#running[writer] = this.#begin(writer);
    for (const child of this.#running) await child.line(/^writing$/, START_TIMEOUT_MS);
  }

  async killOne(): Promise<void> {
    const writer = this.#random.between(0, WRITERS - 1);
    const child = this.#running[writer];
    await child?.kill('SIGKILL');
    this.#outputs.push(child?.output() ?? '');
    this.#running[writer] = this.#begin(writer);
  }

  /** Each finishes its transaction. Resolves with what a writer met that it should not have. */
  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<string[]> {
    for (const child of this.#running) await child.kill(signal);
    const outputs = [...this.#outputs, ...this.#running.map((child) => child.output())];
    this.#running.length = 0;
    const isOwn = (line: string) => line !== '' && line !== 'writing';
    return [...new Set(outputs.flatMap((output) => output.split('\n').filter(isOwn)))].map((line) => `writer: ${line}`);
  }

  ledger(writer: number): string {
    return path.join(this.#settings.folder, `ledger-${writer}.jsonl`);
  }

  #begin(writer: number): Child {
    const settings = { ...this.#settings, writer, seed: this.#random.fork() };
    return startChild(program('./writer.ts'), { args: [JSON.stringify(settings)] });
  }
}

/** Runners of a round, one after the other, each with a higher epoch than the one before. */
export class Runners {
  readonly #settings: SoakSettings;
  #epoch = 0;

  constructor(settings: SoakSettings) {
    this.#settings = settings;
  }

  get nextEpoch(): number {
    this.#epoch += 1;
    return this.#epoch;
  }

  start(direction: Direction, kill: { point: string; pass: number } | null = null): Child {
    const settings = { ...this.#settings, direction, epoch: this.nextEpoch, kill };
    return startChild(program('./runner.ts'), { args: [JSON.stringify(settings)] });
  }
}

/** Resolves with true when it ended by itself in that time. */
export async function endsWithin(child: Child, ms: number): Promise<boolean> {
  const timeout = new AbortController();
  const ended = await Promise.race([
    child.exited.then(() => true),
    sleep(ms, false, { signal: timeout.signal }).catch(() => false),
  ]);
  timeout.abort();
  return ended;
}

/** What a runner died of, where it should not have; null where it was killed, came to its end, or had a good reason to give up. */
export async function problemOf(child: Child): Promise<string | null> {
  const { code, signal } = await child.exited;
  if (signal === 'SIGKILL' || code === 0 || EXPECTED.test(child.output())) return null;
  return `the runner ended with ${String(code ?? signal)}:\n${child.output().slice(-2000)}`;
}
