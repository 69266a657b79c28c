import type { Context } from '../../plan/context.ts';
import type { LedgerEntry, OpenStore, Value } from '../../plan/stores.ts';
import type { TableSize } from '../copy-meter.ts';
import type { TableMap } from '../mapping.ts';
import { canTransfer } from './mariadb-cells.ts';
import { bytesOf } from '../values.ts';
import type { Stretch } from './messages.ts';
import { boundariesIn, planEntry, rangesBetween, type Range } from './ranges.ts';
import { Threads, type Thread } from './threads.ts';
import { Workers } from './workers.ts';

/** A table with fewer rows and fewer bytes than these is done row by row before the threads have started. */
const MIN_ROWS = 5000;
const MIN_BYTES = 16 << 20;
/** Rows by which the size of a table is estimated. */
const SAMPLE_ROWS = 20;

/** Pairs of stores between which rows move in bulk: from → to. */
const PAIRS: Readonly<Record<string, readonly string[]>> = {
  sqlite: ['postgres'],
  postgres: ['postgres'],
  mariadb: ['postgres'],
};

/** Equal rows of one range, and what of it is to be compared row by row. */
export interface ComparedRange {
  readonly rows: number;
  readonly differing: readonly Stretch[];
}

/**
 * The first copy and the comparison of tables of which nothing but columns moves, in the bulk form of both stores: several ranges of keys
 * at once, in threads of which each has its own connections. No row crosses a thread, and none is taken apart.
 *
 * The transactions are those of the copy row by row: gate, epoch, bypass, rows and ledger in one. A range that fails, for whatever reason,
 * is left to the copy row by row, which says what is wrong with which row.
 */
export class Bulk {
  readonly #sync: string;
  readonly #source: OpenStore;
  readonly #target: OpenStore;
  readonly #threads = new Threads();

  constructor(sync: string, source: OpenStore, target: OpenStore) {
    this.#sync = sync;
    this.#source = source;
    this.#target = target;
  }

