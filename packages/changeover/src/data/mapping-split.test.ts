import { afterEach, describe, expect, it } from 'vitest';
import type { TableMapping } from '../plan/sync.ts';
import type { TestDatabase } from '../testing/databases.ts';
import { MappedMove } from '../testing/mapped-move.ts';
import { constant, createDataMove, expression, sync } from './move.ts';
import { sqlite } from './stores/sqlite/index.ts';

let move: MappedMove;
afterEach(async () => {
  await move[Symbol.asyncDispose]();
});

async function begin(legacy: string, next: string): Promise<MappedMove> {
  const storeOf = ({ address }: TestDatabase) => sqlite(address);
  move = await MappedMove.begin({ servers: {}, storeOf, createDataMove, sync });
  await move.legacy.exec(legacy);
  await move.next.exec(next);
  return move;
}

const WHOLE =
  'CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, street TEXT, city TEXT CHECK (length(city) < 9))';
const PARTS = `CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
  CREATE TABLE addresses (person INTEGER PRIMARY KEY, street TEXT, city TEXT)`;
const ROWS =
  "(1, 'ann', 'High St', 'Leeds'), (2, 'bob', NULL, NULL), (3, 'eve', NULL, 'York'), (4, 'kim', 'Low Rd', 'Hull')";

describe('one table that becomes two', () => {
  const SPLIT: Record<string, TableMapping> = {
    people: { from: 'users', columns: { id: 'id', name: 'name' } },
    addresses: { from: 'users', partOf: 'people', columns: { person: 'id', street: 'street', city: 'city' } },
  };

  it('comes back from both, whichever of them changes', async () => {
    const { legacy, next } = await begin(`${WHOLE}; INSERT INTO users VALUES ${ROWS}`, PARTS);
    move.plan(SPLIT);
    expect(await move.errors()).toEqual([]);
    await move.copy();
    expect(await next.all('SELECT person FROM addresses')).toEqual([{ person: 1 }, { person: 3 }, { person: 4 }]);
    await legacy.exec(`UPDATE users SET street = 'New St' WHERE id = 1; UPDATE users SET city = 'Bath' WHERE id = 2;
      UPDATE users SET street = NULL, city = NULL WHERE id = 3; DELETE FROM users WHERE id = 4; INSERT INTO users VALUES (5, 'zoe', 'x', 'y')`);
    expect(await move.switchOver()).toEqual(['PASS', 'PASS']);
    expect(await next.all('SELECT * FROM addresses')).toEqual([
      { person: 1, street: 'New St', city: 'Leeds' },
      { person: 2, street: null, city: 'Bath' },
      { person: 3, street: null, city: null },
      { person: 5, street: 'x', city: 'y' },
    ]);
    await next.exec(`UPDATE people SET name = 'anna' WHERE id = 1; UPDATE addresses SET city = 'Rome' WHERE person = 1;
      DELETE FROM addresses WHERE person = 2; INSERT INTO addresses VALUES (7, 'first', 'its part'); INSERT INTO people VALUES (7, 'ray');
      DELETE FROM people WHERE id = 5; INSERT INTO people VALUES (8, 'no address')`);
    expect(await move.switchBack()).toEqual(['PASS']);
    expect(await legacy.all('SELECT * FROM users')).toEqual([
      { id: 1, name: 'anna', street: 'New St', city: 'Rome' },
      { id: 2, name: 'bob', street: null, city: null },
      { id: 3, name: 'eve', street: null, city: null },
      { id: 7, name: 'ray', street: 'first', city: 'its part' },
      { id: 8, name: 'no address', street: null, city: null },
    ]);
    expect(await move.data.notReturnable(move.ctx)).toEqual([
      { table: 'addresses', rows: 1, reason: 'people has no row for it' },
    ]);
  });

  it('counts a part without its whole row as not returnable, until there is one', async () => {
    const { legacy, next } = await begin(`${WHOLE}; INSERT INTO users VALUES ${ROWS}`, PARTS);
    move.plan(SPLIT);
    await move.copy();
    await move.switchOver();
    await next.exec("INSERT INTO addresses VALUES (9, 'Nowhere', 'Here')");
    await move.follow('reverse');
    expect(await move.data.notReturnable(move.ctx)).toEqual([
      { table: 'addresses', rows: 1, reason: 'people has no row for it' },
    ]);
    expect(await move.verify('reverse')).toEqual(['PASS']);
    await next.exec(
      "INSERT INTO people VALUES (9, 'late'); UPDATE addresses SET city = 'far too long' WHERE person = 1",
    );
    await move.follow('reverse');
    expect(await legacy.all('SELECT * FROM users WHERE id IN (1, 9)')).toEqual([
      { id: 1, name: 'ann', street: 'High St', city: 'Leeds' },
      { id: 9, name: 'late', street: 'Nowhere', city: 'Here' },
    ]);
    expect(await move.data.notReturnable(move.ctx)).toMatchObject([{ table: 'people', rows: 1 }]);
    expect(await move.verify('reverse')).toEqual(['PASS']);
    expect(await move.verify('reverse', 'changed')).toEqual(['PASS']);
  });

  it('is verified as one on the way back: what is wrong in any of its columns is found', async () => {
    const { legacy } = await begin(`${WHOLE}; INSERT INTO users VALUES ${ROWS}`, PARTS);
    move.plan(SPLIT);
    await move.copy();
    await move.switchOver();
    await move.data.unfence(move.ctx, 'legacy');
    await legacy.exec("UPDATE users SET city = 'wrong' WHERE id = 4; UPDATE users SET name = 'wrong' WHERE id = 1");
    expect(await move.verify('reverse')).toEqual([
      'FAIL: 4 rows compared, 2 differ: (1) differs in name; (4) differs in city',
    ]);
  });

  it('joins rows whose keys are written otherwise in the parts', async () => {
    const { legacy, next } = await begin(
      "CREATE TABLE users (id TEXT PRIMARY KEY, a TEXT, b TEXT); INSERT INTO users VALUES ('One', 'x', 'y'), ('2', 'z', NULL), ('Three', 'u', 'v')",
      'CREATE TABLE one (id TEXT PRIMARY KEY, a TEXT); CREATE TABLE two (id TEXT COLLATE NOCASE PRIMARY KEY, b TEXT)',
    );
    move.plan({
      one: { from: 'users', columns: { id: 'id', a: 'a' } },
      two: { from: 'users', partOf: 'one', columns: { id: 'id', b: 'b' } },
    });
    await move.copy();
    await move.switchOver();
    await next.exec(
      "UPDATE one SET a = 'X'; INSERT INTO two VALUES (2, 'new'); UPDATE two SET id = 'ONE', b = 'Y' WHERE id = 'One'",
    );
    expect(await move.switchBack()).toEqual(['PASS']);
    expect(await legacy.all('SELECT * FROM users ORDER BY id')).toEqual([
      { id: '2', a: 'X', b: 'new' },
      { id: 'One', a: 'X', b: 'Y' },
      { id: 'Three', a: 'X', b: 'v' },
    ]);
  });

  it('is still changing, and not different, for one who only reads while a part waits to be applied', async () => {
    const { next } = await begin(`${WHOLE}; INSERT INTO users VALUES ${ROWS}`, PARTS);
    move.plan(SPLIT);
    await move.copy();
    await move.switchOver();
    await next.exec("UPDATE addresses SET city = 'Bonn' WHERE person = 1");
    const [verdict] = await move.data.verify({ ...move.ctx, epoch: 0 }, 'reverse', 'full');
    expect(verdict).toMatchObject({ outcome: 'INCONCLUSIVE', changing: 1 });
  });

  it('may have expressions and constants in the whole, and expressions in the part', async () => {
    const { legacy, next } = await begin(
      `${WHOLE}; INSERT INTO users VALUES ${ROWS}`,
      'CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, source TEXT); CREATE TABLE addresses (id INTEGER PRIMARY KEY, line TEXT)',
    );
    const line = expression("coalesce(street, '') || ', ' || coalesce(city, '')", {
      back: {
        street: "nullif(substr(line, 1, instr(line, ', ') - 1), '')",
        city: "nullif(substr(line, instr(line, ', ') + 2), '')",
      },
    });
    move.plan({
      people: {
        from: 'users',
        columns: {
          id: 'id',
          name: expression('upper(name)', { back: { name: 'lower(name)' } }),
          source: constant('web'),
        },
      },
      addresses: { from: 'users', partOf: 'people', columns: { id: 'id', line } },
    });
    expect(await move.errors()).toEqual([]);
    await move.copy();
    expect(await move.switchOver()).toEqual(['PASS', 'PASS']);
    await next.exec(
      "UPDATE addresses SET line = 'High St, Ely' WHERE id = 1; INSERT INTO people VALUES (6, 'MAX', 'api')",
    );
    expect(await move.switchBack()).toEqual(['PASS']);
    expect(await legacy.all('SELECT * FROM users WHERE id IN (1, 6)')).toEqual([
      { id: 1, name: 'ann', street: 'High St', city: 'Ely' },
    ]);
    expect((await move.data.notReturnable(move.ctx)).map(({ rows }) => rows)).toEqual([1]);
  });

  it.each<[string, Record<string, TableMapping>, RegExp]>([
    [
      'is part of nothing',
      { ...SPLIT, addresses: { ...SPLIT['addresses'], partOf: 'persons' } },
      /partOf names persons/,
    ],
    [
      'is part of itself',
      { ...SPLIT, addresses: { ...SPLIT['addresses'], partOf: 'addresses' } },
      /partOf names addresses/,
    ],
    [
      'does not say so',
      { ...SPLIT, addresses: { from: 'users', columns: { person: 'id', street: 'street', city: 'city' } } },
      /people and addresses both carry the rows of users back/,
    ],
    [
      'has functions',
      { ...SPLIT, addresses: { from: 'users', partOf: 'people', row: { to: (row) => row, back: (row) => row } } },
      /a part moves by its columns alone/,
    ],
    [
      'has a constant',
      {
        ...SPLIT,
        addresses: { ...SPLIT['addresses'], columns: { person: 'id', street: 'street', city: constant('x') } },
      },
      /a part has a constant/,
    ],
    [
      'goes back otherwise',
      { ...SPLIT, addresses: { ...SPLIT['addresses'], reverse: 'derived' } },
      /goes back as `derived`, and people as `rows`/,
    ],
    [
      'leaves a column behind',
      { ...SPLIT, addresses: { ...SPLIT['addresses'], columns: { person: 'id', street: 'street' } } },
      /column city of users is not moved/,
    ],
  ])('is refused where a part %s', async (_what, tables, message) => {
    await begin(WHOLE, PARTS);
    move.plan(tables);
    expect((await move.errors()).join('\n')).toMatch(message);
  });
});

