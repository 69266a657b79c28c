import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { ColumnSource, TableMapping } from '../plan/sync.ts';
import type { TestDatabase } from '../testing/databases.ts';
import { MappedMove } from '../testing/mapped-move.ts';
import { mariadbIsMissing, startMariadb, type ThrowawayMariadb } from '../testing/mariadb.ts';
import { startPostgres, type ThrowawayPostgres } from '../testing/postgres.ts';
import { constant, createDataMove, expression, sync } from './move.ts';
import { mariadb } from './stores/mariadb/index.ts';
import { postgres } from './stores/postgres/index.ts';
import { sqlite } from './stores/sqlite/index.ts';

type Kind = TestDatabase['kind'];

const servers: { postgres?: ThrowawayPostgres; mariadb?: ThrowawayMariadb } = {};
const STORES = { sqlite, postgres, mariadb };
const storeOf = ({ kind, address }: TestDatabase) => STORES[kind](address);

beforeAll(async () => {
  servers.postgres = await startPostgres();
  if (missing === null) servers.mariadb = await startMariadb();
});
afterAll(async () => {
  await servers.postgres?.stop();
  await servers.mariadb?.stop();
});

let move: MappedMove;
afterEach(async () => {
  await move[Symbol.asyncDispose]();
});

async function begin(from: Kind = 'sqlite', to: Kind = 'sqlite'): Promise<MappedMove> {
  move = await MappedMove.begin({ servers, kinds: [from, to], storeOf, createDataMove, sync });
  return move;
}

/** `first` and `last` in one column, in the words of each engine, and back. */
const JOINED: Readonly<Record<Kind, { readonly to: string; readonly first: string; readonly last: string }>> = {
  sqlite: {
    to: "first || ' ' || last",
    first: "substr(name, 1, instr(name, ' ') - 1)",
    last: "substr(name, instr(name, ' ') + 1)",
  },
  postgres: {
    to: "people.first || ' ' || last -- as it is called",
    first: "split_part(name, ' ', 1)",
    last: "substr(name, strpos(name, ' ') + 1)",
  },
  mariadb: {
    to: "CONCAT(first, ' ', last)",
    first: "SUBSTRING_INDEX(name, ' ', 1)",
    last: "SUBSTRING(name, INSTR(name, ' ') + 1)",
  },
};
const LEGACY = 'CREATE TABLE people (id INTEGER PRIMARY KEY, first VARCHAR(40), last VARCHAR(40), born INTEGER)';
const NEXT = 'CREATE TABLE people (id INTEGER PRIMARY KEY, name VARCHAR(90), age_in_2030 INTEGER, source VARCHAR(20))';

function joined(from: Kind, to: Kind): Record<string, ColumnSource> {
  const back = { first: JOINED[to].first, last: JOINED[to].last };
  return {
    id: 'id',
    name: expression(JOINED[from].to, { back }),
    age_in_2030: expression('2030 - born', { back: { born: '2030 - age_in_2030' } }),
    source: constant('doorbell'),
  };
}

const PAIRS: [Kind, Kind][] = [
  ['sqlite', 'sqlite'],
  ['sqlite', 'postgres'],
  ['postgres', 'mariadb'],
  ['mariadb', 'sqlite'],
];
const missing = await mariadbIsMissing();
const HERE = PAIRS.filter((pair) => missing === null || !pair.includes('mariadb'));

