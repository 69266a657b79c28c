import type { BulkAddress, Computed } from '../../plan/stores.ts';
import type { ColumnPairs } from '../mapping.ts';
import type { Range } from './ranges.ts';

/** What a worker opens: one table of one sync. */
export interface WorkerSetup {
  readonly source: BulkAddress;
  readonly target: BulkAddress;
  readonly run: string;
  readonly sync: string;
  readonly epoch: number;
  readonly sourceTable: string;
  readonly targetTable: string;
  readonly columns: ColumnPairs;
  /** Those sources of `columns` that are no columns of the source. */
  readonly computed: readonly Computed[];
  /** An Int32Array of one element: 1 when the work is to end. Seen without a turn of the worker's event loop. */
  readonly stop: SharedArrayBuffer;
  /** The same: 1 while nothing more is to be read. */
  readonly held: SharedArrayBuffer;
  /** True where each thread waits, after what it told, until it may go on. */
  readonly isRated: boolean;
}

/** Work on the table that is open. */
export type TableTask =
  | { readonly kind: 'cut' }
  | { readonly kind: 'copy'; readonly range: Range }
  | { readonly kind: 'compare'; readonly range: Range };

export type Task =
  | TableTask
  | { readonly kind: 'open'; readonly setup: WorkerSetup }
  /** The answer to `written`. */
  | { readonly kind: 'commit' }
  /** Gives up all connections, and waits for another table. */
  | { readonly kind: 'close' }
  | { readonly kind: 'stop' };

/** A stretch of source keys whose rows are not the same on both sides. */
export type Stretch = Pick<Range, 'after' | 'upTo'>;

export type Report =
  /** Process ids of the backends in the target, to be ended where the worker does not end by itself. */
  | { readonly kind: 'opened'; readonly backends: readonly string[] }
  /** `isComparable`: a range of the source's keys is one of the target's too, in the same order. */
  | { readonly kind: 'cut'; readonly boundaries: readonly string[]; readonly isComparable: boolean }
  | { readonly kind: 'progress'; readonly rows: number; readonly bytes: number }
  /** Everything of the range is written and waits for `commit`. */
  | { readonly kind: 'written' }
  | { readonly kind: 'copied'; readonly rows: number }
  /** `rows`: those that are equal. */
  | { readonly kind: 'compared'; readonly rows: number; readonly differing: readonly Stretch[] }
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'closed' };
