/**
 * Every named crash point, grouped by folder. `npm run test:crash` kills a real process at each of them, forward and
 * in rollback, and fails when one is never reached.
 */
export const CRASH_POINTS = [
  // engine
  // snapshot
  // config
  // data
  // cutover
] as const;

export type CrashPoint = (typeof CRASH_POINTS)[number];
