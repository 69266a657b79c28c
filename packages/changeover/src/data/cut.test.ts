import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { cuttingProxy, type CuttingProxy } from '../testing/cutting-proxy.ts';
import { testContext } from '../testing/context.ts';
import { testPostgres, testSqlite, type TestDatabase } from '../testing/databases.ts';
import { startPostgres, type ThrowawayPostgres } from '../testing/postgres.ts';
import { tempFolder, type TempFolder } from '../testing/temp.ts';
import { createDataMove, sync } from './move.ts';
import { postgres } from './stores/postgres/index.ts';
import { sqlite } from './stores/sqlite/index.ts';

const TABLE = 'CREATE TABLE events (id INTEGER PRIMARY KEY, note TEXT UNIQUE NOT NULL)';
/** What a person reads when the database cannot be reached. */
const CLEAR = /CHG_DATA_STORE_UNREACHABLE|Connection terminated|ECONNRESET|EPIPE|connection.*(closed|lost|ended)/i;

let server: ThrowawayPostgres;
let proxy: CuttingProxy;
let temp: TempFolder;
let remote: TestDatabase;
let local: TestDatabase;

beforeAll(async () => {
  server = await startPostgres();
  proxy = await cuttingProxy({ host: '127.0.0.1', port: Number(new URL(server.url).port) });
});
afterAll(async () => {
  await proxy.close();
  await server.stop();
});
beforeEach(async () => {
  temp = await tempFolder();
  remote = await testPostgres(server.url);
  local = testSqlite(temp.path, 'local.db');
  await remote.exec(TABLE);
  await local.exec(TABLE);
});
afterEach(async () => {
  proxy.cutAfter(null);
  await local.close();
  await remote.close();
  await temp.remove();
});

const throughProxy = () => {
  const address = new URL(remote.address);
  address.port = String(proxy.port);
  return postgres(address.href);
};
const rowsOf = async (db: TestDatabase) =>
  (await db.all('SELECT id, note FROM events ORDER BY id')).map(({ id, note }) => [Number(id), note]);

/** Does one thing again and again, each time with a connection that lives a little longer, until it is done. */
async function untilDone(act: () => Promise<unknown>): Promise<void> {
  for (let bytes = 100; ; bytes = Math.ceil(bytes * 1.17)) {
    proxy.cutAfter(bytes);
    try {
      await act();
      proxy.cutAfter(null);
      return;
    } catch (error) {
      expect(`${(error as { code?: string }).code ?? ''} ${String(error)}`).toMatch(CLEAR);
    }
  }
}

describe.each(['to Postgres', 'from Postgres'])('a move %s over a connection that is cut at any byte', (way) => {
  it('says so each time, goes on each time, and ends with equal rows', async () => {
    const [legacy, next] = way === 'to Postgres' ? [local, remote] : [remote, local];
    const pair =
      way === 'to Postgres'
        ? { from: sqlite(local.address), to: throughProxy() }
        : { from: throughProxy(), to: sqlite(local.address) };
    for (let id = 1; id <= 120; id++) await legacy.exec('INSERT INTO events VALUES (?, ?)', id, `note ${id}`);
    const ctx = testContext(temp.path);
    const step = async (act: (data: ReturnType<typeof createDataMove>) => Promise<unknown>) => {
      await untilDone(async () => {
        const data = createDataMove([sync({ name: 'main', ...pair, tables: { events: {} }, chunkRows: 20 })]);
        try {
          await act(data);
        } finally {
          await data.close();
        }
      });
    };
    await step((data) => data.prepare(ctx));
    await step((data) => data.copy(ctx));
    await legacy.exec("UPDATE events SET note = 'changed' WHERE id = 7");
    await legacy.exec('DELETE FROM events WHERE id > 110');
    await step((data) => data.catchUp(ctx, 'forward'));
    expect(await rowsOf(next)).toEqual(await rowsOf(legacy));
    await step(async (data) => {
      const [verdict] = await data.verify(ctx, 'forward', 'full');
      expect(verdict).toMatchObject({ outcome: 'PASS', measured: 110 });
    });
    expect(proxy.cuts).toBeGreaterThan(20);
  });
});
