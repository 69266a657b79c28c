import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Context } from '../../plan/context.ts';
import type { DataPort } from '../../plan/ports.ts';
import type { SchemaOptions, TableMapping } from '../../plan/sync.ts';
import type { Json } from '../../plan/words.ts';
import { testContext } from '../../testing/context.ts';
import { testPostgres, testSqlite, type TestDatabase } from '../../testing/databases.ts';
import { startPostgres, type ThrowawayPostgres } from '../../testing/postgres.ts';
import { tempFolder, type TempFolder } from '../../testing/temp.ts';
import { createDataMove, sync } from '../move.ts';
import { postgres } from '../stores/postgres/index.ts';
import { sqlite } from '../stores/sqlite/index.ts';

type Kind = TestDatabase['kind'];

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
