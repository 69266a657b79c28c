import { readdir } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Context } from '../../plan/context.ts';
import type { DataPort } from '../../plan/ports.ts';
import type { SchemaOptions, TableMapping } from '../../plan/sync.ts';
import type { Json } from '../../plan/words.ts';
import { testContext } from '../../testing/context.ts';
import { openSqlite, testPostgres, testSqlite, type TestDatabase } from '../../testing/databases.ts';
import { startPostgres, type ThrowawayPostgres } from '../../testing/postgres.ts';
import { tempFolder, type TempFolder } from '../../testing/temp.ts';
import { createDataMove, sync } from '../move.ts';
import { postgres } from '../stores/postgres/index.ts';
import { sqlite } from '../stores/sqlite/index.ts';

type Kind = 'sqlite' | 'postgres';

let server: ThrowawayPostgres;
let temp: TempFolder;
let ctx: Context;
const opened: (TestDatabase | DataPort)[] = [];

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(async () => {
  await server.stop();
});
beforeEach(async () => {
  temp = await tempFolder();
  ctx = testContext(temp.path);
});
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
  await temp.remove();
});

async function database(kind: Kind, name: string): Promise<TestDatabase> {
  const db = kind === 'sqlite' ? testSqlite(temp.path, name) : await testPostgres(server.url);
  opened.push(db);
  return db;
}

const storeAt = (address: string) => (address.startsWith('postgres:') ? postgres(address) : sqlite(address));

function moveOf(
  from: string,
  to: string,
  tables: Readonly<Record<string, TableMapping>>,
  schema: 'create' | SchemaOptions = 'create',
): DataPort {
  const data = createDataMove([sync({ name: 'main', from: storeAt(from), to: storeAt(to), tables, schema })]);
  opened.push(data);
  return data;
}

/** What the engine does up to READY, without the engine; resolves with what was missing. */
async function runToReady(data: DataPort): Promise<Json> {
  const { schema } = data;
  if (schema === null) throw new Error('no schema is made');
  const missing = await schema.missing(ctx);
  await data.installEpoch(ctx);
  await schema.create(ctx, missing);
  await data.prepare(ctx);
  await data.copy(ctx);
  await schema.complete(ctx, missing);
  expect((await data.catchUp(ctx, 'forward')).pending).toBe(0);
  expect(failures(await data.verify(ctx, 'forward', 'full'))).toEqual([]);
  return missing;
}

const failures = (verdicts: readonly { outcome: string; evidence: string }[]) =>
  verdicts.filter(({ outcome }) => outcome !== 'PASS').map(({ evidence }) => evidence);

const errorsOf = async (data: DataPort) =>
  (await data.check(ctx)).filter(({ level }) => level === 'error').map(({ message }) => message);

