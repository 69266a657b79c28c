import type { Context } from './context.ts';
import type { CaptureLag } from './stores.ts';
import type { Speed } from './rate.ts';
import type { Direction, Finding, Footprint, Json, SchemaRule, Side, Verdict } from './words.ts';

/**
 * The parts of a plan, as the engine sees them. Each part carries `spec`, a plain description that is frozen and
 * hashed with the run (functions enter it as their source text), so that a changed plan is noticed.
 */
export interface PlanPart {
  readonly spec: Json;
}

/**
 * A thing that can be started, stopped and paused: a command, later a systemd unit, a compose service, a Kubernetes
 * workload. Every method is idempotent: it is repeated after a crash. Implementations must not assume that the process
 * that started the unit is the one that stops it; a unit is known by pid and start time, or found by its listening port.
 */
export interface Unit extends PlanPart {
  readonly name: string;
  /** Base URL of its HTTP service, where it has one. */
  readonly url: string | null;
  status(ctx: Context): Promise<UnitStatus>;
  /** Starts it if it does not run and resolves when it is healthy. `passive`: without timers, devices, consumers, messages. */
  start(
    ctx: Context,
    options: { readonly passive: boolean; readonly env?: Readonly<Record<string, string>> },
  ): Promise<void>;
  /** Ends it and resolves when its process is gone. */
  stop(ctx: Context): Promise<void>;
  /** SIGSTOP and SIGCONT, for writers that go around the gateway. */
  pause(ctx: Context): Promise<void>;
  resume(ctx: Context): Promise<void>;
  /** Tells a passive unit that it owns devices and outgoing messages from now on. */
  activate(ctx: Context): Promise<void>;
  /** The opposite; resolves when it has no work of its own left. */
  passivate(ctx: Context): Promise<void>;
  /** Resolves when everything it acknowledged is in its stores; rejects when that cannot be seen before `deadlineMs` (monotonic). */
  quiesce(ctx: Context, deadlineMs: number): Promise<void>;
  /** Boots it once on copies of its files below `folder`, without devices, and measures that; null where the plan does not say how. */
  rehearse(ctx: Context, folder: string): Promise<{ readonly bootMs: number } | null>;
}

export interface UnitStatus {
  readonly state: 'running' | 'stopped' | 'paused';
  readonly pid: number | null;
  /** Kernel start time of the pid, so that a reused pid is not taken for the unit. */
  readonly startTime: string | null;
}

/** One table, list or folder as `plan` and `status` show it. */
export interface TableSummary {
  readonly name: string;
  readonly rows: number;
  /** A folder counts its files. */
  readonly unit: 'rows' | 'files';
  readonly bytes: number | null;
  /** What the reverse mapping cannot return, in words; empty where everything comes back. */
  readonly givenUp: readonly string[];
  /** Where each column that the plan names comes from, and what becomes of it on the way back. */
  readonly columns?: readonly { readonly column: string; readonly from: string; readonly back: string }[];
}

/** How far the capture of one store is behind the log of its server. */
export interface Lag extends CaptureLag {
  readonly store: string;
  readonly side: Side;
}

/** The rows of one tenant in one table, on the side that is read and on the one that is written. */
export interface TenantCount {
  readonly table: string;
  /** Null for rows that belong to nobody. */
  readonly tenant: string | null;
  readonly source: number;
  readonly target: number;
  /** Set where the two differ and it may be only because rows are written meanwhile. */
  readonly isChanging?: boolean;
}

export interface CatchUp {
  /** Changes applied by this pass. */
  readonly applied: number;
  /** Changes known to be left after it. */
  readonly pending: number;
}

/**
 * All data of a plan: its syncs and the stores they share. One store may take part in several syncs, so locks and fences
 * are made here and not per sync. Every call is safe to repeat after a crash.
 */
/** Does a short piece of work on a store that has one writer at a time, while no request is at the side that serves. */
export type Quietly = (act: () => Promise<void>) => Promise<void>;