describe('expressions and constants', () => {
  it.each(HERE)('go there and back (%s → %s)', async (from, to) => {
    const { legacy, next } = await begin(from, to);
    await legacy.exec(LEGACY);
    await next.exec(NEXT);
    await legacy.exec(
      "INSERT INTO people VALUES (1, 'Ann', 'Lee', 1990), (2, 'Bob', 'van Dyk', 1980), (3, NULL, NULL, NULL), (4, 'Eve', '', 2001)",
    );
    move.plan({ people: { columns: joined(from, to) } });
    expect(await move.errors()).toEqual([]);
    await move.copy();
    await legacy.exec("UPDATE people SET last = 'Leigh' WHERE id = 1");
    await legacy.exec('DELETE FROM people WHERE id = 4');
    await legacy.exec("INSERT INTO people VALUES (5, 'Kim', 'Oh', 1999)");
    expect(await move.switchOver()).toEqual(['PASS']);
    expect(await next.all('SELECT * FROM people ORDER BY id')).toEqual([
      { id: 1, name: 'Ann Leigh', age_in_2030: 40, source: 'doorbell' },
      { id: 2, name: 'Bob van Dyk', age_in_2030: 50, source: 'doorbell' },
      { id: 3, name: null, age_in_2030: null, source: 'doorbell' },
      { id: 5, name: 'Kim Oh', age_in_2030: 31, source: 'doorbell' },
    ]);
    await next.exec("UPDATE people SET name = 'Anna Leigh' WHERE id = 1");
    await next.exec('DELETE FROM people WHERE id = 2');
    await next.exec("INSERT INTO people VALUES (6, 'Zoe Ray', 10, 'doorbell'), (7, 'Not Ours', 1, 'import')");
    expect(await move.switchBack()).toEqual(['PASS']);
    expect(await legacy.all('SELECT * FROM people ORDER BY id')).toEqual([
      { id: 1, first: 'Anna', last: 'Leigh', born: 1990 },
      { id: 3, first: null, last: null, born: null },
      { id: 5, first: 'Kim', last: 'Oh', born: 1999 },
      { id: 6, first: 'Zoe', last: 'Ray', born: 2020 },
    ]);
    expect(await move.data.notReturnable(move.ctx)).toEqual([
      { table: 'people', rows: 1, reason: 'source is "import": no mapping has this constant' },
    ]);
  });

  it('that are given up leave what they are made of as it was', async () => {
    const { legacy, next } = await begin();
    await legacy.exec(`${LEGACY}; INSERT INTO people VALUES (1, 'Ann', 'Lee', 1990)`);
    await next.exec('CREATE TABLE people (id INTEGER PRIMARY KEY, initials TEXT, born INTEGER)');
    const givesUp = 'changes of the initials: first and last stay';
    const initials = expression('substr(first, 1, 1) || substr(last, 1, 1)', { givesUp });
    move.plan({ people: { columns: { id: 'id', initials, born: 'born' } } });
    expect(await move.errors()).toEqual([]);
    expect((await move.data.describe(move.ctx))[0]).toMatchObject({
      givenUp: [givesUp],
      columns: [
        { column: 'people.id', from: 'people.id', back: 'people.id' },
        { from: `expression ${initials.expression}`, back: `given up: ${givesUp}` },
        { from: 'people.born' },
      ],
    });
    await move.copy();
    expect(await move.switchOver()).toEqual(['PASS']);
    await next.exec("UPDATE people SET initials = 'XX', born = 1991");
    expect(await move.switchBack()).toEqual(['PASS']);
    expect(await legacy.all('SELECT * FROM people')).toEqual([{ id: 1, first: 'Ann', last: 'Lee', born: 1991 }]);
  });

  it('keep integers, reals, bytes, booleans and NULL apart', async () => {
    const { legacy, next } = await begin('postgres', 'sqlite');
    await legacy.exec(`CREATE TABLE v (id int PRIMARY KEY, n int8, r float8, b bytea, t boolean);
      INSERT INTO v VALUES (1, 9007199254740993, 0.1, '\\x00ff', true), (2, -1, -2.5, NULL, false)`);
    await next.exec('CREATE TABLE v (id INTEGER PRIMARY KEY, n INTEGER, r REAL, b BLOB, t INTEGER)');
    const same = (sql: string, column: string) => expression(sql, { back: { [column]: column } });
    const columns = {
      id: 'id',
      n: same('n + 0', 'n'),
      r: same('r * 1', 'r'),
      b: same("b || ''", 'b'),
      t: same('NOT NOT t', 't'),
    };
    move.plan({ v: { columns } });
    expect(await move.errors()).toEqual([]);
    await move.copy();
    expect(await move.switchOver()).toEqual(['PASS']);
    expect(await next.all('SELECT id, CAST(n AS TEXT) AS n, r, hex(b) AS b, t FROM v ORDER BY id')).toEqual([
      { id: 1, n: '9007199254740993', r: 0.1, b: '00FF', t: 1 },
      { id: 2, n: '-1', r: -2.5, b: '', t: 0 },
    ]);
    await next.exec('UPDATE v SET n = n - 1, t = 1 - t');
    expect(await move.switchBack()).toEqual(['PASS']);
    expect(await legacy.all('SELECT n::text, t FROM v ORDER BY id')).toEqual([
      { n: '9007199254740992', t: false },
      { n: '-2', t: true },
    ]);
  });

  it.each([
    ['2025-01-31', 'date'],
    ['2025-01-31T10:00:00Z', 'timestamptz'],
    ['1.00', 'numeric(6,2)'],
    [true, 'boolean'],
    ['0c7d2a9e-58a0-4c7c-9d6c-0d9f35c8e7a1', 'uuid'],
  ])('%s as a constant of a %s is known again, however the store writes it', async (value, type) => {
    const { legacy, next } = await begin('sqlite', 'postgres');
    await legacy.exec('CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1), (2)');
    await next.exec(`CREATE TABLE t (id int PRIMARY KEY, c ${type})`);
    move.plan({ t: { columns: { id: 'id', c: constant(value) } } });
    expect(await move.errors()).toEqual([]);
    await move.copy();
    expect(await move.switchOver()).toEqual(['PASS']);
    await next.exec('INSERT INTO t SELECT 3, c FROM t WHERE id = 1; DELETE FROM t WHERE id = 2');
    expect(await move.switchBack()).toEqual(['PASS']);
    expect(await legacy.all('SELECT id FROM t ORDER BY id')).toEqual([{ id: 1 }, { id: 3 }]);
    expect(await move.data.notReturnable(move.ctx)).toEqual([]);
  });

  it('a row that somebody put into the new table beforehand is found, and is removed by the next look at the whole', async () => {
    const { legacy, next } = await begin();
    await legacy.exec('CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)');
    await next.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, c TEXT)');
    move.plan({ t: { columns: { id: 'id', c: constant('a') } } });
    await move.copy();
    await move.data.unfence(move.ctx, 'next');
    await next.exec("INSERT INTO t VALUES (9, 'b')");
    expect(await move.verify('forward')).toEqual(['FAIL: 1 rows compared, 1 differ: (9) is extra']);
  });
});