  /** True where the copy of this table can go on, or begin, in bulk. */
  async canCopy(map: TableMap, entries: readonly LedgerEntry[], rows: number): Promise<boolean> {
    if (!this.#isPossible(map)) return false;
    return entries.length === 0 ? this.#isLarge(map, rows) : boundariesIn(entries) !== null;
  }

  /**
   * Copies the ranges that `entries` do not have.
   *
   * @param copyRange Copies one range row by row, with its entry of the ledger.
   */
  async copy(
    ctx: Context,
    map: TableMap,
    entries: readonly LedgerEntry[],
    size: TableSize,
    copyRange: (range: Range) => Promise<number>,
  ): Promise<void> {
    const workers = this.#workers(ctx, map);
    try {
      const boundaries = boundariesIn(entries) ?? (await this.#begin(ctx, map, workers));
      const progress = new CopyProgress(ctx, map.target.name, size);
      const before = entries.reduce((sum, { rows }) => sum + rows, 0);
      progress.add(before, before * progress.bytesPerRow);
      for (let known = entries; ; known = await this.#durable(ctx, map)) {
        const finished = new Set(known.map(({ seq }) => seq));
        const ranges = rangesBetween(boundaries).filter(({ seq }) => !finished.has(seq));
        if (ranges.length === 0) break;
        await workers.each(ranges, (range, worker, signal) =>
          this.#copyOne(ctx, { workers, worker, signal }, range, progress, copyRange),
        );
      }
      const end = { ...planEntry(ctx, this.#sync, map.target.name, []), seq: boundaries.length + 1, lastKey: null };
      await this.#target.write({ epoch: ctx.epoch, changes: [], ledger: { ...end, complete: true } });
    } finally {
      await workers.stop();
    }
  }

  async #copyOne(
    ctx: Context,
    { workers, worker, signal }: { readonly workers: Workers; readonly worker: Thread; readonly signal: AbortSignal },
    range: Range,
    progress: CopyProgress,
    copyRange: (range: Range) => Promise<number>,
  ): Promise<void> {
    ctx.faults.at('data.copy.before_chunk');
    const own = progress.part();
    const report = await worker.run(
      { kind: 'copy', range },
      {
        progress: (rows, bytes) => {
          workers.pause(own.add(rows, bytes));
        },
        written: () => {
          ctx.faults.at('data.write.before_commit');
        },
      },
    );
    signal.throwIfAborted();
    if (report.kind === 'copied') {
      ctx.faults.at('data.write.committed');
      own.end(report.rows);
    } else {
      if (report.kind === 'failed') progress.warn(report.reason);
      own.end(await copyRange(range));
    }
    ctx.faults.at('data.copy.after_chunk');
  }

  /**
   * The entries of the table that a server which fails now still has. The threads do not wait for the disk, so after a crash of the server a
   * range that was committed may be gone, with its entry; a commit that does wait takes all earlier ones along.
   */
  async #durable(ctx: Context, map: TableMap): Promise<readonly LedgerEntry[]> {
    await this.#target.write({ epoch: ctx.epoch, changes: [] });
    const entries = await this.#target.ledger(ctx.runId, this.#sync);
    return entries.filter(({ table }) => table === map.target.name);
  }

  /** Range by range in any order, or null where this table is to be compared row by row. */
  async compare(ctx: Context, map: TableMap, rows: number): Promise<AsyncGenerator<ComparedRange> | null> {
    if (!this.#isPossible(map) || !(await this.#isLarge(map, rows))) return null;
    const bytes = ctx.pace === undefined ? null : await this.#source.estimatedBytes?.(map.source.name, rows, 'copy');
    const workers = this.#workers(ctx, map);
    const cut = await workers.first({ kind: 'cut' });
    if (cut.kind === 'cut' && cut.isComparable)
      return this.#compared(ctx, workers, rangesBetween(cut.boundaries), (bytes ?? 0) / rows);
    await workers.stop();
    return null;
  }

  async *#compared(
    { pace }: Context,
    workers: Workers,
    ranges: readonly Range[],
    bytesPerRow: number,
  ): AsyncGenerator<ComparedRange> {
    const found: ComparedRange[] = [];
    let wake: () => void = () => undefined;
    const state: { isRunning: boolean } = { isRunning: true };
    const running = workers
      .each(ranges, async (range, worker, signal) => {
        const progress = (rows: number, bytes: number) => {
          workers.pause(pace?.spent(rows, bytes === 0 ? rows * bytesPerRow : bytes) ?? 0);
        };
        const report = await worker.run({ kind: 'compare', range }, { progress });
        signal.throwIfAborted();
        found.push(report.kind === 'compared' ? report : { rows: 0, differing: [range] });
        wake();
      })
      .finally(() => {
        state.isRunning = false;
        wake();
      });
    running.catch(() => undefined);
    try {
      for (;;) {
        const next = found.shift();
        if (next !== undefined) yield next;
        else if (state.isRunning) await new Promise<void>((resolve) => (wake = resolve));
        else break;
      }
      await running;
    } finally {
      await workers.stop();
    }
  }

  async #isLarge(map: TableMap, rows: number): Promise<boolean> {
    if (rows >= MIN_ROWS) return true;
    const sample = await this.#source.chunk(map.source.name, null, SAMPLE_ROWS);
    return sample.length > 0 && (bytesOf(sample) * rows) / sample.length >= MIN_BYTES;
  }

  #isPossible({ columns, source, target, marks }: TableMap): boolean {
    const [from, to] = [this.#source.bulk?.kind, this.#target.bulk?.kind];
    if (columns === null || from === undefined || to === undefined) return false;
    const types = (shape: TableMap['target']) => new Map(shape.columns.map(({ name, type }) => [name, type]));
    const [sources, targets] = [types(source), types(target)];
    const isKnown = columns.every(([own, other]) => {
      const [type, sourceType] = [targets.get(own), sources.get(other)];
      if (source.computed.some(({ name }) => name === other)) return type !== undefined && from !== 'mariadb';
      if (type === undefined || sourceType === undefined) return false;
      return from !== 'mariadb' || canTransfer(sourceType, type);
    });
    const hasConstants = marks.target.length > 0;
    return isKnown && !(hasConstants && from === 'mariadb') && columns.length > 0 && PAIRS[from]?.includes(to) === true;
  }

  /** Cuts the table, and writes down where, before the first range. */
  async #begin(ctx: Context, map: TableMap, workers: Workers): Promise<readonly string[]> {
    // A key that holds NULL is in no range; the store refuses it here.
    await this.#source.chunk(map.source.name, null, 1);
    const cut = await workers.first({ kind: 'cut' });
    ctx.signal.throwIfAborted();
    const boundaries = cut.kind === 'cut' ? cut.boundaries : [];
    const ledger = planEntry(ctx, this.#sync, map.target.name, boundaries);
    await this.#target.write({ epoch: ctx.epoch, changes: [], ledger });
    return boundaries;
  }

  #workers(ctx: Context, { columns, source, target, marks }: TableMap): Workers {
    const [from, to] = [this.#source.bulk, this.#target.bulk];
    if (from === undefined || to === undefined || columns === null)
      throw new TypeError('these stores have no bulk form');
    const constants = marks.target.map(([column, value]) => ({
      column,
      name: `constant of ${column}`,
      sql: sqlOf(value),
    }));
    return new Workers(ctx, this.#threads, {
      source: from,
      target: to,
      run: ctx.runId,
      sync: this.#sync,
      epoch: ctx.epoch,
      sourceTable: source.name,
      targetTable: target.name,
      columns: [...columns, ...constants.map(({ column, name }) => [column, name] as const)],
      computed: [...source.computed, ...constants.map(({ name, sql }) => ({ name, sql }))],
    });
  }
}

