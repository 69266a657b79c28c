import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { testContext } from '../../../testing/context.ts';
import { testMariadb } from '../../../testing/databases.ts';
import { mariadbIsMissing, startMariadb, type ThrowawayMariadb } from '../../../testing/mariadb.ts';
import { tempFolder } from '../../../testing/temp.ts';
import { mariadb } from './index.ts';

const isMissing = await mariadbIsMissing();

describe.skipIf(isMissing !== null)(`MariaDB without space${isMissing === null ? '' : `: ${isMissing}`}`, () => {
  let server: ThrowawayMariadb;
  beforeAll(async () => {
    // All tables in one file, which may not grow: to InnoDB that is what a full disk is.
    const file = 'ibdata1:12M:autoextend:max:20M';
    server = await startMariadb({ settings: ['--innodb-file-per-table=0', `--innodb-data-file-path=${file}`] });
  });
  afterAll(async () => {
    await server.stop();
  });

  it('says so, has kept nothing of the transaction, and goes on when there is space enough', async () => {
    await using temp = await tempFolder();
    await using db = await testMariadb(server.url);
    await db.exec('CREATE TABLE t (id INT PRIMARY KEY, v VARBINARY(4000)); CREATE TABLE other (id INT PRIMARY KEY)');
    const store = await mariadb(db.address).open(testContext(temp.path), 'next');
    await store.prepare();
    const ledger = { run: 'r', sync: 's', table: 't', seq: 0, lastKey: null, rows: 4000, hash: 'h', complete: false };
    const chunk = (bytes: number) => {
      const upserts = Array.from({ length: 4000 }, (_, id) => ({ id, v: new Uint8Array(bytes) }));
      return {
        epoch: 1,
        changes: [
          { table: 'other', deletes: [], upserts: [{ id: 1 }] },
          { table: 't', deletes: [], upserts },
        ],
        ledger,
      };
    };
    await expect(store.write(chunk(4000))).rejects.toMatchObject({ code: 'CHG_DATA_STORE_FULL' });
    expect(await db.all('SELECT id FROM t UNION ALL SELECT id FROM other')).toEqual([]);
    expect(await store.ledger('r', 's')).toEqual([]);
    await store.write(chunk(4));
    expect(await store.count('t')).toBe(4000);
    expect(await store.ledger('r', 's')).toEqual([ledger]);
    await store.close();
  });
});
