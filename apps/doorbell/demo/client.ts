/**
 * A household that uses its doorbell all the time: reads and writes through one address, keeps its own ledger, and measures.
 * It knows nothing of the move. Driven over IPC by the demo, which tells it when to compare and when to stop.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { compare, inspectLegacy, inspectNext } from './inspect.ts';
import { Ledger } from './ledger.ts';

export interface ClientOptions {
  readonly url: string;
  readonly ledgerFile: string;
  /** Pictures with one face each, for new guests. */
  readonly portraits: readonly string[];
}

export type ToClient =
  | {
      readonly type: 'compare';
      readonly side: 'legacy' | 'next';
      readonly root: string;
      readonly databaseUrl: string | null;
    }
  | { readonly type: 'phase'; readonly name: 'quiet' | 'move' | 'switch' }
  | { readonly type: 'pause' }
  | { readonly type: 'resume' }
  | { readonly type: 'finish' };

export interface ComparisonReport {
  readonly type: 'compared';
  readonly writes: number;
  readonly missing: number;
  readonly duplicated: number;
  readonly examples: readonly string[];
}

export interface Measured {
  readonly type: 'measured';
  readonly requests: number;
  readonly failed: number;
  readonly failures: readonly string[];
  readonly writesAcknowledged: number;
  readonly maxHoldMs: number;
  /** 99th percentile of reads while a switch was under way, less that of quiet times. */
  readonly extraLatencyP99Ms: number;
}

export type FromClient = ComparisonReport | Measured | { readonly type: 'paused' };

const READ_LANES = 3;
const READ_PAUSE_MS = 25;
const GUEST_PAUSE_MS = 700;
/** File names of the legacy have a resolution of one second. */
const CAPTURE_PAUSE_MS = 1100;
/** More than the debounce of two seconds, so that every acknowledged press is one event. */
const PRESS_PAUSE_MS = 2500;
const REQUEST_TIMEOUT_MS = 60_000;
const DELETE_EVERY = 5;

