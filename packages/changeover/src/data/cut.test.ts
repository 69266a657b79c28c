import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { cuttingProxy, type CuttingProxy } from '../testing/cutting-proxy.ts';
import { testContext } from '../testing/context.ts';
import { testMariadb, testPostgres, testSqlite, type TestDatabase } from '../testing/databases.ts';
import { mariadbIsMissing, startMariadb } from '../testing/mariadb.ts';
import { startPostgres } from '../testing/postgres.ts';
import { tempFolder, type TempFolder } from '../testing/temp.ts';
import { createDataMove, sync } from './move.ts';
import { mariadb } from './stores/mariadb/index.ts';
import { postgres } from './stores/postgres/index.ts';
import { sqlite } from './stores/sqlite/index.ts';

const TABLE = 'CREATE TABLE events (id INTEGER PRIMARY KEY, note VARCHAR(100) UNIQUE NOT NULL)';

const isMariadbMissing = await mariadbIsMissing();
if (isMariadbMissing !== null) it.skip(`a move over a connection to MariaDB that is cut: ${isMariadbMissing}`);

const SERVERS = {
  Postgres: { start: startPostgres, database: testPostgres, store: postgres },
  MariaDB: { start: startMariadb, database: testMariadb, store: mariadb },
};

const rowsOf = async (db: TestDatabase) =>
  (await db.all('SELECT id, note FROM events ORDER BY id')).map(({ id, note }) => [Number(id), note]);

/** Does one thing again and again, each time with a connection that lives a little longer, until it is done. */
async function untilDone(proxy: CuttingProxy, act: () => Promise<unknown>): Promise<void> {
  for (let bytes = 100; ; bytes = Math.ceil(bytes * 1.17)) {
    proxy.cutAfter(bytes);
    try {
      await act();
      proxy.cutAfter(null);
      return;
    } catch (error) {
      expect(error).toMatchObject({ code: 'CHG_DATA_STORE_UNREACHABLE' });
    }
  }
}

describe.each([
  ['to', 'Postgres'],
  ['from', 'Postgres'],
  ...(isMariadbMissing === null
    ? ([
        ['to', 'MariaDB'],
        ['from', 'MariaDB'],
      ] as const)
    : []),
] as const)('a move %s %s over a connection that is cut at any byte', (way, kind) => {
  const { start, database, store } = SERVERS[kind];
  let server: Awaited<ReturnType<typeof start>>;
  let proxy: CuttingProxy;
  let temp: TempFolder;
  let remote: TestDatabase;
  let local: TestDatabase;

  beforeAll(async () => {
    server = await start();
    proxy = await cuttingProxy({ host: '127.0.0.1', port: Number(new URL(server.url).port) });
  });
  afterAll(async () => {
    await proxy.close();
    await server.stop();
  });
  beforeEach(async () => {
    temp = await tempFolder();
    remote = await database(server.url);
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
    return store(address.href);
  };

  it('says so each time, goes on each time, and ends with equal rows', async () => {
    const [legacy, next] = way === 'to' ? [local, remote] : [remote, local];
    const pair =
      way === 'to'
        ? { from: sqlite(local.address), to: throughProxy() }
        : { from: throughProxy(), to: sqlite(local.address) };
    for (let id = 1; id <= 120; id++) await legacy.exec('INSERT INTO events VALUES (?, ?)', id, `note ${id}`);
    const ctx = testContext(temp.path);
    const step = async (act: (data: ReturnType<typeof createDataMove>) => Promise<unknown>) => {
      await untilDone(proxy, async () => {
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
