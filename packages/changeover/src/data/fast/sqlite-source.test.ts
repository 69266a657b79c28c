import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import type { TableMapping } from '../../plan/sync.ts';
import { testContext } from '../../testing/context.ts';
import { testPostgres, testSqlite, type TestDatabase } from '../../testing/databases.ts';
import { startPostgres, type ThrowawayPostgres } from '../../testing/postgres.ts';
import { tempFolder, type TempFolder } from '../../testing/temp.ts';
import { createDataMove, sync } from '../move.ts';
import { postgres } from '../stores/postgres/index.ts';
import { sqlite } from '../stores/sqlite/index.ts';
import { decodeKey } from '../values.ts';
import type { Stretch } from './messages.ts';
import { PostgresTarget } from './postgres-target.ts';
import { SqliteSource } from './sqlite-source.ts';

/** More than the copy row by row keeps to itself. */
const ROWS = 6000;
let server: ThrowawayPostgres;
let temp: TempFolder;
let legacy: TestDatabase;
let next: TestDatabase;
const opened: { close(): Promise<void> }[] = [];

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(async () => {
  await server.stop();
});
beforeEach(async () => {
  temp = await tempFolder();
  [legacy, next] = [kept(testSqlite(temp.path, 'legacy.db')), kept(await testPostgres(server.url))];
});
afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each.close();
  await temp.remove();
});

const kept = <T extends { close(): Promise<void> }>(each: T): T => {
  opened.push(each);
  return each;
};

/** A function that every row goes through is known to the copy row by row only. */
const ROW_BY_ROW: TableMapping = { row: { to: (row: object) => row, back: (row: object) => row } } as TableMapping;

async function copied(to: TestDatabase, items: TableMapping = {}): Promise<string[]> {
  const warnings: string[] = [];
  const report = { progress: () => undefined, log: () => undefined, warn: (text: string) => warnings.push(text) };
  const ctx = testContext(temp.path, { report });
  const data = createDataMove([
    sync({ name: 'main', from: sqlite(legacy.address), to: postgres(to.address), tables: { items } }),
  ]);
  await data.prepare(ctx);
  await data.copy(ctx);
  await data.unfence(ctx, 'next');
  await data.close();
  return warnings;
}

/** A digest of every row, as the server writes it. */
async function rowsOf(db: TestDatabase): Promise<unknown[]> {
  await db.exec('SET extra_float_digits = 1');
  return db.all('SELECT id, md5(i::text) AS row FROM items AS i ORDER BY id');
}

async function insert(rows: readonly (readonly (null | number | bigint | string | Uint8Array)[])[]): Promise<void> {
  await legacy.exec('BEGIN');
  for (const row of rows) await legacy.exec(`INSERT INTO items VALUES (${row.map(() => '?').join(', ')})`, ...row);
  await legacy.exec('COMMIT');
}

/** The source of the table `items` in its bulk form. */
async function sourceOf(names: string): Promise<{ source: SqliteSource; target: PostgresTarget }> {
  const setup = {
    source: { kind: 'sqlite', store: 'legacy', file: legacy.address },
    target: { kind: 'postgres', store: 'next', url: next.address, marksWrites: false },
    run: 'run-1',
    sync: 'main',
    epoch: 1,
    sourceTable: 'items',
    targetTable: 'items',
    columns: names.split(' ').map((name) => [name, name] as const),
    computed: [],
    stop: new SharedArrayBuffer(4),
    held: new SharedArrayBuffer(4),
    isRated: false,
  } as const;
  const target = kept(await PostgresTarget.open(setup.target, setup));
  return { source: kept(new SqliteSource(setup.source, setup, target)), target };
}

const ALL = { seq: 0, after: null, upTo: null };
const WORK = { check: () => undefined, progress: () => undefined, isHeld: false, released: () => Promise.resolve() };
const holds = ({ after, upTo }: Stretch, id: number) =>
  (after === null || Number(decodeKey(after)[0]) < id) && (upTo === null || id <= Number(decodeKey(upTo)[0]));

