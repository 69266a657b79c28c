import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Context } from '../plan/context.ts';
import type { DataPort } from '../plan/ports.ts';
import { testContext } from '../testing/context.ts';
import { testPostgres, type TestDatabase } from '../testing/databases.ts';
import { startPostgres, type ThrowawayPostgres } from '../testing/postgres.ts';
import { tempFolder, type TempFolder } from '../testing/temp.ts';
import { createDataMove, sync } from './move.ts';
import { postgres } from './stores/postgres/index.ts';

/** More than the copy row by row keeps to itself. */
const BULK_ROWS = 6000;

let server: ThrowawayPostgres;
let temp: TempFolder;
let warnings: string[];
let ctx: Context;
let legacy: TestDatabase;
let next: TestDatabase;
let data: DataPort;

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(async () => {
  await server.stop();
});
beforeEach(async () => {
  temp = await tempFolder();
  warnings = [];
  const warn = (text: string) => warnings.push(text);
  ctx = testContext(temp.path, { report: { progress: () => undefined, log: () => undefined, warn } });
  [legacy, next] = [await testPostgres(server.url), await testPostgres(server.url)];
  for (const db of [legacy, next])
    await db.exec('CREATE TABLE t (id int PRIMARY KEY, v text UNIQUE); CREATE TABLE other (v text)');
  data = move();
});
afterEach(async () => {
  await data.uninstall(ctx, { emptyTarget: false });
  await data.close();
  await legacy.close();
  await next.close();
  await temp.remove();
});

const store = ({ address }: TestDatabase) => postgres(address, { capture: 'log' });
const move = () => createDataMove([sync({ name: 'main', from: store(legacy), to: store(next), tables: { t: {} } })]);
const values = async (db: TestDatabase) =>
  (await db.all('SELECT id, v FROM t ORDER BY id')).map(({ id, v }) => `${String(id)} ${String(v)}`);
const noise = (db: TestDatabase) => db.exec("INSERT INTO other SELECT repeat('x', 1000) FROM generate_series(1, 5000)");

async function caughtUp(direction: 'forward' | 'reverse'): Promise<number> {
  for (let applied = 0; ;) {
    const pass = await data.catchUp(ctx, direction);
    applied += pass.applied;
    if (pass.applied + pass.pending === 0) return applied;
  }
}

/** Prepared in the order of a run, or with the way back captured before the first row is copied. */
async function copied({ isReverseFirst = false } = {}): Promise<void> {
  await data.prepare(ctx);
  if (isReverseFirst) await data.prepareReverse(ctx);
  await data.copy(ctx);
  await data.prepareReverse(ctx);
}

async function switched(direction: 'forward' | 'reverse'): Promise<void> {
  await caughtUp(direction);
  const locked = await data.lock(ctx, direction);
  await locked.applyToEmpty();
  await locked.fence();
  await data.unfence(ctx, direction === 'forward' ? 'next' : 'legacy');
}

