import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Context } from '../../plan/context.ts';
import type { DataPort } from '../../plan/ports.ts';
import type { SchemaOptions, TableMapping } from '../../plan/sync.ts';
import { testContext } from '../../testing/context.ts';
import { testPostgres, testSqlite, type TestDatabase } from '../../testing/databases.ts';
import { startPostgres, type ThrowawayPostgres } from '../../testing/postgres.ts';
import { tempFolder, type TempFolder } from '../../testing/temp.ts';
import { createDataMove, sync } from '../move.ts';
import { postgres } from '../stores/postgres/index.ts';
import { sqlite } from '../stores/sqlite/index.ts';

let server: ThrowawayPostgres;
let temp: TempFolder;
let ctx: Context;
let legacy: TestDatabase;
let next: TestDatabase;
let data: DataPort | null;

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(async () => {
  await server.stop();
});
beforeEach(async () => {
  temp = await tempFolder();
  ctx = testContext(temp.path);
  legacy = testSqlite(temp.path, 'legacy.db');
  next = await testPostgres(server.url);
  data = null;
});
afterEach(async () => {
  await data?.close();
  await legacy.close();
  await next.close();
  await temp.remove();
});

function move(tables: Readonly<Record<string, TableMapping>>, schema: 'create' | SchemaOptions = 'create'): DataPort {
  data = createDataMove([
    sync({ name: 'main', from: sqlite(legacy.address), to: postgres(next.address), tables, schema }),
  ]);
  return data;
}

async function errors(move: DataPort): Promise<{ message: string; remedy: string | undefined }[]> {
  const found = await move.check(ctx);
  return found.filter(({ level }) => level === 'error').map(({ message, remedy }) => ({ message, remedy }));
}

const messages = async (move: DataPort) => (await errors(move)).map(({ message }) => message);

async function run(move: DataPort): Promise<void> {
  const { schema } = move;
  const missing = (await schema?.missing(ctx)) ?? null;
  await move.installEpoch(ctx);
  await schema?.create(ctx, missing);
  await move.prepare(ctx);
  await move.copy(ctx);
  await schema?.complete(ctx, missing);
  const verdicts = await move.verify(ctx, 'forward', 'full');
  expect(verdicts.filter(({ outcome }) => outcome !== 'PASS')).toEqual([]);
}