describe('two tables that fill the columns of one', () => {
  const JOIN: Record<string, TableMapping> = {
    people: { to: 'users', columns: { id: 'id', name: 'name' } },
    addresses: { to: 'users', partOf: 'people', columns: { id: 'person', street: 'street', city: 'city' } },
  };
  const FILLED = `${PARTS}; INSERT INTO people VALUES (1, 'ann'), (2, 'bob'), (3, 'eve'), (4, 'kim');
    INSERT INTO addresses VALUES (1, 'High St', 'Leeds'), (3, NULL, NULL), (4, 'Low Rd', 'Hull')`;

  it('are one row there, and two again on the way back, but for parts without values', async () => {
    const { legacy, next } = await begin(FILLED, WHOLE);
    move.plan(JOIN);
    expect(await move.errors()).toEqual([]);
    await move.copy();
    await legacy.exec(`UPDATE addresses SET city = 'Bath' WHERE person = 1; UPDATE people SET name = 'Eve' WHERE id = 3;
      DELETE FROM addresses WHERE person = 4; INSERT INTO addresses VALUES (5, 's', 'c'); INSERT INTO people VALUES (5, 'zoe')`);
    expect(await move.switchOver()).toEqual(['PASS']);
    expect(await next.all('SELECT * FROM users')).toEqual([
      { id: 1, name: 'ann', street: 'High St', city: 'Bath' },
      { id: 2, name: 'bob', street: null, city: null },
      { id: 3, name: 'Eve', street: null, city: null },
      { id: 4, name: 'kim', street: null, city: null },
      { id: 5, name: 'zoe', street: 's', city: 'c' },
    ]);
    await next.exec(`UPDATE users SET city = 'Rome' WHERE id IN (1, 2); UPDATE users SET street = NULL, city = NULL WHERE id = 5;
      DELETE FROM users WHERE id = 4; INSERT INTO users VALUES (6, 'max', NULL, NULL), (7, 'ray', 'r', NULL)`);
    expect(await move.switchBack()).toEqual(['PASS', 'PASS']);
    expect((await legacy.all('SELECT id FROM people')).map(({ id }) => id)).toEqual([1, 2, 3, 5, 6, 7]);
    expect(await legacy.all('SELECT * FROM addresses')).toEqual([
      { person: 1, street: 'High St', city: 'Rome' },
      { person: 2, street: null, city: 'Rome' },
      { person: 3, street: null, city: null },
      { person: 5, street: null, city: null },
      { person: 7, street: 'r', city: null },
    ]);
  });

  it('are refused, or fail verification, where a part has no whole row: it would be left behind', async () => {
    const { legacy } = await begin(FILLED, WHOLE);
    await legacy.exec("INSERT INTO addresses VALUES (9, 'Nowhere', 'x')");
    move.plan(JOIN);
    expect(await move.errors()).toEqual([
      '1 rows of addresses have no row in people, so nothing is made of them: ["i9"]',
    ]);
    await move.copy();
    await move.follow('forward');
    expect(await move.verify('forward')).toEqual(['FAIL: 4 rows compared, 1 differ: (9) is missing']);
    await legacy.exec("DELETE FROM addresses WHERE person = 9; INSERT INTO addresses VALUES (10, 'Nowhere', 'x')");
    await move.follow('forward');
    expect(await move.verify('forward')).toEqual(['FAIL: 4 rows compared, 1 differ: (10) is missing']);
    await legacy.exec("INSERT INTO people VALUES (10, 'ten')");
    await move.follow('forward');
    expect(await move.verify('forward')).toEqual(['PASS']);
    expect(await move.verify('forward', 'changed')).toEqual(['PASS']);
  });
});
