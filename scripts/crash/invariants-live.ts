import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { endOf, expectThat, type Bench } from './invariants-bench.ts';
import { keeperReverts } from './invariants-ready.ts';
import type { InvariantCase } from './invariants.ts';

/** Read from the legacy's own store: its process may be stopped or refuse. */
async function isInLegacy(bench: Bench, token: string): Promise<boolean> {
  const folder = path.join(bench.system.folder, 'legacy/data');
  if (bench.system.store === 'files') return (await readFile(path.join(folder, 'notes.log'), 'utf8')).includes(token);
  const store = new DatabaseSync(path.join(folder, 'notes.db'), { readOnly: true, timeout: 2000 });
  try {
    return store.prepare('SELECT 1 FROM notes WHERE token = ?').get(token) !== undefined;
  } finally {
    store.close();
  }
}

const fenceHolds: InvariantCase = {
  name: "after the cutover the old side's own address accepts no write",
  from: 'live',
  async play(bench) {
    const legacy = bench.urlOf('legacy');
    const token = bench.newToken();
    const body = { token, body: 'around the gateway', tags: [] };
    const answers = [
      await bench.ask(legacy, 'POST', '/notes', body),
      await bench.ask(legacy, 'PUT', '/notes/seed-3', { ...body, token: 'seed-3' }),
      await bench.ask(legacy, 'DELETE', '/notes/seed-3'),
    ];
    const accepted = answers.filter((status) => status !== null && status < 300);
    expectThat(accepted.length === 0, `it answered ${answers.join(', ')}`);
    expectThat(!(await isInLegacy(bench, token)), 'a refused note is in its store');
    expectThat(await isInLegacy(bench, 'seed-3'), 'a refused deletion was made');
    return `answered ${answers.map((status) => status ?? 'nothing').join(', ')}`;
  },
};

const runnerStopped: InvariantCase = {
  name: 'a runner stopped inside a rollback is killed after its lease, and the new side serves on',
  from: 'live',
  play: (bench) =>
    keeperReverts(
      bench,
      'rollback',
      `cutover.${bench.system.store === 'sqlite' ? 'RB_FENCE' : 'RB_LOCK'}.done`,
      'LIVE_NEW',
    ),
};

const nextStopped: InvariantCase = {
  name: 'a new side that is stopped while it serves: the rollback gives up at its deadline and wakes it',
  from: 'live',
  async play(bench) {
    const next = await bench.unitPid('next');
    bench.stop(next);
    const before = bench.watch.row().reason;
    const result = await bench.system.verb(['rollback']);
    const { state, reason } = bench.watch.row();
    expectThat(result.code !== 0 && state === 'LIVE_NEW', `the rollback ended with ${endOf(result)} in ${state}`);
    bench.wake(next);
    expectThat(await bench.create(bench.url, bench.newToken()), 'the new side does not accept a write');
    return reason === before ? 'nothing was held' : (reason ?? '');
  },
};

const keeperKilled: InvariantCase = {
  name: 'a keeper killed after the cutover comes back and goes on carrying changes to the legacy',
  from: 'live',
  async play(bench) {
    const keeper = bench.keeperPid();
    process.kill(keeper, 'SIGKILL');
    await bench.until(() => bench.keeperPid() !== keeper, 'it comes back', 15_000);
    const token = bench.newToken();
    expectThat(await bench.create(bench.url, token), 'the new side does not accept a write');
    const ms = await bench.until(() => isInLegacy(bench, token), 'the legacy gets what was written since', 15_000);
    return `a note is in the legacy after ${Math.round(ms)} ms`;
  },
};

const nothingRises: InvariantCase = {
  name: 'run, rollback, delete on the legacy, run again: nothing rises from the dead',
  from: 'live',
  stores: ['sqlite'],
  async play(bench) {
    const token = bench.newToken();
    const tokens = ['seed-11', 'seed-149', token];
    expectThat(await bench.create(bench.url, token), 'the new side does not accept a write');
    await bench.verb(['rollback']);
    for (const each of tokens) {
      const status = await bench.ask(bench.url, 'DELETE', `/notes/${each}`);
      expectThat(status === 200, `deleting ${each} was answered ${String(status)}`);
    }
    await bench.verb(['run', '--through']);
    for (const each of tokens) {
      const status = await bench.ask(bench.url, 'GET', `/notes/${each}`);
      expectThat(status === 404, `${each} was deleted and is answered ${String(status)}`);
    }
    return `${tokens.length} deleted`;
  },
};

export const LIVE_CASES: readonly InvariantCase[] = [
  fenceHolds,
  runnerStopped,
  nextStopped,
  keeperKilled,
  nothingRises,
];
