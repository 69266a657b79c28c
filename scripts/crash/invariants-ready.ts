import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { SETTINGS, type VerbResult } from './system.ts';
import { endOf, expectThat, monotonicMs, stateOf, type Bench } from './invariants-bench.ts';
import type { InvariantCase } from './invariants.ts';

/** What a busy machine may add to a lease until the legacy is released. */
const RECOVERY_SLACK_MS = 8_000;
const VERB_BEGINS_MS = 30_000;

/** A verb whose process stops itself (SIGSTOP) at `point`. Resolves when it has, with what becomes of the verb later. */
async function stoppedAt(
  bench: Bench,
  verb: 'cutover' | 'rollback',
  point: string,
): Promise<{ readonly pid: number; readonly ended: Promise<VerbResult> }> {
  const ended = bench.system.verb([verb], { CHANGEOVER_FAULT: `${point}:stop` });
  let pid = 0;
  const isStopped = () => {
    const { pid: owner, command } = bench.watch.owner();
    pid = command === `changeover ${verb}` ? owner : 0;
    return pid !== 0 && stateOf(pid) === 'T';
  };
  const stopped = bench.until(isStopped, `${verb} stops at ${point}`, VERB_BEGINS_MS);
  const early = await Promise.race([ended, stopped.then(() => null)]);
  expectThat(early === null, `${verb} never came to ${point}:\n${early?.output.slice(-3000) ?? ''}`);
  bench.endLater(pid);
  return { pid, ended };
}

/** How long the lease runs on from now, in the clock that it is written in. */
function leaseLeftMs(bench: Bench): number {
  const { leaseUntilMs } = bench.watch.row();
  expectThat(leaseUntilMs !== null, 'something is held without a lease');
  return Math.max(0, leaseUntilMs - monotonicMs());
}

/** The keeper, and nobody else, kills the stopped runner when its lease is over and goes back. */
export async function keeperReverts(
  bench: Bench,
  verb: 'cutover' | 'rollback',
  point: string,
  live: 'LIVE_OLD' | 'LIVE_NEW',
): Promise<string> {
  const { pid, ended } = await stoppedAt(bench, verb, point);
  const leftMs = leaseLeftMs(bench);
  const heldMs = await bench.until(
    () => bench.watch.row().state === live,
    `the keeper brings everything back to ${live}`,
    leftMs + RECOVERY_SLACK_MS,
  );
  expectThat(heldMs >= leftMs - 100, `the runner was killed ${Math.round(leftMs - heldMs)} ms before its lease ended`);
  expectThat(!bench.wake(pid), 'the stopped runner is still there to be woken');
  const result = await ended;
  expectThat(result.signal === 'SIGKILL', `the runner ended with ${endOf(result)}`);
  return `back ${Math.round(heldMs - leftMs)} ms after the lease`;
}

const runnerStopped = (state: 'LOCK' | 'FENCE'): InvariantCase => ({
  name: `a runner stopped in ${state} is killed after its lease, and the legacy serves on`,
  from: 'ready',
  play: (bench) => keeperReverts(bench, 'cutover', `cutover.${state}.done`, 'LIVE_OLD'),
});

const keeperAndRunnerKilled: InvariantCase = {
  name: 'keeper and runner killed inside a cutover: a new keeper goes back',
  from: 'ready',
  async play(bench) {
    const keeper = bench.keeperPid();
    const { pid, ended } = await stoppedAt(bench, 'cutover', 'cutover.FENCE.done');
    process.kill(keeper, 'SIGKILL');
    process.kill(pid, 'SIGKILL');
    const ms = await bench.until(() => bench.watch.row().state === 'LIVE_OLD', 'a new keeper goes back', 15_000);
    await ended;
    expectThat(bench.keeperPid() !== keeper, 'it was not a new keeper');
    return `held for ${Math.round(ms)} ms more`;
  },
};

const keeperStopped: InvariantCase = {
  name: 'a keeper stopped while it follows: a verb says who holds the journal, and gets it when the keeper wakes',
  from: 'ready',
  async play(bench) {
    const keeper = bench.keeperPid();
    const follows = () => bench.watch.owner().pid === keeper && !bench.watch.owner().isReleased;
    await bench.until(follows, 'the keeper follows', 10_000);
    bench.stop(keeper);
    const refused = await bench.system.verb(['cutover']);
    const says = refused.output.includes('CHG_ENGINE_OWNED') && refused.output.includes(String(keeper));
    expectThat(
      refused.code === 0 || says,
      `the verb ended with ${endOf(refused)} and does not name the keeper:\n${refused.output.slice(-1500)}`,
    );
    expectThat(bench.watch.row().state === (refused.code === 0 ? 'LIVE_NEW' : 'LIVE_OLD'), 'something is half done');
    bench.wake(keeper);
    await bench.verb(['run']);
    return refused.code === 0 ? 'the verb got it' : 'refused with its name';
  },
};