describe('names', () => {
  it('quotes, keywords, blanks, case and other alphabets stay as they are', async () => {
    await legacy.exec(`
      CREATE TABLE "select ""from" ("order" INTEGER PRIMARY KEY, "Group" TEXT UNIQUE, "a""b" TEXT DEFAULT 'x"''y', "ключ 🔑" TEXT, [br ack] INT CHECK ([br ack] > 0));
      CREATE INDEX "in'dex" ON "select ""from" ("a""b", "Group");
      INSERT INTO "select ""from" VALUES (1, 'g', NULL, 'k', 5)`);
    const moved = move({ 'select "from': {} });
    expect(await messages(moved)).toEqual([]);
    await run(moved);
    expect(await next.all('SELECT * FROM "select ""from"')).toEqual([
      { order: '1', Group: 'g', 'a"b': null, 'ключ 🔑': 'k', 'br ack': '5' },
    ]);
    const indexes = await next.all("SELECT indexname FROM pg_indexes WHERE tablename = 'select \"from' ORDER BY 1");
    expect(indexes.map(({ indexname }) => indexname)).toContain("in'dex");
  });

  it('longer than 63 bytes are refused for tables and columns, and shortened without collision for indexes', async () => {
    const long = 'n'.repeat(70);
    await legacy.exec(`CREATE TABLE ${long} (id INTEGER PRIMARY KEY, ctid TEXT, ${long}x TEXT)`);
    expect(await messages(move({ [long]: {} }))).toEqual([
      'column ctid has a name that the target keeps for itself',
      `column ${long}x has a name of more than 63 bytes`,
      "the table's name has more than 63 bytes",
    ]);
    await legacy.exec(
      `CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT); CREATE INDEX ${long}_1 ON t (a); CREATE INDEX ${long}_2 ON t (b)`,
    );
    await data?.close();
    await run(move({ t: {} }));
    const indexes = await next.all("SELECT indexname FROM pg_indexes WHERE tablename = 't' AND indexname LIKE 'nnn%'");
    expect(indexes).toHaveLength(2);
    for (const { indexname } of indexes) expect(String(indexname)).toHaveLength(63);
  });

  it('that the mapping changes are changed in keys, checks, indexes and references too', async () => {
    await legacy.exec(`
      CREATE TABLE a (id INTEGER PRIMARY KEY, n INTEGER CHECK (n > 0 OR n IS NULL));
      CREATE TABLE b (id INTEGER PRIMARY KEY, a INTEGER REFERENCES A (ID));
      CREATE INDEX by_a ON b (a) WHERE a > 0;
      INSERT INTO a VALUES (1, 1); INSERT INTO b VALUES (2, 1)`);
    await run(
      move({
        parents: { from: 'a', columns: { parent_id: 'id', number: 'n' } },
        kids: { from: 'b', columns: { id: 'id', parent: 'a' } },
      }),
    );
    const made =
      await next.all(`SELECT pg_get_constraintdef(oid) AS what FROM pg_constraint WHERE contype IN ('c', 'f') AND conrelid <> 0 AND conname !~ 'changeover'
      UNION ALL SELECT indexdef FROM pg_indexes WHERE indexname = 'by_a' ORDER BY 1`);
    expect(made.map(({ what }) => what)).toEqual([
      'CHECK (((number > 0) OR (number IS NULL)))',
      'CREATE INDEX by_a ON public.kids USING btree (parent) WHERE (parent > 0)',
      'FOREIGN KEY (parent) REFERENCES parents(parent_id)',
    ]);
  });
});

describe('what the schema does not say', () => {
  it('is refused until the plan names it, and the remedy of each is what has to be written', async () => {
    await legacy.exec(`
      CREATE TABLE e (id INTEGER PRIMARY KEY, at DATETIME, any, mail TEXT COLLATE NOCASE UNIQUE, full TEXT AS (upper(mail)) STORED,
        word TEXT DEFAULT (lower('A')), CHECK (length(mail) > 2));
      CREATE INDEX by_lower ON e (lower(mail));
      INSERT INTO e (id, at, any, mail) VALUES (1, '2024-01-01', 1, 'a@x')`);
    const refused = await errors(move({ e: {} }));
    expect(refused.map(({ message }) => message.split(': ')[0])).toEqual([
      'e.at',
      'e.any',
      'e.mail',
      'e.full',
      'e.word:default',
      'e_check_1',
      'e_mail_key',
      'by_lower',
    ]);
    expect(refused[0]?.remedy).toContain("columns: { 'e.at': { type: 'timestamptz', from: 'unix-seconds' }");
    expect(refused[5]?.remedy).toContain("omit: ['e_check_1']");
    await data?.close();
    const moved = move(
      { e: { givesUp: ['full'] } },
      {
        columns: { 'e.at': 'text', 'e.any': 'bigint', 'e.mail': 'text' },
        omit: ['e.full', 'e.word:default', 'e_check_1', 'by_lower'],
      },
    );
    expect(await messages(moved)).toEqual([]);
    await run(moved);
    expect(await next.all('SELECT * FROM e')).toEqual([
      { id: '1', at: '2024-01-01', any: '1', mail: 'a@x', word: 'a' },
    ]);
  });

  it('is no guess: a type for times needs to say how they are kept, and a wrong name is told', async () => {
    await legacy.exec('CREATE TABLE e (id INTEGER PRIMARY KEY, at INTEGER)');
    expect(
      await messages(move({ e: {} }, { columns: { 'e.at': 'timestamptz', 'e.att': 'text' }, omit: ['nothing'] })),
    ).toEqual([
      '`schema` names e.att, and there is nothing of that name',
      '`schema` names nothing, and there is nothing of that name',
      'e.at: INTEGER → timestamptz is ambiguous: how INTEGER becomes timestamptz is not said',
    ]);
  });
});

