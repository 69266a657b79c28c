import { afterAll, beforeAll, describe } from 'vitest';
import { testMariadb, testPostgres, testSqlite } from '../../testing/databases.ts';
import { mariadbIsMissing, startMariadb, type ThrowawayMariadb } from '../../testing/mariadb.ts';
import { startPostgres, type ThrowawayPostgres } from '../../testing/postgres.ts';
import { storeConformance } from '../../testing/store-conformance.ts';
import { mariadb } from './mariadb/index.ts';
import { postgres } from './postgres/index.ts';
import { sqlite } from './sqlite/index.ts';

const ITEMS = 'CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, size INTEGER)';

let server: ThrowawayPostgres;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(async () => {
  await server.stop();
});

storeConformance('sqlite', async (folder) => {
  const db = testSqlite(folder, 'items.db');
  await db.exec(ITEMS);
  return { store: sqlite(db.address), exec: (sql) => db.exec(sql), [Symbol.asyncDispose]: () => db.close() };
});

for (const capture of ['triggers', 'log'] as const)
  storeConformance(`postgres, capture by ${capture}`, async () => {
    const db = await testPostgres(server.url);
    await db.exec(ITEMS);
    return {
      store: postgres(db.address, { capture }),
      exec: (sql) => db.exec(sql),
      [Symbol.asyncDispose]: () => db.close(),
    };
  });

const isMissing = await mariadbIsMissing();
describe.skipIf(isMissing !== null)(`with MariaDB${isMissing === null ? '' : `: ${isMissing}`}`, () => {
  let maria: ThrowawayMariadb;
  beforeAll(async () => {
    maria = await startMariadb();
  });
  afterAll(async () => {
    await maria.stop();
  });

  storeConformance('mariadb', async () => {
    const db = await testMariadb(maria.url);
    await db.exec('CREATE TABLE items (id INTEGER PRIMARY KEY, name VARCHAR(100) UNIQUE NOT NULL, size INTEGER)');
    return { store: mariadb(db.address), exec: (sql) => db.exec(sql), [Symbol.asyncDispose]: () => db.close() };
  });
});
