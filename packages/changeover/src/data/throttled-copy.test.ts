import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Context, Progress } from '../plan/context.ts';
import type { TableMapping } from '../plan/sync.ts';
import { DEFAULT_THROTTLE, type ThrottleLimits } from '../plan/throttle.ts';
import { testContext } from '../testing/context.ts';
import { connectPostgres, testPostgres, testSqlite, type TestDatabase } from '../testing/databases.ts';
import { startPostgres, type ThrowawayPostgres } from '../testing/postgres.ts';
import { tempFolder, type TempFolder } from '../testing/temp.ts';
import { createDataMove, sync } from './move.ts';
import { postgres } from './stores/postgres/index.ts';
import { sqlite } from './stores/sqlite/index.ts';

const SCHEMA = 'CREATE TABLE items (id bigint PRIMARY KEY, body text)';

let server: ThrowawayPostgres;
let temp: TempFolder;
let told: Progress[];
let ctx: Context;
const opened: { close(): Promise<void> }[] = [];

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(async () => {
  await server.stop();
});
beforeEach(async () => {
  temp = await tempFolder();
  told = [];
  const report = { progress: (one: Progress) => told.push(one), warn: () => undefined, log: () => undefined };
  ctx = testContext(temp.path, { report });
});
afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each.close();
  await temp.remove();
});

const kept = <T extends { close(): Promise<void> }>(each: T): T => {
  opened.push(each);
  return each;
};
const storeOf = ({ kind, address }: TestDatabase) => (kind === 'sqlite' ? sqlite(address) : postgres(address));
const plain: TableMapping = {};
/** Only the copy row by row knows how to use a function. */
const byRow: TableMapping = { row: { to: (row) => row, back: (row) => row } };

function moveOf(
  from: TestDatabase,
  to: TestDatabase,
  limits: Partial<ThrottleLimits>,
  items = plain,
  chunkRows = 1000,
) {
  const definition = sync({ name: 'main', from: storeOf(from), to: storeOf(to), tables: { items }, chunkRows });
  return kept(createDataMove([definition], { throttle: { ...DEFAULT_THROTTLE, ...limits } }));
}

async function filled(db: TestDatabase, rows: number, bytes: number): Promise<TestDatabase> {
  const body = db.kind === 'sqlite' ? `printf('%.*c', ${bytes}, 'x')` : `repeat('x', ${bytes})`;
  await db.exec(SCHEMA);
  await db.exec(
    `WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < ${rows}) INSERT INTO items SELECT id, ${body} FROM n`,
  );
  return db;
}
const newPostgres = async () => kept(await testPostgres(server.url));
const empty = async (db: TestDatabase) => {
  await db.exec(SCHEMA);
  return db;
};
const countOf = async (db: TestDatabase) => Number((await db.all('SELECT count(*) AS rows FROM items'))[0]?.['rows']);