/** A constant in the SQL of any source. */
function sqlOf(value: Value): string {
  if (value === null) return 'NULL';
  if (value instanceof Uint8Array) throw new TypeError('a constant has no bytes');
  return typeof value === 'string' ? `'${value.replaceAll("'", "''")}'` : String(value);
}

/** Rows and bytes of all lanes together. */
class CopyProgress {
  readonly bytesPerRow: number;
  readonly #ctx: Context;
  readonly #what: string;
  readonly #total: number;
  #rows = 0;
  #bytes = 0;
  #hasWarned = false;

  constructor(ctx: Context, what: string, size: TableSize) {
    this.#ctx = ctx;
    this.#what = what;
    this.#total = size.rows;
    this.bytesPerRow = (size.bytes ?? 0) / Math.max(1, size.rows);
  }

  add(rows: number, bytes: number): void {
    this.#rows += rows;
    this.#bytes += bytes;
    const done = Math.round(this.#rows);
    const total = Math.max(this.#total, done);
    const told = { done: Math.round(this.#bytes), total: null };
    this.#ctx.report.progress({ what: this.#what, done, total, unit: 'rows', bytes: told });
  }

  /** One range: what it told is corrected at its end by what it was. `add` returns for how long nothing more should be read. */
  part(): { add: (rows: number, bytes: number) => number; end: (rows: number) => void } {
    let told = 0;
    return {
      add: (rows, bytes) => {
        const now = rows > 0 || this.bytesPerRow === 0 ? rows : bytes / this.bytesPerRow;
        told += now;
        this.add(now, bytes);
        return this.#ctx.pace?.spent(now, bytes) ?? 0;
      },
      end: (rows) => {
        this.add(rows - told, 0);
      },
    };
  }

  warn(reason: string): void {
    if (!this.#hasWarned) this.#ctx.report.warn(`${this.#what}: some rows are copied one by one, since ${reason}`);
    this.#hasWarned = true;
  }
}
