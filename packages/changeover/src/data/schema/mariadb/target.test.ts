import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Context } from '../../../plan/context.ts';
import type { DataPort } from '../../../plan/ports.ts';
import type { SchemaOptions, TableMapping } from '../../../plan/sync.ts';
import type { Json } from '../../../plan/words.ts';
import { testContext } from '../../../testing/context.ts';
import { testMariadb, testPostgres, testSqlite, type TestDatabase } from '../../../testing/databases.ts';
import { mariadbIsMissing, startMariadb, type ThrowawayMariadb } from '../../../testing/mariadb.ts';
import { startPostgres, type ThrowawayPostgres } from '../../../testing/postgres.ts';
import { tempFolder, type TempFolder } from '../../../testing/temp.ts';
import { createDataMove, sync } from '../../move.ts';
import { mariadb } from '../../stores/mariadb/index.ts';
import { postgres } from '../../stores/postgres/index.ts';
import { sqlite } from '../../stores/sqlite/index.ts';

const isMissing = await mariadbIsMissing();

describe.skipIf(isMissing !== null)(`into MariaDB${isMissing === null ? '' : `: ${isMissing}`}`, () => {
  let maria: ThrowawayMariadb;
  let server: ThrowawayPostgres;
  let temp: TempFolder;
  let ctx: Context;
  let next: TestDatabase;
  const opened: (TestDatabase | DataPort)[] = [];

  beforeAll(async () => {
    [maria, server] = await Promise.all([startMariadb(), startPostgres()]);
  });
  afterAll(async () => {
    await Promise.all([maria.stop(), server.stop()]);
  });
  beforeEach(async () => {
    temp = await tempFolder();
    ctx = testContext(temp.path);
    next = await testMariadb(maria.url);
    opened.push(next);
  });
  afterEach(async () => {
    for (const one of opened.splice(0).reverse()) await one.close();
    await temp.remove();
  });

  async function database(kind: 'sqlite' | 'postgres'): Promise<TestDatabase> {
    const db = kind === 'sqlite' ? testSqlite(temp.path, 'legacy.db', 5000) : await testPostgres(server.url);
    opened.push(db);
    return db;
  }

  function moveOf(
    from: TestDatabase,
    tables: Readonly<Record<string, TableMapping>>,
    schema: 'create' | SchemaOptions = 'create',
  ): DataPort {
    const source = from.kind === 'sqlite' ? sqlite(from.address) : postgres(from.address);
    const data = createDataMove([sync({ name: 'main', from: source, to: mariadb(next.address), tables, schema })]);
    opened.push(data);
    return data;
  }

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
    await data.prepareReverse(ctx);
    const lock = await data.lock(ctx, 'forward');
    await lock.sequences();
    await lock.fence();
    await data.unfence(ctx, 'next');
    return missing;
  }

  async function untilBack(data: DataPort): Promise<void> {
    for (;;) {
      const { applied, pending } = await data.catchUp(ctx, 'reverse');
      if (applied === 0 && pending === 0) break;
    }
    expect(failures(await data.verify(ctx, 'reverse', 'full'))).toEqual([]);
  }

  const failures = (verdicts: readonly { outcome: string; evidence: string }[]) =>
    verdicts.filter(({ outcome }) => outcome !== 'PASS').map(({ evidence }) => evidence);
  const errorsOf = async (data: DataPort) =>
    (await data.check(ctx)).filter(({ level }) => level === 'error').map(({ message }) => message);

  it('makes tables, keys, indexes, checks and foreign keys from SQLite, and takes away what it made', async () => {
    const legacy = await database('sqlite');
    await legacy.exec(`
      CREATE TABLE people (id INTEGER PRIMARY KEY AUTOINCREMENT, name VARCHAR(40) UNIQUE, age INTEGER DEFAULT 18 CHECK (age >= 0), is_admin BOOLEAN NOT NULL DEFAULT 0,
        height REAL, doc JSON, photo BLOB, price DECIMAL(10,2), u UUID, at INTEGER, local TEXT, joined TEXT DEFAULT CURRENT_TIMESTAMP);
      CREATE TABLE posts (id INTEGER PRIMARY KEY, author INTEGER NOT NULL REFERENCES people(id) ON DELETE CASCADE, title TEXT DEFAULT 'it''s \\');
      CREATE INDEX by_age ON people (age DESC, name);
      INSERT INTO people VALUES (1, 'Ann', 30, 1, 1.5, '{"b": 1,  "a" : 2}', x'00ff', 12.5, '123e4567-e89b-12d3-a456-426614174000', 1700000000, '2024-07-01 12:00:00', 'x'),
        (2, 'ann', 9007199254740991, 0, -1e308, NULL, x'', -0.000001, NULL, 1, NULL, NULL), (3, 'ann ', 0, 0, 5e-324, 'null', NULL, 9007199254740991, NULL, NULL, NULL, NULL);
      INSERT INTO posts VALUES (7, 1, 'ä🙂'), (8, 3, NULL)`);
    const columns = {
      'people.at': { type: 'timestamp(6)', from: 'unix-seconds' },
      'people.local': { type: 'timestamp(6)', from: 'sql-text', zone: 'Europe/Berlin' },
    } as const;
    const data = moveOf(legacy, { people: {}, posts: {} }, { columns });
    expect(await errorsOf(data)).toEqual([]);
    const kept = await legacy.all('SELECT * FROM people ORDER BY id');
    const missing = await runToReady(data);
    expect(
      await next.all(
        'SELECT CONCAT(local) AS local, CONCAT(at) AS at, is_admin, CONCAT(doc) AS doc FROM people WHERE id = 1',
      ),
    ).toEqual([
      { local: '2024-07-01 10:00:00.000000', at: '2023-11-14 22:13:20.000000', is_admin: 1, doc: '{"b": 1,  "a" : 2}' },
    ]);
    await expect(next.exec('INSERT INTO posts (id, author) VALUES (9, 99)')).rejects.toThrow(/foreign key/i);
    await expect(next.exec("INSERT INTO people (name) VALUES ('Ann')")).rejects.toThrow(/duplicate/i);
    await expect(next.exec("INSERT INTO people (name, age) VALUES ('x', -1)")).rejects.toThrow(/people_check/);
    await next.exec(
      "INSERT INTO people (name) VALUES ('Cid'); INSERT INTO posts (id, author) SELECT 10, MAX(id) FROM people; UPDATE people SET age = age",
    );
    await untilBack(data);
    const back = await legacy.all('SELECT * FROM people ORDER BY id');
    expect(back.slice(0, 3)).toEqual(kept);
    expect(back[3]).toMatchObject({ name: 'Cid', age: 18, is_admin: 0 });
    expect(String(back[3]?.['joined'])).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/);
    expect(await legacy.all('SELECT * FROM posts WHERE id = 10')).toEqual([
      { id: 10, author: back[3]?.['id'], title: "it's \\" },
    ]);
    await data.uninstall(ctx, { emptyTarget: true });
    await data.schema?.remove(ctx, missing);
    expect(await next.all('SHOW TABLES')).toEqual([]);
  });

  it('says which columns need a length, and which values one is too short for', async () => {
    const legacy = await database('sqlite');
    await legacy.exec(`
      CREATE TABLE words (w TEXT PRIMARY KEY NOT NULL, other TEXT); CREATE INDEX by_other ON words (other); CREATE TABLE refs (id INTEGER PRIMARY KEY, w TEXT REFERENCES words (w));
      INSERT INTO words VALUES ('short', '${'x'.repeat(30)}'), ('NaN', NULL)`);
    expect(await errorsOf(moveOf(legacy, { words: {}, refs: {} }))).toEqual([
      'the primary key: MariaDB has no index over the whole of w, which may be of any length',
      'by_other: MariaDB has no index over the whole of other, which may be of any length',
      'refs_w_fkey: MariaDB has no index over the whole of w, which may be of any length',
    ]);
    const columns = { 'words.w': 'varchar(50)', 'words.other': 'varchar(20)', 'refs.w': 'varchar(50)' };
    const [first] = await errorsOf(moveOf(legacy, { words: {}, refs: {} }, { columns }));
    expect(first).toMatch(
      /^other: 1 values do not fit varchar\(20\): "x+" in the row \["tshort"\] \(it is longer than 20 characters\)/,
    );
    const data = moveOf(legacy, { words: {}, refs: {} }, { columns: { ...columns, 'words.other': 'varchar(30)' } });
    expect(await errorsOf(data)).toEqual([]);
    await runToReady(data);
    expect(await next.all('SELECT w FROM words ORDER BY w')).toEqual([{ w: 'NaN' }, { w: 'short' }]);
  });

  it('keeps every value of Postgres so that it comes back, and asks about what MariaDB has no type for', async () => {
    const legacy = await database('postgres');
    await legacy.exec(`
      CREATE TYPE mood AS ENUM ('sad', 'o''k');
      CREATE TABLE things (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, s smallint, i int DEFAULT 5, b boolean DEFAULT true, n numeric(12,4), free numeric, r4 real, r8 double precision,
        v varchar(10) COLLATE "C" UNIQUE, t text, raw bytea, u uuid, d date, tm time, ts timestamp(3), tz timestamptz, j json, jb jsonb, how mood DEFAULT 'sad', tags text[], total int GENERATED ALWAYS AS (i + 1) STORED,
        CHECK (how::text LIKE '%'), CHECK (s > -100));
      INSERT INTO things VALUES (1, 7, -2147483648, false, 12345678.1234, 0.100000000000000000000000000000, 1.1, 5e-324, 'a', E'ä\\t''\\\\', '\\x00ff', '123e4567-e89b-12d3-a456-426614174000', '2024-02-29', '23:59:59.123456',
        '2024-01-01 00:00:00.12', '2024-07-01 12:00:00.5+02', '{"b": 1,  "a":2}', '{"b": 1,  "a":2}', 'o''k', '{a,"b c"}'); INSERT INTO things (id) VALUES (2)`);
    expect(await errorsOf(moveOf(legacy, { things: {} }))).toEqual([
      'things.free: numeric → decimal(65,30) is lossy: a number has as many zeros at its end as it was written with; here all have the same number of digits',
      'things.tags: text[] → longtext is ambiguous: MariaDB has no text[]: its text is kept, and nothing in MariaDB understands it',
      "things_how_check: ((how)::text ~~ '%'::text) → nothing is lossy: it may mean something else in the target, or nothing",
    ]);
    const data = moveOf(
      legacy,
      { things: {} },
      { columns: { 'things.tags': 'longtext', 'things.free': 'decimal(65,30)' }, omit: ['things_how_check'] },
    );
    await legacy.exec("UPDATE things SET tz = '2040-01-01', r8 = 'NaN', free = 'Infinity' WHERE id = 2");
    expect((await errorsOf(data)).map((message) => message.replace(/Stored are.*/, ''))).toEqual([
      'free: 1 values do not fit decimal(65,30): "Infinity" in the row ["i2"] (it is not a decimal). ',
      'r8: 1 values do not fit double: NaN in the row ["i2"] (MariaDB has neither NaN nor infinity). ',
      'tz: 1 values do not fit timestamp(6): "2040-01-01 00:00:00+00" in the row ["i2"] (a TIMESTAMP holds the years 1970 to 2038 only). ',
    ]);
    await legacy.exec('UPDATE things SET tz = NULL, r8 = NULL, free = NULL WHERE id = 2');
    expect(await errorsOf(data)).toEqual([]);
    const bits = () => legacy.all('SELECT things::text FROM things ORDER BY id');
    const kept = await bits();
    await runToReady(data);
    await next.exec('UPDATE things SET s = s');
    await untilBack(data);
    expect(await data.notReturnable(ctx)).toEqual([]);
    expect(await bits()).toEqual(kept);
    await next.exec("INSERT INTO things (v) VALUES ('new')");
    await untilBack(data);
    expect(await legacy.all("SELECT id > 2 AS is_new, i, b, how::text, total FROM things WHERE v = 'new'")).toEqual([
      { is_new: true, i: 5, b: true, how: 'sad', total: 6 },
    ]);
  });
});
