import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { OpenStore } from '../../../../plan/stores.ts';
import { testContext } from '../../../../testing/context.ts';
import { connectPostgres, testPostgres, type TestDatabase } from '../../../../testing/databases.ts';
import { startPostgres, type ThrowawayPostgres } from '../../../../testing/postgres.ts';
import { tempFolder, type TempFolder } from '../../../../testing/temp.ts';
import { postgres } from '../index.ts';

let server: ThrowawayPostgres;
let temp: TempFolder;
let db: TestDatabase;
const opened: { close(): Promise<void> }[] = [];

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(async () => {
  await server.stop();
});
beforeEach(async () => {
  temp = await tempFolder();
  db = await testPostgres(server.url);
});
afterEach(async () => {
  await (await open()).uninstall();
  for (const one of opened.splice(0).reverse()) await one.close();
  await db.close();
  await temp.remove();
});

async function open(user?: string): Promise<OpenStore> {
  const address = new URL(db.address);
  if (user !== undefined) address.username = user;
  const store = await postgres(address.href, { capture: 'log' }).open(testContext(temp.path), 'legacy');
  opened.push(store);
  return store;
}

async function captured(...tables: string[]): Promise<OpenStore> {
  const store = await open();
  await store.prepare();
  await store.capture.install(tables);
  return store;
}

async function application(): Promise<TestDatabase> {
  const connection = await connectPostgres(db.address);
  opened.push(connection);
  return connection;
}

async function pending(store: OpenStore): Promise<string[]> {
  const { changes } = await store.capture.pending(1000);
  return changes.map(({ table, key }) => `${table} ${key.map(String).join('|')}`).sort();
}

/** Takes everything and acknowledges it, in small batches; at most so many. */
async function drained(store: OpenStore, batches = Infinity): Promise<Set<string>> {
  const keys = new Set<string>();
  for (let taken = 0; ; taken++) {
    if (taken === batches) return keys;
    const batch = await store.capture.pending(500);
    if (batch.changes.length + batch.rescan.length === 0) return keys;
    for (const { key } of batch.changes) keys.add(key.map(String).join('|'));
    await store.capture.acknowledge(batch);
  }
}

const slots = () => db.all('SELECT slot_name FROM pg_replication_slots WHERE database = current_database()');

