/** The program of a worker thread: one table at a time, its own reader of the source and its own connections to the target. */
import { setTimeout as sleep } from 'node:timers/promises';
import { parentPort, type MessagePort } from 'node:worker_threads';
import { MariadbSource } from './mariadb-source.ts';
import type { Report, Task, TableTask, WorkerSetup } from './messages.ts';
import { PostgresSource } from './postgres-source.ts';
import { PostgresTarget, targetAddress } from './postgres-target.ts';
import { FormatChanged, type BulkSource, type Work } from './source.ts';
import { SqliteSource } from './sqlite-source.ts';

/** A message for every 64 KiB would cost more than reading them. */
const PROGRESS_MS = 50;
/** Where a rate is set no thread reads more than this before it is known. */
const RATED_BYTES = 64 << 10;
/** How often a thread that is held looks whether it may go on. */
const HELD_POLL_MS = 10;

class Stopped extends Error {}

class BulkWorker {
  readonly #port: MessagePort;
  readonly #tasks: Task[] = [];
  #wake: () => void = () => undefined;
  #table: OpenTable | null = null;
  /** Why there is none. */
  #failure: Error | null = null;

  constructor(port: MessagePort) {
    this.#port = port;
    port.on('message', (task: Task) => {
      this.#tasks.push(task);
      this.#wake();
    });
  }

  async serve(): Promise<void> {
    for (let task = await this.#next(); task.kind !== 'stop'; task = await this.#next()) {
      try {
        await this.#do(task);
      } catch (error) {
        if (error instanceof Stopped || this.#table?.isStopped === true) break;
        this.#tell({ kind: 'failed', reason: error instanceof Error ? error.message : String(error) });
      }
    }
    await this.#table?.close();
  }

  async #do(task: Task): Promise<void> {
    switch (task.kind) {
      case 'open':
        await this.#open(task.setup);
        return;
      case 'close':
        await this.#table?.close();
        this.#table = null;
        this.#tell({ kind: 'closed' });
        return;
      case 'commit':
      case 'stop':
        throw new Stopped();
      default:
        if (this.#table === null) throw this.#failure ?? new TypeError('no table is open');
        await this.#table.do(task);
    }
  }

  /** What goes wrong here is told to whoever has work for the table. */
  async #open(setup: WorkerSetup): Promise<void> {
    try {
      const mayCommit = async () => {
        this.#tell({ kind: 'written' });
        if ((await this.#next()).kind !== 'commit') throw new Stopped();
      };
      const tell = (report: Report) => {
        this.#tell(report);
      };
      this.#table = await OpenTable.open(setup, tell, mayCommit);
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error));
    }
  }

  async #next(): Promise<Task> {
    for (;;) {
      const task = this.#tasks.shift();
      if (task !== undefined) return task;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  #tell(report: Report): void {
    this.#port.postMessage(report);
  }
}

class OpenTable implements Work {
  readonly #stop: Int32Array;
  readonly #held: Int32Array;
  readonly #isRated: boolean;
  readonly #source: BulkSource;
  readonly #target: PostgresTarget;
  readonly #tell: (report: Report) => void;
  readonly #mayCommit: () => Promise<void>;
  /** Done and not told yet. A rate counts every byte, so what is left at the end of a range is told before its report. */
  #rows = 0;
  #bytes = 0;
  #toldAt = 0;

  private constructor(
    setup: WorkerSetup,
    source: BulkSource,
    target: PostgresTarget,
    tell: (report: Report) => void,
    mayCommit: () => Promise<void>,
  ) {
    this.#stop = new Int32Array(setup.stop);
    this.#held = new Int32Array(setup.held);
    this.#isRated = setup.isRated;
    this.#source = source;
    this.#target = target;
    this.#tell = tell;
    this.#mayCommit = mayCommit;
  }

  static async open(
    setup: WorkerSetup,
    tell: (report: Report) => void,
    mayCommit: () => Promise<void>,
  ): Promise<OpenTable> {
    const target = await PostgresTarget.open(targetAddress(setup.target), setup);
    try {
      tell({ kind: 'opened', backends: await target.backends() });
      return new OpenTable(setup, await openSource(setup, target), target, tell, mayCommit);
    } catch (error) {
      await target.close();
      throw error;
    }
  }

  get isStopped(): boolean {
    return Atomics.load(this.#stop, 0) === 1;
  }

  async do(task: TableTask): Promise<void> {
    try {
      await this.#do(task);
    } catch (error) {
      if (!(error instanceof FormatChanged)) throw error;
      await this.#do(task);
    }
  }

  check(): void {
    if (this.isStopped) throw new Stopped();
  }

  get isHeld(): boolean {
    return Atomics.load(this.#held, 0) === 1;
  }

  async released(): Promise<void> {
    while (this.isHeld && !this.isStopped) await sleep(HELD_POLL_MS);
    this.check();
  }

  progress(rows: number, bytes: number): void {
    this.#rows += rows;
    this.#bytes += bytes;
    const isDue = this.#isRated ? this.#bytes >= RATED_BYTES : performance.now() - this.#toldAt >= PROGRESS_MS;
    if (isDue) this.#flush();
  }

  async close(): Promise<void> {
    await this.#source.close();
    await this.#target.close();
  }

  #flush(): void {
    if (this.#rows + this.#bytes > 0) {
      // Whoever takes it says when it may go on.
      if (this.#isRated) Atomics.store(this.#held, 0, 1);
      this.#tell({ kind: 'progress', rows: this.#rows, bytes: this.#bytes });
    }
    this.#toldAt = performance.now();
    this.#rows = 0;
    this.#bytes = 0;
  }

  async #do(task: TableTask): Promise<void> {
    this.#rows = 0;
    this.#bytes = 0;
    switch (task.kind) {
      case 'cut': {
        const boundaries = await this.#source.boundaries(this);
        this.#tell({ kind: 'cut', boundaries, isComparable: await this.#source.isComparable(this.#target) });
        return;
      }
      case 'compare': {
        const compared = await this.#source.compare(task.range, this.#target, this);
        this.#flush();
        this.#tell({ kind: 'compared', ...compared });
        return;
      }
      case 'copy': {
        const feed = (sink: Parameters<BulkSource['copy']>[1]) => this.#source.copy(task.range, sink, this);
        const rows = await this.#target.write(task.range, this.#source.format, feed, this.#mayCommit);
        this.#flush();
        this.#tell({ kind: 'copied', rows });
      }
    }
  }
}

async function openSource(setup: WorkerSetup, target: PostgresTarget): Promise<BulkSource> {
  const { source } = setup;
  switch (source.kind) {
    case 'sqlite':
      return new SqliteSource(source, setup, target);
    case 'postgres':
      return PostgresSource.open(source, setup, target);
    case 'mariadb':
      return MariadbSource.open(source, setup, target);
  }
}

if (parentPort === null) throw new TypeError('this is the program of a worker thread');
await new BulkWorker(parentPort).serve();
parentPort.close();