it('carries values of every size and type as the copy row by row does, in binary', async () => {
  const integers = [7, 8, 15, 16, 23, 24, 31, 32, 47, 48, 52, 53, 62].flatMap((bits) =>
    [-1n, 0n, 1n].flatMap((near) => [2n ** BigInt(bits) + near, near - 2n ** BigInt(bits)]),
  );
  integers.push(2n ** 63n - 1n, -(2n ** 63n), 0n, 1n, -1n);
  const reals = [0, -0, 0.1, 1 / 3, 5e-324, 1.7976931348623157e308, Infinity, -Infinity, 2 ** 53, -7, 1e300];
  // Around what fits into one byte of a length, into one cell of a page, and into one page more.
  const lengths = [0, 1, 57, 58, 199, 200, 8185, 8186, 65_000, 65_300, 65_490, 65_501, 65_600, 131_000, 500_000];
  const others = [5n, -0.5, 'text', new Uint8Array([0, 255]), null, 1e21, -0, 9007199254740993n];
  const pick = <T>(values: readonly T[], index: number): T | null => values[index % values.length] ?? null;
  await legacy.exec(
    `CREATE TABLE items (id INTEGER PRIMARY KEY, big INTEGER, amount REAL, flag BOOLEAN, label TEXT, body BLOB, anything, code TEXT, doc JSON, ${WIDE.map((name) => `${name} INTEGER`).join(', ')})`,
  );
  const target = `CREATE TABLE items (id int PRIMARY KEY, big bigint, amount double precision, flag boolean, label text, body bytea, anything text, code char(9), doc json, ${WIDE.map((name) => `${name} smallint`).join(', ')})`;
  await next.exec(target);
  await insert(
    Array.from({ length: ROWS }, (_, id) => [
      BigInt(id * 3 - 700),
      pick(integers, id),
      pick(reals, id),
      id % 3 === 2 ? null : BigInt(id % 2),
      id % 10 === 9 ? null : 'ä\t\\N\n🦊'.repeat((id < 60 ? (pick(lengths, id) ?? 0) : id % 300) / 9) + String(id),
      id % 2 === 0 ? new Uint8Array(id < 60 ? (pick(lengths, id >> 1) ?? 0) : id % 300).fill(id) : null,
      pick(others, id),
      `c${id}`,
      '{"a" : [1.10, "\\u00e4"]}',
      ...WIDE.map((_, index) => (index % 7 === id % 7 ? null : BigInt(((id * index) % 65_536) - 32_768))),
    ]),
  );
  expect(await copied(next)).toEqual([]);
  const { source, target: opened } = await sourceOf(
    `id big amount flag label body anything code doc ${WIDE.join(' ')}`,
  );
  expect(source.format).toBe('binary');
  expect(await source.compare(ALL, opened, WORK)).toEqual({ rows: ROWS, differing: [] });
  const other = kept(await testPostgres(server.url));
  await other.exec(target);
  await copied(other, ROW_BY_ROW);
  expect(await rowsOf(next)).toEqual(await rowsOf(other));
}, 60_000);

/** More columns than one byte counts. */
const WIDE = Array.from({ length: 150 }, (_, index) => `w${index}`);

it.each([
  ['a text in a column of flags', "flag = 'true'", null],
  ['an escape in a column of bytes', "body = '\\x4142'", null],
  ['a number too large for its column', 'small = 2147483648', 'out of range for type integer'],
  ['a real in a column of integers', 'small = 1.5', 'invalid input syntax for type integer'],
])(
  'takes %s for what the server makes of its text',
  async (_, change, refusal) => {
    await legacy.exec('CREATE TABLE items (id INTEGER PRIMARY KEY, flag BOOLEAN, small INTEGER, body BLOB)');
    const target = 'CREATE TABLE items (id int PRIMARY KEY, flag boolean, small int, body bytea)';
    await next.exec(target);
    await insert(
      Array.from({ length: ROWS }, (_, id) => [BigInt(id), BigInt(id % 2), BigInt(id), new Uint8Array([id])]),
    );
    await legacy.exec(`UPDATE items SET ${change} WHERE id = 5432`);
    if (refusal !== null) {
      await expect(copied(next)).rejects.toMatchObject({ code: 'CHG_DATA_ROW_REFUSED', fields: { key: '["i5432"]' } });
      return;
    }
    expect(await copied(next)).toEqual([]);
    const other = kept(await testPostgres(server.url));
    await other.exec(target);
    await copied(other, ROW_BY_ROW);
    expect(await rowsOf(next)).toEqual(await rowsOf(other));
  },
  60_000,
);

it('finds every place where the two sides differ, and only those', async () => {
  await legacy.exec('CREATE TABLE items (id INTEGER PRIMARY KEY, label TEXT)');
  await next.exec('CREATE TABLE items (id bigint PRIMARY KEY, label text)');
  await insert(Array.from({ length: 4 * ROWS }, (_, id) => [BigInt(id * 10), `${'label '.repeat(20)}${id}`]));
  await copied(next);
  const { source, target } = await sourceOf('id label');
  const found = async (change: string, ids: readonly number[]) => {
    await next.exec('BEGIN');
    await next.exec(change);
    await next.exec('COMMIT');
    const { rows, differing } = await source.compare(ALL, target, WORK);
    for (const id of ids)
      expect(
        differing.filter((stretch) => holds(stretch, id)),
        change,
      ).toHaveLength(1);
    for (const stretch of differing)
      expect(
        ids.some((id) => holds(stretch, id)),
        change,
      ).toBe(true);
    expect(rows).toBeLessThanOrEqual(4 * ROWS);
    expect(rows).toBeGreaterThan(0);
    return differing.length;
  };
  expect(await found('SELECT 1', [])).toBe(0);
  expect(await found("INSERT INTO items VALUES (-5, 'before all')", [-5])).toBe(1);
  expect(await found("INSERT INTO items VALUES (99999999, 'after all')", [-5, 99999999])).toBe(2);
  expect(await found('DELETE FROM items WHERE id = 239990', [-5, 99999999])).toBe(2);
  await found('UPDATE items SET label = NULL WHERE id = 120000', [-5, 99999999, 120000]);
  await found('DELETE FROM items WHERE id BETWEEN 60000 AND 60010', [-5, 99999999, 120000, 60000]);
  await next.exec('TRUNCATE items');
  expect(await source.compare(ALL, target, WORK)).toMatchObject({ rows: 0 });
  await next.exec("INSERT INTO items VALUES (7, 'alone')");
  await legacy.exec('DELETE FROM items');
  expect(await source.compare(ALL, target, WORK)).toEqual({ rows: 0, differing: [{ after: null, upTo: null }] });
  await next.exec('TRUNCATE items');
  expect(await source.compare(ALL, target, WORK)).toEqual({ rows: 0, differing: [] });
}, 60_000);
