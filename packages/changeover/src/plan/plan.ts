import type { Check, SettingsPort, Unit } from './ports.ts';
import type { DataDefinition } from './sync.ts';
import type { ThrottleLimits } from './throttle.ts';

/** A command that is run once and must end with exit code 0. */
export interface SetupCommand {
  readonly run: string;
  /** Folder to run in, relative to the plan. Default: the plan's folder. */
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** A header, a parameter of the query, or the segment of the path that follows `path`. */
export type TenantKey = { readonly header: string } | { readonly query: string } | { readonly path: string };

/**
 * The whole move, validated: what `defineChangeover` returns. Durations are milliseconds here; authors may write `'5s'`.
 */
export interface Plan {
  readonly name: string;
  readonly legacy: {
    readonly units: readonly Unit[];
    /** Whatever writes around the gateway, paused while the sides switch. */
    readonly writers: readonly Unit[];
  };
  readonly next: {
    readonly units: readonly Unit[];
    /** Run before the data stage: makes the new schema. Must be repeatable. */
    readonly setup: readonly SetupCommand[];
  };
  readonly gateway: {
    readonly listen: { readonly host: string; readonly port: number };
    readonly workers: number;
    readonly maxHeldRequests: number;
    readonly maxHeldBytes: number;
    /** Longest time that one request is parked before it is refused with 503. */
    readonly maxHeldMs: number;
    /** Where a request says of which slice it is. Absent where nothing is moved in slices. */
    readonly tenant?: TenantKey;
  };
  readonly backup: {
    readonly paths: readonly string[];
    readonly sqlite: readonly string[];
    readonly compress: 'none' | 'gzip' | 'zstd';
  };
  readonly config: SettingsPort | null;
  readonly data: readonly DataDefinition[];
  /** Not part of the plan's hash: it says how fast, not what. */
  readonly throttle: ThrottleLimits;
  readonly cutover: {
    readonly holdDeadlineMs: number;
    /** On rollback the hold also contains the boot of a legacy that had to be stopped. */
    readonly rollbackHoldDeadlineMs: number;
    readonly drainDeadlineMs: number;
    readonly quiesceDeadlineMs: number;
    /** Roll back by itself when a check fails after the cutover. Default false: keep the state and ask. */
    readonly rollbackOnFailedChecks: boolean;
  };
  readonly checks: readonly Check[];
}
