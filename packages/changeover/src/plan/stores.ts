import type { Context } from './context.ts';
import type { Finding, Footprint, Json, Side } from './words.ts';

/**
 * The port of a store: where rows live. Everything that `data/` moves goes through it.
 * Values are exact: integers that do not fit a double are `bigint`, blobs are `Uint8Array`, JSON documents are text in the
 * store's own form. Dates and decimals travel as text.
 */
export type Value = null | boolean | number | bigint | string | Uint8Array;
export type Row = Readonly<Record<string, Value>>;
/** Values of the key columns in the order of `TableShape.key`. */
export type Key = readonly Value[];

export interface TableShape {
  readonly name: string;
  /** Key columns in order. Never empty: a table without a key is refused in `check`. */
  readonly key: readonly string[];
  readonly columns: readonly { readonly name: string; readonly type: string; readonly nullable: boolean }[];
}

/** A value that a store computes with each row that it reads, in its own SQL. */
export interface Computed {
  /** Under which the row carries it. */
  readonly name: string;
  readonly sql: string;
}

/**
 * One slice in one store. A store that is opened with it reads, counts, empties, captures and fences the rows of this slice only, and keeps its
 * bookkeeping apart from that of any other slice.
 */
export interface SliceScope {
  /** Value of the column that says whose a row is. */
  readonly name: string;
  /** Part of the names of whatever we make for it: lower-case hex digits. */
  readonly id: string;
  /** Tables that are not named here are seen whole. */
  readonly tables: Readonly<Record<string, Membership>>;
}

/** How a row belongs to a slice: through no or several parents, to the row that has the column. */
export interface Membership {
  readonly hops: readonly { readonly column: string; readonly parent: string; readonly key: string }[];
  /** Column of the row at the end of the hops. */
  readonly column: string;
}

/**
 * A place of rows that a plan names. `writes`: `rows` stores take single rows (`write`); `whole` stores (a pickle, a JSON file) are
 * small and replaced as a whole (`replace`).
 */
export interface Store {
  readonly writes: 'rows' | 'whole';
  readonly kind: 'sqlite' | 'postgres' | 'mariadb' | 'log' | 'document';
  readonly spec: Json;
  /** Identity of the physical store: two syncs with equal identities share one opened store. */
  identity(ctx: Pick<Context, 'root'>): string;
  /** A store with triggers refuses writes by itself; a file is fenced by stopping the unit that writes it. */
  readonly fencedBy: 'store' | 'unit';
  /** One writer at a time: a program that does not wait for its turn fails when it meets ours. Absent: no. */
  readonly hasOneWriter?: true;
  /** True where `open` takes a slice. Absent: no. */
  readonly hasSlices?: boolean;
  open(ctx: Context, side: Side, slice?: SliceScope): Promise<OpenStore>;
  /** Makes the store itself, empty, where it is not there; absent where somebody else has to (a database server). */
  create?(ctx: Pick<Context, 'root'>): Promise<void>;
  /** Removes a store that `create` made. Idempotent. */
  discard?(ctx: Pick<Context, 'root'>): Promise<void>;
}

/** What one write transaction carries. Upserts name the key only; deletes come first. */
export interface WriteBatch {
  readonly epoch: number;
  readonly changes: readonly {
    readonly table: string;
    readonly deletes: readonly Key[];
    readonly upserts: readonly Row[];
  }[];
  /** Written in the same transaction; a second write with the same (run, sync, table, seq) must be a no-op. */
  readonly ledger?: LedgerEntry;
}

export interface LedgerEntry {
  readonly run: string;
  readonly sync: string;
  readonly table: string;
  /** 0-based number of the chunk. */
  readonly seq: number;
  /** Last source key of the chunk, encoded by `encodeKey`; null for the last, empty chunk. */
  readonly lastKey: string | null;
  readonly rows: number;
  /** Hex digest over the canonical rows. */
  readonly hash: string;
  /** True on the entry that ends the table. */
  readonly complete: boolean;
}

export interface ChangeBatch {
  readonly changes: readonly { readonly table: string; readonly key: Key }[];
  /** Tables that must be compared whole (truncated, rotated, rebuilt, capture lost). */
  readonly rescan: readonly string[];
  /** Changes left behind this batch, as far as known. */
  readonly remaining: number;
  /** Opaque to the caller: what `acknowledge` removes, exactly. */
  readonly token: unknown;
}