export interface DataPort extends PlanPart {
  /** Null where no sync of the plan makes tables. */
  readonly schema: SchemaPort | null;
  check(ctx: Context): Promise<Finding[]>;
  footprint(ctx: Context): Promise<Footprint[]>;
  describe(ctx: Context): Promise<TableSummary[]>;
  /** How the stores of a side are fenced: all by a trigger of their own, or (some have none) by stopping the unit. */
  fencedBy(side: Side): 'store' | 'unit';
  /** Puts the owner's epoch into every store's gate, so that a dead owner's late transactions fail. Before any recovery. */
  installEpoch(ctx: Context): Promise<void>;
  /** Bookkeeping tables, fence of the next side, capture on the legacy side. */
  prepare(ctx: Context, quietly?: Quietly): Promise<void>;
  /** Chunked copy with ledger; goes on where a killed copy of the same run stopped. */
  copy(ctx: Context): Promise<void>;
  /** Capture on the next side for the way back. */
  prepareReverse(ctx: Context): Promise<void>;
  /** Applies what was captured. One pass, bounded in time, so that the caller can give way. */
  catchUp(ctx: Context, direction: Direction): Promise<CatchUp>;
  /** `changed`: the keys applied since the last full verification, and all counts. */
  verify(ctx: Context, direction: Direction, scope: 'full' | 'changed'): Promise<Verdict[]>;
  /** Rows per value of `column`, a column of the new side, in every table that has it. */
  countByTenant(ctx: Context, direction: Direction, column: string): Promise<readonly TenantCount[]>;
  /** The slices that the legacy has rows of; empty where the plan has no slices. */
  slices(ctx: Context): Promise<readonly string[]>;
  /** Rows that a rollback could not return now, with the reason; counted all the time, never found out at rollback. */
  notReturnable(
    ctx: Context,
  ): Promise<readonly { readonly table: string; readonly rows: number; readonly reason: string }[]>;
  /** How far the captures that read a server's log are behind, on both sides; empty where none does. Reads only. */
  lags(ctx: Context): Promise<readonly Lag[]>;
  /** Locks every store of the side that loses the writes, in a fixed order. */
  lock(ctx: Context, direction: Direction): Promise<LockedData>;
  /** Removes the refusing triggers of a side. Idempotent. */
  unfence(ctx: Context, side: Side): Promise<void>;
  /** True when at least one store of the side refuses foreign writes now. */
  isFenced(ctx: Context, side: Side): Promise<boolean>;
  /**
   * Removes everything of ours from both sides; `emptyTarget` also the rows that this run added to next. Resolves with what was there and is
   * gone.
   */
  uninstall(ctx: Context, options: { readonly emptyTarget: boolean }, quietly?: Quietly): Promise<Footprint[]>;
  /** Overrules the plan's rate for as long as this process works on the data. */
  limitRate(speed: Speed): void;
  /** Closes connections. */
  close(): Promise<void>;
}

/** The tables of the new side, where the plan lets them be made. Every call is safe to repeat after a crash. */
export interface SchemaPort {
  /** What becomes of each column, default, check, index and foreign key. */
  rules(ctx: Context): Promise<SchemaRule[]>;
  /** What is not there now and would be made. Looked at once, before anything is made: it tells what is ours from what was found. */
  missing(ctx: Context): Promise<Json>;
  /** Tables with their keys. Refuses a table that is there with other columns. */
  create(ctx: Context, missing: Json): Promise<void>;
  /** Indexes, unique constraints, checks and foreign keys, when the rows are there. */
  complete(ctx: Context, missing: Json): Promise<void>;
  /** Takes away what was made and nothing that was found. */
  remove(ctx: Context, missing: Json): Promise<void>;
}

/** The stores of one side under lock. Exactly one of `fence` and `release` ends it; death of the process releases. */
export interface LockedData {
  /** Applies until nothing is left, then rescans sources that have no triggers. */
  applyToEmpty(): Promise<CatchUp>;
  verify(scope: 'full' | 'changed'): Promise<Verdict[]>;
  /** Sets sequences of the other side past the highest key. */
  sequences(): Promise<void>;
  /** Creates the refusing trigger inside the lock's transaction and commits, in every store. */
  fence(): Promise<void>;
  release(): Promise<void>;
}

