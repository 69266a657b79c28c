import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../packages/changeover/src/engine/clock.ts';
import { openJournal } from '../../packages/changeover/src/engine/journal.ts';
import { holdOf } from '../../packages/changeover/src/plan/authority.ts';
import { RESTORE_INTENT } from '../../packages/changeover/src/engine/session/restore.ts';
import { NO_FAULTS } from '../../packages/changeover/src/plan/context.ts';
import {
  compareLedger,
  freePort,
  isKept,
  startLegacy,
  startNotesClient,
  tempFolder,
  type Comparison,
  type LegacyStore,
  type NotesClient,
  type NotesSide,
  type TempFolder,
} from 'changeover/testing';

const CONFIG = fileURLToPath(new URL(process.env['NOTES_CONFIG'] ?? './notes.config.ts', import.meta.url));
const BIN = path.join(
  path.dirname(createRequire(import.meta.url).resolve('changeover/package.json')),
  'bin/changeover.js',
);
export const SETTINGS = 'PAGE_SIZE=50\nTITLE="Notes of the house"\n';
const SEED_NOTES = 150;
const VERB_TIMEOUT_MS = 90_000;
const SETTLE_TIMEOUT_MS = 30_000;
const SETTLE_POLL_MS = 50;
const CLIENT_RATE = 60;

export interface VerbResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly output: string;
}

export interface StatusLine {
  readonly side: 'legacy' | 'next';
  readonly state: string;
  readonly hold: 'none' | 'writes' | 'all';
  readonly run: string | null;
  readonly units: readonly { readonly name: string; readonly pid: number | null }[];
}

type Standing = Omit<StatusLine, 'units'> & {
  /** A killed restore is still to be finished. */
  readonly isRestoring: boolean;
};

/** Writes of a legacy that never waits for a lock, and that met one of ours. */
export function refusedByLock(failures: readonly string[]): number {
  return failures.filter((failure) => failure.includes('database is locked')).length;
}

export interface NotesOptions {
  /** Default: yes. */
  readonly hasPictures?: boolean;
  /** A Postgres for the new side. Default: SQLite. */
  readonly databaseUrl?: string;
}

/**
 * One notes system in real processes: legacy, gateway with keeper, and a client that never stops. A case drives it through verbs and
 * leaves it as it found it, on the legacy with no run under way.
 */
export class NotesSystem {
  readonly store: LegacyStore;
  /** Without pictures a legacy on SQLite stays up during the switch, because its store refuses writes; with them it is stopped. */
  readonly hasPictures: boolean;
  readonly folder: string;
  readonly #databaseUrl: string | undefined;
  readonly #remove: () => Promise<void>;
  readonly #ports: { readonly gateway: number; readonly legacy: number; readonly next: number };
  #client: NotesClient | null = null;
  #legacy: NotesSide | null = null;
  #ledgers = 0;

  private constructor(
    store: LegacyStore,
    { hasPictures = true, databaseUrl }: NotesOptions,
    temp: TempFolder,
    ports: NotesSystem['ports'],
  ) {
    this.store = store;
    this.hasPictures = hasPictures;
    this.#databaseUrl = databaseUrl;
    this.folder = temp.path;
    this.#remove = () => temp.remove();
    this.#ports = ports;
  }

  get ports(): { readonly gateway: number; readonly legacy: number; readonly next: number } {
    return this.#ports;
  }

  static async start(store: LegacyStore, options: NotesOptions = {}): Promise<NotesSystem> {
    const temp = await tempFolder('changeover-crash-');
    const ports = { gateway: await freePort(), legacy: await freePort(), next: await freePort() };
    const system = new NotesSystem(store, options, temp, ports);
    await system.#seed();
    const started = await system.verb(['traffic', 'start']);
    if (started.code !== 0) throw new Error(`the gateway did not start:\n${started.output}`);
    return system;
  }

