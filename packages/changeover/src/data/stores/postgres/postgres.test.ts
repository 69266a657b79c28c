import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { OpenStore, Row } from '../../../plan/stores.ts';
import { testContext } from '../../../testing/context.ts';
import { connectPostgres, testPostgres, type TestDatabase } from '../../../testing/databases.ts';
import { startPostgres, type ThrowawayPostgres } from '../../../testing/postgres.ts';
import { tempFolder, type TempFolder } from '../../../testing/temp.ts';
import { postgres } from './index.ts';

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
  for (const one of opened.splice(0).reverse()) await one.close();
  await db.close();
  await temp.remove();
});

async function open(user?: string): Promise<OpenStore> {
  const address = new URL(db.address);
  if (user !== undefined) address.username = user;
  const store = await postgres(address.href).open(testContext(temp.path), 'legacy');
  opened.push(store);
  return store;
}

async function captured(...tables: string[]): Promise<OpenStore> {
  const store = await open();
  await store.prepare();
  await store.capture.install(tables);
  return store;
}

/** Another connection of the application, as another role where one is given. */
async function application(user?: string): Promise<TestDatabase> {
  const address = new URL(db.address);
  if (user !== undefined) address.username = user;
  const connection = await connectPostgres(address.href);
  opened.push(connection);
  return connection;
}

async function pending(store: OpenStore): Promise<string[]> {
  const { changes } = await store.capture.pending(1000);
  return changes.map(({ table, key }) => `${table} ${key.map(String).join('|')}`).sort();
}

async function role(name: string): Promise<string> {
  const unique = `${name}_${Date.now()}_${Math.floor(Math.random() * 1e6)}`;
  await db.exec(`CREATE ROLE ${unique} LOGIN`);
  return unique;
}

