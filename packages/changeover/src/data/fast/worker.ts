/** The program of a worker thread: one table, its own reader of the source and its own connections to the target. */
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { MariadbSource } from './mariadb-source.ts';
import type { Report, Task, WorkerSetup } from './messages.ts';
import { PostgresSource } from './postgres-source.ts';
import { PostgresTarget, targetAddress } from './postgres-target.ts';
import { FormatChanged, type BulkSource, type Work } from './source.ts';
import { SqliteSource } from './sqlite-source.ts';

class Stopped extends Error {}

class BulkWorker implements Work {
  readonly #port: MessagePort;
  readonly #stop: Int32Array;
  readonly #source: BulkSource;
  readonly #target: PostgresTarget;
  readonly #tasks: Task[] = [];
  #wake: () => void = () => undefined;

  constructor(port: MessagePort, setup: WorkerSetup, source: BulkSource, target: PostgresTarget) {
    this.#port = port;
    this.#stop = new Int32Array(setup.stop);
    this.#source = source;
    this.#target = target;
    port.on('message', (task: Task) => {
      this.#tasks.push(task);
      this.#wake();
    });
  }

  async serve(): Promise<void> {
    this.#tell({ kind: 'started', backends: await this.#target.backends() });
    for (;;) {
      const task = await this.#next();
      if (task.kind === 'stop') break;
      try {
        await this.#do(task).catch((error: unknown) => {
          if (error instanceof FormatChanged) return this.#do(task);
          throw error;
        });
      } catch (error) {
        if (error instanceof Stopped || this.#isStopped()) break;
        this.#tell({ kind: 'failed', reason: error instanceof Error ? error.message : String(error) });
      }
    }
    await this.#source.close();
    await this.#target.close();
    this.#tell({ kind: 'stopped' });
  }

  check(): void {
    if (this.#isStopped()) throw new Stopped();
  }

  progress(rows: number, bytes: number): void {
    this.#tell({ kind: 'progress', rows, bytes });
  }

  async #do(task: Task): Promise<void> {
    if (task.kind === 'cut')
      this.#tell({
        kind: 'cut',
        boundaries: await this.#source.boundaries(this),
        isComparable: await this.#source.isComparable(this.#target),
      });
    if (task.kind === 'compare')
      this.#tell({ kind: 'compared', ...(await this.#source.compare(task.range, this.#target, this)) });
    if (task.kind !== 'copy') return;
    const { range } = task;
    const feed = (sink: Parameters<BulkSource['copy']>[1]) => this.#source.copy(range, sink, this);
    const rows = await this.#target.write(range, this.#source.format, feed, async () => {
      this.#tell({ kind: 'written' });
      if ((await this.#next()).kind !== 'commit') throw new Stopped();
    });
    this.#tell({ kind: 'copied', rows });
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

  #isStopped(): boolean {
    return Atomics.load(this.#stop, 0) === 1;
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
const setup = workerData as WorkerSetup;
const target = await PostgresTarget.open(targetAddress(setup.target), setup);
await new BulkWorker(parentPort, setup, await openSource(setup, target), target).serve();
parentPort.close();
