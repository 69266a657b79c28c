import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { mariadbIsMissing } from '../../../testing/mariadb.ts';
import { MariadbRig, forget, pendingIn } from '../../../testing/mariadb-rig.ts';
import { mariadb } from './index.ts';

const isMissing = await mariadbIsMissing();

describe.skipIf(isMissing !== null)(`capture on MariaDB${isMissing === null ? '' : `: ${isMissing}`}`, () => {
  const rig = new MariadbRig(mariadb);

  it('works for an account without any right on our tables, and leaves LAST_INSERT_ID() alone', async () => {
    await rig.db.exec('CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v INT)');
    const store = await rig.captured('t');
    const account = await rig.account();
    await rig.db.exec(`GRANT SELECT, INSERT, UPDATE, DELETE ON t TO ${account}@127.0.0.1`);
    const legacy = await rig.application(account);
    await legacy.exec('INSERT INTO t (v) VALUES (1); INSERT INTO t (v) VALUES (2)');
    expect(await legacy.all('SELECT LAST_INSERT_ID() AS last')).toEqual([{ last: 2 }]);
    await expect(legacy.all('SELECT * FROM changeover_gate')).rejects.toThrow('denied');
    expect(await pendingIn(store)).toEqual(['t 1', 't 2']);
    await store.fence(['t']);
    await expect(legacy.exec('UPDATE t SET v = 3')).rejects.toMatchObject({ errno: 1644 });
  });

  it('sees every way to write: REPLACE, ON DUPLICATE KEY, changed keys, joins, IGNORE', async () => {
    await rig.db.exec(
      'CREATE TABLE t (id INT PRIMARY KEY, u INT UNIQUE, v INT); INSERT INTO t SELECT seq, seq, 0 FROM seq_1_to_9',
    );
    const store = await rig.captured('t');
    await rig.db.exec('REPLACE INTO t VALUES (21, 1, 0)');
    expect(await pendingIn(store)).toEqual(['t 1', 't 21']);
    await forget(store);
    await rig.db.exec('INSERT INTO t VALUES (30, 2, 0) ON DUPLICATE KEY UPDATE v = 1');
    expect(await pendingIn(store)).toEqual(['t 2']);
    await forget(store);
    // A row that IGNORE left as it was may be logged; it is read again, and equal.
    await rig.db.exec(
      'UPDATE t SET id = 33 WHERE id = 3; UPDATE IGNORE t SET u = 5 WHERE id IN (4, 5); INSERT IGNORE INTO t VALUES (6, 99, 0), (60, 60, 0)',
    );
    expect(await pendingIn(store)).toEqual(['t 3', 't 33', 't 4', 't 5', 't 60']);
    await forget(store);
    await rig.db.exec(
      'UPDATE t a JOIN t b ON a.id = b.id + 1 SET a.v = 7 WHERE b.id = 7; DELETE a FROM t a JOIN t b ON a.id = b.id WHERE b.id = 9',
    );
    expect(await pendingIn(store)).toEqual(['t 8', 't 9']);
  });

  it('logs both spellings of a key that the collation takes for one', async () => {
    await rig.db.exec(
      "CREATE TABLE t (v VARCHAR(9) COLLATE utf8mb4_general_ci PRIMARY KEY); INSERT INTO t VALUES ('a')",
    );
    const store = await rig.captured('t');
    await rig.db.exec("UPDATE t SET v = 'A'");
    expect(await pendingIn(store)).toEqual(['t A', 't a']);
  });

  it('keeps keys of every type exact, whatever the session that writes is set to', async () => {
    await rig.db.exec(`
      CREATE TABLE t (a BIGINT UNSIGNED, b VARCHAR(20) CHARACTER SET latin1, c BINARY(3), d TIMESTAMP(6) DEFAULT 0, e FLOAT, f DOUBLE, g DECIMAL(10, 4), h ENUM('x', 'y'), i BIT(9),
        PRIMARY KEY (a, b, c, d, e, f, g, h, i))`);
    const store = await rig.captured('t');
    await rig.db.exec(`
      SET time_zone = '+05:30', sql_mode = 'ANSI_QUOTES';
      INSERT INTO t VALUES (18446744073709551615, 'é''\\\\', x'00ff', '2024-03-31 08:00:00.123456', 1.1, 0.1, 1.1, 'y', 257)`);
    const [change] = (await store.capture.pending(10)).changes;
    const [row] = await store.rows('t', [change?.key ?? []]);
    expect(row).toEqual({
      a: 18446744073709551615n,
      b: "é'\\",
      c: new Uint8Array([0, 255, 0]),
      d: '2024-03-31 02:30:00.123456',
      e: Math.fround(1.1),
      f: 0.1,
      g: '1.1000',
      h: 'y',
      i: 257,
    });
  });

  it('reads no change before it is visible, whatever the order of commits', async () => {
    await rig.db.exec('CREATE TABLE t (id INT PRIMARY KEY)');
    const store = await rig.captured('t');
    const slow = await rig.application();
    await slow.exec('BEGIN; INSERT INTO t VALUES (1)');
    await rig.db.exec('INSERT INTO t VALUES (2)');
    const first = await store.capture.pending(10);
    expect(first.changes.map(({ key }) => key)).toEqual([[2]]);
    await slow.exec('COMMIT');
    await store.capture.acknowledge(first);
    expect(await pendingIn(store)).toEqual(['t 1']);
  });

  it('waits for open writers of the table, in attempts so short that others hardly notice', async () => {
    await rig.db.exec('CREATE TABLE t (id INT PRIMARY KEY)');
    const store = await rig.prepared();
    const slow = await rig.application();
    await slow.exec('BEGIN; INSERT INTO t VALUES (1)');
    let isInstalled = false;
    const installing = store.capture.install(['t']).then(() => (isInstalled = true));
    let slowestMs = 0;
    for (let id = 2; id < 22; id++) {
      const startMs = performance.now();
      await rig.db.exec(`INSERT INTO t VALUES (${id})`);
      slowestMs = Math.max(slowestMs, performance.now() - startMs);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(slowestMs).toBeLessThan(800);
    expect(isInstalled).toBe(false);
    await slow.exec('COMMIT');
    await installing;
    await rig.db.exec('INSERT INTO t VALUES (30)');
    expect(await pendingIn(store)).toEqual(['t 30']);
  });

  it.each(['STATEMENT', 'MIXED'])('works the same where the binary log keeps %s', async (format) => {
    await rig.db.exec(`SET GLOBAL binlog_format = '${format}'`);
    try {
      await rig.db.exec('CREATE TABLE p (id INT PRIMARY KEY); INSERT INTO p VALUES (1), (2)');
      await rig.db.exec(
        'CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE)',
      );
      const store = await rig.captured('p', 't');
      const legacy = await rig.application();
      await legacy.exec('INSERT INTO t (p) SELECT id FROM p');
      await legacy.exec('DELETE FROM p WHERE id = 1');
      expect(await pendingIn(store)).toEqual(['p 1', 't 1', 't 2']);
      await store.write({ epoch: 1, changes: [{ table: 't', deletes: [[2]], upserts: [{ id: 7, p: 2 }] }] });
      await forget(store);
      expect(await pendingIn(store)).toEqual([]);
      await (await store.lock(['p', 't'])).fence();
      await expect(legacy.exec('DELETE FROM p')).rejects.toMatchObject({ errno: 1644 });
    } finally {
      await rig.db.exec("SET GLOBAL binlog_format = 'ROW'");
    }
  });

  // Afterwards the child does not name its parent any more, and at READ COMMITTED an UPDATE reads in its triggers without locks by itself.
  it('logs a child that was being added while its parent was about to change, at READ COMMITTED', async () => {
    await rig.db.exec(`
      CREATE TABLE parents (id INT PRIMARY KEY, code INT UNIQUE); INSERT INTO parents VALUES (1, 1);
      CREATE TABLE children (id INT PRIMARY KEY, code INT, FOREIGN KEY (code) REFERENCES parents (code) ON UPDATE SET NULL)`);
    const store = await rig.captured('children');
    const other = await rig.application();
    await other.exec('BEGIN; INSERT INTO children VALUES (20, 1)');
    const legacy = await rig.application();
    await legacy.exec('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; BEGIN');
    const waiting = legacy.exec('UPDATE parents SET code = 100');
    // The server's list is as old as the last look at it, if that was a moment ago.
    for (let isWaiting = false; !isWaiting;) {
      await sleep(150);
      const [row] = await rig.db.all(
        "SELECT COUNT(*) AS n FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'",
      );
      isWaiting = Number(row?.['n']) > 0;
    }
    await other.exec('COMMIT');
    await waiting;
    expect(await pendingIn(store)).toEqual(['children 20']);
    await forget(store);
    await legacy.exec('COMMIT');
    expect(await rig.db.all('SELECT * FROM children')).toEqual([{ id: 20, code: null }]);
    expect(await pendingIn(store)).toEqual(['children 20']);
  });

  it('begins no snapshot for the application: a transaction sees what it would see without us', async () => {
    await rig.db.exec('CREATE TABLE t (id INT PRIMARY KEY); CREATE TABLE other (id INT PRIMARY KEY)');
    await rig.captured('t');
    const legacy = await rig.application();
    await legacy.exec('SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ; BEGIN; INSERT INTO t VALUES (1)');
    await rig.db.exec('INSERT INTO other VALUES (7)');
    expect(await legacy.all('SELECT id FROM other')).toEqual([{ id: 7 }]);
    await legacy.exec('COMMIT');
  });

  it.each([
    ['TRUNCATE', 'TRUNCATE t'],
    ['an empty table that takes its place', 'RENAME TABLE t TO old; CREATE TABLE t LIKE old'],
    [
      'a copy that takes its place, as tools for online DDL do it',
      'CREATE TABLE new LIKE t; INSERT INTO new SELECT * FROM t; RENAME TABLE t TO old, new TO t',
    ],
    ['a rewritten table', 'ALTER TABLE t MODIFY v BIGINT'],
    ['a key of another type', 'ALTER TABLE t MODIFY id BIGINT'],
    ['an emptied partition', 'ALTER TABLE t TRUNCATE PARTITION low'],
  ])('notices %s, and compares the table whole', async (_what, sql) => {
    await rig.db.exec(`
      CREATE TABLE t (id INT PRIMARY KEY, v INT)
        PARTITION BY RANGE (id) (PARTITION low VALUES LESS THAN (10), PARTITION high VALUES LESS THAN MAXVALUE);
      INSERT INTO t VALUES (1, 1), (11, 1)`);
    const store = await rig.captured('t');
    expect(await store.capture.intact()).toEqual([]);
    await rig.db.exec(sql);
    expect(await store.capture.intact()).toHaveLength(1);
    await store.chunk('t', null, 1);
    await store.capture.install(['t']);
    expect(await store.capture.intact()).toEqual([]);
    expect((await store.capture.pending(10)).rescan).toEqual(['t']);
    await forget(store);
    await rig.db.exec('REPLACE INTO t VALUES (11, 2)');
    expect(await pendingIn(store)).toEqual(['t 11']);
    expect(
      await rig.db.all(
        "SELECT COUNT(*) AS n FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME LIKE 'changeover_log%'",
      ),
    ).toEqual([{ n: 1 }]);
  });

  it('notices a trigger that was dropped and made again with the same text', async () => {
    await rig.db.exec('CREATE TABLE t (id INT PRIMARY KEY)');
    const store = await rig.captured('t');
    const [trigger] = await rig.db.all(
      "SELECT TRIGGER_NAME AS name, ACTION_STATEMENT AS body FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() AND ACTION_TIMING = 'AFTER' AND EVENT_MANIPULATION = 'INSERT'",
    );
    const name = String(trigger?.['name']);
    await rig.db.exec(`DROP TRIGGER ${name}; INSERT INTO t VALUES (1)`);
    const again = await rig.application();
    await again.exec("SET sql_mode = 'NO_BACKSLASH_ESCAPES'");
    await again.exec(`CREATE TRIGGER ${name} AFTER INSERT ON t FOR EACH ROW ${String(trigger?.['body'])}`);
    expect(await store.capture.intact()).toHaveLength(1);
  });

  describe('of what foreign keys change, which fires no trigger', () => {
    it('logs children and their children, when parents are deleted, change or are set to NULL', async () => {
      await rig.db.exec(`
        CREATE TABLE p (id INT PRIMARY KEY, name VARCHAR(9) UNIQUE);
        CREATE TABLE c (p INT, n INT, PRIMARY KEY (p, n), FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE ON UPDATE CASCADE);
        CREATE TABLE g (id INT PRIMARY KEY, p INT, n INT, FOREIGN KEY (p, n) REFERENCES c (p, n) ON DELETE SET NULL ON UPDATE CASCADE);
        CREATE TABLE named (id INT PRIMARY KEY, name VARCHAR(9), FOREIGN KEY (name) REFERENCES p (name) ON UPDATE CASCADE);
        CREATE TABLE kept (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id));
        INSERT INTO p VALUES (1, 'one'), (2, 'two'), (3, 'three'), (4, 'four'); INSERT INTO c VALUES (1, 1), (1, 2), (2, 1), (3, 1);
        INSERT INTO g VALUES (100, 1, 1), (200, 2, 1), (300, 3, 1); INSERT INTO named VALUES (1000, 'four'); INSERT INTO kept VALUES (1, 4)`);
      const store = await rig.captured('p', 'c', 'g', 'named', 'kept');
      await rig.db.exec('DELETE FROM p WHERE id = 1');
      expect(await pendingIn(store)).toEqual(['c 1|1', 'c 1|2', 'g 100', 'p 1']);
      await forget(store);
      await rig.db.exec('UPDATE p SET id = 22 WHERE id = 2');
      expect(await pendingIn(store)).toEqual(['c 22|1', 'c 2|1', 'g 200', 'p 2', 'p 22']);
      await forget(store);
      await rig.db.exec("UPDATE p SET name = 'vier' WHERE id = 4");
      expect(await pendingIn(store)).toEqual(['named 1000', 'p 4']);
      await forget(store);
      await rig.db.exec("REPLACE INTO p VALUES (3, 'drei')");
      expect(await pendingIn(store)).toEqual(['c 3|1', 'g 300', 'p 3']);
      expect((await store.rows('g', [[100], [200]])).map(({ id, p }) => [id, p])).toEqual([
        [100, null],
        [200, 22],
      ]);
    });

    it('watches parents that do not move, too, and fences them where they reach', async () => {
      await rig.db.exec(`
        CREATE TABLE top (id INT PRIMARY KEY, v INT);
        CREATE TABLE middle (id INT PRIMARY KEY, top INT, FOREIGN KEY (top) REFERENCES top (id) ON DELETE CASCADE);
        CREATE TABLE c (id INT PRIMARY KEY, middle INT, FOREIGN KEY (middle) REFERENCES middle (id) ON DELETE CASCADE);
        INSERT INTO top VALUES (1, 0), (2, 0); INSERT INTO middle VALUES (10, 1), (20, 2); INSERT INTO c VALUES (100, 10), (200, 20)`);
      const store = await rig.captured('c');
      await rig.db.exec('DELETE FROM top WHERE id = 1');
      expect(await pendingIn(store)).toEqual(['c 100']);
      await store.fence(['c']);
      await expect(rig.db.exec('DELETE FROM top WHERE id = 2')).rejects.toThrow('does not accept writes');
      await expect(rig.db.exec('DELETE FROM middle')).rejects.toThrow('does not accept writes');
      await rig.db.exec('UPDATE top SET v = 1; INSERT INTO top VALUES (3, 0)');
      expect(await store.count('c')).toBe(1);
      await store.uninstall();
      await rig.db.exec('DELETE FROM top');
      expect(await store.count('c')).toBe(0);
    });

    it('compares a tree whole, since a cascade in it may go on without an end', async () => {
      await rig.db.exec(`
        CREATE TABLE tree (id INT PRIMARY KEY, up INT, FOREIGN KEY (up) REFERENCES tree (id) ON DELETE CASCADE);
        CREATE TABLE leaves (id INT PRIMARY KEY, at INT, FOREIGN KEY (at) REFERENCES tree (id) ON DELETE CASCADE);
        INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2), (9, NULL); INSERT INTO leaves VALUES (30, 3)`);
      const store = await rig.captured('tree', 'leaves');
      await rig.db.exec('DELETE FROM tree WHERE id = 9');
      expect(await store.capture.pending(10)).toMatchObject({ rescan: [], changes: [{ table: 'tree', key: [9] }] });
      await forget(store);
      await rig.db.exec('DELETE FROM tree WHERE id = 1');
      const { rescan } = await store.capture.pending(10);
      expect([...rescan].sort()).toEqual(['leaves', 'tree']);
    });

    it('sees a child that was added after the transaction’s snapshot', async () => {
      await rig.db.exec(`
        CREATE TABLE p (id INT PRIMARY KEY);
        CREATE TABLE c (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE); INSERT INTO p VALUES (1)`);
      const store = await rig.captured('p', 'c');
      const older = await rig.application();
      await older.exec('SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ; BEGIN; SELECT * FROM c');
      await rig.db.exec('INSERT INTO c VALUES (10, 1)');
      await forget(store);
      await older.exec('DELETE FROM p WHERE id = 1; COMMIT');
      expect(await pendingIn(store)).toEqual(['c 10', 'p 1']);
    });

    it('notices a foreign key that is added later', async () => {
      await rig.db.exec(
        'CREATE TABLE p (id INT PRIMARY KEY); CREATE TABLE c (id INT PRIMARY KEY, p INT); INSERT INTO p VALUES (1); INSERT INTO c VALUES (10, 1)',
      );
      const store = await rig.captured('c');
      await rig.db.exec('ALTER TABLE c ADD FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE');
      expect(await store.capture.intact()).toHaveLength(1);
      await store.capture.install(['c']);
      await forget(store);
      await rig.db.exec('DELETE FROM p');
      expect(await pendingIn(store)).toEqual(['c 10']);
    });
  });
});