describe('from SQLite to Postgres', () => {
  it('makes tables, keys, indexes, checks and foreign keys, and takes away what it made', async () => {
    const legacy = await database('sqlite', 'legacy.db');
    await legacy.exec(`
      CREATE TABLE people (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, mail VARCHAR(80) UNIQUE, age INTEGER DEFAULT 18,
        is_admin BOOLEAN NOT NULL DEFAULT 0 CHECK (is_admin IN (0, 1)), height REAL, doc JSON, photo BLOB, CHECK (age >= 0 AND age < 200));
      CREATE TABLE posts (id INTEGER PRIMARY KEY, author INTEGER NOT NULL REFERENCES people(id) ON DELETE CASCADE, title TEXT DEFAULT 'it''s',
        at TEXT DEFAULT CURRENT_TIMESTAMP, price DECIMAL(10,2));
      CREATE INDEX posts_by_author ON posts (author, title DESC);
      CREATE UNIQUE INDEX one_title ON posts (title) WHERE price > 0;
      INSERT INTO people VALUES (1, 'Ann', 'a@x', 30, 1, 1.5, '{"b": 1, "a" : 2}', x'00ff'), (2, 'Bob', NULL, NULL, 0, -1e308, NULL, NULL);
      INSERT INTO posts VALUES (7, 1, 'one', '2024-01-01 00:00:00', 12.5), (8, 2, 'two', NULL, 9007199254740993);`);
    const next = await database('postgres', 'next');
    const data = moveOf(legacy.address, next.address, { people: {}, posts: {} });
    expect(await errorsOf(data)).toEqual([]);
    const missing = await runToReady(data);

    expect(await next.all('SELECT * FROM people ORDER BY id')).toEqual([
      {
        id: '1',
        name: 'Ann',
        mail: 'a@x',
        age: '30',
        is_admin: true,
        height: 1.5,
        doc: { b: 1, a: 2 },
        photo: Buffer.from([0, 255]),
      },
      { id: '2', name: 'Bob', mail: null, age: null, is_admin: false, height: -1e308, doc: null, photo: null },
    ]);
    expect(await next.all('SELECT doc::text FROM people WHERE id = 1')).toEqual([{ doc: '{"b": 1, "a" : 2}' }]);
    expect(await next.all('SELECT price::text FROM posts ORDER BY id')).toEqual([
      { price: '12.5' },
      { price: '9007199254740993' },
    ]);
    await expect(next.exec('INSERT INTO posts (id, author) VALUES (9, 99)')).rejects.toThrow(
      /changeover|fence|refuse/i,
    );
    const lock = await data.lock(ctx, 'forward');
    await lock.sequences();
    await lock.release();
    await data.unfence(ctx, 'next');
    await expect(next.exec('INSERT INTO posts (id, author) VALUES (9, 99)')).rejects.toThrow(/posts_author_fkey/);
    await expect(next.exec("INSERT INTO people (name, mail) VALUES ('Cid', 'a@x')")).rejects.toThrow(/people_mail_key/);
    await expect(next.exec("INSERT INTO people (name, age) VALUES ('Cid', 200)")).rejects.toThrow(/people_check/);
    await next.exec("INSERT INTO people (name) VALUES ('Cid')");
    await next.exec('INSERT INTO posts (author) SELECT max(id) FROM people');
    expect(await next.all("SELECT id > 2 AS is_new, age, is_admin FROM people WHERE name = 'Cid'")).toEqual([
      { is_new: true, age: '18', is_admin: false },
    ]);
    expect(await next.all('SELECT title, length(at) AS length FROM posts WHERE id > 8')).toEqual([
      { title: "it's", length: 19 },
    ]);

    await data.uninstall(ctx, { emptyTarget: true });
    await data.schema?.remove(ctx, missing);
    expect(await next.all("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")).toEqual([]);
    await data.schema?.remove(ctx, missing);
  });
});

const EVERY_TYPE = `
  CREATE TYPE mood AS ENUM ('sad', 'o''k', 'happy');
  CREATE DOMAIN percent AS numeric(5,2) DEFAULT 1 CHECK (VALUE >= 0 AND VALUE <= 100);
  CREATE SEQUENCE tickets START 100 INCREMENT 5;
  CREATE TABLE parent (a int, b text, PRIMARY KEY (a, b));
  CREATE TABLE things (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, serial_no serial, ticket int DEFAULT nextval('tickets'),
    small smallint NOT NULL DEFAULT 7, flag boolean DEFAULT true, price numeric(12,4) DEFAULT 1.5, free numeric, r4 real, r8 double precision,
    name varchar(10) DEFAULT 'x''y', code char(4), body text COLLATE "C", raw bytea DEFAULT '\\x00ff', u uuid DEFAULT gen_random_uuid(),
    d date, t time, tz timetz, ts timestamp(3), tstz timestamptz DEFAULT now(), span interval, doc json, bin jsonb DEFAULT '{}',
    tags text[] DEFAULT '{}', grid int[][], how mood DEFAULT 'o''k', moods mood[], share percent, net inet, vec tsvector, period int4range,
    pa int, pb text, total numeric GENERATED ALWAYS AS (price * 2) STORED,
    CONSTRAINT sane CHECK (small > 0 AND name <> ''), CONSTRAINT one_code UNIQUE (code),
    CONSTRAINT to_parent FOREIGN KEY (pa, pb) REFERENCES parent (a, b) ON UPDATE CASCADE ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED,
    EXCLUDE USING gist (period WITH &&));
  CREATE INDEX things_lower ON things (lower(name)) WHERE flag;
  CREATE INDEX things_gin ON things USING gin (tags);
  CREATE UNIQUE INDEX things_two ON things (small, name DESC) INCLUDE (flag);
  INSERT INTO parent VALUES (1, 'p');
  INSERT INTO things (small, price, free, r4, r8, code, body, d, t, tz, ts, tstz, span, doc, bin, tags, grid, moods, share, net, vec, period, pa, pb) VALUES
    (7, 1234.5, 0.1000, 0.1, 0.1, 'ab', E'a\\tb\\n\\\\', '2024-02-29', '23:59:59.999999', '10:00+02', '2024-01-01 00:00:00.123', '0044-03-15 12:00:00+00 BC',
     '1 mon -3 days 04:05:06.5', '{"b":1, "a":  2}', '{"b":1, "a":  2}', '{a,"b c",NULL}', '{{1,2},{3,4}}', '{sad,happy}', 99.5, '10.0.0.1/8', 'a b', '[1,5)', 1, 'p'),
    (8, -0.0001, 'NaN', 'NaN', '-Infinity', NULL, '', 'infinity', NULL, NULL, NULL, 'infinity', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '[7,9)', NULL, NULL);`;