describe('capture on Postgres', () => {
  it('works for a role without any right on our tables, and leaves lastval() alone', async () => {
    await db.exec('CREATE TABLE t (id serial PRIMARY KEY, v text)');
    const restricted = await role('restricted');
    await db.exec(
      `GRANT SELECT, INSERT, UPDATE, DELETE ON t TO ${restricted}; GRANT USAGE ON t_id_seq TO ${restricted}`,
    );
    const store = await captured('t');
    const legacy = await application(restricted);
    await legacy.exec("INSERT INTO t (v) VALUES ('a')");
    expect(await legacy.all('SELECT lastval()::int AS last')).toEqual([{ last: 1 }]);
    await expect(legacy.all('SELECT * FROM changeover_changes')).rejects.toThrow('permission denied');
    expect(await pending(store)).toEqual(['t 1']);
    await store.fence(['t']);
    await expect(legacy.exec("UPDATE t SET v = 'b'")).rejects.toMatchObject({ code: '25006' });
  });

  it('cannot be led astray by a search_path with another table of the same name', async () => {
    await db.exec('CREATE TABLE t (id int PRIMARY KEY)');
    const store = await captured('t');
    await db.exec('CREATE SCHEMA trap; CREATE TABLE trap.changeover_changes (tbl text, key text[])');
    await db.exec('SET search_path = trap, public; INSERT INTO public.t VALUES (1)');
    expect(await pending(store)).toEqual(['t 1']);
    expect(await db.all('SELECT * FROM trap.changeover_changes')).toEqual([]);
  });

  it('sees cascades, upserts, COPY, changed keys and sessions that skip triggers', async () => {
    await db.exec(`
      CREATE TABLE parents (id int PRIMARY KEY, v int);
      CREATE TABLE children (id int PRIMARY KEY, parent int REFERENCES parents ON DELETE CASCADE ON UPDATE CASCADE);
      INSERT INTO parents VALUES (1), (2), (3); INSERT INTO children VALUES (10, 1), (20, 2)`);
    const store = await captured('parents', 'children');
    await db.exec('DELETE FROM parents WHERE id = 1');
    await db.exec('UPDATE parents SET id = 22 WHERE id = 2');
    await db.exec('INSERT INTO parents VALUES (3, 1) ON CONFLICT (id) DO UPDATE SET v = 9');
    await db.exec(
      'SET session_replication_role = replica; INSERT INTO parents VALUES (5); RESET session_replication_role',
    );
    expect(await pending(store)).toEqual([
      'children 10',
      'children 20',
      'parents 1',
      'parents 2',
      'parents 22',
      'parents 3',
      'parents 5',
    ]);
  });

  it('turns TRUNCATE into a rescan, of a partition too, and reaches partitions that are made later', async () => {
    await db.exec(`
      CREATE TABLE t (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
      CREATE TABLE t_low PARTITION OF t FOR VALUES FROM (0) TO (100)`);
    const store = await captured('t');
    await db.exec("INSERT INTO t_low VALUES (1, 'direct')");
    await db.exec('CREATE TABLE t_high PARTITION OF t FOR VALUES FROM (100) TO (200)');
    await db.exec("INSERT INTO t VALUES (150, 'later')");
    await db.exec('UPDATE t SET id = 160 WHERE id = 1');
    expect(await pending(store)).toEqual(['t 1', 't 150', 't 160']);
    await db.exec('TRUNCATE t_low');
    expect((await store.capture.pending(100)).rescan).toEqual(['t']);
    expect(await store.capture.intact()).not.toEqual([]);
    await store.capture.install(['t']);
    expect(await store.capture.intact()).toEqual([]);
    await db.exec('TRUNCATE t_high');
    expect((await store.capture.pending(100)).rescan).toEqual(['t']);
    await store.fence(['t']);
    await expect(db.exec("INSERT INTO t_high VALUES (170, 'x')")).rejects.toMatchObject({ code: '25006' });
    await expect(db.exec('TRUNCATE t_low')).rejects.toMatchObject({ code: '25006' });
  });

  it('is whole after a TRUNCATE that it has logged, and one that it has not is noticed', async () => {
    await db.exec(`
      CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id);
      CREATE TABLE t_low PARTITION OF t FOR VALUES FROM (0) TO (100);
      CREATE TABLE t_high PARTITION OF t FOR VALUES FROM (100) TO (200)`);
    const store = await captured('t');
    for (const table of ['t_low', 't_high', 't', 't_low']) {
      await db.exec(`TRUNCATE ${table}`);
      const batch = await store.capture.pending(100);
      expect([batch.rescan, await store.capture.intact()]).toEqual([['t'], []]);
      await store.capture.acknowledge(batch);
    }
    await db.exec('BEGIN; TRUNCATE t; ROLLBACK');
    expect(await store.capture.intact()).toEqual([]);
    await db.exec('VACUUM FULL t_low');
    expect(await store.capture.intact()).toHaveLength(1);
  });

  it.each([
    ['a disabled trigger', 'ALTER TABLE t DISABLE TRIGGER changeover_capture'],
    ['a dropped trigger', 'DROP TRIGGER changeover_capture ON t'],
    ['a rewritten table', 'ALTER TABLE t ALTER COLUMN v TYPE int'],
    ['a rebuilt table', 'DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, v smallint)'],
  ])('notices %s', async (_what, sql) => {
    await db.exec('CREATE TABLE t (id int PRIMARY KEY, v smallint); INSERT INTO t VALUES (1, 1)');
    const store = await captured('t');
    expect(await store.capture.intact()).toEqual([]);
    await db.exec(sql);
    expect(await store.capture.intact()).toHaveLength(1);
    await store.chunk('t', null, 1);
    await store.capture.install(['t']);
    expect(await store.capture.intact()).toEqual([]);
    expect((await store.capture.pending(10)).rescan).toEqual(['t']);
  });

  it('reads no change before it is visible, whatever the order of commits', async () => {
    await db.exec('CREATE TABLE t (id int PRIMARY KEY)');
    const store = await captured('t');
    const slow = await application();
    await slow.exec('BEGIN; INSERT INTO t VALUES (1)');
    await db.exec('INSERT INTO t VALUES (2)');
    const first = await store.capture.pending(10);
    expect(first.changes.map(({ key }) => key)).toEqual([[2]]);
    await slow.exec('COMMIT');
    await store.capture.acknowledge(first);
    expect(await pending(store)).toEqual(['t 1']);
  });

  it('waits for open writers of the table, in short attempts', async () => {
    await db.exec('CREATE TABLE t (id int PRIMARY KEY)');
    const store = await open();
    await store.prepare();
    const slow = await application();
    await slow.exec('BEGIN; INSERT INTO t VALUES (1)');
    let isInstalled = false;
    const installing = store.capture.install(['t']).then(() => (isInstalled = true));
    const startMs = performance.now();
    await db.exec('INSERT INTO t VALUES (2)');
    expect(performance.now() - startMs).toBeLessThan(1000);
    expect(isInstalled).toBe(false);
    await slow.exec('COMMIT');
    await installing;
    await db.exec('INSERT INTO t VALUES (3)');
    expect(await pending(store)).toEqual(['t 3']);
  });

  it('keeps keys of every type exact', async () => {
    await db.exec(`
      CREATE TYPE mood AS ENUM ('fine', 'so so');
      CREATE TABLE t (a bigint, b text, c uuid, d timestamptz, e bytea, f float8, g numeric, h mood, i date, PRIMARY KEY (a, b, c, d, e, f, g, h, i))`);
    const store = await captured('t');
    await db.exec(`
      SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'SQL, DMY'; SET bytea_output = 'escape'; SET extra_float_digits = -5;
      INSERT INTO t VALUES (9223372036854775807, E'a,"b\\\\c\n', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '2024-03-31 02:30:00.123456+00',
        '\\x00ff', 0.1, 1.10, 'so so', '2024-02-29')`);
    const [change] = (await store.capture.pending(10)).changes;
    const [row] = await store.rows('t', [change?.key ?? []]);
    expect(row).toEqual({
      a: 9223372036854775807n,
      b: 'a,"b\\c\n',
      c: 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
      d: '2024-03-31 02:30:00.123456+00',
      e: new Uint8Array([0, 255]),
      f: 0.1,
      g: '1.10',
      h: 'so so',
      i: '2024-02-29',
    });
  });
});

