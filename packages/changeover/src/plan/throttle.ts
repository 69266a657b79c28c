import type { Speed } from './rate.ts';

/** Default of `throttle.sourceLatency`: no idle source takes that long for one row by its key. */
export const SOURCE_LATENCY_MS = 100;
/** Default of `throttle.replicaLag`. */
export const REPLICA_LAG_MS = 10_000;

/** What the work on the data leaves to others. */
export interface ThrottleLimits {
  readonly maxRate: Speed | null;
  readonly sourceLatencyMs: number;
  readonly replicaLagMs: number;
  /** Addresses of replicas that their primary does not tell about. */
  readonly replicas: readonly string[];
}

export const DEFAULT_THROTTLE: ThrottleLimits = {
  maxRate: null,
  sourceLatencyMs: SOURCE_LATENCY_MS,
  replicaLagMs: REPLICA_LAG_MS,
  replicas: [],
};