const workerStopped: InvariantCase = {
  name: 'a gateway worker stopped before a hold is killed by the runner, and its place is taken',
  from: 'ready',
  // The requests that the worker had already read.
  cutAllowed: 3,
  async play(bench) {
    const [worker] = bench.liveWorkers();
    expectThat(worker !== undefined, 'there is no worker');
    bench.stop(worker.pid);
    const { pid, ended } = await stoppedAt(bench, 'cutover', 'cutover.LOCK.done');
    expectThat(stateOf(worker.pid) === null, 'the stores are locked, and the stopped worker lives');
    process.kill(pid, 'SIGKILL');
    await ended;
    await bench.until(() => bench.watch.row().state === 'LIVE_OLD', 'the keeper goes back', 10_000);
    const ms = await bench.until(() => bench.liveWorkers().length === 2, 'there are two workers again', 10_000);
    return `two workers again ${Math.round(ms)} ms later`;
  },
};

const legacyStopped: InvariantCase = {
  name: 'a legacy that is stopped misses the deadline of the hold, is woken and serves on',
  from: 'ready',
  async play(bench) {
    const legacy = await bench.unitPid('legacy');
    bench.stop(legacy);
    const before = bench.watch.row().reason;
    const result = await bench.system.verb(['cutover']);
    const { state, side, reason } = bench.watch.row();
    expectThat(result.code !== 0 && side === 'legacy', `the cutover ended with ${endOf(result)} on ${side}`);
    expectThat(state === 'LIVE_OLD', `it ended in ${state}: ${reason ?? ''}`);
    expectThat(reason?.includes('aborted') !== true, `the reason says nothing: ${reason ?? ''}`);
    // A legacy stopped inside its own write keeps its store locked: then nothing was held at all.
    bench.wake(legacy);
    expectThat(await bench.create(bench.url, bench.newToken()), 'the legacy does not accept a write');
    return reason === before ? 'nothing was held' : (reason ?? '');
  },
};

const nextStopped: InvariantCase = {
  name: 'a new side that is stopped is woken before it opens',
  from: 'ready',
  async play(bench) {
    const next = await bench.unitPid('next');
    bench.stop(next);
    const result = await bench.system.verb(['cutover']);
    const { state, side, reason } = bench.watch.row();
    const isDone = result.code === 0 && state === 'LIVE_NEW';
    const isGivenUp = result.code !== 0 && state === 'LIVE_OLD';
    expectThat(isDone || isGivenUp, `the cutover ended with ${endOf(result)} on ${side} in ${state}: ${reason ?? ''}`);
    bench.wake(next);
    return isDone ? 'cut over' : 'given up';
  },
};

/** The target loses a row behind our back while requests are held: only the verification under the lock can see it. */
const targetDamaged: InvariantCase = {
  name: 'a row that vanished from the target during the hold stops the switch before the fence',
  from: 'ready',
  // A mapping by functions may add and drop rows, so the counts of both sides need not agree there.
  stores: ['sqlite'],
  async play(bench) {
    const { pid, ended } = await stoppedAt(bench, 'cutover', 'cutover.HOLD.done');
    const target = new DatabaseSync(path.join(bench.system.folder, 'next/data/next.db'), { timeout: 2000 });
    const withBypass = (change: () => void) => {
      target.exec('BEGIN IMMEDIATE; UPDATE changeover_gate SET bypass = 1');
      change();
      target.exec('UPDATE changeover_gate SET bypass = 0; COMMIT');
    };
    const row = target.prepare("SELECT * FROM notes WHERE token = 'seed-7'").get();
    expectThat(row !== undefined, 'the seed was not copied');
    withBypass(() => target.exec("DELETE FROM notes WHERE token = 'seed-7'"));
    bench.wake(pid);
    const result = await ended;
    const { state, reason } = bench.watch.row();
    expectThat(result.code !== 0 && state === 'LIVE_OLD', `the cutover ended with ${endOf(result)} in ${state}`);
    expectThat(reason?.includes('rows in the source') === true, `it went back for another reason: ${reason ?? ''}`);
    withBypass(() => {
      const names = Object.keys(row);
      target
        .prepare(`INSERT INTO notes (${names.join(', ')}) VALUES (${names.map(() => '?').join(', ')})`)
        .run(...Object.values(row));
    });
    target.close();
    return reason;
  },
};

