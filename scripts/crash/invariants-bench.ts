import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { compareLedger, isKept, startNotesClient, type ClientSummary, type NotesClient } from 'changeover/testing';
import { NotesSystem, refusedByLock, type VerbResult } from './system.ts';
import { Watch, type Side } from './invariants-watch.ts';

/** Where a case begins: on the legacy with no run, with a run that is READY, or on the new side. */
export type Stand = 'none' | 'ready' | 'live';

/** What went against an invariant, in words. */
export class Violation extends Error {}

export function expectThat(isTrue: boolean, otherwise: string): asserts isTrue {
  if (!isTrue) throw new Violation(otherwise);
}

const CLIENT_LANES = 3;
/** Requests per second. The notes of a log are never deleted, and each more makes the hold longer. */
const CLIENT_RATE = { sqlite: 60, files: 25 };
/** Longer than any hold, so that it is never the client that gives up. */
const CLIENT_TIMEOUT_MS = 90_000;
const POLL_MS = 5;

/** The counts of one gateway worker, as it reports them itself. */
export interface WorkerCounts {
  readonly pid: number;
  readonly isListening: boolean;
  /** Monotonic time of the report. */
  readonly atMs: number;
  readonly ledger: {
    readonly accepted: number;
    readonly completed: number;
    readonly clientAborted: number;
    readonly refused: number;
    readonly failed: number;
    readonly held: number;
    readonly inFlight: { readonly legacy: number; readonly next: number };
  };
}

/** A notes system under watch, with a client that writes while a case is played. */
export class Bench {
  readonly system: NotesSystem;
  readonly watch: Watch;
  #client: NotesClient | null = null;
  #sidesBefore = 0;
  #clients = 0;
  #tokens = 0;
  readonly #stopped = new Set<number>();
  readonly #doomed = new Set<number>();
  pythonReadings = 0;
  /** All clients together. `refusedByLock` are writes that a legacy which never waits lost to a lock of ours. */
  readonly clients = { requests: 0, refusedByLock: 0 };

  private constructor(system: NotesSystem) {
    this.system = system;
    this.watch = new Watch(system);
  }

  static async start(store: NotesSystem['store']): Promise<Bench> {
    // One kind of legacy stays up and is fenced by its store, the other one has to be stopped.
    return new Bench(await NotesSystem.start(store, { hasPictures: store === 'files' }));
  }

