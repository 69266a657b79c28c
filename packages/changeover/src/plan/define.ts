import { ChangeoverError } from '../errors.ts';
import type { CheckedAuthor, PlanAuthor } from './author.ts';
import { parseDuration } from './duration.ts';
import type { Plan, SetupCommand } from './plan.ts';
import { problemsOf, type PlanProblem } from './problems.ts';
import { parseRate } from './rate.ts';
import { REPLICA_LAG_MS, SOURCE_LATENCY_MS } from './throttle.ts';
import { problemsAcross } from './sections.ts';
import {
  DRAIN_DEADLINE_MS,
  GATEWAY_WORKERS,
  HOLD_DEADLINE_MS,
  MAX_HELD_BYTES,
  MAX_HELD_MS,
  MAX_HELD_REQUESTS,
  planSchema,
  QUIESCE_DEADLINE_MS,
  ROLLBACK_HOLD_DEADLINE_MS,
} from './schema.ts';

// Registered by name: the plan's file and the command line may have loaded two copies of this package.
const PLAN = Symbol.for('changeover.plan');

/**
 * The whole move as one typed, validated and frozen plan: the default export of `changeover.config.ts`.
 *
 * Throws `CHG_PLAN_INVALID` with every problem at once: where, what was expected, what stands there, and the remedy.
 *
 * @example
 * ```ts
 * export default defineChangeover({
 *   name: 'doorbell',
 *   legacy: { units: [command('node legacy/server.js', { url: 'http://127.0.0.1:5001' })] },
 *   next: { units: [command('node src/server.js', { url: 'http://127.0.0.1:5002' })], setup: ['node src/schema.js'] },
 *   gateway: { listen: '127.0.0.1:5000' },
 *   backup: { paths: ['config', 'data'] },
 *   cutover: { hold: { deadline: '5s' } },
 * });
 * ```
 */
export function defineChangeover<const Author extends PlanAuthor>(author: Author & CheckedAuthor<Author>): Plan {
  return parsePlan(author);
}

/** The same for a plan of unknown origin. Throws `CHG_PLAN_INVALID`. */
export function parsePlan(author: unknown): Plan {
  const problems = planProblems(author);
  if (problems.length > 0) {
    throw new ChangeoverError('CHG_PLAN_INVALID', {
      count: problems.length === 1 ? '1 problem' : `${problems.length} problems`,
      problems: problems.map(renderProblem).join('\n'),
    });
  }
  // The schema has just accepted it.
  const plan = normalize(author as PlanAuthor);
  Object.defineProperty(plan, PLAN, { value: true });
  return Object.freeze(plan);
}

/** Everything that is wrong with a plan; empty when nothing is. */
export function planProblems(author: unknown): PlanProblem[] {
  if (author instanceof Promise) {
    const received = 'a promise';
    return [{ path: '(plan)', expected: 'a plan', received, remedy: 'await it: export default await …' }];
  }
  return [...problemsOf(planSchema, author), ...problemsAcross(author)];
}

/** True for what `defineChangeover` returned, by whichever copy of this package. */
export function isPlan(value: unknown): value is Plan {
  return typeof value === 'object' && value !== null && PLAN in value;
}

function renderProblem({ path, expected, received, remedy }: PlanProblem): string {
  return `  ${path}: expected ${expected}, received ${received}\n    → ${remedy}`;
}

function normalize(author: PlanAuthor): Plan {
  const { legacy, next, gateway, backup, cutover = {} } = author;
  return {
    name: author.name,
    legacy: { units: legacy.units, writers: legacy.writers ?? [] },
    next: { units: next.units, setup: (next.setup ?? []).map(setupOf) },
    gateway: {
      listen: listenOf(gateway.listen),
      workers: gateway.workers ?? GATEWAY_WORKERS,
      maxHeldRequests: gateway.maxHeldRequests ?? MAX_HELD_REQUESTS,
      maxHeldBytes: gateway.maxHeldBytes ?? MAX_HELD_BYTES,
      maxHeldMs: parseDuration(gateway.maxHeld ?? MAX_HELD_MS),
      ...(gateway.tenant === undefined ? {} : { tenant: gateway.tenant }),
    },
    backup: { paths: backup?.paths ?? [], sqlite: backup?.sqlite ?? [], compress: backup?.compress ?? 'none' },
    config: author.config ?? null,
    data: author.data ?? [],
    throttle: throttleOf(author.throttle),
    cutover: {
      holdDeadlineMs: parseDuration(cutover.hold?.deadline ?? HOLD_DEADLINE_MS),
      rollbackHoldDeadlineMs: parseDuration(cutover.hold?.rollbackDeadline ?? ROLLBACK_HOLD_DEADLINE_MS),
      drainDeadlineMs: parseDuration(cutover.drain?.deadline ?? DRAIN_DEADLINE_MS),
      quiesceDeadlineMs: parseDuration(cutover.quiesce?.deadline ?? QUIESCE_DEADLINE_MS),
      rollbackOnFailedChecks: cutover.rollbackOnFailedChecks ?? false,
    },
    checks: author.checks ?? [],
  };
}

function throttleOf({ maxRate, sourceLatency, replicaLag, replicas }: PlanAuthor['throttle'] = {}): Plan['throttle'] {
  return {
    maxRate: maxRate === undefined ? null : parseRate(maxRate),
    sourceLatencyMs: parseDuration(sourceLatency ?? SOURCE_LATENCY_MS),
    replicaLagMs: parseDuration(replicaLag ?? REPLICA_LAG_MS),
    replicas: replicas ?? [],
  };
}

function setupOf(command: string | SetupCommand): SetupCommand {
  return typeof command === 'string' ? { run: command } : command;
}

/** The host and port of an address that the schema accepted. A port alone listens on the loopback address. */
function listenOf(listen: PlanAuthor['gateway']['listen']): Plan['gateway']['listen'] {
  if (typeof listen === 'number') return { host: '127.0.0.1', port: listen };
  if (typeof listen === 'object') return { host: listen.host, port: listen.port };
  const colon = listen.lastIndexOf(':');
  return { host: listen.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(listen.slice(colon + 1)) };
}
