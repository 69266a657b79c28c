import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Context, Progress } from '../plan/context.ts';
import { DEFAULT_THROTTLE } from '../plan/throttle.ts';
import { testContext } from '../testing/context.ts';
import { connectPostgres, testPostgres, type TestDatabase } from '../testing/databases.ts';
import { startPostgres, type ThrowawayPostgres } from '../testing/postgres.ts';
import { tempFolder, type TempFolder } from '../testing/temp.ts';
import { createDataMove, sync } from './move.ts';
import { postgres } from './stores/postgres/index.ts';

const ROWS = 20_000;

let server: ThrowawayPostgres;
let replica: ThrowawayPostgres;
let temp: TempFolder;
let legacy: TestDatabase;
let told: Progress[];
let warnings: string[];
let ctx: Context;
const opened: { close(): Promise<void> }[] = [];

beforeAll(async () => {
  server = await startPostgres();
  replica = await server.replica();
}, 60_000);
afterAll(async () => {
  await replica.stop();
  await server.stop();
});
beforeEach(async () => {
  temp = await tempFolder();
  told = [];
  warnings = [];
  const report = {
    progress: (one: Progress) => told.push(one),
    warn: (message: string) => warnings.push(message),
    log: () => undefined,
  };
  ctx = testContext(temp.path, { report });
  legacy = kept(await testPostgres(server.url));
  await legacy.exec('CREATE TABLE items (id bigint PRIMARY KEY, body text)');
  await legacy.exec(`INSERT INTO items SELECT id, 'row' FROM generate_series(1, ${ROWS}) AS id`);
});
afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each.close();
  await temp.remove();
});

const kept = <T extends { close(): Promise<void> }>(each: T): T => {
  opened.push(each);
  return each;
};
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe('a streaming replica', () => {
  it('that stops replaying holds the copy back until it goes on', { timeout: 60_000 }, async () => {
    const next = kept(await testPostgres(server.url));
    await next.exec('CREATE TABLE items (id bigint PRIMARY KEY, body text)');
    const items = { row: { to: (row: object) => ({ ...row }), back: (row: object) => ({ ...row }) } };
    const [from, to] = [postgres(legacy.address), postgres(next.address)];
    const definition = sync({ name: 'main', from, to, tables: { items }, chunkRows: 100 });
    const data = kept(createDataMove([definition], { throttle: { ...DEFAULT_THROTTLE, replicaLagMs: 100 } }));
    await data.prepare(ctx);
    const standby = kept(await connectPostgres(replica.url));
    await standby.exec('SELECT pg_wal_replay_pause()');
    const state = { isCopied: false };
    const copying = data.copy(ctx).finally(() => (state.isCopied = true));
    const isHeld = ({ held }: Progress) => held?.startsWith('the replica lag of postgres:') === true;
    while (!state.isCopied && !told.some(isHeld)) await pause(20);
    expect(state.isCopied).toBe(false);
    const countOf = async () => Number((await next.all('SELECT count(*) AS rows FROM items'))[0]?.['rows']);
    const before = await countOf();
    await pause(700);
    // What was under way when the lag was noticed is ended.
    expect(await countOf()).toBeLessThanOrEqual(before + 200);
    expect(await countOf()).toBeLessThan(ROWS);
    await standby.exec('SELECT pg_wal_replay_resume()');
    await copying;
    expect(await countOf()).toBe(ROWS);
    expect(told.at(-1)?.held).toBe(undefined);
  });

  it('is not seen by a role that may not, which is told once', async () => {
    await legacy.exec('CREATE ROLE limited LOGIN; GRANT SELECT ON items TO limited');
    const url = new URL(legacy.address);
    url.username = 'limited';
    const store = kept(await postgres(url.href).open(ctx, 'legacy'));
    expect(await store.replicaLagMs?.()).toBe(null);
    expect(await store.replicaLagMs?.()).toBe(null);
    expect(warnings).toEqual([expect.stringContaining('GRANT pg_read_all_stats')]);
  });
});