class Household {
  readonly #options: ClientOptions;
  readonly #ledger: Ledger;
  readonly #latencies = { quiet: [] as number[], move: [] as number[], switch: [] as number[] };
  readonly #failures: string[] = [];
  #phase: keyof Household['latenciesByPhase'] = 'quiet';
  #requests = 0;
  #guests = 0;
  #isPaused = false;
  #isFinished = false;
  #writesUnderWay = 0;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#ledger = new Ledger(options.ledgerFile);
  }

  get latenciesByPhase(): { readonly quiet: number[]; readonly move: number[]; readonly switch: number[] } {
    return this.#latencies;
  }

  async live(): Promise<void> {
    const readers = Array.from({ length: READ_LANES }, (_, lane) =>
      this.#repeat(READ_PAUSE_MS, () => this.#read(lane)),
    );
    const writers = [
      this.#repeat(GUEST_PAUSE_MS, () => this.#writing(() => this.#welcomeGuest())),
      this.#repeat(CAPTURE_PAUSE_MS, () => this.#writing(() => this.#takePicture())),
      this.#repeat(PRESS_PAUSE_MS, () => this.#writing(() => this.#press())),
    ];
    await Promise.all([...readers, ...writers]);
  }

  enter(phase: 'quiet' | 'move' | 'switch'): void {
    this.#phase = phase;
  }

  /** Resolves when no write is under way and everything acknowledged has been stored. */
  async pause(): Promise<void> {
    this.#isPaused = true;
    while (this.#writesUnderWay > 0) await sleep(10);
    await this.#untilIdle();
  }

  resume(): void {
    this.#isPaused = false;
  }

  async compare(request: Extract<ToClient, { type: 'compare' }>): Promise<ComparisonReport> {
    await this.pause();
    const contents =
      request.side === 'legacy' ? inspectLegacy(request.root) : await inspectNext(request.root, request.databaseUrl);
    const { writes, missing, duplicated } = compare(this.#ledger.writes, contents);
    this.resume();
    const examples = [...missing.slice(0, 3), ...duplicated.slice(0, 3)].map((write) => JSON.stringify(write));
    return { type: 'compared', writes, missing: missing.length, duplicated: duplicated.length, examples };
  }

  finish(): Measured {
    this.#isFinished = true;
    this.#ledger.close();
    const { quiet, switch: switching } = this.#latencies;
    return {
      type: 'measured',
      requests: this.#requests,
      failed: this.#failures.length,
      failures: this.#failures.slice(0, 10),
      writesAcknowledged: this.#ledger.writes.length,
      maxHoldMs: Math.round(Math.max(0, ...switching)),
      extraLatencyP99Ms: Math.round(Math.max(0, percentile(switching, 0.99) - percentile(quiet, 0.99))),
    };
  }

  async #repeat(pauseMs: number, act: () => Promise<void>): Promise<void> {
    while (!this.#isFinished) {
      if (!this.#isPaused) await act();
      await sleep(pauseMs);
    }
  }

  async #writing(act: () => Promise<void>): Promise<void> {
    this.#writesUnderWay += 1;
    try {
      await act();
    } finally {
      this.#writesUnderWay -= 1;
    }
  }

  async #read(lane: number): Promise<void> {
    const paths = ['/api/status', '/api/recent-events', '/api/faces/known', '/api/faces/candidates'];
    const at = performance.now();
    const answer = await this.#request('GET', paths[(this.#requests + lane) % paths.length] ?? '/api/status');
    if (answer !== null) this.#latencies[this.#phase].push(performance.now() - at);
  }

  async #welcomeGuest(): Promise<void> {
    const number = ++this.#guests;
    const portrait = this.#options.portraits[number % this.#options.portraits.length];
    if (portrait === undefined) return;
    const name = `Guest ${String(number).padStart(4, '0')}`;
    const form = new FormData();
    form.set('name', name);
    form.set('file', new Blob([readFileSync(portrait)], { type: 'image/jpeg' }), 'guest.jpg');
    const answer = await this.#request('POST', '/api/faces/known/upload', { body: form });
    if (answer !== null) this.#ledger.acknowledge({ kind: 'person', name, filename: String(answer['filename']) });
    if (number % DELETE_EVERY === 0) await this.#sendAway(number - 1);
  }

  async #sendAway(number: number): Promise<void> {
    const name = `Guest ${String(number).padStart(4, '0')}`;
    const answer = await this.#request('DELETE', `/api/faces/known/${encodeURIComponent(name)}`);
    if (answer !== null) this.#ledger.acknowledge({ kind: 'delete', name });
  }

  async #takePicture(): Promise<void> {
    const answer = await this.#request('GET', '/api/capture-photo');
    if (answer === null) return;
    const bytes = Buffer.from(String(answer['image_data']).replace(/^data:image\/jpeg;base64,/, ''), 'base64');
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    this.#ledger.acknowledge({ kind: 'capture', filename: String(answer['filename']), sha256 });
  }

  /** One press at a time: the doorbell silently drops a press while another one is processed. */
  async #press(): Promise<void> {
    await this.#untilIdle();
    const atMs = Date.now();
    const answer = await this.#request('POST', '/api/trigger-doorbell');
    if (answer === null) return;
    this.#ledger.acknowledge({ kind: 'press', atMs });
    await this.#untilIdle();
  }

  /** The yellow light is on from the moment a press is accepted until its event is stored. */
  async #untilIdle(): Promise<void> {
    for (;;) {
      const status = await this.#request('GET', '/api/status');
      const lights = (status?.['gpio'] as { led_states?: { yellow?: boolean } } | undefined)?.led_states;
      if (lights?.yellow !== true) return;
      await sleep(50);
    }
  }

  /** Null, and counted as failed, for whatever a household would call a failure. */
  async #request(
    method: string,
    path: string,
    init: { readonly body?: FormData } = {},
  ): Promise<Record<string, unknown> | null> {
    this.#requests += 1;
    try {
      const response = await fetch(new URL(path, this.#options.url), {
        method,
        ...init,
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      });
      const text = await response.text();
      const body = JSON.parse(text) as Record<string, unknown>;
      if (response.ok && body['status'] !== 'error') return body;
      this.#failures.push(`${method} ${path}: ${response.status} ${text.slice(0, 200)}`);
    } catch (error) {
      const { message, cause } = error as Error;
      this.#failures.push(`${method} ${path}: ${message} ${cause instanceof Error ? cause.message : ''}`);
    }
    return null;
  }
}

function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

const household = new Household(JSON.parse(process.argv[2] ?? '') as ClientOptions);
const answer = (message: FromClient) => process.send?.(message);

process.on('message', (message: ToClient) => {
  void handle(message);
});

async function handle(message: ToClient): Promise<void> {
  switch (message.type) {
    case 'compare':
      answer(await household.compare(message));
      return;
    case 'phase':
      household.enter(message.name);
      return;
    case 'pause':
      await household.pause();
      answer({ type: 'paused' });
      return;
    case 'resume':
      household.resume();
      return;
    case 'finish':
      answer(household.finish());
      process.disconnect();
      return;
    default:
      message satisfies never;
  }
}

await household.live();
