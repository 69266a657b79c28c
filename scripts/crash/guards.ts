/**
 * What keeps the promises, guard by guard. `npm run test:crash -- --only guards` takes each of them out of a copy of the sources and sees
 * that its proof fails: a guard whose removal nobody notices is none. A guard that moved must be moved here too.
 */
export interface Guard {
  readonly name: string;
  /** Below `packages/changeover/src`. */
  readonly file: string;
  /** Must be there exactly once. */
  readonly find: string;
  readonly replace: string;
  readonly proof: Proof;
}

/** The smallest test that notices: one of a test file, or one invariant of the running system. */
export type Proof = { readonly file: string; readonly test: string } | { readonly invariant: string };

export const GUARDS: readonly Guard[] = [
  // --- who may write the journal
  {
    name: 'every write of an owner checks its epoch',
    file: 'engine/ownership.ts',
    find: '      this.check();\n      return change(database);',
    replace: '      return change(database);',
    proof: { file: 'engine/ownership.test.ts', test: 'every way of writing is refused' },
  },
  {
    name: 'the authority changes by compare-and-set only',
    file: 'engine/authority.ts',
    find: 'if (now.version !== expectedVersion) {',
    replace: 'if (now.version < expectedVersion) {',
    proof: { file: 'engine/journal.test.ts', test: 'refuses a change that was decided on an older version' },
  },
  {
    name: 'a silent owner is killed before its ownership is taken',
    file: 'engine/journal.ts',
    find: "if (pid !== null && pid !== process.pid) process.kill(pid, 'SIGKILL');",
    replace: '',
    proof: { file: 'engine/ownership.test.ts', test: 'kills the stopped owner that was seen' },
  },
  {
    name: 'a step whose outcome is not known is asked for it before it is done again',
    file: 'engine/execute.ts',
    find: "const isDone = record !== undefined && (await probe(execution, record.before)) === 'done';",
    replace: 'const isDone = record === undefined && false;',
    proof: { file: 'engine/execute.test.ts', test: 'is not done again when its probe sees that it acted' },
  },
  {
    name: 'the keeper ends a runner whose lease is over',
    file: 'engine/session/keeper.ts',
    find: "if (task.kind === 'follow' || !isLeaseOver(parts)) return null;",
    replace: 'if (info.pid > 0) return null;',
    proof: { invariant: 'a runner stopped in LOCK is killed after its lease, and the legacy serves on' },
  },
  {
    name: 'the keeper leaves a runner alone until its lease is over',
    file: 'engine/session/keeper.ts',
    find: "if (task.kind === 'follow' || !isLeaseOver(parts)) return null;",
    replace: "if (task.kind === 'follow') return null;",
    proof: { invariant: 'a runner stopped in LOCK is killed after its lease, and the legacy serves on' },
  },

  // --- the switch
  {
    name: 'every worker acknowledges the hold',
    file: 'engine/cutover/forward.ts',
    find: '  await parts.gateway.acknowledged(deadline.ctx, held.version, deadline.untilMs);\n',
    replace: '',
    proof: { invariant: 'a gateway worker stopped before a hold is killed by the runner, and its place is taken' },
  },
  {
    name: 'requests under way are waited for',
    file: 'engine/cutover/forward.ts',
    find: "  await parts.gateway.drained(deadline.ctx, 'legacy', Math.min(deadline.untilMs, drainUntilMs));\n",
    replace: '',
    proof: { invariant: 'a write that is under way when the hold begins is waited for' },
  },
  {
    name: 'the legacy is quiesced',
    file: 'engine/cutover/forward.ts',
    find: '  for (const unit of parts.legacy) await unit.quiesce(deadline.ctx, untilMs);\n',
    replace: '',
    proof: { invariant: 'what is acknowledged and only in memory when the hold begins is waited for' },
  },
  {
    name: 'settings are hashed again under the lock',
    file: 'engine/cutover/forward.ts',
    find: '    await assertSettingsUnchanged(ctx, parts);\n',
    replace: '',
    proof: { invariant: 'settings edited after they were moved stop the switch before the fence' },
  },
  {
    name: 'nothing is fenced that is not proven equal',
    file: 'engine/cutover/forward.ts',
    find: "    assertProven(verdicts, 'forward');\n    await locked.sequences();",
    replace: '    await locked.sequences();',
    proof: { invariant: 'a row that vanished from the target during the hold stops the switch before the fence' },
  },
  {
    name: 'going back takes the fence away before the release',
    file: 'engine/cutover/revert.ts',
    find: "  await parts.data.unfence(ctx, 'legacy');\n",
    replace: '',
    proof: { invariant: 'a runner stopped in FENCE is killed after its lease, and the legacy serves on' },
  },

  // --- the stores
  {
    name: 'every transaction of ours passes the gate of the store that it writes to',
    file: 'data/stores/sqlite/connection.ts',
    find: "if (gate > epoch) throw new ChangeoverError('CHG_DATA_EPOCH_STALE', { store: this.store, epoch, gate });",
    replace: '',
    proof: { file: 'data/protocol.test.ts', test: 'cannot fence, unfence, lock or capture any more (sqlite)' },
  },
  {
    name: 'the fence is made in the transaction of the lock',
    file: 'data/stores/sqlite/open-sqlite.ts',
    find: "        this.#createFence(tables);\n        connection.ctx.faults.at('data.fence.before_commit');\n        connection.endLock",
    replace: "        connection.ctx.faults.at('data.fence.before_commit');\n        connection.endLock",
    proof: { file: 'data/protocol.test.ts', test: 'is gone when its process dies before the commit' },
  },
  {
    name: 'what we apply is not captured as a change of its own',
    file: 'data/stores/sqlite/triggers.ts',
    find: '${head} ON ${table} WHEN ${FOREIGN_WRITE} BEGIN ${body} END`',
    replace: '${head} ON ${table} BEGIN ${body} END`',
    proof: { file: 'data/stores/sqlite/sqlite.test.ts', test: 'is not captured as a change of its own' },
  },
  {
    name: 'a chunk that is in the ledger is not written again',
    file: 'data/stores/sqlite/write.ts',
    find: '        if (batch.ledger !== undefined && isInLedger(connection, batch.ledger)) return;\n',
    replace: '',
    proof: { file: 'data/stores/sqlite/sqlite.test.ts', test: 'of a chunk that is in the ledger changes nothing' },
  },
  {
    name: 'keys that REPLACE deletes are captured',
    file: 'data/stores/sqlite/triggers.ts',
    find: '    ...before,\n',
    replace: '',
    proof: {
      file: 'data/stores/sqlite/sqlite.test.ts',
      test: 'that INSERT OR REPLACE on a unique column changes or deletes',
    },
  },
  {
    name: 'the place in one log of changes is not taken for a place in another',
    file: 'data/stores/sqlite/capture.ts',
    find: '      if (!this.#exists()) connection.renewIdentity();\n',
    replace: '',
    proof: { file: 'data/stores/sqlite/sqlite.test.ts', test: 'begins anew with a log that was removed' },
  },
  {
    name: 'a capture that was taken away is found under the lock',
    file: 'data/move.ts',
    find: '      if (damages.length > 0)\n        throw',
    replace: '      if (damages.length > 99)\n        throw',
    proof: { file: 'data/move.test.ts', test: 'notices under the lock that its capture is not intact' },
  },
  {
    name: 'changes are applied only after the last chunk',
    file: 'data/move.ts',
    find: '!(await sync.isCopied(ctx))) return false;',
    replace: 'false) return false;',
    proof: { file: 'data/move.test.ts', test: 'applies nothing before the last chunk' },
  },
  {
    name: 'a second run empties what the first one left',
    file: 'data/move.ts',
    find: '      else if (!(await this.#hasLedger(ctx, used, store))) await store.empty(used.tables, ctx.epoch);\n',
    replace: '',
    proof: { file: 'data/protocol.test.ts', test: 'does not trust the first one' },
  },

  // --- columns beside the old ones
  {
    name: 'old columns are dropped only while the new side serves',
    file: 'data/expand/expansions.ts',
    find: "const isContraction = !emptyTarget && ctx.liveSide === 'next';",
    replace: 'const isContraction = !emptyTarget;',
    proof: { file: 'data/expand/expand.test.ts', test: 'never drops an old column while the legacy serves' },
  },
  {
    name: 'a verification asks whether the trigger is as it was made',
    file: 'data/expand/verification.ts',
    find: '  if (!isIntact) return',
    replace: '  if (false) return',
    proof: { file: 'data/expand/expand.test.ts', test: 'says which rows are out of step' },
  },
  {
    name: 'an index that was not finished is made anew',
    file: 'data/expand/build.ts',
    find: 'if (isValid === true) return;',
    replace: 'if (isValid !== null) return;',
    proof: { file: 'data/expand/expand.test.ts', test: 'makes an index anew that somebody left INVALID' },
  },
  // --- the gateway
  {
    name: 'admission looks at the hold before it picks a side',
    file: 'traffic/admission.ts',
    find: 'const isHeld = this.#isHeld(request.writes);',
    replace: 'const isHeld = false;',
    proof: { file: 'traffic/admission.test.ts', test: 'whatever happens in whatever order' },
  },
  {
    name: 'a request is counted in flight in the step that lets it go',
    file: 'traffic/admission.ts',
    find: '      this.#ledger.inFlight[this.#side] += 1;\n      request.proceed(this.#side);\n      return;',
    replace: '      request.proceed(this.#side);\n      return;',
    proof: { file: 'traffic/admission.test.ts', test: 'whatever happens in whatever order' },
  },
  {
    name: 'a worker that is silent during a hold is killed',
    file: 'traffic/gateway.ts',
    find: "if (monotonicMs() - report.atMs > settings.silentMs) signalProcess(report, 'SIGKILL');",
    replace: '',
    proof: { file: 'traffic/hold.test.ts', test: 'a worker stopped with SIGSTOP is killed' },
  },
  {
    name: 'an authority that cannot be read holds everything',
    file: 'traffic/follower.ts',
    find: '      admission.holdAll();\n',
    replace: '',
    proof: { file: 'traffic/hold.test.ts', test: 'an authority that cannot be read holds everything until it can' },
  },
];