describe('capture from the write-ahead log', () => {
  it('sees changed keys, cascades, upserts and sessions that skip triggers', async () => {
    await db.exec(
      'CREATE TABLE p (id int PRIMARY KEY, v int); CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE)',
    );
    await db.exec('INSERT INTO p VALUES (1), (2), (3); INSERT INTO c VALUES (10, 1), (11, 2)');
    const store = await captured('p', 'c');
    await db.exec('DELETE FROM p WHERE id = 1');
    await db.exec('INSERT INTO p VALUES (2) ON CONFLICT (id) DO UPDATE SET v = 1; UPDATE p SET id = 4 WHERE id = 3');
    await db.exec(
      'SET session_replication_role = replica; INSERT INTO c VALUES (12, 9); SET session_replication_role = origin',
    );
    expect(await pending(store)).toEqual(['c 10', 'c 12', 'p 1', 'p 2', 'p 3', 'p 4']);
  });

  it('gives keys as a table gives them: padded, composite, hostile, partitioned, with a full identity', async () => {
    await db.exec(`CREATE SCHEMA "we.ird"; CREATE TABLE "we.ird"."T ""1" (a char(5), "B b" text, v text, PRIMARY KEY ("B b", a));
      CREATE TABLE parted (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
      CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
      CREATE TABLE whole (id uuid PRIMARY KEY, v text); ALTER TABLE whole REPLICA IDENTITY FULL`);
    const store = await captured('we.ird.T "1', 'parted', 'whole');
    await db.exec(`INSERT INTO "we.ird"."T ""1" VALUES ('ab', 'x, "y" \\ ä', 'v')`);
    await db.exec("INSERT INTO parted VALUES (1, '2026-05-05'); UPDATE parted SET at = '2026-06-06'");
    await db.exec("INSERT INTO whole VALUES ('00000000-0000-0000-0000-000000000001', 'v'); DELETE FROM whole");
    expect(await pending(store)).toEqual([
      'parted 1|2026-05-05',
      'parted 1|2026-06-06',
      'we.ird.T "1 x, "y" \\ ä|ab',
      'whole 00000000-0000-0000-0000-000000000001',
    ]);
    const [first] = (await store.capture.pending(1000)).changes.filter(({ table }) => table.startsWith('we'));
    expect(await store.rows('we.ird.T "1', [first?.key ?? []])).toMatchObject([{ v: 'v' }]);
  });

  it('takes a TRUNCATE for a reason to compare the table whole', async () => {
    await db.exec('CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)');
    const store = await captured('t');
    await db.exec('TRUNCATE t');
    expect(await store.capture.pending(10)).toMatchObject({ changes: [], rescan: ['t'] });
  });

  it('misses no commit: of a session that does not wait for the disk, right behind what was acknowledged, and of one that was open before', async () => {
    await db.exec('CREATE TABLE t (id int PRIMARY KEY, v int)');
    const other = await application();
    const store = await captured('t');
    await other.exec('BEGIN');
    await other.exec('INSERT INTO t VALUES (0)');
    await db.exec('SET synchronous_commit = off');
    const seen = new Set<string>();
    for (let id = 1; id <= 40; id++) {
      await db.exec(`INSERT INTO t VALUES (${id})`);
      for (const key of await drained(store)) seen.add(key);
      expect(seen.has(String(id)), `${id}`).toBe(true);
    }
    await other.exec('COMMIT');
    for (const key of await drained(store)) seen.add(key);
    expect(seen.size).toBe(41);
  });

  it('reads a transaction of any size in parts', async () => {
    await db.exec('CREATE TABLE t (id int PRIMARY KEY, v text)');
    const store = await captured('t');
    await db.exec('INSERT INTO t SELECT i, i FROM generate_series(1, 12000) AS i');
    await db.exec("BEGIN; UPDATE t SET v = 'rolled back'; ROLLBACK");
    expect((await drained(store)).size).toBe(12_000);
  });

  it('does not take what this side is given for a change of the application, whichever process wrote it', async () => {
    await db.exec('CREATE TABLE t (id int PRIMARY KEY)');
    const store = await captured('t');
    const writer = await open();
    await writer.write({ epoch: 1, changes: [{ table: 't', deletes: [], upserts: [{ id: 1 }] }] });
    await db.exec('INSERT INTO t VALUES (2)');
    await writer.write({ epoch: 1, changes: [{ table: 't', deletes: [[1]], upserts: [] }] });
    expect(await pending(store)).toEqual(['t 2']);
  });

  it('keeps what it read and did not acknowledge, for another process too, and is read by two at once', async () => {
    await db.exec('CREATE TABLE t (id int PRIMARY KEY)');
    const store = await captured('t');
    await db.exec('INSERT INTO t VALUES (1)');
    expect(await pending(store)).toEqual(['t 1']);
    await db.exec('INSERT INTO t VALUES (2)');
    const others = await Promise.all([open(), open(), open()]);
    expect(await Promise.all(others.map(pending))).toEqual(Array(3).fill(['t 1', 't 2']));
  });

  it('notices a slot that is gone, was made again, or was read by somebody else, and then compares whole', async () => {
    await db.exec('CREATE TABLE t (id int PRIMARY KEY)');
    const store = await captured('t');
    const [slot] = await slots();
    const name = String(slot?.['slot_name']);
    await db.exec(`SELECT pg_drop_replication_slot('${name}')`);
    await db.exec('INSERT INTO t VALUES (1)');
    expect(await store.capture.intact()).toEqual([`the replication slot ${name} is gone`]);
    await db.exec(`SELECT pg_create_logical_replication_slot('${name}', 'pgoutput')`);
    expect(await store.capture.intact()).toEqual([`somebody else has read from the replication slot ${name}`]);
    await store.capture.install(['t']);
    expect(await store.capture.intact()).toEqual([]);
    expect(await store.capture.pending(10)).toMatchObject({ rescan: ['t'] });
    expect(await slots()).toHaveLength(1);
  });

  it('lets go of log that is not about its tables', async () => {
    await db.exec('CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE other (v text)');
    const store = await captured('t');
    const lag = async () =>
      Number(
        (
          await db.all(
            'SELECT pg_current_wal_lsn() - confirmed_flush_lsn AS lag FROM pg_replication_slots WHERE database = current_database()',
          )
        )[0]?.['lag'],
      );
    await db.exec("INSERT INTO other SELECT repeat('x', 1000) FROM generate_series(1, 5000)");
    expect(await lag()).toBeGreaterThan(4_000_000);
    expect(await pending(store)).toEqual([]);
    expect(await lag()).toBeLessThan(1_000_000);
  });

  it('ends a reading that writers go on behind', async () => {
    await db.exec('CREATE TABLE t (id int PRIMARY KEY)');
    const store = await captured('t');
    const other = await application();
    const MOST = 3000;
    const state = { isRead: false, written: 0 };
    const writing = (async () => {
      while (!state.isRead && state.written < MOST) await other.exec(`INSERT INTO t VALUES (${state.written++})`);
    })();
    for (let reading = 0; reading < 3; reading++) await drained(store, 1);
    state.isRead = true;
    await writing;
    expect(state.written).toBeLessThan(MOST);
  });

  it('does not read again and again what it has read, where it may ask for a snapshot', async () => {
    await db.exec('CREATE TABLE t (id int PRIMARY KEY, v text)');
    const store = await captured('t');
    const again = async () =>
      Number(
        (
          await db.all(
            'SELECT confirmed_flush_lsn - restart_lsn AS again FROM pg_replication_slots WHERE database = current_database()',
          )
        )[0]?.['again'],
      );
    await db.exec("INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 4000) AS i");
    await drained(store);
    for (let id = -1; (await again()) > 1024 * 1024; id--) {
      expect(id).toBeGreaterThan(-10);
      await db.exec(`INSERT INTO t VALUES (${id})`);
      await drained(store);
    }
  });

  it('says so when the server is about to remove its log, and when it has', async () => {
    await db.exec('CREATE TABLE t (id int PRIMARY KEY)');
    const store = await captured('t');
    const limit = async (value: string) => {
      await db.exec(`ALTER SYSTEM SET max_slot_wal_keep_size = '${value}'`);
      await db.exec('SELECT pg_reload_conf()');
    };
    const segments = async () => {
      for (let segment = 0; segment < 4; segment++) {
        await db.exec("SELECT pg_logical_emit_message(false, 'other', repeat('x', 1000000))");
        await db.exec('SELECT pg_switch_wal()');
      }
    };
    try {
      await limit('16MB');
      await segments();
      expect((await store.capture.lag?.())?.warning).toMatch(/about to be removed: raise max_slot_wal_keep_size/);
      await db.exec('CHECKPOINT');
      expect((await store.capture.lag?.())?.warning).toMatch(
        /was removed \(wal_removed\): raise max_slot_wal_keep_size/,
      );
      await expect(store.capture.pending(10)).rejects.toMatchObject({
        code: 'CHG_DATA_SLOT_LOST',
        hint: expect.stringContaining('max_slot_wal_keep_size') as string,
      });
      expect(await store.capture.intact()).toMatchObject([expect.stringContaining('was removed; raise')]);
      await store.capture.install(['t']);
      expect(await store.capture.pending(10)).toMatchObject({ rescan: ['t'] });
    } finally {
      await limit('-1');
    }
  });

  it('refuses a table whose rows the log cannot name, before the application would suffer', async () => {
    await db.exec('CREATE TABLE t (id int NOT NULL UNIQUE, v text); INSERT INTO t VALUES (1)');
    const store = await open();
    await store.prepare();
    const findings = await store.check(['t'], 'source');
    expect(findings).toMatchObject([
      { level: 'error', remedy: expect.stringContaining('REPLICA IDENTITY USING INDEX') as string },
    ]);
    await expect(store.capture.install(['t'])).rejects.toMatchObject({ code: 'CHG_DATA_NO_REPLICA_IDENTITY' });
    await db.exec('UPDATE t SET v = 1');
    await db.exec('ALTER TABLE t REPLICA IDENTITY USING INDEX t_id_key');
    await store.capture.install(['t']);
    await db.exec('UPDATE t SET id = 2');
    expect(await pending(store)).toEqual(['t 1', 't 2']);
  });

  it('says which rights are missing', async () => {
    await db.exec('CREATE TABLE t (id int PRIMARY KEY)');
    const name = `plain_${Date.now()}`;
    await db.exec(
      `CREATE ROLE ${name} LOGIN; ALTER TABLE t OWNER TO ${name}; GRANT CREATE ON SCHEMA public TO ${name}`,
    );
    const store = await open(name);
    const remedies = (await store.check(['t'], 'source')).map(({ remedy }) => remedy);
    const [database] = await db.all('SELECT current_database() AS name');
    expect(remedies).toEqual([
      `ALTER ROLE ${name} REPLICATION`,
      `GRANT CREATE ON DATABASE ${String(database?.['name'])} TO ${name}`,
      `GRANT EXECUTE ON FUNCTION pg_log_standby_snapshot() TO ${name}`,
    ]);
  });

  it('leaves no slot and no publication behind', async () => {
    await db.exec('CREATE TABLE t (id int PRIMARY KEY)');
    const store = await captured('t');
    expect(await slots()).toHaveLength(1);
    await store.uninstall();
    expect(await slots()).toEqual([]);
    expect(await db.all('SELECT * FROM pg_publication')).toEqual([]);
    await store.uninstall();
  });
});