/** How far a capture is behind the log of its server. */
export interface CaptureLag {
  /** Log that the server keeps for us. */
  readonly bytes: number;
  /** Age of the last look at all of it; null where nobody has looked. */
  readonly seconds: number | null;
  /** What is going to break, with its remedy; null where all is well. */
  readonly warning: string | null;
}

/**
 * Knows which keys changed. Trigger captures write a change table; scanning captures (files) compare with the state of the last
 * acknowledged scan, kept in our own state folder. Either way: a change is pending until `acknowledge`, and a change that
 * happens between `pending` and `acknowledge` is never lost.
 */
export interface Capture {
  /**
   * Idempotent. After it resolves, every later committed change of `tables` is captured. `isLost`: there was a capture before, and nobody knows what
   * was written since it went, so every table that is not captured any more is to be compared whole. Default false.
   */
  install(tables: readonly string[], options?: { readonly isLost: boolean }): Promise<void>;
  pending(limit: number): Promise<ChangeBatch>;
  acknowledge(batch: ChangeBatch): Promise<void>;
  /** Empty when everything that `install` made is still as it was made, and where it made nothing. */
  intact(): Promise<readonly string[]>;
  /** False before the first `install`, and after everything that it made was taken away. Absent where that is kept outside of the store. */
  isInstalled?(): Promise<boolean>;
  /** How far it is behind the log of the server that it reads; null where it is not installed. Absent where nothing is read from a log. */
  lag?(): Promise<CaptureLag | null>;
  /** Lets the server remove log that would otherwise be kept until the next `pending`: what it says about the tables is taken over durably. */
  drain?(): Promise<void>;
  remove(): Promise<void>;
}

/** The schema of a store that has one, in its own SQL. */
export interface SchemaAccess {
  /** Rows of one statement that only reads, values in the order of its columns. */
  query(sql: string, values?: readonly string[]): Promise<Value[][]>;
  /**
   * Statements as one transaction of ours, behind the gate. With `isTrial` it is rolled back at its end: that only tells whether they could be
   * done. `about` is what errors call that which is changed; default the new tables.
   */
  change(
    statements: readonly string[],
    options?: { readonly isTrial?: boolean; readonly about?: string },
  ): Promise<void>;
  /**
   * One statement that cannot be part of a transaction (CREATE INDEX CONCURRENTLY), behind the gate all the same: an owner that takes over ends
   * it. Absent where there are none.
   */
  outside?(statement: string): Promise<void>;
}

/**
 * How a thread of its own opens a store again, to read or write it in the store's own bulk form. `store` is its name in messages;
 * `marksWrites`: what we write is marked in the server's log, as its capture reads that.
 */
export type BulkAddress =
  | { readonly kind: 'sqlite'; readonly store: string; readonly file: string }
  | { readonly kind: 'postgres'; readonly store: string; readonly url: string; readonly marksWrites: boolean }
  | { readonly kind: 'mariadb'; readonly store: string; readonly url: string };

/**
 * An opened store, for one side. Implementers must not assume that rows stay while they are read, that `chunk` is called from the
 * start, or that the process that wrote a ledger entry is the one that reads it.
 */