const settingsEdited: InvariantCase = {
  name: 'settings edited after they were moved stop the switch before the fence',
  from: 'ready',
  needsSettings: true,
  async play(bench) {
    const file = path.join(bench.system.folder, 'legacy/.env');
    const { pid, ended } = await stoppedAt(bench, 'cutover', 'cutover.HOLD.done');
    await writeFile(file, (await readFile(file, 'utf8')).replace('50', '20'));
    bench.wake(pid);
    const result = await ended;
    const { state } = bench.watch.row();
    await writeFile(file, SETTINGS);
    expectThat(result.code !== 0 && state === 'LIVE_OLD', `the cutover ended with ${endOf(result)} in ${state}`);
  },
};

const supervisorKilled: InvariantCase = {
  name: 'a supervisor killed: service goes on, a new one and then a new keeper appear, and a cutover works',
  from: 'ready',
  async play(bench) {
    const supervisor = bench.supervisorPid();
    process.kill(supervisor, 'SIGKILL');
    const isThere = () => bench.supervisorPid() !== supervisor && stateOf(bench.supervisorPid()) !== null;
    const ms = await bench.until(isThere, 'a new supervisor appears', 15_000);
    const keeper = bench.keeperPid();
    process.kill(keeper, 'SIGKILL');
    await bench.until(() => bench.keeperPid() !== keeper, 'the new supervisor starts a new keeper', 15_000);
    await bench.verb(['cutover']);
    return `after ${Math.round(ms)} ms`;
  },
};

/** How long after the beginning of the hold a request under way is finished by its client. */
const UPLOAD_MS = 1200;
/** How long the legacy keeps a note in memory that it has acknowledged. */
const LATE_MS = 1000;
const LATE_EVERY_MS = 50;

const uploadUnderWay: InvariantCase = {
  name: 'a write that is under way when the hold begins is waited for',
  from: 'ready',
  async play(bench) {
    const token = bench.newToken();
    const upload = slowUpload(bench, token, () => bench.watch.row().state !== 'LIVE_OLD');
    const [status] = await Promise.all([upload, bench.verb(['cutover'])]);
    expectThat(status === 201, `it was answered ${status}`);
    const found = await bench.ask(bench.url, 'GET', `/notes/${token}`);
    expectThat(found === 200, 'it was acknowledged and is lost');
    return `an upload of ${UPLOAD_MS} ms`;
  },
};

const onlyInMemory: InvariantCase = {
  name: 'what is acknowledged and only in memory when the hold begins is waited for',
  from: 'ready',
  async play(bench) {
    const tokens: string[] = [];
    const senders: Promise<void>[] = [];
    const cutover = bench.verb(['cutover']);
    while (bench.watch.row().state === 'LIVE_OLD') {
      const token = bench.newToken();
      const body = { token, body: 'late', tags: [], ms: LATE_MS };
      const answer = bench.ask(bench.url, 'POST', '/slow', body, 30_000);
      senders.push(
        answer.then((status) => {
          expectThat(status === 202, `a late note was answered ${String(status)}`);
          tokens.push(token);
        }),
      );
      await sleep(LATE_EVERY_MS);
    }
    await Promise.all([...senders, cutover]);
    const missing: string[] = [];
    for (const token of tokens) if ((await bench.ask(bench.url, 'GET', `/notes/${token}`)) !== 200) missing.push(token);
    expectThat(missing.length === 0, `${missing.length} of ${tokens.length} acknowledged late notes are lost`);
    return `${tokens.length} late notes kept`;
  },
};

/** A write whose second half comes when everybody else is held already. */
async function slowUpload(bench: Bench, token: string, isHeld: () => boolean): Promise<number> {
  const text = JSON.stringify({ token, body: 'slow', tags: [] });
  const body = new ReadableStream<Uint8Array>({
    async start(controller) {
      controller.enqueue(Buffer.from(text.slice(0, 10)));
      while (!isHeld()) await sleep(5);
      await sleep(UPLOAD_MS);
      controller.enqueue(Buffer.from(text.slice(10)));
      controller.close();
    },
  });
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(`${bench.url}/notes`, { method: 'POST', body, duplex: 'half', headers });
  await response.arrayBuffer();
  return response.status;
}

/** They leave the run READY, but for the last one. */
export const READY_CASES: readonly InvariantCase[] = [
  runnerStopped('LOCK'),
  runnerStopped('FENCE'),
  keeperAndRunnerKilled,
  keeperStopped,
  workerStopped,
  legacyStopped,
  targetDamaged,
  settingsEdited,
  supervisorKilled,
];

/** Each ends on the new side. */
export const SWITCHING_CASES: readonly InvariantCase[] = [uploadUnderWay, onlyInMemory, nextStopped];