describe('from Postgres to Postgres', () => {
  it('makes every type, default, constraint and index as it is', async () => {
    const legacy = await database('postgres', 'legacy');
    const next = await database('postgres', 'next');
    await legacy.exec(EVERY_TYPE);
    const data = moveOf(legacy.address, next.address, { parent: {}, things: {} });
    expect(await errorsOf(data)).toEqual([]);
    const missing = await runToReady(data);
    expect(await next.all('SELECT things::text FROM things ORDER BY id')).toEqual(
      await legacy.all('SELECT things::text FROM things ORDER BY id'),
    );
    const shape = (db: TestDatabase) =>
      db.all(`
        SELECT 'column ' || attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attnotnull || ' ' || attidentity::text || ' ' || attgenerated::text
          || ' ' || coalesce(pg_get_expr(adbin, adrelid), '') || ' ' || attcollation::regcollation::text AS what
        FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE attrelid = 'things'::regclass AND attnum > 0
        UNION ALL SELECT 'constraint ' || conname || ' ' || pg_get_constraintdef(oid) || ' ' || convalidated FROM pg_constraint
          WHERE conrelid IN ('things'::regclass, 'parent'::regclass) AND contype <> 'n'
        UNION ALL SELECT 'index ' || pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid IN ('things'::regclass, 'parent'::regclass)
        UNION ALL SELECT 'type ' || typname || ' ' || coalesce(typdefault, '') FROM pg_type WHERE typname IN ('mood', 'percent')
        UNION ALL SELECT 'value ' || enumlabel || enumsortorder FROM pg_enum
        UNION ALL SELECT 'domain ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE contypid <> 0
        UNION ALL SELECT 'sequence ' || seqrelid::regclass::text || ' ' || seqtypid || ' ' || seqstart || ' ' || seqincrement || ' ' || seqmax FROM pg_sequence
        ORDER BY 1`);
    expect(await shape(next)).toEqual(await shape(legacy));

    await data.uninstall(ctx, { emptyTarget: true });
    await data.schema?.remove(ctx, missing);
    expect(
      await next.all(`SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace`),
    ).toEqual([]);
  });

  it('refuses a type of an extension until the target has it and the plan names it', async () => {
    const legacy = await database('postgres', 'legacy');
    const next = await database('postgres', 'next');
    await legacy.exec('CREATE EXTENSION citext; CREATE TABLE people (id int PRIMARY KEY, mail citext UNIQUE)');
    await legacy.exec("INSERT INTO people VALUES (1, 'A@x')");
    const refused = moveOf(legacy.address, next.address, { people: {} });
    const [finding] = (await refused.check(ctx)).filter(({ level }) => level === 'error');
    expect(finding?.message).toBe(
      'people.mail: citext → citext is ambiguous: the type belongs to extension citext, which is not made for you',
    );
    expect(finding?.remedy).toBe(
      "schema: { CREATE EXTENSION citext on the target, then columns: { 'people.mail': 'citext' } }",
    );
    await next.exec('CREATE EXTENSION citext');
    const data = moveOf(legacy.address, next.address, { people: {} }, { columns: { 'people.mail': 'citext' } });
    expect(await errorsOf(data)).toEqual([]);
    await runToReady(data);
    expect(await next.all("SELECT mail FROM people WHERE mail = 'a@X'")).toEqual([{ mail: 'A@x' }]);
  });
});