describe('a move that reads the logs of both sides', () => {
  it('copies in bulk, follows, and takes nothing of its own for a change of the application on the way back', async () => {
    await legacy.exec(`INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, ${BULK_ROWS}) AS i`);
    await copied({ isReverseFirst: true });
    const [plan] = await next.all('SELECT seq FROM changeover_ledger ORDER BY seq');
    expect(plan).toMatchObject({ seq: -1 });
    await legacy.exec("UPDATE t SET v = 'changed' WHERE id = 1; DELETE FROM t WHERE id = 2");
    await switched('forward');
    expect(await caughtUp('reverse')).toBe(0);
    await next.exec("INSERT INTO t VALUES (0, 'next'); UPDATE t SET id = -3 WHERE id = 3");
    expect(await caughtUp('reverse')).toBe(3);
    expect(await values(legacy)).toEqual(await values(next));
    await switched('reverse');
    expect(await caughtUp('forward')).toBe(0);
    await legacy.exec('DELETE FROM t WHERE id = 4');
    expect(await caughtUp('forward')).toBe(1);
    expect(await values(legacy)).toEqual(await values(next));
  });

  it('says how far it is behind, and lets go of the log of the side that nobody follows', async () => {
    await copied();
    await noise(legacy);
    await noise(next);
    const before = await data.lags(ctx);
    expect(before.map(({ side }) => side)).toEqual(['legacy', 'next']);
    for (const { bytes, seconds, warning } of before) {
      expect(bytes).toBeGreaterThan(4_000_000);
      expect(seconds).not.toBeNull();
      expect(warning).toBeNull();
    }
    await caughtUp('forward');
    // A pass looks after the logs once a second.
    await expect
      .poll(
        async () => {
          await data.catchUp(ctx, 'forward');
          return (await data.lags(ctx)).every(({ bytes, seconds }) => bytes < 1_000_000 && seconds === 0);
        },
        { timeout: 10_000 },
      )
      .toBe(true);
  });

  it('warns when it falls behind, and again only when that has doubled', async () => {
    await copied();
    let nowMs = ctx.clock.monotonicMs();
    const clock = { ...ctx.clock, monotonicMs: () => nowMs };
    const behind = () => legacy.exec("INSERT INTO other SELECT repeat('x', 1900) FROM generate_series(1, 37000)");
    const look = async () => {
      nowMs += 10_000;
      await data.catchUp({ ...ctx, clock }, 'reverse');
    };
    await behind();
    await look();
    expect(warnings).toMatchObject([expect.stringMatching(/following is behind by \d\d MiB of log/)]);
    await behind();
    await look();
    expect(warnings).toHaveLength(1);
  });

  it('locks a table that was truncated a moment before, and moves it', async () => {
    await legacy.exec("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    await copied();
    await legacy.exec("TRUNCATE t; INSERT INTO t VALUES (3, 'a')");
    const locked = await data.lock(ctx, 'forward');
    await locked.applyToEmpty();
    await locked.release();
    expect(await values(next)).toEqual(['3 a']);
  });

  it.each([
    ['went', 'pg_drop_replication_slot(slot_name)', 'CHG_DATA_SLOT_LOST'],
    [
      'was read by somebody else',
      'pg_replication_slot_advance(slot_name, pg_current_wal_lsn())',
      'CHG_DATA_CAPTURE_BROKEN',
    ],
  ])('finds under the lock that the slot %s, and lets go', async (_, act, code) => {
    await copied();
    const locked = await data.lock(ctx, 'forward');
    await noise(legacy);
    await legacy.exec(`SELECT ${act} FROM pg_replication_slots WHERE database = current_database()`);
    await expect(locked.applyToEmpty()).rejects.toMatchObject({ code });
    await locked.release();
    await legacy.exec("INSERT INTO t VALUES (1, 'after')");
    await caughtUp('forward');
    expect(warnings).toMatchObject([expect.stringContaining('captured anew and compared whole')]);
    expect(await values(next)).toEqual(['1 after']);
  });

  it.each(['triggers', 'log'] as const)('names the table that is gone at the lock, captured by %s', async (capture) => {
    await data.close();
    const from = postgres(legacy.address, { capture });
    data = createDataMove([sync({ name: 'main', from, to: store(next), tables: { t: {}, other: {} } })]);
    for (const db of [legacy, next]) await db.exec('ALTER TABLE other ADD COLUMN id int PRIMARY KEY');
    await copied();
    await legacy.exec('DROP TABLE other');
    await expect(data.lock(ctx, 'forward')).rejects.toMatchObject({
      code: 'CHG_DATA_TABLE_MISSING',
      message: expect.stringContaining('there is no table other') as string,
    });
    await expect(data.catchUp(ctx, 'forward')).rejects.toMatchObject({ code: 'CHG_DATA_TABLE_MISSING' });
    await legacy.exec('CREATE TABLE other (id int PRIMARY KEY, v text)');
  });
});
