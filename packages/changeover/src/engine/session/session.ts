import type { Changeover, RunOutcome } from '../../plan/api.ts';
import type { Context } from '../../plan/context.ts';
import { parseRate } from '../../plan/rate.ts';
import { readContext } from './context.ts';
import { finish, uninstall } from './finish.ts';
import type { Parts } from './parts.ts';
import { briefOf, planReport, statusOf } from './report.ts';
import { restore } from './restore.ts';
import { allFindings } from './run-steps.ts';
import { owning, runChecks, runToReady } from './run.ts';
import { cutover, rollback } from './switch.ts';

/** One plan with its journal: what the command line and the console drive. */
export function createSession(parts: Parts): Changeover {
  const reading = (signal: AbortSignal = never()): Context => readContext(parts, signal);
  return {
    check: ({ signal } = {}) => allFindings(reading(signal), parts),
    plan: ({ signal } = {}) => planReport(reading(signal), parts),
    brief: (decision) => briefOf(reading(), parts, decision),
    status: () => statusOf(reading(), parts),

    async run({ until, through = false, maxRate, signal = never() } = {}) {
      if (maxRate !== undefined) parts.data.limitRate(parseRate(maxRate));
      const outcome = await runToReady(parts, until, signal);
      if (!through || outcome.status !== 'ready') return outcome;
      const switched = await cutover(parts, signal);
      return { status: switched.reverted === null ? 'live' : 'ready', verdicts: switched.verdicts };
    },

    cutover: ({ signal = never() } = {}) => cutover(parts, signal),

    async verify({ signal } = {}) {
      const ctx = reading(signal);
      const direction = parts.journal.authority().side === 'legacy' ? 'forward' : 'reverse';
      // The plan's own `rows()` is the same comparison.
      const comparesRows = parts.plan.checks.some(({ name }) => name === 'rows');
      const verdicts = comparesRows ? [] : await parts.data.verify(ctx, direction, 'full');
      return [...verdicts, ...(await runChecks(ctx, parts))];
    },

    async traffic(action) {
      const ctx = reading();
      if (action === 'start') await parts.gateway.start(ctx);
      if (action === 'stop') await parts.gateway.stop(ctx);
      if (action === 'hold') parts.journal.setOperatorHold(true);
      if (action === 'release') parts.journal.setOperatorHold(false);
      return (await parts.gateway.isRunning(ctx)) ? parts.gateway.stats(ctx) : null;
    },

    async rollback({ dryRun = false, signal = never() } = {}) {
      const outcome: RunOutcome = dryRun
        ? { status: parts.journal.currentRun()?.status ?? 'rolled_back', verdicts: [] }
        : await rollback(parts, signal);
      const tables = await parts.data.describe(reading(signal));
      return { ...outcome, legacy: tables.map(({ name, rows, unit }) => ({ table: name, rows, unit })) };
    },

    snapshots: () => parts.snapshot.list(reading()),

    async restore(id, { dryRun = false, signal = never() } = {}) {
      const { changed, added, missing } = await parts.snapshot.compare(reading(), id);
      const lost = [...changed.map((file) => `changed since: ${file}`), ...added.map((file) => `added since: ${file}`)];
      if (!dryRun) await owning(parts, 'restore', signal, (owner, ctx) => restore(ctx, parts, owner, id));
      return { lost, restored: changed.length + missing.length };
    },

    finish: ({ signal = never() } = {}) => finish(parts, signal),
    uninstall: ({ signal = never() } = {}) => uninstall(parts, signal),

    async close() {
      await parts.data.close();
      parts.journal.close();
    },
  };
}

function never(): AbortSignal {
  return new AbortController().signal;
}