describe('a rate', () => {
  async function copied(from: TestDatabase, limits: Partial<ThrottleLimits>, items?: TableMapping): Promise<number> {
    const next = await empty(await newPostgres());
    const data = moveOf(from, next, limits, items);
    await data.prepare(ctx);
    const sinceMs = ctx.clock.monotonicMs();
    await data.copy(ctx);
    const tookMs = ctx.clock.monotonicMs() - sinceMs;
    expect(await countOf(next)).toBe(await countOf(from));
    expect(told.at(-1)?.done).toBe(await countOf(from));
    return tookMs;
  }

  // Never faster, whatever else the machine does; only the last piece is not waited for.
  it('of rows holds for a copy row by row', async () => {
    const from = await filled(kept(testSqlite(temp.path, 'legacy.db')), 8000, 20);
    const tookMs = await copied(from, { maxRate: { perSecond: 4000, unit: 'rows' } }, byRow);
    expect(tookMs).toBeGreaterThan(1500);
    expect(told.some(({ held }) => held === 'the rate of at most 4000 rows/s')).toBe(true);
    expect(told.at(-1)?.bytes).toEqual({ done: 8000 * 28, total: 8000 * 28 });
  });

  it('of bytes holds for all threads of a copy in bulk together, from SQLite', async () => {
    const from = await filled(kept(testSqlite(temp.path, 'legacy.db')), 10_000, 2000);
    const tookMs = await copied(from, { maxRate: { perSecond: 10_000_000, unit: 'bytes' } });
    // Each thread may have one batch of half a megabyte under way.
    expect(tookMs).toBeGreaterThan(1500);
    expect(told.some(({ held }) => held?.includes('10 MB/s') === true)).toBe(true);
    // Every byte counts, the last ones of each range too.
    const bytes = told.at(-1)?.bytes;
    expect(bytes?.done).toBeGreaterThan(10_000 * 2000);
    expect(Math.abs((bytes?.total ?? 0) / (10_000 * 2018) - 1)).toBeLessThan(0.01);
  });

  it('of bytes holds for all threads of a copy in bulk together, from Postgres', async () => {
    const from = await filled(await newPostgres(), 10_000, 2000);
    const tookMs = await copied(from, { maxRate: { perSecond: 10_000_000, unit: 'bytes' } });
    expect(tookMs).toBeGreaterThan(1500);
    const bytes = told.at(-1)?.bytes;
    expect(bytes?.done).toBeGreaterThan(10_000 * 2000);
    expect(Math.abs((bytes?.total ?? 0) / (10_000 * 2023) - 1)).toBeLessThan(0.01);
  });

  it('of rows holds for a copy in bulk from Postgres, which tells no rows before the end of a range', async () => {
    const from = await filled(await newPostgres(), 10_000, 100);
    expect(await copied(from, { maxRate: { perSecond: 5000, unit: 'rows' } })).toBeGreaterThan(1500);
  });

  it('holds for a full verification, and not for a copy that has no rate', async () => {
    const from = await filled(await newPostgres(), 10_000, 100);
    const next = await empty(await newPostgres());
    const data = moveOf(from, next, {});
    await data.prepare(ctx);
    await data.copy(ctx);
    expect(told.every(({ held }) => held?.startsWith('the rate') !== true)).toBe(true);
    data.limitRate({ perSecond: 5000, unit: 'rows' });
    const sinceMs = ctx.clock.monotonicMs();
    expect(await data.verify(ctx, 'forward', 'full')).toMatchObject([{ outcome: 'PASS', measured: 10_000 }]);
    expect(await data.verify(ctx, 'forward', 'full')).toMatchObject([{ outcome: 'PASS', measured: 10_000 }]);
    expect(ctx.clock.monotonicMs() - sinceMs).toBeGreaterThan(1500);
  });

  it('does not hold for the last changes under the lock', async () => {
    const legacy = await filled(await newPostgres(), 1000, 10);
    const next = await empty(await newPostgres());
    const data = moveOf(legacy, next, {});
    await data.prepare(ctx);
    await data.copy(ctx);
    await legacy.exec("UPDATE items SET body = 'changed'");
    // A hundred seconds for the changes alone.
    data.limitRate({ perSecond: 10, unit: 'rows' });
    const sinceMs = ctx.clock.monotonicMs();
    const locked = await data.lock(ctx, 'forward');
    expect((await locked.applyToEmpty()).applied).toBe(1000);
    expect(await locked.verify('changed')).toMatchObject([{ outcome: 'PASS' }]);
    await locked.release();
    expect(ctx.clock.monotonicMs() - sinceMs).toBeLessThan(30_000);
  });

  it('leaves a pass of the catch-up soon, with what is pending', async () => {
    const legacy = await filled(await newPostgres(), 3000, 10);
    const next = await empty(await newPostgres());
    const data = moveOf(legacy, next, {});
    await data.prepare(ctx);
    await data.copy(ctx);
    await legacy.exec("UPDATE items SET body = 'changed'");
    data.limitRate({ perSecond: 10, unit: 'rows' });
    const first = await data.catchUp(ctx, 'forward');
    expect(first).toEqual({ applied: 1000, pending: 2000 });
    expect(await data.catchUp(ctx, 'forward')).toEqual({ applied: 0, pending: 2000 });
    data.limitRate({ perSecond: 1_000_000, unit: 'rows' });
    for (let pass = 0; pass < 20 && (await data.catchUp(ctx, 'forward')).pending > 0; pass++);
    expect(await next.all("SELECT count(*)::int AS rows FROM items WHERE body = 'changed'")).toEqual([{ rows: 3000 }]);
  });
});

describe('the latency of the source', () => {
  it('makes the copy rest while locks keep its readers waiting again and again, and says so', async () => {
    const legacy = await filled(await newPostgres(), 12_000, 10);
    const next = await empty(await newPostgres());
    const data = moveOf(legacy, next, { sourceLatencyMs: 20 }, byRow, 200);
    await data.prepare(ctx);
    const locker = kept(await connectPostgres(legacy.address));
    const state = { isCopied: false };
    const copying = data.copy(ctx).finally(() => (state.isCopied = true));
    const isHeld = ({ held }: Progress) => /^the latency of postgres:.* ms, at most 20 ms\)$/.test(held ?? '');
    while (!state.isCopied && !told.some(isHeld))
      await locker.exec('BEGIN; LOCK TABLE items IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(0.1); COMMIT');
    await copying;
    expect(told.filter(isHeld).length).toBeGreaterThan(0);
    expect(await countOf(next)).toBe(12_000);
  });

  it('is measured by the clock of the server, with the time that a row waits for a lock', async () => {
    const legacy = await filled(await newPostgres(), 10, 10);
    const store = kept(await postgres(legacy.address).open(ctx, 'legacy'));
    expect(await store.latencyMs?.('items')).toBeLessThan(1000);
    const locker = kept(await connectPostgres(legacy.address));
    await locker.exec('BEGIN; LOCK TABLE items IN ACCESS EXCLUSIVE MODE');
    const measured = store.latencyMs?.('items');
    await locker.exec('SELECT pg_sleep(0.4)');
    await locker.exec('COMMIT');
    expect(await measured).toBeGreaterThan(300);
  });
});