export interface OpenStore {
  readonly kind: Store['kind'];
  /** Absent where a store has no schema: a log, a document. */
  readonly schema?: SchemaAccess;
  shape(table: string): Promise<TableShape>;
  /**
   * Rows in key order, strictly after `after`; fewer than `limit` means the end. With `upTo`, which only stores with `bulk` or `lastKey` are
   * asked for, the end is at that key. `computed` comes with the rows; only stores with `compute` are asked for it.
   */
  chunk(
    table: string,
    after: Key | null,
    limit: number,
    upTo?: Key | null,
    computed?: readonly Computed[],
  ): Promise<Row[]>;
  /** The rows of `keys` as they are now; missing ones are deleted. Order is free. */
  rows(table: string, keys: readonly Key[], computed?: readonly Computed[]): Promise<Row[]>;
  count(table: string): Promise<number>;
  /**
   * The highest key in the order of `chunk`; null where there is no row. Absent where rows are not in an order that new ones come in between: a copy
   * then has no other end than the end.
   */
  lastKey?(table: string): Promise<Key | null>;
  /**
   * `rows` in the same order as this store would give them back, had they been written. Absent where a store keeps every value as it is.
   * Verification asks for it where values differ: `2024-01-01T00:00:00Z` and `2024-01-01 00:00:00+00` are one timestamp.
   */
  canonical?(table: string, rows: readonly Row[]): Promise<Row[]>;
  /**
   * What `computed` gives for `rows`, had they been written, in the same order; nothing is written. Absent where a store has no expressions.
   * Throws `CHG_DATA_EXPRESSION_INVALID` for one that is not a value of each row.
   */
  compute?(table: string, rows: readonly Row[], computed: readonly Computed[]): Promise<Row[]>;
  /**
   * Bytes of all values of a table of so many rows, estimated by a sample; `copy`: as the bulk form writes them. Absent where that would be no cheaper
   * than reading it.
   */
  estimatedBytes?(table: string, rows: number, form: 'values' | 'copy'): Promise<number>;
  /**
   * How long the store took for one row of `table` by its key, in milliseconds by its own clock, so without the way and without our own work.
   * Absent where nobody else waits for the store.
   */
  latencyMs?(table: string): Promise<number>;
  /** How far the slowest replica is behind, in milliseconds; null where there is none, or none that tells. Absent where a store has no replicas. */
  replicaLagMs?(): Promise<number | null>;
  readonly capture: Capture;
  /** Absent where rows are read and written one by one only. */
  readonly bulk?: BulkAddress;

  /** True when what was opened is not what the address names any more (a file that was replaced): it has to be opened anew. */
  isReplaced?(): boolean;
  /** Bookkeeping (gate, ledger, fence function); idempotent. */
  prepare(): Promise<void>;
  /**
   * Raises the gate to `epoch`; never lowers it. With `isLive` requests are at this store: one that has one writer at a time raises its gate
   * with its next write instead, so that no request meets a write of ours that changes nothing.
   */
  installEpoch(epoch: number, options?: { readonly isLive: boolean }): Promise<void>;
  /** One transaction: lock the gate, check the epoch, bypass fence and capture, write, ledger, commit. */
  write(batch: WriteBatch): Promise<void>;
  /** Only for `whole` stores: makes the content exactly these rows, durably and atomically; leaves the bytes alone if it already is. */
  replace?(content: Readonly<Record<string, readonly Row[]>>, epoch: number): Promise<void>;
  /**
   * Only for `whole` stores: the rows as the store will hold them. Where part of the key is a row's place in a list, places are numbered again
   * without gaps, in the order of the given ones.
   */
  arrange?(table: string, rows: readonly Row[]): readonly Row[];
  ledger(run: string, sync: string): Promise<LedgerEntry[]>;
  /** Deletes all rows of `tables` through the bypass (children first); for a new run on a used target. */
  empty(tables: readonly string[], epoch: number): Promise<void>;
  /** The next key that each of `tables` would give by itself. Absent where no generator can be further than the rows. */
  nextKeys?(tables: readonly string[]): Promise<ReadonlyMap<string, bigint>>;
  /** Sets generators of keys past the highest key of `tables`, and to `atLeast`, the next key by table, where that is further. */
  sequences(tables: readonly string[], atLeast?: ReadonlyMap<string, bigint>): Promise<void>;

  lock(tables: readonly string[]): Promise<StoreLock>;
  /** Refuses foreign writes of `tables` from now on, outside of a lock. Idempotent. */
  fence(tables: readonly string[]): Promise<void>;
  unfence(): Promise<void>;
  isFenced(): Promise<boolean>;

  check(tables: readonly string[], role: 'source' | 'target'): Promise<Finding[]>;
  footprint(tables: readonly string[], role: 'source' | 'target'): Promise<Footprint[]>;
  /** Removes everything of ours. False where nothing of it was in the store. */
  uninstall(): Promise<boolean>;
  close(): Promise<void>;
}

/**
 * A store transaction that keeps writers out. Reads, capture and acknowledge of the OpenStore go through it while it is open.
 * `fence` creates the refusing trigger inside it and commits; `release` rolls the lock back but keeps what was acknowledged
 * consistent (a change row removed but not applied is never the result).
 */
export interface StoreLock {
  fence(): Promise<void>;
  release(): Promise<void>;
}