  async end(): Promise<void> {
    for (const pid of this.#doomed) if (stateOf(pid) !== null) process.kill(pid, 'SIGKILL');
    for (const pid of this.#stopped) this.wake(pid);
    await this.#client?.child.kill();
    this.#client = null;
    this.watch.close();
    await this.system.end();
  }

  get url(): string {
    return `http://127.0.0.1:${this.system.ports.gateway}`;
  }

  urlOf(side: Side): string {
    return `http://127.0.0.1:${this.system.ports[side]}`;
  }

  // --- where the system stands

  get stand(): Stand {
    if (this.watch.row().side === 'next') return 'live';
    return this.watch.runStatus() === 'ready' ? 'ready' : 'none';
  }

  /** By the shortest way; a system on the new side has to go back before a run can be READY again. */
  async bringTo(stand: Stand): Promise<void> {
    if (this.stand === stand) return;
    if (this.stand === 'live' || stand === 'none') await this.verb(['rollback']);
    if (stand === 'ready') await this.verb(['run']);
    if (stand === 'live') await this.verb(this.stand === 'ready' ? ['cutover'] : ['run', '--through']);
  }

  /** A verb that must end well. */
  async verb(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<VerbResult> {
    const result = await this.system.verb(args, env);
    expectThat(result.code === 0, `${args.join(' ')} ended with ${endOf(result)}:\n${result.output.slice(-3000)}`);
    return result;
  }

  async until(isTrue: () => boolean | Promise<boolean>, what: string, withinMs: number): Promise<number> {
    const startMs = performance.now();
    while (!(await isTrue())) {
      if (performance.now() - startMs > withinMs) {
        const { side, state, reason } = this.watch.row();
        throw new Violation(`not within ${withinMs} ms: ${what}; it is ${side} in ${state} (${reason ?? 'no reason'})`);
      }
      await sleep(POLL_MS);
    }
    return performance.now() - startMs;
  }

  // --- the client

  async startClient(): Promise<void> {
    this.#clients += 1;
    this.#sidesBefore = this.watch.sides.length;
    this.#client = await startNotesClient({
      url: this.url,
      ledger: path.join(this.system.folder, `invariants-${this.#clients}.ledger`),
      lanes: CLIENT_LANES,
      rate: CLIENT_RATE[this.system.store],
      operations: this.system.store === 'sqlite' ? ['update', 'delete'] : [],
      tags: this.system.store === 'sqlite',
      pictures: this.system.hasPictures,
      timeoutMs: CLIENT_TIMEOUT_MS,
    });
  }

  /**
   * Stops the client and holds what it was promised against the side that serves. `cutAllowed`: requests that a kill may cut off.
   * `beforeReading` comes after the client's last request and before the comparison's first.
   */
  async stopClient(cutAllowed = 0, beforeReading?: () => Promise<void>): Promise<ClientSummary> {
    const client = this.#client;
    expectThat(client !== null, 'there is no client');
    const before = this.watch.row().side;
    // Long enough for every lane to hear from the side that serves now.
    await sleep(300);
    const summary = await client.stop();
    this.#client = null;
    await beforeReading?.();
    const comparison = await compareLedger(client.ledger, { url: this.url });
    const { missing, duplicated, resurrected, wrong } = comparison;
    const shown = JSON.stringify({ missing, duplicated, resurrected, wrong });
    expectThat(isKept(comparison), `on ${before}, of ${comparison.acknowledged} acknowledged: ${shown}`);
    const { requests, failed, cut, failures, switches } = summary;
    const locked = refusedByLock(failures);
    this.clients.requests += requests;
    this.clients.refusedByLock += locked;
    const isExcused = failed - locked === cut && cut <= cutAllowed;
    expectThat(isExcused, `${failed} requests failed, at most ${cutAllowed} may be cut:\n${failures.join('\n')}`);
    const heard = switches.map(({ to }) => to).join(', ');
    const served = this.watch.sides.slice(this.#sidesBefore).join(', ');
    expectThat(heard === served, `the client was answered by [${heard}] after the first side, served was [${served}]`);
    return summary;
  }

  // --- processes

  stop(pid: number): void {
    this.#stopped.add(pid);
    process.kill(pid, 'SIGSTOP');
  }

  /** A process that stopped itself must not outlive a case that it has failed. */
  endLater(pid: number): void {
    this.#doomed.add(pid);
  }

  /** True when it was still there to be woken. */
  wake(pid: number): boolean {
    this.#stopped.delete(pid);
    try {
      process.kill(pid, 'SIGCONT');
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
      throw error;
    }
  }

  keeperPid(): number {
    const { pid } = JSON.parse(readFileSync(path.join(this.system.stateDir, 'keeper.json'), 'utf8')) as { pid: number };
    return pid;
  }

  supervisorPid(): number {
    const file = path.join(this.system.stateDir, 'gateway/supervisor.json');
    return (JSON.parse(readFileSync(file, 'utf8')) as { pid: number }).pid;
  }

  async unitPid(side: Side): Promise<number> {
    const { units } = await this.system.status();
    const pid = units.find(({ name }) => name === side)?.pid ?? null;
    expectThat(pid !== null, `${side} does not run`);
    return pid;
  }

  /** Reports of all workers that this gateway has had, each an incarnation of its own. */
  workers(): WorkerCounts[] {
    const folder = path.join(this.system.stateDir, 'gateway/workers');
    return readdirSync(folder)
      .filter((name) => name.endsWith('.report'))
      .flatMap((name) => readReport(path.join(folder, name)) ?? []);
  }

  liveWorkers(): WorkerCounts[] {
    return this.workers().filter(({ pid, isListening }) => isListening && stateOf(pid) !== null);
  }

  // --- notes, around the client

  newToken(): string {
    this.#tokens += 1;
    return `probe-${process.pid}-${Date.now().toString(36)}-${this.#tokens}`;
  }

  /** Status of one request; null without an answer. */
  async ask(url: string, method: string, target: string, body?: unknown, timeoutMs = 5000): Promise<number | null> {
    try {
      const response = await fetch(url + target, {
        method,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        headers: { 'content-type': 'application/json', connection: 'close' },
        signal: AbortSignal.timeout(timeoutMs),
      });
      await response.arrayBuffer();
      return response.status;
    } catch (error) {
      if (error instanceof TypeError || (error as Error).name === 'TimeoutError') return null;
      throw error;
    }
  }

  async create(url: string, token: string): Promise<boolean> {
    const status = await this.ask(url, 'POST', '/notes', { token, body: 'a probe', tags: [] });
    return status !== null && status < 300;
  }

  // --- CPython

  /** Every complete line of the legacy's log, read by the interpreter that the legacy was written in. */
  expectPythonReads(): void {
    if (this.system.store !== 'files' || !HAS_PYTHON) return;
    const problem = pythonProblem(path.join(this.system.folder, 'legacy/data/notes.log'));
    expectThat(problem === null, problem ?? '');
    this.pythonReadings += 1;
  }
}

/** In the clock of leases and reports, which all processes of a boot share. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}

export function endOf({ code, signal }: VerbResult): string {
  return String(code ?? signal);
}

/** The kernel's letter for it (`T` is stopped); null for a process that has ended. */
export function stateOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const state = stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
    return state === 'Z' || state === 'X' ? null : state;
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return null;
    throw error;
  }
}

/** Null while it is being written. */
function readReport(file: string): WorkerCounts | null {
  for (let attempt = 0; attempt < 100; attempt++) {
    try {
      return JSON.parse(readFileSync(file, 'latin1').trimEnd().slice(8)) as WorkerCounts;
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
  }
  return null;
}

const READ_LINES = `
import ast, sys
for number, line in enumerate(open(sys.argv[1], 'rb').read().split(b'\\n')[:-1], 1):
    try:
        assert isinstance(ast.literal_eval(line.decode('utf-8')), dict)
    except Exception as error:
        sys.exit('line %d: %r: %r' % (number, error, line[:200]))
`;

const python = ['python3', '/usr/bin/python3'].find((name) => spawnSync(name, ['-c', 'import ast']).status === 0);

export const HAS_PYTHON = python !== undefined;

/** What CPython has against a log; null when it reads every complete line, or is not there to be asked. */
export function pythonProblem(file: string): string | null {
  if (python === undefined) return null;
  const { status, stderr } = spawnSync(python, ['-c', READ_LINES, file], { encoding: 'utf8' });
  return status === 0 ? null : `CPython cannot read ${path.basename(file)}: ${stderr.trim()}`;
}
