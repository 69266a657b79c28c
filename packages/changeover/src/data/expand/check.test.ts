import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { planProblems } from '../../plan/define.ts';
import type { ExpandDefinition, TableExpansion } from '../../plan/expand.ts';
import { testContext } from '../../testing/context.ts';
import { testPostgres, type TestDatabase } from '../../testing/databases.ts';
import { startPostgres, type ThrowawayPostgres } from '../../testing/postgres.ts';
import { tempFolder, type TempFolder } from '../../testing/temp.ts';
import { createDataMove, expand } from '../move.ts';
import { postgres } from '../stores/postgres/index.ts';
import { sqlite } from '../stores/sqlite/index.ts';

let server: ThrowawayPostgres;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(async () => {
  await server.stop();
});

let temp: TempFolder;
let db: TestDatabase;
beforeEach(async () => {
  temp = await tempFolder();
  db = await testPostgres(server.url);
  await db.exec(`
    CREATE TABLE users (id int PRIMARY KEY, first text, last text NOT NULL, twice int GENERATED ALWAYS AS (id * 2) STORED);
    INSERT INTO users VALUES (1, 'a', 'b'), (2, NULL, 'd'), (3, 'x', 'y');`);
});
afterEach(async () => {
  await db.close();
  await temp[Symbol.asyncDispose]();
});

async function findings(level: 'error' | 'warning', users: TableExpansion, table = 'users') {
  const data = createDataMove([expand({ name: 'main', in: postgres(db.address), tables: { [table]: users } })]);
  try {
    const found = await data.check(testContext(temp.path));
    return found.filter((one) => one.level === level).map(({ message, remedy = '' }) => `${message} → ${remedy}`);
  } finally {
    await data.close();
  }
}

const added = (column: Record<string, unknown>, more: TableExpansion = {}) =>
  ({ add: { name: { type: 'text', up: 'last', down: { last: 'name' }, ...column } }, ...more }) as TableExpansion;

it('finds nothing to say against an expansion that works', async () => {
  expect(await findings('error', added({}, { drop: ['first'] }))).toEqual([]);
  expect(await findings('warning', added({}))).toEqual([]);
});

it.each([
  ['a column that there is not', added({ up: 'nobody' }), /name: column "nobody" does not exist/],
  [
    'a value that cannot be cast',
    added({ type: 'int', down: { last: 'name::text' } }),
    /invalid input syntax for type integer: "b"/,
  ],
  ['an expression that is not SQL', added({ up: 'last ||' }), /syntax error/],
  [
    'NULL where there must be none',
    added({ up: 'first', notNull: true }),
    /up` gives NULL for 1 rows, e.g. \["2"\].*`default`/s,
  ],
  ['chance', added({ up: 'last || random()' }), /up of name uses random/],
  ['the time', added({ up: 'last || now()' }), /up of name uses now/],
  ['other rows', added({ up: '(SELECT max(last) FROM users)' }), /reads other rows/],
  ['a comment', added({ up: 'last -- so it is' }), /has a comment/],
  ['a way back that is missing', added({ down: undefined }), /does not come back.*givesUp: \['name'\]/],
  ['a way back to nowhere', added({ down: { nobody: 'name' } }), /names nobody, which is not an old column/],
  ['a way back to a generated column', added({ down: { twice: '1' } }), /twice is generated/],
  ['a way back to the key', added({ down: { id: 'name::int' } }), /id is part of the key/],
  [
    'a way back to a column that another one says',
    {
      add: {
        a: { type: 'text', up: 'last', down: { last: 'a' } },
        b: { type: 'text', up: 'last', down: { last: 'b' } },
      },
    },
    /a and b both say what last is/,
  ],
  ['a drop of the key', { drop: ['id'] }, /names id, which is part of the key/],
  ['a drop of nothing', { drop: ['nobody'] }, /there is no such column/],
  ['a drop that refuses rows of the new side', { drop: ['last'] }, /last is NOT NULL and no `down`/],
  [
    'a default that rewrites the table',
    { add: { token: { type: 'uuid', default: 'gen_random_uuid()' } } },
    /would rewrite the whole table/,
  ],
])('refuses %s', async (_what, users, message) => {
  expect((await findings('error', users)).join('\n')).toMatch(message);
});

it('refuses a table without a key, and one that is not there, with the remedy', async () => {
  await db.exec('CREATE TABLE heap (a int); CREATE TABLE parts (a int PRIMARY KEY) PARTITION BY RANGE (a)');
  expect((await findings('error', { drop: ['a'] }, 'heap')).join()).toMatch(
    /heap has no primary key.*Give heap a primary key/,
  );
  expect((await findings('error', { drop: ['a'] }, 'nobody')).join()).toMatch(/nobody/);
  expect((await findings('error', { add: { b: { type: 'int' } } }, 'parts')).join()).toMatch(/partitioned/);
});

it('names triggers that would fight with ours, and what keeps a column from being dropped', async () => {
  await db.exec(`
    CREATE FUNCTION own() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.last := upper(NEW.last); RETURN NEW; END $$;
    CREATE TRIGGER a_first BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION own();
    CREATE VIEW names AS SELECT first FROM users;
    CREATE INDEX users_by_first ON users (first)`);
  expect((await findings('warning', added({}))).join()).toMatch(/trigger a_first reads or writes name, last/);
  await db.exec(`
    CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
    CREATE TRIGGER audit AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION other()`);
  expect((await findings('warning', added({}))).join()).toMatch(
    /trigger audit fires for every row that the backfill writes/,
  );
  const dropping = added({}, { drop: ['first'] });
  expect((await findings('error', dropping)).join()).toMatch(/view names needs first, so `finish` could not drop it/);
  expect((await findings('warning', dropping)).join()).toMatch(/index users_by_first goes when `finish` drops first/);
  await db.exec('CREATE TRIGGER zzzz_last BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION own()');
  expect((await findings('error', added({}))).join()).toMatch(/trigger zzzz_last fires after ours/);
});

it('takes nothing from a check: no table, no column, no setting', async () => {
  await findings('error', added({}));
  expect(await db.all("SELECT relname FROM pg_class WHERE relname LIKE '%changeover%'")).toEqual([]);
});

it('is refused in the plan where it is misspelt, with the place and the remedy', () => {
  const problems = (definition: ExpandDefinition) =>
    planProblems({ data: [definition] })
      .filter((found) => found.path.startsWith('data'))
      .map(({ path, expected, remedy }) => `${path}: ${expected} → ${remedy}`)
      .join();
  const good = { name: 'main', in: postgres('postgres://app@127.0.0.1/app'), tables: { users: added({}) } };
  expect(problems(expand(good))).toBe('');
  expect(problems(expand({ ...good, in: sqlite('a.db') }))).toMatch(/^data\[0\]\.in: postgres\(url\)/);
  const wrong = (tables: unknown) => problems(expand({ ...good, tables: tables as Record<string, TableExpansion> }));
  expect(wrong({})).toMatch(/at least one table/);
  expect(wrong({ users: { adds: {} } })).toMatch(/data\[0\]\.tables\.users\.adds: /);
  expect(wrong({ users: { add: { name: { up: 'last' } } } })).toMatch(
    /^data\[0\]\.tables\.users\.add\.name\.type: SQL/,
  );
  expect(wrong({ users: { constraints: { u: 'UNIQUE (last)' } } })).toMatch(/a unique one is an index/);
  expect(wrong({ users: { constraints: { u: 'CHECK (true) NOT VALID' } } })).toMatch(/without NOT VALID/);
});