describe('values on Postgres', () => {
  it('come back exactly as they were written', async () => {
    await db.exec(`
      CREATE DOMAIN short AS varchar(5);
      CREATE TABLE t (id int PRIMARY KEY, n numeric, f4 float4, f8 float8, b bool, j json, jb jsonb, a int[], ta text[], ts timestamp,
        tz timestamptz, iv interval, by bytea, c char(4), v varchar(3), s short, ip inet, u uuid, i8 bigint, bits bit(4))`);
    const store = await open();
    await store.prepare();
    const row: Row = {
      id: 1,
      n: '123456789012345678901234567890.1200',
      f4: 1.5,
      f8: 5e-324,
      b: true,
      j: '{"b":1,  "a":[1,2]}',
      jb: '{"a": 1}',
      a: '{1,NULL,3}',
      ta: '{"a,b","c\\"d",NULL}',
      ts: '2024-02-29 23:59:59.999999',
      tz: '2024-02-29 23:59:59.999999+00',
      iv: '1 year 2 mons 03:04:05',
      by: new Uint8Array([0, 1, 254, 255]),
      c: 'ab',
      v: 'äöü',
      s: 'short',
      ip: '10.0.0.0/8',
      u: 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
      i8: -9223372036854775808n,
      bits: '0101',
    };
    await store.write({ epoch: 1, changes: [{ table: 't', deletes: [], upserts: [row] }] });
    expect(await store.chunk('t', null, 1)).toEqual([row]);
    expect(await store.canonical?.('t', [row])).toEqual([row]);
    const odd: Row = { id: 2, f8: NaN, f4: -Infinity, n: 'NaN', b: null };
    await store.write({ epoch: 1, changes: [{ table: 't', deletes: [], upserts: [odd] }] });
    expect((await store.rows('t', [[2]]))[0]).toMatchObject(odd);
  });

  it.each([
    ['a text that is too long', { v: 'four' }],
    ['an integer that is too large', { i: 2n ** 31n }],
    ['a time that is none', { ts: 'noon' }],
    ['a NUL character', { v: '\0' }],
  ])('are refused and never cut off: %s', async (_what, values) => {
    await db.exec('CREATE TABLE t (id int PRIMARY KEY, v varchar(3), i int, ts timestamp)');
    const store = await open();
    await store.prepare();
    const upserts: Row[] = [{ id: 1 }, { id: 7, ...values }];
    await expect(store.write({ epoch: 1, changes: [{ table: 't', deletes: [], upserts }] })).rejects.toMatchObject({
      code: 'CHG_DATA_ROW_REFUSED',
      fields: { table: 't', key: '["i7"]' },
    });
  });

  it('that a column rounds are not taken for equal', async () => {
    await db.exec('CREATE TABLE t (id int PRIMARY KEY, n numeric(10, 2), ts timestamp(0))');
    const store = await open();
    const rows = [{ id: 1, n: '1.125', ts: '2024-01-01 00:00:00.5' }];
    expect(await store.canonical?.('t', rows)).toEqual(rows);
  });

  it('of names that need quotes are found', async () => {
    await db.exec(
      'CREATE SCHEMA "My Schema"; CREATE TABLE "My Schema"."Odd ""table""" ("Key" int PRIMARY KEY, "select" text)',
    );
    const store = await open();
    await store.prepare();
    const table = 'My Schema.Odd "table"';
    await store.capture.install([table]);
    await store.write({ epoch: 1, changes: [{ table, deletes: [], upserts: [{ Key: 1, select: "it's" }] }] });
    expect(await store.chunk(table, null, 5)).toEqual([{ Key: 1, select: "it's" }]);
    await db.exec('DELETE FROM "My Schema"."Odd ""table"""');
    expect((await store.capture.pending(5)).changes).toEqual([{ table, key: [1] }]);
    await store.uninstall();
  });
});

