import { liveSide } from '../../plan/authority.ts';
import type { Context } from '../../plan/context.ts';
import type { Owner } from '../ownership.ts';
import { holdRecorder } from './held.ts';
import type { Parts } from './parts.ts';

/** Before the first run, and for verbs that only read. */
const NO_RUN = 'none';

/** The context of work done under ownership: messages reach the journal and the screen. */
export function ownedContext(parts: Parts, owner: Owner, signal: AbortSignal): Context {
  const runId = parts.journal.currentRun()?.id;
  const recordHold = holdRecorder(owner);
  return {
    ...readContext(parts, signal),
    runId: runId ?? NO_RUN,
    // Getters: the epoch of an owner may grow while its context lives, and the side may change.
    get epoch() {
      return owner.epoch;
    },
    get liveSide() {
      return liveSide(parts.journal.authority());
    },
    report: {
      progress: recordHold,
      warn(message) {
        if (runId !== undefined) owner.message(runId, 'warning', message);
        parts.emit({ event: 'warning', message });
      },
      log(message) {
        if (runId !== undefined) owner.message(runId, 'log', message);
        parts.emit({ event: 'log', message });
      },
    },
  };
}

/** The context of work that changes nothing. Its epoch is older than any owner's, so a store would refuse a write made with it. */
export function readContext(parts: Parts, signal: AbortSignal): Context {
  return {
    root: parts.root,
    stateDir: parts.stateDir,
    runId: parts.journal.currentRun()?.id ?? NO_RUN,
    epoch: 0,
    get liveSide() {
      return liveSide(parts.journal.authority());
    },
    signal,
    faults: parts.faults,
    clock: parts.clock,
    report: {
      progress: () => undefined,
      warn: (message) => {
        parts.emit({ event: 'warning', message });
      },
      log: (message) => {
        parts.emit({ event: 'log', message });
      },
    },
  };
}
