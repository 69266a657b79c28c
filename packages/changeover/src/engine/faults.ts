import { appendFileSync } from 'node:fs';
import { ChangeoverError } from '../errors.ts';
import { NO_FAULTS } from '../plan/context.ts';
import type { Faults } from '../plan/context.ts';
import { CRASH_POINTS } from '../plan/crash-points.ts';
import type { CrashPoint } from '../plan/crash-points.ts';

const ACTIONS = ['kill', 'stop', 'throw'] as const;
type Action = (typeof ACTIONS)[number];

/**
 * Faults for tests of real processes. `CHANGEOVER_FAULT=point[#n]:kill|stop|throw` ends, stops or fails the process when it
 * passes `point` for the n-th time (default 1); `CHANGEOVER_FAULT_LOG=FILE` appends the name of every point passed.
 * Without these two variables it does nothing. Throws `CHG_ENGINE_FAULT_INVALID`.
 */
export function faultsFromEnvironment(env: NodeJS.ProcessEnv = process.env): Faults {
  const { CHANGEOVER_FAULT: value, CHANGEOVER_FAULT_LOG: log } = env;
  if (value === undefined && log === undefined) return NO_FAULTS;
  const planned = value === undefined ? null : parse(value);
  let passes = 0;
  return {
    at(point) {
      if (log !== undefined) appendFileSync(log, `${point}\n`);
      if (planned?.point !== point || ++passes !== planned.pass) return;
      act(planned.action, point);
    },
  };
}

function act(action: Action, point: CrashPoint): void {
  if (action === 'throw') throw new ChangeoverError('CHG_ENGINE_FAULT', { point });
  process.kill(process.pid, action === 'kill' ? 'SIGKILL' : 'SIGSTOP');
  // The signal may reach another thread first; not one more instruction of ours may run before it takes effect.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, action === 'kill' ? Infinity : 100);
}

function parse(value: string): { point: CrashPoint; pass: number; action: Action } {
  const invalid = (reason: string): Error => new ChangeoverError('CHG_ENGINE_FAULT_INVALID', { value, reason });
  const match = /^([\w.]+)(?:#([1-9]\d*))?:(\w+)$/.exec(value);
  if (match === null) throw invalid('it has another form');
  const point = CRASH_POINTS.find((known) => known === match[1]);
  if (point === undefined) throw invalid(`there is no crash point ${String(match[1])}`);
  const action = ACTIONS.find((known) => known === match[3]);
  if (action === undefined) throw invalid(`there is no action ${String(match[3])}`);
  return { point, pass: Number(match[2] ?? 1), action };
}