/** The settings of a plan. */
export interface SettingsPort extends PlanPart {
  check(ctx: Context): Promise<Finding[]>;
  /** Every legacy key and every new key with its fate; secrets are masked. */
  report(ctx: Context): Promise<SettingsReport>;
  /** Writes the new settings durably. Returns what `undo` needs (the former bytes or their absence). */
  before(ctx: Context): Promise<Json>;
  apply(ctx: Context): Promise<void>;
  /** True when the files on disk are what `apply` would write. */
  isApplied(ctx: Context): Promise<boolean>;
  undo(ctx: Context, before: Json): Promise<void>;
  /** Hash of all source files: settings edited after the config stage are noticed under the lock. */
  sourceHash(ctx: Context): Promise<string>;
}

export interface SettingsReport {
  readonly legacy: readonly {
    readonly source: string;
    readonly key: string;
    readonly fate: 'moved' | 'kept' | 'dropped' | 'conflict';
    /** Target path when moved, reason otherwise. */
    readonly detail: string;
    readonly shown: string;
  }[];
  readonly next: readonly { readonly path: string; readonly from: string; readonly shown: string }[];
}

/** The backup of a plan. */
export interface SnapshotPort extends PlanPart {
  check(ctx: Context): Promise<Finding[]>;
  /** Copies with a SHA-256 manifest into `<stateDir>/snapshots/<id>`; resumable and idempotent. */
  take(ctx: Context, id: string): Promise<SnapshotSummary>;
  isTaken(ctx: Context, id: string): Promise<boolean>;
  verify(ctx: Context, id: string): Promise<Verdict[]>;
  /** What a restore would lose: files changed or added since. */
  compare(
    ctx: Context,
    id: string,
  ): Promise<{ readonly changed: string[]; readonly added: string[]; readonly missing: string[] }>;
  /**
   * Puts it back atomically per path, byte-identical with modes and times. `standStill` is called after everything was built beside its
   * place and before anything is exchanged: whoever has the files open must have ended when it resolves.
   */
  restore(ctx: Context, id: string, options?: { readonly standStill?: () => Promise<void> }): Promise<void>;
  drop(ctx: Context, id: string): Promise<void>;
  list(ctx: Context): Promise<SnapshotSummary[]>;
}

export interface SnapshotSummary {
  readonly id: string;
  readonly takenAtMs: number;
  readonly files: number;
  readonly bytes: number;
  /** Bytes on disk after compression. */
  readonly storedBytes: number;
}

/** A check of `checks: []`. */
export interface Check extends PlanPart {
  readonly name: string;
  run(ctx: Context, target: CheckTarget): Promise<Verdict[]>;
}

export interface CheckTarget {
  readonly side: Side;
  /** Base URL to ask: the gateway, or one side directly. */
  readonly url: string | null;
  readonly data: DataPort;
  readonly direction: Direction;
}

/** The gateway as the cutover drives it. It never tells the gateway what to do: that is the authority's row. */
export interface GatewayPort extends PlanPart {
  readonly listen: { readonly host: string; readonly port: number };
  /** Starts supervisor and workers detached, if they do not run, and resolves when requests are admitted. */
  start(ctx: Context): Promise<void>;
  /** Ends the supervisor and its workers after a drain. */
  stop(ctx: Context): Promise<void>;
  isRunning(ctx: Context): Promise<boolean>;
  /** Resolves when every live worker has read `version` of the authority or a later one. A worker that stays silent is killed. */
  acknowledged(ctx: Context, version: number, deadlineMs: number): Promise<void>;
  /** Resolves when no request admitted to `side` is in flight; rejects with the count at `deadlineMs` (monotonic). */
  drained(ctx: Context, side: Side, deadlineMs: number): Promise<void>;
  stats(ctx: Context): Promise<GatewayStats>;
}

export interface GatewayStats {
  readonly workers: readonly { readonly pid: number; readonly authorityVersion: number; readonly aliveMsAgo: number }[];
  readonly inFlight: Readonly<Record<Side, number>>;
  readonly held: number;
  readonly accepted: number;
  readonly completed: number;
  readonly clientAborted: number;
  readonly refused: number;
  readonly failed: number;
  /** Long connections (WebSocket, event streams) open now, and closed at switches so far. */
  readonly streams: number;
  readonly streamsClosed: number;
  readonly maxHoldMs: number;
}