describe('rows', () => {
  it('that do not fit their new columns are found by check, with their keys', async () => {
    await legacy.exec(`
      CREATE TABLE v (id INTEGER PRIMARY KEY, i INTEGER, t TEXT, f BOOLEAN, u UUID, j JSON, at INTEGER, local TEXT);
      INSERT INTO v VALUES (1, 1, 'fine', 1, NULL, '[1]', 0, '2024-06-01 00:00:00'), (2, 'abc', 'nul' || char(0), 2, 'ABC', '{', 1.23456789, '2024-10-27 02:30:00'),
        (3, 1.5, x'61', 'true', '123E4567-e89b-12d3-a456-426614174000', 5, 9e18, '2024-03-31 02:30:00'), (4, x'00', CAST(x'ff61' AS TEXT), 0, NULL, NULL, NULL, '2023-02-29 00:00:00');`);
    const columns = {
      'v.at': { type: 'timestamptz', from: 'unix-seconds' },
      'v.local': { type: 'timestamptz', from: 'sql-text', zone: 'Europe/Berlin' },
    } as const;
    const found = await messages(move({ v: {} }, { columns }));
    expect(found.map((message) => message.replace(/\. Stored are.*/, ''))).toEqual([
      'i: 2 values do not fit bigint: "abc" in the row ["i2"] (it is stored as text, not integer); 1.5 in the row ["i3"] (it is stored as real, not integer)',
      't: 2 values do not fit text: "nul\\u0000" in the row ["i2"] (it has a NUL character, which ends a text elsewhere); x\'61\' in the row ["i3"] (it is stored as blob, not text)',
      'f: 2 values do not fit boolean: 2 in the row ["i2"] (it is neither 0 nor 1); "true" in the row ["i3"] (it is stored as text, not integer)',
      'u: 2 values do not fit uuid: "ABC" in the row ["i2"] (it is not a UUID in lower case with dashes); "123E4567-e89b-12d3-a456-426614174000" in the row ["i3"] (it is not a UUID in lower case with dashes)',
      'j: 1 values do not fit json: "{" in the row ["i2"] (it is not JSON)',
      'at: 2 values do not fit timestamptz: 1.23456789 in the row ["i2"] (it would come back as 1.234568); 9000000000000000000 in the row ["i3"] (it lies outside of the years 1 to 9999)',
      'local: 2 values do not fit timestamptz: "2024-10-27 02:30:00" in the row ["i2"] (clocks of Europe/Berlin showed this time twice); "2024-03-31 02:30:00" in the row ["i3"] (clocks of Europe/Berlin never showed this time)',
      'text that is not valid UTF-8: t in the row ["i4"]',
    ]);
    expect(found[0]).toMatch(/Stored are 1 integer, 1 text, 1 real$/);
    expect(await next.all("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")).toEqual([]);
  });

  it('that are written during the copy and do not fit stop it, with their key', async () => {
    await legacy.exec("CREATE TABLE v (id INTEGER PRIMARY KEY, b TEXT); INSERT INTO v VALUES (1, 'a')");
    const moved = move({ v: {} });
    expect(await messages(moved)).toEqual([]);
    await legacy.exec("INSERT INTO v VALUES (2, x'61')");
    await expect(run(moved)).rejects.toThrow(
      'the row ["i2"] of v has a value that its new column cannot hold: b: it is stored as blob, not text',
    );
  });

  it('that point at nothing are told with their keys, and nothing is made', async () => {
    await legacy.exec(`
      CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (id INTEGER PRIMARY KEY, p INTEGER REFERENCES P);
      PRAGMA foreign_keys = OFF; INSERT INTO p VALUES (1); INSERT INTO c VALUES (1, 1), (2, 7), (3, NULL), (4, 8)`);
    expect(await errors(move({ p: {}, c: {} }))).toEqual([
      {
        message: 'c_p_fkey: 2 rows point at rows of p that are not there: id 2; id 4',
        remedy:
          'correct or delete them: SELECT * FROM "c" AS c WHERE c."p" IS NOT NULL AND NOT EXISTS (SELECT 1 FROM "p" AS p WHERE p."id" = c."p" COLLATE BINARY); or leave it out: schema: { omit: [\'c_p_fkey\'] }',
      },
    ]);
    await data?.close();
    await run(move({ p: {}, c: {} }, { omit: ['c_p_fkey'] }));
    expect(await next.all('SELECT count(*)::int AS count FROM c')).toEqual([{ count: 4 }]);
  });

  it('that the new side writes and the legacy cannot hold are counted, not lost silently', async () => {
    await legacy.exec(
      'CREATE TABLE v (id INTEGER PRIMARY KEY, price NUMERIC, at INTEGER); INSERT INTO v VALUES (1, 0.5, 0)',
    );
    const moved = move({ v: {} }, { columns: { 'v.at': { type: 'timestamptz', from: 'unix-seconds' } } });
    await run(moved);
    await moved.prepareReverse(ctx);
    await moved.unfence(ctx, 'next');
    await next.exec(
      "INSERT INTO v VALUES (2, 1.50, '2024-01-01'), (3, 0.12345678901234567890, NULL), (4, NULL, '2024-01-01 00:00:00.1234567 BC')",
    );
    await moved.catchUp(ctx, 'reverse');
    expect(await legacy.all('SELECT * FROM v ORDER BY id')).toEqual([
      { id: 1, price: 0.5, at: 0 },
      { id: 2, price: 1.5, at: 1704067200 },
    ]);
    expect(await moved.notReturnable(ctx)).toEqual([
      { table: 'v', rows: 1, reason: 'price: it would come back as "0.12345678901234568"' },
      { table: 'v', rows: 1, reason: 'at: it lies outside of the years 1 to 9999' },
    ]);
  });
});

