import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Store } from '../plan/stores.ts';
import { testContext } from '../testing/context.ts';
import { testMariadb, testPostgres, testSqlite, type TestDatabase } from '../testing/databases.ts';
import { mariadbIsMissing, startMariadb } from '../testing/mariadb.ts';
import { startPostgres, type ThrowawayPostgres } from '../testing/postgres.ts';
import { tempFolder, type TempFolder } from '../testing/temp.ts';
import { mariadb } from './stores/mariadb/index.ts';
import { postgres } from './stores/postgres/index.ts';
import { sqlite } from './stores/sqlite/index.ts';

const ROWS = 20_000;
/** Nine rows of ten are small, the last ones hold nearly all bytes: the first rows alone would say a hundredth of it. */
const LARGE_FROM = 18_000;
const LARGE_BYTES = 3000;
const VALUES = ROWS * 8 + (LARGE_FROM - 1) * 10 + (ROWS - LARGE_FROM + 1) * LARGE_BYTES;

const isMissing = await mariadbIsMissing();
let server: ThrowawayPostgres;
let temp: TempFolder;

beforeAll(async () => {
  server = await startPostgres();
  temp = await tempFolder();
});
afterAll(async () => {
  await server.stop();
  await temp.remove();
});

async function estimated(db: TestDatabase, store: Store, key = 'id INT PRIMARY KEY', options = ''): Promise<number> {
  try {
    const body = (bytes: number) => (db.kind === 'sqlite' ? `printf('%.*c', ${bytes}, 'x')` : `repeat('x', ${bytes})`);
    await db.exec(`CREATE TABLE items (${key}, body TEXT) ${options}`);
    if (db.kind === 'postgres') await db.exec('ALTER TABLE items ALTER body SET STORAGE EXTERNAL');
    const numbers =
      db.kind === 'mariadb'
        ? `SELECT seq AS id FROM seq_1_to_${ROWS}`
        : `WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < ${ROWS}) SELECT id FROM n`;
    await db.exec(
      `INSERT INTO items SELECT id, CASE WHEN id < ${LARGE_FROM} THEN ${body(10)} ELSE ${body(LARGE_BYTES)} END FROM (${numbers}) AS n`,
    );
    if (db.kind !== 'sqlite') await db.exec(db.kind === 'postgres' ? 'ANALYZE items' : 'ANALYZE TABLE items');
    const opened = await store.open(testContext(temp.path), 'legacy');
    try {
      expect(await opened.latencyMs?.('items')).toBeLessThan(10_000);
      return (await opened.estimatedBytes?.('items', ROWS, 'values')) ?? Number.NaN;
    } finally {
      await opened.close();
    }
  } finally {
    await db.close();
  }
}

describe('the bytes of a table whose last rows are the largest are estimated', () => {
  it('for SQLite', async () => {
    const db = testSqlite(temp.path, 'rowid.db');
    expect(Math.abs((await estimated(db, sqlite(db.address))) / VALUES - 1)).toBeLessThan(0.15);
  });

  it('for SQLite without rowids by its two ends, so at worst too high', async () => {
    const db = testSqlite(temp.path, 'without.db');
    const bytes = await estimated(db, sqlite(db.address), 'id INTEGER PRIMARY KEY', 'WITHOUT ROWID');
    expect(bytes).toBeGreaterThan(VALUES);
    expect(bytes).toBeLessThan(VALUES * 6);
  });

  it('for Postgres', async () => {
    const db = await testPostgres(server.url);
    expect(Math.abs((await estimated(db, postgres(db.address))) / VALUES - 1)).toBeLessThan(0.35);
  });

  it.skipIf(isMissing !== null)('for MariaDB, by its pages', async () => {
    const started = await startMariadb();
    try {
      const db = await testMariadb(started.url);
      const bytes = await estimated(db, mariadb(db.address));
      expect(bytes).toBeGreaterThan(VALUES * 0.7);
      expect(bytes).toBeLessThan(VALUES * 2);
    } finally {
      await started.stop();
    }
  });
});

it('an empty table has no bytes', async () => {
  const db = testSqlite(temp.path, 'empty.db');
  await db.exec('CREATE TABLE items (id INTEGER PRIMARY KEY, body TEXT)');
  const opened = await sqlite(db.address).open(testContext(temp.path), 'legacy');
  expect(await opened.estimatedBytes?.('items', 0, 'copy')).toBe(0);
  await opened.close();
  await db.close();
});
