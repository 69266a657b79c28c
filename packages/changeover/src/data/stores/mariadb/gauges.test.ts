import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { connectMariadb } from '../../../testing/databases.ts';
import { mariadbIsMissing, startMariadb } from '../../../testing/mariadb.ts';
import { Replica } from './gauges.ts';

const isMissing = await mariadbIsMissing();

describe.skipIf(isMissing !== null)(`a replica of MariaDB${isMissing === null ? '' : `: ${isMissing}`}`, () => {
  it('tells how far it is behind: not at all, by seconds, and for good when it has stopped', async () => {
    const primary = await startMariadb();
    const server = await startMariadb({ settings: ['--server-id=2', '--read-only=0'] });
    const replica = new Replica(server.url);
    try {
      await expect(replica.lagMs()).rejects.toThrow(
        expect.objectContaining({
          code: 'CHG_DATA_STORE_UNREACHABLE',
          message: expect.stringContaining('it is no replica') as string,
        }),
      );
      await using source = await connectMariadb(primary.url);
      await using standby = await connectMariadb(server.url);
      const { port } = new URL(primary.url);
      await source.exec("CREATE USER repl@'127.0.0.1'; GRANT REPLICATION SLAVE ON *.* TO repl@'127.0.0.1'");
      const [position] = await source.all('SHOW MASTER STATUS');
      await source.exec('CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY)');
      await standby.exec(
        `CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = ${port}, MASTER_USER = 'repl',
         MASTER_LOG_FILE = '${String(position?.['File'])}', MASTER_LOG_POS = ${String(position?.['Position'])}; START SLAVE`,
      );
      const reaches = async (isReached: (ms: number) => boolean) => {
        for (let ms = await replica.lagMs(); !isReached(ms); ms = await replica.lagMs()) await sleep(50);
      };
      await reaches((ms) => ms === 0);
      // It also says so before it has heard of anything.
      const table = "SELECT 1 FROM information_schema.tables WHERE table_schema = 'shop' AND table_name = 't'";
      while ((await standby.all(table)).length === 0) await sleep(20);
      // A row that cannot be written while the table is locked: the replica knows of it and does not get on.
      await standby.exec('LOCK TABLES shop.t READ');
      await source.exec('INSERT INTO shop.t VALUES (1)');
      await reaches((ms) => ms >= 1000 && Number.isFinite(ms));
      await standby.exec('UNLOCK TABLES');
      await reaches((ms) => ms === 0);
      await standby.exec('STOP SLAVE');
      expect(await replica.lagMs()).toBe(Infinity);
    } finally {
      await replica.close();
      await server.stop();
      await primary.stop();
    }
  });

  it('that is not there is an error with its address and without its password', async () => {
    const replica = new Replica('mariadb://app:hunter2@127.0.0.1:1/shop');
    const failure = await replica.lagMs().then(
      () => new Error('answered'),
      (error: unknown) => error,
    );
    expect(String(failure)).toContain('mariadb:127.0.0.1:1');
    expect(String(failure)).not.toContain('hunter2');
  });
});