describe('a table that is there already', () => {
  const LEGACY =
    "CREATE TABLE v (id INTEGER PRIMARY KEY, t TEXT NOT NULL, n INTEGER); CREATE INDEX by_n ON v (n); INSERT INTO v VALUES (1, 'a', 2)";

  it('with other columns is an error that says the difference', async () => {
    await legacy.exec(LEGACY);
    await next.exec('CREATE TABLE v (id bigint PRIMARY KEY, t varchar(10), extra int)');
    const moved = move({ v: {} });
    const difference =
      'its column t is character varying(10), not text; its column t may be NULL; it has no column n; its column extra would not be there';
    expect(await messages(moved)).toEqual([`the table is there already, and is not what would be made: ${difference}`]);
    await expect(run(moved)).rejects.toThrow(difference);
  });

  it('with the same columns is used as it is, and stays', async () => {
    await legacy.exec(LEGACY);
    await next.exec('CREATE TABLE v (id bigint PRIMARY KEY, t text NOT NULL, n int8)');
    const moved = move({ v: {} });
    expect(await messages(moved)).toEqual([]);
    const missing = (await moved.schema?.missing(ctx)) ?? null;
    await run(moved);
    await moved.uninstall(ctx, { emptyTarget: true });
    await moved.schema?.remove(ctx, missing);
    const left = await next.all("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1");
    expect(left.map(({ relname }) => relname)).toEqual(['v', 'v_pkey']);
  });
});

