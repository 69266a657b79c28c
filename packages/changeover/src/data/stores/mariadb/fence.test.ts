import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { mariadbIsMissing } from '../../../testing/mariadb.ts';
import { MariadbRig, pendingIn } from '../../../testing/mariadb-rig.ts';
import { mariadb } from './index.ts';

const isMissing = await mariadbIsMissing();
const REFUSED = 'does not accept writes';

describe.skipIf(isMissing !== null)(`the fence on MariaDB${isMissing === null ? '' : `: ${isMissing}`}`, () => {
  const rig = new MariadbRig(mariadb);
  const makeTable = () => rig.db.exec('CREATE TABLE t (id INT PRIMARY KEY, v INT UNIQUE); INSERT INTO t VALUES (1, 1)');

  it.each(['REPEATABLE READ', 'READ COMMITTED', 'READ UNCOMMITTED', 'SERIALIZABLE'])(
    'stops an older %s transaction, whatever its snapshot says',
    async (level) => {
      await makeTable();
      const store = await rig.captured('t');
      const older = await rig.application();
      await older.exec(`SET SESSION TRANSACTION ISOLATION LEVEL ${level}; BEGIN`);
      await older.all('SELECT * FROM t');
      await older.all('SELECT * FROM changeover_fence');
      if (level === 'SERIALIZABLE') await older.exec('COMMIT; BEGIN');
      const lock = await store.lock(['t']);
      await lock.fence();
      await expect(older.exec('INSERT INTO t VALUES (2, 2)')).rejects.toThrow(REFUSED);
      await older.exec('COMMIT');
      expect(await store.count('t')).toBe(1);
    },
  );

  // At READ COMMITTED an UPDATE reads in its triggers without locks, unless they are asked for.
  it.each([
    ['REPEATABLE READ', 'INSERT INTO t VALUES (2, 2)', 't 2'],
    ['REPEATABLE READ', 'UPDATE t SET v = 2', 't 1'],
    ['READ COMMITTED', 'UPDATE t SET v = 2', 't 1'],
    ['READ COMMITTED', 'DELETE FROM t', 't 1'],
    ['READ UNCOMMITTED', 'UPDATE t SET v = 2', 't 1'],
  ])('waits for a transaction that has written at %s (%s), and takes its change in', async (level, sql, change) => {
    await makeTable();
    const store = await rig.captured('t');
    const open = await rig.application();
    await open.exec(`SET SESSION TRANSACTION ISOLATION LEVEL ${level}; BEGIN; ${sql}`);
    let isLocked = false;
    const locking = store.lock(['t']).then((lock) => {
      isLocked = true;
      return lock;
    });
    await sleep(300);
    expect(isLocked).toBe(false);
    await open.exec('COMMIT');
    const lock = await locking;
    expect(await pendingIn(store)).toEqual([change]);
    await lock.fence();
    await expect(open.exec('INSERT INTO t VALUES (3, 3)')).rejects.toThrow(REFUSED);
  });

  it('lets a writer that came during the lock go on when it is released, and refuses it when it is fenced', async () => {
    await makeTable();
    const store = await rig.captured('t');
    const writer = await rig.application();
    const first = await store.lock(['t']);
    const allowed = writer.exec('INSERT INTO t VALUES (2, 2)');
    await sleep(100);
    expect(await store.count('t')).toBe(1);
    await first.release();
    await allowed;
    const second = await store.lock(['t']);
    const refused = expect(writer.exec('INSERT INTO t VALUES (3, 3)')).rejects.toThrow(REFUSED);
    await sleep(100);
    await second.fence();
    await refused;
  });

  it('keeps readers unhindered under the lock, and DDL out', async () => {
    await makeTable();
    const store = await rig.captured('t');
    const lock = await store.lock(['t']);
    expect(await rig.db.all('SELECT COUNT(*) AS n FROM t')).toEqual([{ n: 1 }]);
    for (const sql of ['TRUNCATE t', 'ALTER TABLE t ADD COLUMN w INT', 'DROP TABLE t', 'RENAME TABLE t TO gone'])
      await expect(rig.db.exec(`SET STATEMENT lock_wait_timeout = 1 FOR ${sql}`), sql).rejects.toMatchObject({
        errno: 1205,
      });
    await lock.release();
  });

  it.each([
    'INSERT INTO t VALUES (2, 2)',
    'INSERT IGNORE INTO t VALUES (1, 2), (2, 2)',
    'REPLACE INTO t VALUES (1, 3)',
    'INSERT INTO t VALUES (1, 2) ON DUPLICATE KEY UPDATE v = 9',
    'UPDATE t SET v = 9',
    'UPDATE IGNORE t SET v = 9',
    'DELETE FROM t',
    'DELETE t FROM t JOIN t AS other ON t.id = other.id',
    "SET SESSION foreign_key_checks = 0, unique_checks = 0, sql_mode = ''; DELETE FROM t",
    'LOCK TABLES t WRITE; DELETE FROM t',
    'BEGIN; DELETE FROM t; COMMIT',
    'SET @changeover_epoch = 99; DELETE FROM t',
    "SET @changeover_epoch = 'x'; DELETE FROM t",
  ])('cannot be passed by %s', async (sql) => {
    await makeTable();
    const store = await rig.captured('t');
    await store.fence(['t']);
    await expect(rig.db.exec(sql)).rejects.toMatchObject({ errno: 1644, sqlState: '45000' });
    await rig.db.exec('UNLOCK TABLES; ROLLBACK');
    expect(await store.chunk('t', null, 9)).toEqual([{ id: 1, v: 1 }]);
  });

  it('notices a TRUNCATE, which no trigger sees', async () => {
    await makeTable();
    const store = await rig.captured('t');
    await store.fence(['t']);
    await rig.db.exec('TRUNCATE t');
    expect(await store.capture.intact()).toEqual(['the triggers or the files of t changed']);
  });

  it('fences the tables it is told, and those of another sync stay open', async () => {
    await makeTable();
    await rig.db.exec('CREATE TABLE other (id INT PRIMARY KEY)');
    const store = await rig.prepared();
    await store.fence(['t']);
    await rig.db.exec('INSERT INTO other VALUES (1)');
    await store.fence(['other']);
    await expect(rig.db.exec('INSERT INTO other VALUES (2)')).rejects.toThrow(REFUSED);
    await expect(rig.db.exec('DELETE FROM t')).rejects.toThrow(REFUSED);
  });

  it('steps back from a long writer, names it, and lets others by meanwhile', async () => {
    await makeTable();
    const store = await rig.captured('t');
    const long = await rig.application();
    await long.exec('BEGIN; INSERT INTO t VALUES (100, 100)');
    const locking = expect(store.lock(['t'])).rejects.toMatchObject({
      code: 'CHG_DATA_LOCK_TIMEOUT',
      fields: { holders: expect.stringMatching(/connection \d+ \(root, Sleep, open for \d+ s\)/) as string },
    });
    let slowestMs = 0;
    for (let id = 200; id < 220; id++) {
      const startMs = performance.now();
      await rig.db.exec(`INSERT INTO t VALUES (${id}, ${id})`);
      slowestMs = Math.max(slowestMs, performance.now() - startMs);
      await sleep(20);
    }
    expect(slowestMs).toBeLessThan(1000);
    await locking;
    await long.exec('COMMIT');
    await (await store.lock(['t'])).release();
  });

  it('is the one that gives way where writers wait for each other across it', async () => {
    await rig.db.exec('CREATE TABLE t (id INT PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 1), (2, 2)');
    const store = await rig.captured('t');
    const [a, b] = [await rig.application(), await rig.application()];
    for (let round = 0; round < 5; round++) {
      await a.exec('BEGIN; UPDATE t SET v = v + 1 WHERE id = 1');
      // Has a row that the first one wants, and has not met the fence yet.
      await b.exec('BEGIN; SELECT * FROM t WHERE id = 2 FOR UPDATE');
      const locking = store.lock(['t']);
      await sleep(30);
      const late = b.exec('UPDATE t SET v = v + 1 WHERE id = 2');
      await sleep(10);
      const first = a.exec('UPDATE t SET v = v + 1 WHERE id = 2');
      await late;
      await b.exec('COMMIT');
      await first;
      await a.exec('COMMIT');
      await (await locking).release();
    }
  });

  it('is not made while an XA transaction is prepared, which no longer holds its shared locks', async () => {
    await makeTable();
    const store = await rig.captured('t');
    await rig.db.exec("XA START 'x'; INSERT INTO t VALUES (2, 2); XA END 'x'; XA PREPARE 'x'");
    await expect(store.lock(['t'])).rejects.toMatchObject({
      code: 'CHG_DATA_LOCK_TIMEOUT',
      fields: { holders: 'prepared XA transaction x' },
    });
    await rig.db.exec("XA COMMIT 'x'");
    await (await store.lock(['t'])).fence();
    expect(await pendingIn(store)).toEqual(['t 2']);
  });

  it('is not made by a lock whose connection was lost, since writers were free since then', async () => {
    await makeTable();
    const store = await rig.captured('t');
    const lock = await store.lock(['t']);
    const [trx] = await rig.db.all('SELECT trx_mysql_thread_id AS id FROM information_schema.INNODB_TRX');
    await rig.db.exec(`KILL ${String(trx?.['id'])}`);
    await rig.db.exec('INSERT INTO t VALUES (2, 2)');
    await expect(store.rows('t', [[1]])).rejects.toMatchObject({ code: 'CHG_DATA_STORE_UNREACHABLE' });
    await expect(lock.fence()).rejects.toMatchObject({ code: 'CHG_DATA_STORE_UNREACHABLE' });
    await lock.release();
    expect(await store.isFenced()).toBe(false);
    expect(await pendingIn(store)).toEqual(['t 2']);
    await (await store.lock(['t'])).release();
  });

  it('is not made where a refusing trigger is missing', async () => {
    await makeTable();
    const store = await rig.captured('t');
    const lock = await store.lock(['t']);
    await lock.release();
    const names = await rig.db.all(
      "SELECT TRIGGER_NAME AS name FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() AND ACTION_TIMING = 'BEFORE'",
    );
    await rig.db.exec(`DROP TRIGGER ${String(names[0]?.['name'])}`);
    await (await store.lock(['t'])).fence();
    await expect(rig.db.exec('INSERT INTO t VALUES (2, 2)')).rejects.toThrow(REFUSED);
    await expect(rig.db.exec('DELETE FROM t')).rejects.toThrow(REFUSED);
    await expect(rig.db.exec('UPDATE t SET v = 2')).rejects.toThrow(REFUSED);
  });

  it('opens as soon as a writer that was refused ends its transaction, and names it meanwhile', async () => {
    await makeTable();
    const store = await rig.captured('t');
    await store.fence(['t']);
    const writer = await rig.application();
    await writer.exec('BEGIN');
    await expect(writer.exec('INSERT INTO t VALUES (2, 2)')).rejects.toThrow(REFUSED);
    let isOpen = false;
    const opening = store.unfence().then(() => (isOpen = true));
    await sleep(300);
    expect(isOpen).toBe(false);
    await writer.exec('ROLLBACK');
    await opening;
    await writer.exec('INSERT INTO t VALUES (3, 3)');
  });
});