describe('from Postgres to SQLite', () => {
  it('keeps every value so that it comes back, and asks about what SQLite has no type for', async () => {
    const legacy = await database('postgres', 'legacy');
    await legacy.exec(EVERY_TYPE);
    await legacy.exec(
      'UPDATE things SET r4 = 1.5, share = NULL WHERE id = 2; DROP INDEX things_lower; DROP INDEX things_gin',
    );
    const file = `${temp.path}/next.db`;
    const refused = moveOf(legacy.address, file, { parent: {}, things: {} });
    const named = (await errorsOf(refused)).map((message) => message.replace(/ is (ambiguous|lossy).*/, ' $1'));
    expect(named).toEqual([
      'things.serial_no:identity: a sequence → nothing lossy',
      'things.ticket:identity: a sequence → nothing lossy',
      'things.u:default: gen_random_uuid() → nothing lossy',
      'things.tags: text[] → TEXT ambiguous',
      'things.grid: integer[] → TEXT ambiguous',
      'things.moods: mood[] → TEXT ambiguous',
      'things.share: percent → TEXT lossy',
      'things.net: inet → TEXT ambiguous',
      'things.vec: tsvector → TEXT ambiguous',
      'things.period: int4range → TEXT ambiguous',
      'things.total: AS ((price * (2)::numeric)) → nothing lossy',
      'things_two: USING btree (small, name DESC) INCLUDE (flag) → nothing lossy',
      'things_period_excl: EXCLUDE USING gist (period WITH &&) → nothing lossy',
    ]);
    const text = ['tags', 'grid', 'moods', 'share', 'net', 'vec', 'period'].map((column) => [
      `things.${column}`,
      'TEXT',
    ]);
    const schema = {
      columns: Object.fromEntries(text) as Record<string, string>,
      omit: [
        'things.total',
        'things.serial_no:identity',
        'things.ticket:identity',
        'things.u:default',
        'things_two',
        'things_period_excl',
      ],
    };
    const data = moveOf(legacy.address, file, { parent: {}, things: {} }, schema);
    expect(await errorsOf(data)).toEqual([]);
    const missing = await runToReady(data);
    await data.prepareReverse(ctx);
    expect(failures(await data.verify(ctx, 'reverse', 'full'))).toEqual([]);
    await data.uninstall(ctx, { emptyTarget: true });
    await data.schema?.remove(ctx, missing);
    expect((await readdir(temp.path)).filter((name) => name.startsWith('next'))).toEqual([]);
  });
});

