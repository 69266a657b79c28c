import { lstat, mkdir, readdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Context } from '../plan/context.ts';
import { CRASH_POINTS } from '../plan/crash-points.ts';
import { testContext } from '../testing/context.ts';
import { isKilled } from '../testing/killed.ts';
import { tempFolder } from '../testing/temp.ts';
import type { TempFolder } from '../testing/temp.ts';
import { createSnapshot } from './index.ts';

const DEFINITION = { paths: ['.env', 'data'], sqlite: ['app.db'], compress: 'gzip' } as const;
const snapshot = createSnapshot(DEFINITION);
let temp: TempFolder;
let ctx: Context;

beforeEach(async () => {
  temp = await tempFolder();
  ctx = testContext(temp.path);
  await mkdir(join(ctx.root, 'data', 'sub'), { recursive: true });
  for (const name of ['a', 'b', 'sub/c']) await writeFile(join(ctx.root, 'data', name), name.repeat(1000));
  await symlink('a', join(ctx.root, 'data', 'link'));
  await writeFile(join(ctx.root, '.env'), 'A=1\n', { mode: 0o600 });
  const database = new DatabaseSync(join(ctx.root, 'app.db'));
  database.exec('PRAGMA journal_mode=WAL; CREATE TABLE t(a); INSERT INTO t VALUES (1)');
  database.close();
});
afterEach(() => temp.remove());

/** Runs one call in a process of its own that SIGKILLs itself when `point` is reached the `nth` time. */
function killedAt(point: string, nth: number, call: string): boolean {
  const script = `
    import { createSnapshot } from ${JSON.stringify(new URL('./index.ts', import.meta.url).href)};
    import { killAt, testContext } from ${JSON.stringify(new URL('../testing/context.ts', import.meta.url).href)};
    const ctx = testContext(${JSON.stringify(temp.path)}, { faults: killAt(${JSON.stringify(point)}, ${nth}) });
    const snapshot = createSnapshot(${JSON.stringify(DEFINITION)});
    await snapshot.${call};`;
  return isKilled(script);
}

async function contents(path: string, relative = ''): Promise<string[]> {
  const stat = await lstat(path, { bigint: true });
  const head = `${relative} ${stat.mode.toString(8)} ${stat.mtimeNs}`;
  if (stat.isSymbolicLink()) return [`${head} ${await readlink(path)}`];
  if (stat.isFile()) return [`${head} ${(await readFile(path)).toString('base64')}`];
  const names = (await readdir(path)).sort();
  return [
    relative === '' ? '' : head,
    ...(await Promise.all(names.map((name) => contents(join(path, name), `${relative}/${name}`)))).flat(),
  ];
}

const points = CRASH_POINTS.filter((point) => point.startsWith('snapshot.'));
const isOf = (verb: string) => (point: string) => point.startsWith(`snapshot.${verb}.`);
const takePoints = points.filter((point) => !isOf('restore')(point) && !isOf('drop')(point));

for (const point of takePoints) {
  test(`a take killed at ${point} is not taken, and goes on`, async () => {
    const legacy = await contents(ctx.root);
    for (const nth of [1, 2]) {
      if (!killedAt(point, nth, `take(ctx, 's')`)) continue;
      expect(await snapshot.isTaken(ctx, 's')).toBe(point === 'snapshot.manifest.renamed');
      expect(await contents(ctx.root)).toEqual(legacy);
    }
    await snapshot.take(ctx, 's');
    expect(await snapshot.verify(ctx, 's')).toMatchObject([{ outcome: 'PASS', measured: 5 }]);
    expect(await snapshot.compare(ctx, 's')).toEqual({ changed: [], added: [], missing: [] });
    expect(await readdir(join(ctx.stateDir, 'snapshots', 's'))).toEqual(
      point === 'snapshot.manifest.renamed' ? expect.anything() : ['manifest.jsonl', 'objects'],
    );
  });
}

for (const point of points.filter(isOf('restore'))) {
  test(`a restore killed at ${point} has lost nothing, and repeats to the same bytes`, async () => {
    await snapshot.take(ctx, 's');
    const taken = await contents(ctx.root);
    const live = new DatabaseSync(join(ctx.root, 'app.db'));
    live.exec('PRAGMA journal_mode=WAL; INSERT INTO t VALUES (2)');
    await rm(join(ctx.root, '.env'));
    await writeFile(join(ctx.root, 'data', 'a'), 'later a');
    await writeFile(join(ctx.root, 'data', 'added'), 'added later');
    expect(killedAt(point, 1, `restore(ctx, 's')`)).toBe(true);
    live.close();
    const everywhere = (await contents(ctx.root)).join('\n');
    if (point !== 'snapshot.restore.done') {
      expect(everywhere).toContain(Buffer.from('added later').toString('base64'));
      expect(everywhere).toContain(Buffer.from('later a').toString('base64'));
    }
    killedAt(point, 2, `restore(ctx, 's')`);
    await snapshot.restore(ctx, 's');
    const restored = await contents(ctx.root);
    const databaseBytes = (line: string): string => (line.startsWith('/app.db ') ? '/app.db' : line);
    expect(restored.map(databaseBytes)).toEqual(taken.map(databaseBytes));
    const database = new DatabaseSync(join(ctx.root, 'app.db'));
    expect(database.prepare('SELECT a FROM t').all()).toEqual([{ a: 1 }]);
    database.close();
  });
}

test('a drop killed half way is no snapshot any more, and ends when repeated', async () => {
  await snapshot.take(ctx, 's');
  expect(killedAt('snapshot.drop.unlisted', 1, `drop(ctx, 's')`)).toBe(true);
  expect(await snapshot.list(ctx)).toEqual([]);
  await snapshot.drop(ctx, 's');
  expect(await readdir(join(ctx.stateDir, 'snapshots'))).toEqual([]);
});
