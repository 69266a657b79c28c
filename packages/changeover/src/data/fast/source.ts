import type { CopySink } from './copy-streams.ts';
import type { Stretch } from './messages.ts';
import type { Range } from './ranges.ts';
import type { PostgresTarget } from './postgres-target.ts';

/** Bytes between two boundaries, as far as it can be estimated: one transaction of the target, which a kill throws away. */
export const RANGE_BYTES = 8 << 20;

/** How a worker tells how far it is, and gets to know that it should end. */
export interface Work {
  /** Throws when the work is to end. Called between any two pieces of it. */
  check(): void;
  /** What was read. A copy that does not see single rows tells its bytes alone; their number is known at its end. */
  progress(rows: number, bytes: number): void;
  /** True while nothing more is to be read. */
  readonly isHeld: boolean;
  /** Resolves when more may be read. Throws when the work is to end. */
  released(): Promise<void>;
}

/** What was begun in binary goes on as text from its start: a value came up that has no binary form in the target's type. */
export class FormatChanged extends Error {}

/** One table of a source in its bulk form. One implementation for each kind of source. */
export interface BulkSource {
  /** What `copy` writes. It may change, once, where `copy` or `compare` throws `FormatChanged`; the work is then done again. */
  readonly format: 'text' | 'binary';
  /** Encoded keys, rising, that cut the table into ranges of about `RANGE_BYTES`. */
  boundaries(work: Work): Promise<string[]>;
  /** Writes the rows of the range in COPY's `format`. Resolves with a digest of what was written. */
  copy(range: Range, sink: CopySink, work: Work): Promise<string>;
  /** True where the target has the keys in the same order, so that `compare` finds a range of the source in one range of the target. */
  isComparable(target: PostgresTarget): Promise<boolean>;
  /**
   * Compares the range with the target's. A stretch that is not given back is equal, row by row and value by value; one that is given back
   * may be equal still. `rows` are those of the equal stretches.
   */
  compare(range: Range, target: PostgresTarget, work: Work): Promise<{ rows: number; differing: readonly Stretch[] }>;
  close(): Promise<void>;
}
