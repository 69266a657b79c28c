import { describe, expect, it } from 'vitest';
import { testContext } from '../../../testing/context.ts';
import { testMariadb } from '../../../testing/databases.ts';
import { mariadbIsMissing, startMariadb } from '../../../testing/mariadb.ts';
import { tempFolder } from '../../../testing/temp.ts';
import { mariadb } from './index.ts';

const isMissing = await mariadbIsMissing();

describe.skipIf(isMissing !== null)(`the version of MariaDB${isMissing === null ? '' : `: ${isMissing}`}`, () => {
  it.each([
    ['5.7.44', 'error: version 5.7.44 has one trigger for each event, or no NOWAIT'],
    ['8.0.36', 'warning: this is MySQL 8.0.36; everything here is tested with MariaDB 10.11 only'],
    ['10.2.44-MariaDB', 'error: version 10.2.44-MariaDB has one trigger for each event, or no NOWAIT'],
    ['10.11.18-MariaDB', ''],
  ])('%s is told as what it is', async (version, told) => {
    // The server says of itself what it is told to.
    const server = await startMariadb({ settings: [`--version=${version}`] });
    try {
      await using temp = await tempFolder();
      await using db = await testMariadb(server.url);
      await db.exec('CREATE TABLE t (id INT PRIMARY KEY)');
      const store = await mariadb(db.address).open(testContext(temp.path), 'legacy');
      const findings = await store.check(['t'], 'source');
      expect(findings.map(({ level, message }) => `${level}: ${message}`).join()).toBe(told);
      await store.close();
    } finally {
      await server.stop();
    }
  });
});