  get #root(): string {
    return path.join(this.folder, 'legacy');
  }

  get url(): string {
    return `http://127.0.0.1:${this.#ports.gateway}`;
  }

  /** This legacy is somebody else's process: the tool must find it by its port. */
  async #seed(): Promise<void> {
    await mkdir(path.join(this.#root, 'data/pictures'), { recursive: true });
    await mkdir(path.join(this.folder, 'next/data/pictures'), { recursive: true });
    await writeFile(path.join(this.#root, '.env'), SETTINGS);
    const legacy = await startLegacy({ root: this.#root, store: this.store, port: this.#ports.legacy });
    this.#legacy = legacy;
    for (let number = 0; number < SEED_NOTES; number++) {
      const body = JSON.stringify({ token: `seed-${number}`, body: `an old note ${number}`, tags: [] });
      const response = await fetch(`${legacy.url}/notes`, {
        method: 'POST',
        body,
        headers: { 'content-type': 'application/json' },
      });
      if (!response.ok) throw new Error(`seeding failed with ${response.status}: ${await response.text()}`);
    }
  }

  get environment(): Record<string, string> {
    const { gateway, legacy, next } = this.#ports;
    return {
      NOTES_FOLDER: this.folder,
      NOTES_STORE: this.store,
      NOTES_PORTS: [gateway, legacy, next].join(','),
      NOTES_PICTURES: this.hasPictures ? 'yes' : 'no',
      ...(this.#databaseUrl === undefined ? {} : { NOTES_DATABASE_URL: this.#databaseUrl }),
    };
  }

  async startClient(): Promise<void> {
    this.#ledgers += 1;
    this.#client = await startNotesClient({
      url: this.url,
      ledger: path.join(this.folder, `client-${this.#ledgers}.ledger`),
      lanes: 3,
      // Of a legacy on files nothing is ever deleted again.
      rate: this.store === 'files' ? CLIENT_RATE / 2 : CLIENT_RATE,
      operations: this.store === 'sqlite' ? ['update', 'delete'] : [],
      tags: this.store === 'sqlite',
      pictures: this.hasPictures,
    });
  }

  /** Stops the client, holds its ledger against the side that serves, and starts a new one. */
  async compare(): Promise<{
    readonly comparison: Comparison;
    readonly failed: number;
    readonly failures: readonly string[];
    readonly isKept: boolean;
  }> {
    const client = this.#client;
    if (client === null) throw new Error('there is no client');
    const summary = await client.stop();
    const comparison = await compareLedger(client.ledger, { url: this.url });
    await this.startClient();
    return { comparison, failed: summary.failed, failures: summary.failures, isKept: isKept(comparison) };
  }

  async stopClient(): Promise<void> {
    await this.#client?.stop();
    this.#client = null;
  }

  /** Runs one verb of the command line to its end. */
  verb(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<VerbResult> {
    return this.begin(args, env).ended;
  }

  /** Starts one verb of the command line, for a caller that sends it a signal on the way. */
  begin(
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
    onOutput: (text: string) => void = () => undefined,
  ): { readonly child: ChildProcess; readonly ended: Promise<VerbResult> } {
    const child = spawn(
      process.execPath,
      [BIN, ...args, '--config', CONFIG, '--state', this.stateDir, '--json', '--yes'],
      {
        env: { ...process.env, ...this.environment, ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
        signal: AbortSignal.timeout(VERB_TIMEOUT_MS),
        killSignal: 'SIGKILL',
      },
    );
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (chunk: string) => {
        output += chunk;
        onOutput(chunk);
      });
    }
    const ended = once(child, 'close').then(([code, signal]: (number | NodeJS.Signals | null)[]): VerbResult => ({
      code: code as number | null,
      signal: signal as NodeJS.Signals | null,
      output,
    }));
    return { child, ended };
  }

  get stateDir(): string {
    return path.join(this.folder, 'state');
  }

  async status(): Promise<StatusLine> {
    const { code, output } = await this.verb(['status']);
    if (code !== 0) throw new Error(`status failed:\n${output}`);
    const { status: last } = JSON.parse(output.trim().split('\n').at(-1) ?? '') as {
      status: {
        authority: { side: 'legacy' | 'next'; state: string };
        hold: StatusLine['hold'];
        run: { status: string } | null;
        units: { name: string; status: { pid: number | null } }[];
      };
    };
    const units = last.units.map(({ name, status }) => ({ name, pid: status.pid }));
    return {
      side: last.authority.side,
      state: last.authority.state,
      hold: last.hold,
      run: last.run?.status ?? null,
      units,
    };
  }

  /** The same without units, read from the journal by this process: a start of the command line costs more than many a case. */
  standing(): Standing {
    const journal = openJournal(this.stateDir, { clock: systemClock(), faults: NO_FAULTS });
    try {
      const authority = journal.authority();
      const { side, state } = authority;
      return {
        side,
        state,
        hold: holdOf(authority),
        run: journal.currentRun()?.status ?? null,
        isRestoring: journal.get(RESTORE_INTENT) !== null,
      };
    } finally {
      journal.close();
    }
  }

  /** Waits until nothing is held any more, with nobody doing anything: what a dead runner left is the keeper's. */
  async settle(): Promise<Standing> {
    const deadline = performance.now() + SETTLE_TIMEOUT_MS;
    for (;;) {
      const status = this.standing();
      if (status.hold === 'none' && status.state.startsWith('LIVE') && !status.isRestoring) return status;
      await sleep(SETTLE_POLL_MS);
      if (performance.now() > deadline)
        throw new Error(`still ${status.state} after ${SETTLE_TIMEOUT_MS} ms:\n${await this.#keeperLog()}`);
    }
  }

  async #keeperLog(): Promise<string> {
    return readFile(path.join(this.stateDir, 'gateway/keeper.log'), 'utf8').catch(() => '(no log of the keeper)');
  }

  /** Which sides accept a write at their own address, around the gateway, right now. */
  async writableSides(): Promise<('legacy' | 'next')[]> {
    const accepts = async (side: 'legacy' | 'next'): Promise<boolean> => {
      const token = `probe-${process.pid}-${performance.now().toFixed(3).replace('.', '-')}-${side}`;
      try {
        const response = await fetch(`http://127.0.0.1:${this.#ports[side]}/notes`, {
          method: 'POST',
          body: JSON.stringify({ token, body: 'probe', tags: [], picture: '' }),
          headers: { 'content-type': 'application/json' },
          signal: AbortSignal.timeout(2000),
        });
        return response.ok;
      } catch (error) {
        if (error instanceof TypeError || (error as Error).name === 'TimeoutError') return false;
        throw error;
      }
    };
    const [legacy, next] = await Promise.all([accepts('legacy'), accepts('next')]);
    return [...(legacy ? (['legacy'] as const) : []), ...(next ? (['next'] as const) : [])];
  }

  async end(): Promise<void> {
    await this.stopClient();
    const { units } = await this.status();
    await this.verb(['traffic', 'stop']);
    for (const { pid } of units) if (pid !== null) process.kill(pid, 'SIGKILL');
    await this.#legacy?.child.kill();
    await this.#remove();
  }
}
