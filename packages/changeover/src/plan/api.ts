import type { Authority, Hold } from './authority.ts';
import type { GatewayStats, Lag, SettingsReport, SnapshotSummary, TableSummary, UnitStatus } from './ports.ts';
import type { Finding, Footprint, SchemaRule, Side, Stage, Verdict } from './words.ts';

/** Everything a run tells while it goes on. The command line prints these, one JSON object a line with `--json`. */
export type ChangeoverEvent =
  | { readonly event: 'stage'; readonly stage: Stage; readonly status: 'started' | 'completed' | 'failed' | 'undone' }
  | {
      readonly event: 'step';
      readonly stage: Stage;
      readonly step: string;
      readonly status: 'started' | 'skipped' | 'completed' | 'failed' | 'undone';
    }
  | {
      readonly event: 'progress';
      readonly stage: Stage;
      readonly step: string;
      /** 0 to 1 over the whole run. */
      readonly fraction: number;
      readonly what: string;
      readonly done: number;
      readonly total: number | null;
      readonly unit: string;
      /** Of the whole run; null until it can be estimated. */
      readonly remainingMs: number | null;
      /** Bytes of the rows, where the work is counted in rows; `total` is an estimate. */
      readonly bytes?: { readonly done: number; readonly total: number | null };
      /** Of the step, where it estimates that itself; null until it can. */
      readonly leftMs?: number | null;
      /** Why the work waits at the moment. */
      readonly held?: string;
    }
  | { readonly event: 'state'; readonly state: Authority['state']; readonly side: Side; readonly epoch: number }
  | { readonly event: 'verdict'; readonly verdict: Verdict }
  | { readonly event: 'warning'; readonly message: string }
  | { readonly event: 'log'; readonly message: string };

export type RunStatus = 'running' | 'ready' | 'live' | 'paused' | 'failed' | 'rolled_back' | 'finished';

/** How one slice stands. */
export interface SliceStatus {
  readonly name: string;
  readonly status: RunStatus;
  readonly state: Authority['state'];
  readonly side: Side;
  /** 0 to 1. */
  readonly progress: number;
}

/** What `status` shows. */
export interface Status {
  readonly plan: string;
  /** The slice that it is about; null for what belongs to none. */
  readonly slice: string | null;
  /** All slices that were begun. Empty where the status is about one. */
  readonly slices: readonly SliceStatus[];
  readonly planHash: string;
  readonly run: {
    readonly id: string;
    readonly status: RunStatus;
    readonly startedAtMs: number;
    readonly progress: number;
    readonly remainingMs: number | null;
  } | null;
  readonly stages: readonly {
    readonly stage: Stage;
    readonly status: 'pending' | 'running' | 'completed' | 'failed' | 'undone';
  }[];
  readonly authority: Authority;
  readonly hold: Hold;
  /** Sides that accept writes at their stores now. */
  readonly writable: readonly Side[];
  readonly owner: { readonly pid: number; readonly command: string; readonly sinceMs: number } | null;
  readonly keeper: { readonly pid: number; readonly aliveMsAgo: number } | null;
  readonly gateway: GatewayStats | null;
  readonly units: readonly { readonly name: string; readonly side: Side; readonly status: UnitStatus }[];
  readonly pendingChanges: number | null;
  /** How far captures that read a server's log are behind it; empty where none does. */
  readonly lags: readonly Lag[];
  /** Why the work on the data waits now; null where it does not. */
  readonly heldBack: string | null;
  readonly notReturnable: readonly { readonly table: string; readonly rows: number; readonly reason: string }[];
  readonly errors: readonly string[];
  readonly warnings: readonly string[];
  /** The command that a person would run next. */
  readonly nextCommand: string;
}

/** What `plan` shows: nothing is changed by it. */
export interface PlanReport {
  readonly name: string;
  readonly hash: string;
  readonly findings: readonly Finding[];
  readonly footprint: readonly Footprint[];
  readonly settings: SettingsReport | null;
  readonly tables: readonly TableSummary[];
  readonly pauses: readonly {
    readonly what: string;
    readonly expectedMs: number | null;
    readonly deadlineMs: number;
    readonly whenMissed: string;
  }[];
  readonly notReturned: readonly string[];
  /** What the schema of the legacy becomes, where the plan lets the new tables be made of it. */
  readonly schema: readonly SchemaRule[];
}

/** The questions that the screen answers before every decision. */
export interface DecisionBrief {
  readonly decision: 'cutover' | 'rollback' | 'finish' | 'uninstall' | 'restore' | 'run';
  readonly serves: string;
  readonly writes: string;
  readonly changes: readonly string[];
  readonly undoneBy: string;
  readonly lost: string;
  readonly duration: string;
  readonly evidence: readonly Verdict[];
}

export interface CutoverResult {
  readonly side: Side;
  readonly state: Authority['state'];
  /** How long requests were held, as the gateway measured it. */
  readonly holdMs: number;
  readonly verdicts: readonly Verdict[];
  /** Set when the switch was given up and the old side serves on. */
  readonly reverted: string | null;
}

export interface RunOutcome {
  readonly status: RunStatus;
  readonly verdicts: readonly Verdict[];
}

/**
 * One plan with its journal: what the command line and the console drive. Every method may be called again after a crash.
 * Long methods emit events through the `onEvent` given to `openChangeover` and stop resumably when `signal` aborts.
 */
export interface Changeover {
  check(options?: { signal?: AbortSignal }): Promise<Finding[]>;
  plan(options?: { signal?: AbortSignal }): Promise<PlanReport>;
  brief(decision: DecisionBrief['decision']): Promise<DecisionBrief>;
  run(options?: {
    until?: Stage;
    through?: boolean;
    /** Most that is read of the source in a second, such as `20MB` or `5000rows`; overrules the plan's. Throws `CHG_PLAN_RATE`. */
    maxRate?: string;
    signal?: AbortSignal;
  }): Promise<RunOutcome>;
  cutover(options?: { signal?: AbortSignal }): Promise<CutoverResult>;
  status(): Promise<Status>;
  verify(options?: { signal?: AbortSignal }): Promise<Verdict[]>;
  traffic(action: 'show' | 'start' | 'stop' | 'hold' | 'release'): Promise<GatewayStats | null>;
  rollback(options?: {
    dryRun?: boolean;
    signal?: AbortSignal;
    /** `legacy`: what the legacy's tables and folders hold; before the way back with `dryRun`, otherwise after it. */
  }): Promise<RunOutcome & { readonly legacy: readonly { table: string; rows: number; unit: 'rows' | 'files' }[] }>;
  snapshots(): Promise<SnapshotSummary[]>;
  restore(
    id: string,
    options?: { dryRun?: boolean; signal?: AbortSignal },
  ): Promise<{ readonly lost: readonly string[]; readonly restored: number }>;
  finish(options?: { signal?: AbortSignal }): Promise<RunOutcome>;
  uninstall(options?: { signal?: AbortSignal }): Promise<{ readonly removed: readonly string[] }>;
  close(): Promise<void>;
}

export interface OpenOptions {
  /** Absolute path of the plan's file; relative paths of the plan resolve against its folder. */
  readonly configFile: string;
  /** One slice of a plan with `slices`. Default: what belongs to none. */
  readonly slice?: string;
  /** Default `<folder of the plan>/.changeover`. */
  readonly stateDir?: string;
  readonly onEvent?: (event: ChangeoverEvent) => void;
  /** Who acts, for the audit. Default: the operating system's user. */
  readonly actor?: string;
}