describe('check', () => {
  const mapped = (columns: Record<string, ColumnSource>, more: TableMapping = {}): Record<string, TableMapping> => ({
    people: { columns, givesUp: ['first, last, born, name, age_in_2030, source'], ...more },
  });
  const name = (sql: string) => ({ id: 'id', name: expression(sql, { givesUp: 'the name' }) });

  it.each<[string, Record<string, TableMapping>, RegExp]>([
    [
      'does not parse',
      mapped(name("first || ' ' ||")),
      /people has no value for the expression `first \|\| ' ' \|\|`: .*syntax error/s,
    ],
    ['names an unknown column', mapped(name('upper(frist)')), /`upper\(frist\)`: no such column: frist/],
    ['is made of many rows', mapped(name('max(first)')), /`max\(first\)`: it is made of many rows/],
    ['reads other rows', mapped(name('(SELECT max(first) FROM people)')), /reads other rows/],
    ['depends on other rows', mapped(name('lag(first) OVER (ORDER BY id)')), /depends on the other rows/],
    ['depends on the time', mapped(name("first || date('now')")), /gives another value each time: date of 'now'/],
    ['depends on chance', mapped(name('first || random()')), /gives another value each time: random/],
    ['has a parameter', mapped(name('first || ?')), /has a parameter/],
    ['is more than one statement', mapped(name("first); DELETE FROM people; SELECT ('x'")), /it has a `;`/],
    ['is empty', mapped(name('')), /is empty/],
    [
      'says nothing of its way back',
      mapped({ id: 'id', name: { expression: 'first' } }),
      /nothing says how `first` goes back/,
    ],
    [
      'goes back to an unknown column',
      mapped({ id: 'id', name: expression('first', { back: { frist: 'name' } }) }),
      /no source column frist/,
    ],
    [
      'goes back by what does not parse',
      mapped({ id: 'id', name: expression('first', { back: { first: 'upper(' } }) }),
      /people has no value for the expression `upper\(`/,
    ],
    [
      'does not give back what it was made of',
      mapped({
        id: 'id',
        name: expression("first || ' ' || last", {
          back: { first: "substr(name, 1, instr(name, ' ') - 1)", last: "substr(name, instr(name, ' ') + 1)" },
        }),
      }),
      /does not give back first of 1 rows of 3: \["i2"\].*does not give back last of 1 rows of 3: \["i2"\]/s,
    ],
    [
      'comes back twice',
      mapped(
        { id: 'id', name: 'first', source: expression('first', { back: { first: 'source' } }) },
        { givesUp: ['last, born'] },
      ),
      /column first of people becomes 2 columns/,
    ],
    [
      'is the key',
      mapped({ id: expression('id + 1', { back: { id: 'id - 1' } }) }),
      /its key \(id\) does not follow from the key of the source/,
    ],
  ])('refuses an expression that %s', async (_what, tables, message) => {
    const { legacy, next } = await begin();
    await legacy.exec(
      `${LEGACY}; INSERT INTO people VALUES (1, 'Ann', 'Lee', 1990), (2, 'Mary Ann', 'Lee', 1990), (3, NULL, NULL, 1)`,
    );
    await next.exec(NEXT);
    move.plan(tables);
    expect((await move.errors()).join('\n')).toMatch(message);
  });

  it.each<[string, Record<string, ColumnSource>, RegExp]>([
    ['of an unknown column', { id: 'id', origin: constant('a') }, /there is no target column origin/],
    ['that is the whole key', { id: constant(1) }, /its key \(id\) does not follow/],
    ['that is NULL in a key', { id: constant(null) }, /does not follow/],
  ])('refuses a constant %s', async (_what, columns, message) => {
    const { legacy, next } = await begin();
    await legacy.exec(LEGACY);
    await next.exec(NEXT);
    move.plan(mapped(columns));
    expect((await move.errors()).join('\n')).toMatch(message);
  });

  it('leaves words that only look like clocks alone', async () => {
    const { legacy, next } = await begin();
    await legacy.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, user TEXT, at TEXT)');
    await next.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const sql = 'user || \' now random() \' || date(at) || "user" -- random()';
    move.plan({ t: { columns: { id: 'id', v: expression(sql, { givesUp: 'user and at' }) } } });
    expect(await move.errors()).toEqual([]);
  });

  it.each([
    ['postgres', 'generate_series(1, 2)::text'],
    ['postgres', 'string_agg(first, last)'],
    ['postgres', 'no_such_function(first)'],
    ['mariadb', 'GROUP_CONCAT(first)'],
    ['mariadb', 'NO_SUCH_FUNCTION(first)'],
  ] as const)('is told by %s what is wrong with %s', async (kind, sql) => {
    if (kind === 'mariadb' && missing !== null) return;
    const { legacy, next } = await begin(kind, 'sqlite');
    await legacy.exec(LEGACY);
    await legacy.exec("INSERT INTO people VALUES (1, 'a', 'b', 1), (2, 'a', 'b', 1)");
    await next.exec(NEXT);
    move.plan(mapped(name(sql)));
    expect((await move.errors()).join('\n')).toContain(`people has no value for the expression \`${sql}\``);
    await move.data.prepare(move.ctx);
    await expect(move.data.copy(move.ctx)).rejects.toMatchObject({ code: 'CHG_DATA_EXPRESSION_INVALID' });
  });
});