describe('from SQLite to Postgres and back to SQLite', () => {
  it('brings every value back bit by bit', async () => {
    const legacy = await database('sqlite', 'legacy.db');
    await legacy.exec(`
      CREATE TABLE v (id INTEGER PRIMARY KEY, i INTEGER, r REAL, t TEXT, b BLOB, n NUMERIC, f BOOLEAN, j JSON, u UUID, at INTEGER, local TEXT, any);
      INSERT INTO v VALUES (1, 9223372036854775807, 5e-324, 'ä€𝄞', x'', 0.1, 1, '{"a":1}', '123e4567-e89b-12d3-a456-426614174000', 1700000000, '2024-07-01 12:00:00', 'x'),
        (2, -9223372036854775808, 1.7976931348623157e308, '', x'00', 1e300, 0, '[ ]', NULL, 0, '2024-01-01 00:00:00.5', ''),
        (3, 0, 9e999, 'tab	"''\\', NULL, -42, NULL, 'null', NULL, -62135596800, NULL, NULL);`);
    const middle = await database('postgres', 'middle');
    const forward = moveOf(
      legacy.address,
      middle.address,
      { v: {} },
      {
        columns: {
          'v.at': { type: 'timestamptz', from: 'unix-seconds' },
          'v.local': { type: 'timestamptz', from: 'sql-text', zone: 'Europe/Berlin' },
          'v.any': 'text',
        },
      },
    );
    expect(await errorsOf(forward)).toEqual([]);
    await runToReady(forward);
    expect(
      await middle.all(
        "SELECT local AT TIME ZONE 'UTC' = '2024-07-01 10:00:00' AS is_right, extract(epoch FROM at)::text AS at FROM v WHERE id = 1",
      ),
    ).toEqual([{ is_right: true, at: '1700000000.000000' }]);
    await forward.prepareReverse(ctx);
    expect(failures(await forward.verify(ctx, 'reverse', 'full'))).toEqual([]);
    // The rows come back by the reverse sync alone, into emptied tables.
    const before = await legacy.all('SELECT id, CAST(i AS TEXT) AS i, r, t, b, n, f, j, u FROM v ORDER BY id');
    await forward.uninstall(ctx, { emptyTarget: false });

    const back = moveOf(middle.address, `${temp.path}/back.db`, { v: {} }, 'create');
    ctx = testContext(temp.path, { runId: 'run-2', epoch: 2, stateDir: `${temp.path}/state-2` });
    expect(await errorsOf(back)).toEqual([]);
    await runToReady(back);
    await using copy = openSqlite(`${temp.path}/back.db`, 0);
    const after = await copy.all('SELECT id, CAST(i AS TEXT) AS i, r, t, b, n, f, j, u FROM v ORDER BY id');
    expect(after.map(({ id, i, r, t, b, f, j, u }) => ({ id, i, r, t, b, f, j, u }))).toEqual(
      before.map(({ id, i, r, t, b, f, j, u }) => ({ id, i, r, t, b, f, j, u })),
    );
    expect(after.map(({ n }) => n)).toEqual(['0.1', `1${'0'.repeat(300)}`, '-42']);
  });
});

describe('from SQLite to SQLite', () => {
  const LEGACY = `
    CREATE TABLE a ("k""1" TEXT, k2 INT, v ANY, n INTEGER AS (k2 + 1) STORED, CHECK (k2 <> 3), PRIMARY KEY (k2 DESC, "k""1")) WITHOUT ROWID, STRICT;
    CREATE UNIQUE INDEX by_lower ON a (lower("k""1")) WHERE k2 IS NOT NULL;
    CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; END;
    INSERT INTO a ("k""1", k2, v) VALUES ('x', 1, 1.0), ('y', 2, x'00');`;

  it('uses the statements as they are', async () => {
    const legacy = await database('sqlite', 'legacy.db');
    await legacy.exec(LEGACY);
    const data = moveOf(legacy.address, `${temp.path}/next.db`, { a: {} });
    const found = await data.check(ctx);
    expect(found.filter(({ level }) => level === 'error')).toEqual([]);
    expect(found.map(({ message }) => message)).toContain('not made for the new table: trigger t');
    await runToReady(data);
    await using next = openSqlite(`${temp.path}/next.db`, 0);
    const sql =
      "SELECT sql FROM sqlite_schema WHERE tbl_name = 'a' AND name NOT LIKE 'changeover%' AND type <> 'trigger'";
    const lower = (rows: Record<string, unknown>[]) =>
      rows.map((row) => String(row['sql']).replaceAll('"', '').toLowerCase());
    expect(lower(await next.all(sql))).toEqual(lower(await legacy.all(sql)));
    expect(await next.all('SELECT *, typeof(v) AS class FROM a ORDER BY k2')).toEqual(
      await legacy.all('SELECT *, typeof(v) AS class FROM a ORDER BY k2'),
    );
  });

  it('asks about what only the statement says, where columns get other names', async () => {
    const legacy = await database('sqlite', 'legacy.db');
    await legacy.exec(LEGACY);
    const columns = { key1: 'k"1', key2: 'k2', v: 'v', n: 'n' };
    const refused = moveOf(legacy.address, `${temp.path}/next.db`, { b: { from: 'a', columns } });
    expect((await errorsOf(refused)).map((message) => message.split(': ')[0])).toEqual(
      expect.arrayContaining(['by_lower', 'b:WITHOUT ROWID', 'b:STRICT']),
    );
  });
});
