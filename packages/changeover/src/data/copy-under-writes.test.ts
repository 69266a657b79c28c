import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Store } from '../plan/stores.ts';
import { testContext } from '../testing/context.ts';
import { testMariadb, testPostgres, testSqlite, type TestDatabase } from '../testing/databases.ts';
import { mariadbIsMissing, startMariadb, type ThrowawayMariadb } from '../testing/mariadb.ts';
import { startPostgres, type ThrowawayPostgres } from '../testing/postgres.ts';
import { tempFolder, type TempFolder } from '../testing/temp.ts';
import { createDataMove, sync } from './move.ts';
import { mariadb } from './stores/mariadb/index.ts';
import { postgres } from './stores/postgres/index.ts';
import { sqlite } from './stores/sqlite/index.ts';

type Kind = TestDatabase['kind'];

const CHUNK_ROWS = 20;
const ROWS = 2 * CHUNK_ROWS;
/** Chunks after which a copy that grows with each has shown that it has no end. */
const MANY_CHUNKS = 20;
const SCHEMA: Readonly<Record<Kind, string>> = {
  sqlite: 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT UNIQUE)',
  postgres: 'CREATE TABLE t (id int PRIMARY KEY, v text UNIQUE)',
  mariadb: 'CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(100) UNIQUE)',
};

const isMariadbMissing = await mariadbIsMissing();
let server: ThrowawayPostgres;
let maria: ThrowawayMariadb | null = null;
beforeAll(async () => {
  server = await startPostgres();
  if (isMariadbMissing === null) maria = await startMariadb();
});
afterAll(async () => {
  await server.stop();
  await maria?.stop();
});

describe.for(['sqlite', 'postgres', 'mariadb'] as const)('a copy from %s under writers', (kind) => {
  if (kind === 'mariadb' && isMariadbMissing !== null) {
    it.skip(`with MariaDB: ${isMariadbMissing}`);
    return;
  }

  let temp: TempFolder;
  let legacy: TestDatabase;
  let next: TestDatabase;

  beforeEach(async () => {
    temp = await tempFolder();
    const open = {
      sqlite: () => testSqlite(temp.path, 'legacy.db'),
      postgres: () => testPostgres(server.url),
      mariadb: () => testMariadb(maria?.url ?? ''),
    };
    legacy = await open[kind]();
    next = testSqlite(temp.path, 'next.db');
    await legacy.exec(SCHEMA[kind]);
    await next.exec(SCHEMA.sqlite);
    for (let id = 1; id <= ROWS; id++) await legacy.exec(`INSERT INTO t VALUES (${id}, 'n${id}')`);
  });
  afterEach(async () => {
    await legacy.close();
    await next.close();
    await temp.remove();
  });

  /** The legacy, with an application that does something before each chunk is read. */
  function source(beforeChunk: (chunk: number) => Promise<void>): Store {
    const real = { sqlite, postgres, mariadb }[kind](legacy.address);
    let chunks = 0;
    return {
      ...real,
      identity: (ctx) => real.identity(ctx),
      open: async (ctx, side) =>
        new Proxy(await real.open(ctx, side), {
          get: (target, name) => {
            const value: unknown = Reflect.get(target, name, target);
            if (typeof value !== 'function') return value;
            return async (...args: unknown[]): Promise<unknown> => {
              if (name === 'chunk') await beforeChunk(chunks++);
              return Reflect.apply(value, target, args);
            };
          },
        }),
    };
  }

  async function moved(beforeChunk: (chunk: number) => Promise<void>): Promise<void> {
    const from = source(beforeChunk);
    const data = createDataMove([
      sync({ name: 'main', from, to: sqlite(next.address), tables: { t: {} }, chunkRows: CHUNK_ROWS }),
    ]);
    const ctx = testContext(temp.path);
    try {
      await data.prepare(ctx);
      await data.copy(ctx);
      await data.catchUp(ctx, 'forward');
      const rows = (db: TestDatabase) => db.all('SELECT id, v FROM t ORDER BY id');
      expect(await rows(next)).toEqual(await rows(legacy));
    } finally {
      await data.close();
    }
  }

  it('comes to its end while rows are added behind it', async () => {
    let added = 0;
    await moved(async (chunk) => {
      if (chunk >= MANY_CHUNKS) return;
      for (let row = 0; row < CHUNK_ROWS; row++) {
        const id = ROWS + ++added;
        await legacy.exec(`INSERT INTO t VALUES (${id}, 'n${id}')`);
      }
    });
    expect(added).toBeLessThan(MANY_CHUNKS * CHUNK_ROWS);
  });

  it('follows unique values through a chain as long as the table', async () => {
    await moved(async (chunk) => {
      if (chunk !== 1) return;
      await legacy.exec('BEGIN');
      for (let id = ROWS; id >= 1; id--) await legacy.exec(`UPDATE t SET v = 'x${id}' WHERE id = ${id}`);
      for (let id = 1; id <= ROWS; id++) await legacy.exec(`UPDATE t SET v = 'n${(id % ROWS) + 1}' WHERE id = ${id}`);
      await legacy.exec('COMMIT');
    });
  });

  it('asks no wall clock, so that one that jumps changes nothing', async () => {
    const clock = vi.spyOn(Date, 'now').mockImplementation(() => expect.fail('somebody asked for the time of day'));
    try {
      await moved(async (chunk) => {
        await legacy.exec(`UPDATE t SET v = 'y${chunk}' WHERE id = ${1 + (chunk % ROWS)}`);
      });
    } finally {
      clock.mockRestore();
    }
  });
});