it('a constraint that the target would refuse is found before the copy', async () => {
  await legacy.exec("CREATE TABLE v (id INTEGER PRIMARY KEY, t TEXT CHECK (t > 5)); INSERT INTO v VALUES (1, 'x')");
  await expect(run(move({ v: {} }))).rejects.toThrow(
    /refused `ALTER TABLE "v" ADD CONSTRAINT "v_check_1".*operator does not exist: text > integer/s,
  );
  expect(await next.all('SELECT count(*)::int AS count FROM v')).toEqual([{ count: 0 }]);
  const own = { [postgres(next.address).identity({ root: '' })]: { isNew: false, names: ['table v'] } };
  await data?.schema?.remove(ctx, own);
  expect(await next.all("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")).toEqual([]);
});

it('a role that may not write children before their parents is told what it needs', async () => {
  await legacy.exec(
    'CREATE TABLE p (id INTEGER PRIMARY KEY, n INT); CREATE TABLE c (id INTEGER PRIMARY KEY, p INT REFERENCES p, n INT REFERENCES p(n))',
  );
  const role = `mover_${Date.now()}`;
  await next.exec(`CREATE ROLE ${role} LOGIN; GRANT CREATE ON SCHEMA public TO ${role}`);
  const owner = next.address;
  const address = new URL(owner);
  address.username = role;
  const moved = (data = createDataMove([
    sync({
      name: 'main',
      from: sqlite(legacy.address),
      to: postgres(address.href),
      tables: { p: {}, c: {} },
      schema: 'create',
    }),
  ]));
  expect(await errors(moved)).toEqual([
    {
      message: 'c_n_fkey: p (n) is not unique, so nothing may point at it in the target',
      remedy: "CREATE UNIQUE INDEX on it in the legacy, or leave it out: schema: { omit: ['c_n_fkey'] }",
    },
    {
      message: 'the foreign keys to be made would refuse a child that is moved before its parent, or cascade',
      remedy: `GRANT SET ON PARAMETER session_replication_role TO ${role}`,
    },
  ]);
  await legacy.exec('CREATE UNIQUE INDEX by_n ON p (n)');
  await next.exec(`GRANT SET ON PARAMETER session_replication_role TO ${role}`);
  expect(await errors(moved)).toEqual([]);
});

it('keys that are two in the legacy and one by the collation of the target are told', async () => {
  await legacy.exec(`
    CREATE TABLE v (id INTEGER PRIMARY KEY, mail TEXT UNIQUE, part TEXT, UNIQUE (id, mail));
    INSERT INTO v VALUES (1, 'ann@x', 'a'), (2, 'Bob@x', 'b'), (3, 'ANN@X', 'c'), (4, NULL, NULL), (5, NULL, NULL)`);
  await next.exec("CREATE COLLATION no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)");
  const schema = { columns: { 'v.mail': 'text COLLATE no_case' } };
  expect(await messages(move({ v: {} }, schema))).toEqual([
    'v_mail_key (mail): rows that are equal by text COLLATE no_case: ["i1"] and ["i3"]',
  ]);
  await legacy.exec('DELETE FROM v WHERE id = 3');
  await data?.close();
  await run(move({ v: {} }, schema));
  expect(await next.all("SELECT id FROM v WHERE mail = 'bob@X'")).toEqual([{ id: '2' }]);
});

it('a look at the rows that takes too long stops, and says how far it came', async () => {
  await legacy.exec(`
    CREATE TABLE v (id INTEGER PRIMARY KEY, t TEXT);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO v SELECT i, 'x' FROM n;
    UPDATE v SET t = x'00' WHERE id = 5000`);
  let nowMs = 0;
  // Every look at the clock takes three seconds: two at the beginning, and one or two a chunk.
  ctx = testContext(temp.path, { clock: { ...ctx.clock, monotonicMs: () => (nowMs += 3000) } });
  const found = await move({ v: {} }).check(ctx);
  expect(
    found.filter(({ about }) => about === 'data.main: v').map(({ level, message }) => `${level}: ${message}`),
  ).toEqual([
    'warning: 2000 of 5000 rows were looked at in 10 s; a value among the others that does not fit stops the copy',
  ]);
});