describe('writing on Postgres', () => {
  it('puts a child before its parent, and does not cascade what it deletes', async () => {
    await db.exec(`
      CREATE TABLE parents (id int PRIMARY KEY, name text UNIQUE);
      CREATE TABLE children (id int PRIMARY KEY, parent int REFERENCES parents ON DELETE CASCADE)`);
    const store = await open();
    await store.prepare();
    const write = (changes: { table: string; deletes: number[][]; upserts: Row[] }[]) =>
      store.write({ epoch: 1, changes });
    await write([
      {
        table: 'children',
        deletes: [],
        upserts: [
          { id: 10, parent: 1 },
          { id: 20, parent: 2 },
        ],
      },
      {
        table: 'parents',
        deletes: [],
        upserts: [
          { id: 1, name: 'a' },
          { id: 2, name: 'b' },
        ],
      },
    ]);
    await write([
      {
        table: 'parents',
        deletes: [],
        upserts: [
          { id: 1, name: 'b' },
          { id: 2, name: 'a' },
        ],
      },
    ]);
    expect(await store.count('children')).toBe(2);
    expect((await store.chunk('parents', null, 9)).map(({ name }) => name)).toEqual(['b', 'a']);
  });

  it('raises sequences, identities and named defaults past what is there, and never lowers them', async () => {
    await db.exec(`
      CREATE SEQUENCE named; CREATE TABLE a (id serial PRIMARY KEY); CREATE TABLE b (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
      CREATE TABLE c (id int PRIMARY KEY DEFAULT nextval('named')); CREATE TABLE d (id serial PRIMARY KEY); SELECT setval('d_id_seq', 500);
      CREATE TABLE e (id serial PRIMARY KEY)`);
    const store = await open();
    await store.prepare();
    for (const table of ['a', 'b', 'c', 'd'])
      await store.write({ epoch: 1, changes: [{ table, deletes: [], upserts: [{ id: 41 }] }] });
    for (let time = 0; time < 2; time++) await store.sequences(['a', 'b', 'c', 'd', 'e']);
    const next: unknown[] = [];
    for (const table of ['a', 'b', 'c', 'd', 'e'])
      next.push((await db.all(`INSERT INTO ${table} DEFAULT VALUES RETURNING id`))[0]?.['id']);
    expect(next).toEqual([42, 42, 42, 501, 1]);
  });
});

describe('check on Postgres', () => {
  const messages = async (store: OpenStore, role: 'source' | 'target', ...tables: string[]) =>
    (await store.check(tables, role)).map(({ message, remedy }) => `${message} → ${remedy ?? ''}`).join('\n');

  it('names each missing right with the statement that gives it', async () => {
    await db.exec(
      'CREATE TABLE t (id int PRIMARY KEY, p int REFERENCES t); REVOKE CREATE ON SCHEMA public FROM PUBLIC',
    );
    const poor = await role('poor');
    await db.exec(`GRANT SELECT ON t TO ${poor}`);
    const found = await messages(await open(poor), 'target', 't');
    expect(found).toContain(`GRANT CREATE ON SCHEMA public TO ${poor}`);
    expect(found).toContain(`GRANT app TO ${poor}`);
    expect(found).toContain(`GRANT SET ON PARAMETER session_replication_role TO ${poor}`);
  });

  it('refuses hidden rows, keyless and unlogged tables, publications of everything and prepared transactions', async () => {
    await db.exec(`
      CREATE TABLE hidden (id int PRIMARY KEY); ALTER TABLE hidden ENABLE ROW LEVEL SECURITY;
      CREATE TABLE keyless (v text); CREATE UNLOGGED TABLE volatile (id int PRIMARY KEY);
      CREATE PUBLICATION everything FOR ALL TABLES`);
    await db.exec("BEGIN; INSERT INTO volatile VALUES (1); PREPARE TRANSACTION 'left behind'");
    const reader = await role('reader');
    await db.exec(`GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${reader}`);
    const found = await messages(await open(reader), 'source', 'hidden', 'keyless', 'volatile', 'absent');
    for (const part of [
      'row-level security',
      'has no primary key',
      'UNLOGGED',
      'publication everything',
      'left behind',
      'no table absent',
    ])
      expect(found).toContain(part);
    await expect((await open(reader)).chunk('hidden', null, 1)).rejects.toThrow('row-level security');
    await db.exec("ROLLBACK PREPARED 'left behind'");
  });
});

describe('a connection to Postgres', () => {
  it('that was ended is made again, and an address that answers nobody is told plainly', async () => {
    await db.exec('CREATE TABLE t (id int PRIMARY KEY)');
    const store = await open();
    expect(await store.count('t')).toBe(0);
    const admin = new pg.Client(db.address);
    await admin.connect();
    await admin.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'changeover'");
    await admin.end();
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await store.count('t')).toBe(0);
    const nowhere = await postgres('postgres://app:secret@127.0.0.1:1/x').open(testContext(temp.path), 'legacy');
    await expect(nowhere.count('t')).rejects.toMatchObject({ code: 'CHG_DATA_STORE_UNREACHABLE' });
    expect(JSON.stringify(postgres('postgres://app:secret@127.0.0.1:1/x').spec)).not.toContain('secret');
  });
});
