import type { CrashPoint } from './crash-points.ts';
import type { Side } from './words.ts';

/**
 * Named places where a process may die. In production a no-op; in tests the implementation kills the process
 * with SIGKILL, stops it, or throws. Call it synchronously, right at the place that the name describes.
 */
export interface Faults {
  at(point: CrashPoint): void;
}

export const NO_FAULTS: Faults = { at: () => undefined };

/** Time. Deadlines use `monotonicMs` with `bootId`, never the wall clock. */
export interface Clock {
  /** Milliseconds since the epoch, for people and for the audit. */
  wallMs(): number;
  /** CLOCK_MONOTONIC in milliseconds: comparable between processes of one boot. */
  monotonicMs(): number;
  /** Identity of the boot to which `monotonicMs` belongs. */
  bootId(): string;
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export interface Progress {
  /** What is being worked on, e.g. `events`. */
  readonly what: string;
  readonly done: number;
  /** Unknown while it is still being counted. */
  readonly total: number | null;
  readonly unit: 'rows' | 'bytes' | 'files' | 'steps';
  /** The part of the whole that this tells of: both from 0 to 1. Default: it is the whole. */
  readonly part?: { readonly start: number; readonly share: number };
  /** Of that part, from 0 to 1, where the work is not as much as `done` of `total`: large rows take longer. */
  readonly fraction?: number;
  /** Of the bytes, where `unit` is another one; `total` is an estimate. */
  readonly bytes?: { readonly done: number; readonly total: number | null };
  /** Estimated time until the whole is done; null until it can be estimated. Default: nobody estimates it. */
  readonly leftMs?: number | null;
  /** Why the work waits at the moment: `the replica lag of postgres:db:5432/app (14 s, at most 10 s)`. */
  readonly held?: string;
}

/** What work on live stores asks, so that it leaves enough of them to others. */
export interface Pace {
  /** Threads that may work at once; at least 1. */
  readonly lanes: number;
  /** True where a rate is set, so that `spent` may return more than 0. */
  readonly isRated: boolean;
  /**
   * Resolves with true when the next piece of work may begin; with false when whoever asks should give way first. Rejects when `signal` aborts;
   * default: that of the context.
   */
  ready(signal?: AbortSignal): Promise<boolean>;
  /** What was read. Returns the milliseconds for which nothing more should be read: 0, unless the rate is limited. */
  spent(rows: number, bytes: number): number;
}

/** Where long work tells what it is doing. Implementations must be cheap: it is called per chunk. */
export interface Reporter {
  progress(progress: Progress): void;
  warn(message: string): void;
  log(message: string): void;
}

/** What every long call is given. */
export interface Context {
  /** Absolute folder of the plan; relative paths of the plan resolve against it. */
  readonly root: string;
  /** Absolute folder of our own state (journal, sidecar, logs of units). Never inside the legacy's folders. */
  readonly stateDir: string;
  readonly runId: string;
  /** Fencing token of the owner on whose behalf this runs; every store write checks it at the store's gate. */
  readonly epoch: number;
  /** The side at which requests are right now; null during a switch. */
  readonly liveSide: Side | null;
  readonly signal: AbortSignal;
  readonly faults: Faults;
  readonly clock: Clock;
  readonly report: Reporter;
  /** Absent where nothing may hold the work back: under the locks of a switch. */
  readonly pace?: Pace;
}
