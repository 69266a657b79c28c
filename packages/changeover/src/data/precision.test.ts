import fc from 'fast-check';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Context } from '../plan/context.ts';
import type { Store, Value } from '../plan/stores.ts';
import type { SchemaOptions, SyncDefinition } from '../plan/sync.ts';
import { testContext } from '../testing/context.ts';
import { testMariadb, testPostgres, testSqlite, type TestDatabase } from '../testing/databases.ts';
import { mariadbIsMissing, startMariadb, type ThrowawayMariadb } from '../testing/mariadb.ts';
import { startPostgres, type ThrowawayPostgres } from '../testing/postgres.ts';
import { tempFolder } from '../testing/temp.ts';
import { createDataMove, sync } from './move.ts';
import { codecsOf, designSync } from './schema/designs.ts';
import { Unfit } from './schema/codec.ts';
import { StoresInUse } from './stores-in-use.ts';
import { mariadb } from './stores/mariadb/index.ts';
import { postgres } from './stores/postgres/index.ts';
import { sqlite } from './stores/sqlite/index.ts';

/** Generated values of each type and pair of engines; `PRECISION_VALUES=10000` for the full proof. */
const VALUES = Number(process.env['PRECISION_VALUES'] ?? 200);
const SEED = 20_260_501;
/** Rows of one INSERT. */
const INSERT_ROWS = 200;

interface Case<T = Value> {
  readonly type: string;
  readonly values: fc.Arbitrary<T>;
  readonly column?: NonNullable<SchemaOptions['columns']>[string];
  /** True where some values cannot be held by the target and have to be refused beforehand. */
  readonly hasMisfits?: true;
}

const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const storable = fc.double({ noNaN: true }).map((value) => (Object.is(value, -0) ? 0 : value));
const finite = fc.double({ noNaN: true, noDefaultInfinity: true });
const text = fc.string({ unit: 'binary', maxLength: 40 });
const clean = text.map((value) => value.replaceAll('\0', '').toWellFormed());
const bytes: fc.Arbitrary<Value> = fc.uint8Array({ maxLength: 40 });
const whole = (from: number, to: number) => fc.integer({ min: from, max: to }).map((value) => BigInt(value));
const seconds = fc.oneof(whole(-62_135_596_800, 253_402_300_799), fc.double({ min: -1e10, max: 1e10, noNaN: true }));
const local = fc
  .date({ min: new Date('1900-01-01T00:00:00Z'), max: new Date('2100-01-01T00:00:00Z'), noInvalidDate: true })
  .map((date) => date.toISOString().slice(0, 19).replace('T', ' '));
const uuid = fc.uuid();

/** As SQLite stores them: integers as bigint, reals as number. */
const FROM_SQLITE: readonly Case[] = [
  { type: 'INTEGER', values: fc.oneof(int64, whole(-10, 10)) },
  { type: 'REAL', values: storable },
  {
    type: 'TEXT',
    column: 'varchar(5)',
    values: fc.oneof(fc.string({ unit: 'binary', maxLength: 6 }), clean),
    hasMisfits: true,
  },
  { type: 'TEXT', column: 'char(5)', values: fc.string({ maxLength: 6 }), hasMisfits: true },
  {
    type: 'NUMERIC',
    column: 'numeric(10,2)',
    values: fc.oneof<fc.Arbitrary<Value>[]>(
      whole(-(10 ** 9), 10 ** 9),
      fc.integer({ min: -(10 ** 6), max: 10 ** 6 }).map((value) => value / 100),
      finite,
    ),
    hasMisfits: true,
  },
  {
    type: 'NUMERIC',
    column: { type: 'timestamptz(0)', from: 'unix-milliseconds' },
    values: fc.oneof<fc.Arbitrary<Value>[]>(
      whole(0, 10 ** 6),
      whole(0, 10 ** 6).map((value) => value * 1000n),
    ),
    hasMisfits: true,
  },
  { type: 'TEXT', values: text.map((value) => value.toWellFormed()), hasMisfits: true },
  { type: 'VARCHAR(5)', values: clean },
  { type: 'BLOB', values: bytes },
  { type: 'NUMERIC', values: fc.oneof(int64, storable), hasMisfits: true },
  {
    type: 'DECIMAL(10,2)',
    values: fc.oneof(
      int64,
      finite.map((value) => (Object.is(value, -0) ? 0 : value)),
    ),
  },
  { type: 'BOOLEAN', values: fc.oneof(whole(0, 1), whole(0, 3)), hasMisfits: true },
  {
    type: 'UUID',
    values: fc.oneof(
      uuid,
      uuid.map((value) => value.toUpperCase()),
    ),
    hasMisfits: true,
  },
  { type: 'JSON', values: fc.oneof(fc.json(), clean), hasMisfits: true },
  { type: 'INTEGER', values: fc.oneof<fc.Arbitrary<Value>[]>(int64, storable, clean, bytes), hasMisfits: true },
  {
    type: '',
    column: 'text',
    values: fc.oneof<fc.Arbitrary<Value>[]>(int64, storable, clean, bytes),
    hasMisfits: true,
  },
  { type: '', column: 'bigint', values: fc.oneof<fc.Arbitrary<Value>[]>(int64, storable), hasMisfits: true },
  { type: '', column: 'double precision', values: fc.oneof<fc.Arbitrary<Value>[]>(int64, storable), hasMisfits: true },
  {
    type: 'NUMERIC',
    column: 'text',
    values: fc.oneof<fc.Arbitrary<Value>[]>(int64, storable, clean),
    hasMisfits: true,
  },
  {
    type: 'BLOB',
    column: { type: 'uuid', from: 'uuid-bytes' },
    values: fc.oneof<fc.Arbitrary<Value>[]>(fc.uint8Array({ minLength: 16, maxLength: 16 }), bytes),
    hasMisfits: true,
  },
  {
    type: 'TEXT',
    column: { type: 'uuid', from: 'uuid-hex' },
    values: fc.oneof(
      uuid.map((value) => value.replaceAll('-', '')),
      uuid,
    ),
    hasMisfits: true,
  },
  { type: 'NUMERIC', column: { type: 'timestamptz', from: 'unix-seconds' }, values: seconds, hasMisfits: true },
  {
    type: 'NUMERIC',
    column: { type: 'timestamptz', from: 'unix-milliseconds' },
    values: fc.oneof<fc.Arbitrary<Value>[]>(int64, storable),
    hasMisfits: true,
  },
  {
    type: 'TEXT',
    column: { type: 'timestamptz', from: 'sql-text', zone: 'America/New_York' },
    values: local,
    hasMisfits: true,
  },
  {
    type: 'TEXT',
    column: { type: 'timestamp', from: 'js-text' },
    values: fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
    hasMisfits: true,
  },
  {
    type: 'TEXT',
    column: 'date',
    values: fc.oneof(
      local.map((value) => value.slice(0, 10)),
      clean,
    ),
    hasMisfits: true,
  },
];

/** As Postgres reads them. */
const FROM_POSTGRES: readonly Case<string>[] = [
  { type: 'smallint', values: fc.integer({ min: -32768, max: 32767 }).map(String) },
  { type: 'bigint', values: int64.map(String) },
  {
    type: 'double precision',
    values: fc.double().map((value) => (Object.is(value, -0) ? '-0' : String(value))),
    hasMisfits: true,
  },
  { type: 'real', values: fc.float().map((value) => (Object.is(value, -0) ? '-0' : String(value))), hasMisfits: true },
  {
    type: 'numeric',
    values: fc.oneof(
      fc.tuple(int64, fc.bigInt({ min: 0n, max: 10n ** 25n })).map(([a, b]) => `${a}.${b}`),
      fc.constantFrom('NaN', 'Infinity', '0.000', '-0'),
    ),
  },
  { type: 'numeric(20,5)', values: fc.tuple(fc.integer(), fc.nat(99999)).map(([a, b]) => `${a}.${b}`) },
  { type: 'boolean', values: fc.boolean().map(String) },
  { type: 'text', values: clean },
  { type: 'char(8)', values: fc.string({ maxLength: 8 }) },
  {
    type: 'bytea',
    values: fc.uint8Array({ maxLength: 40 }).map((value) => `\\x${Buffer.from(value).toString('hex')}`),
  },
  { type: 'uuid', values: uuid },
  {
    type: 'date',
    values: fc.oneof(
      local.map((value) => value.slice(0, 10)),
      fc.constantFrom('infinity', '-infinity', '4713-01-01 BC', '5874897-12-31'),
    ),
  },
  { type: 'time', values: local.map((value) => `${value.slice(11)}.123456`) },
  {
    type: 'timestamp',
    values: fc.tuple(local, fc.nat(999_999)).map(([at, micros]) => `${at}.${String(micros).padStart(6, '0')}`),
  },
  {
    type: 'timestamptz',
    values: fc
      .tuple(local, fc.integer({ min: -12, max: 12 }))
      .map(([at, zone]) => `${at}${zone < 0 ? '-' : '+'}${Math.abs(zone)}`),
  },
  {
    type: 'interval',
    values: fc
      .tuple(fc.integer({ min: -9999, max: 9999 }), fc.integer(), fc.nat(1e9))
      .map(([months, days, ms]) => `${months} mons ${days} days ${ms} ms`),
  },
  {
    type: 'jsonb',
    values: fc.json({ stringUnit: 'grapheme-ascii' }).filter((json) => !json.includes('\\u0000')),
  },
  { type: 'json', values: fc.json() },
  {
    type: 'int[]',
    column: 'TEXT',
    values: fc.array(fc.integer(), { maxLength: 5 }).map((list) => `{${list.join(',')}}`),
  },
];

const quote = (value: string) => `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
const hex = fc.uint8Array({ maxLength: 40 }).map((value) => `x'${Buffer.from(value).toString('hex')}'`);
const between = (from: bigint, to: bigint) =>
  fc.oneof(fc.constantFrom(from, to), fc.bigInt({ min: from, max: to })).map(String);
const fraction = (digits: number) =>
  digits === 0 ? fc.constant('') : fc.nat(10 ** digits - 1).map((part) => `.${String(part).padStart(digits, '0')}`);
const moment = (from: string, to: string, digits: number) =>
  fc
    .tuple(fc.date({ min: new Date(from), max: new Date(to), noInvalidDate: true }), fraction(digits))
    .map(([at, part]) => quote(`${at.toISOString().slice(0, 19).replace('T', ' ')}${part}`));
const decimalOf = (whole: number, digits: number) =>
  fc
    .tuple(
      fc.boolean(),
      fc.bigInt({ min: 0n, max: 10n ** BigInt(whole) - 1n }),
      fc.bigInt({ min: 0n, max: 10n ** BigInt(digits) - 1n }),
    )
    .map(([isNegative, a, b]) => `${isNegative ? '-' : ''}${a}.${String(b).padStart(digits, '0')}`);

/** As SQL. `bits`: what is compared; default the text of the value. */
interface MariadbCase extends Case<string> {
  readonly into: 'postgres' | 'sqlite' | 'both';
  readonly bits?: 'HEX' | '0e0 +' | '0 +';
}

const FROM_MARIADB: readonly MariadbCase[] = [
  { type: 'TINYINT(1)', into: 'sqlite', values: between(-128n, 127n) },
  { type: 'TINYINT(1)', into: 'postgres', column: 'smallint', values: between(-128n, 127n) },
  { type: 'TINYINT(1)', into: 'postgres', column: 'boolean', values: between(0n, 3n), hasMisfits: true },
  { type: 'TINYINT UNSIGNED', into: 'both', values: between(0n, 255n) },
  { type: 'SMALLINT UNSIGNED', into: 'both', values: between(0n, 65535n) },
  { type: 'MEDIUMINT', into: 'both', values: between(-8388608n, 8388607n) },
  { type: 'INT UNSIGNED', into: 'both', values: between(0n, 4294967295n) },
  { type: 'BIGINT', into: 'both', values: between(-(2n ** 63n), 2n ** 63n - 1n) },
  { type: 'BIGINT UNSIGNED', into: 'both', values: between(0n, 2n ** 64n - 1n), hasMisfits: true },
  { type: 'BIGINT UNSIGNED', into: 'postgres', column: 'numeric(20,0)', values: between(0n, 2n ** 64n - 1n) },
  { type: 'BIGINT UNSIGNED', into: 'sqlite', column: 'TEXT', values: between(0n, 2n ** 64n - 1n) },
  { type: 'BIT(1)', into: 'both', values: between(0n, 1n), bits: '0 +' },
  { type: 'BIT(64)', into: 'postgres', values: between(0n, 2n ** 64n - 1n), bits: '0 +' },
  { type: 'BIT(63)', into: 'sqlite', values: between(0n, 2n ** 63n - 1n), bits: '0 +' },
  { type: 'YEAR', into: 'both', values: fc.oneof(fc.constant('0'), between(1901n, 2155n)) },
  { type: 'DECIMAL(65,30)', into: 'both', values: decimalOf(35, 30) },
  { type: 'DECIMAL(10,2)', into: 'both', values: decimalOf(8, 2) },
  {
    type: 'FLOAT',
    into: 'both',
    values: fc
      .float({ noNaN: true, noDefaultInfinity: true })
      .map((value) => (value === 0 ? '0' : value.toExponential())),
    bits: '0e0 +',
  },
  {
    type: 'DOUBLE',
    into: 'both',
    values: fc
      .oneof(finite, fc.constantFrom(5e-324, 1.7976931348623157e308))
      .map((value) => (value === 0 ? '0' : value.toExponential())),
  },
  { type: 'DOUBLE(10,2)', into: 'both', values: decimalOf(8, 2) },
  { type: 'CHAR(40) COLLATE utf8mb4_bin', into: 'both', values: clean.map(quote), bits: 'HEX' },
  { type: 'VARCHAR(40) COLLATE utf8mb4_bin', into: 'both', values: clean.map(quote), bits: 'HEX' },
  {
    type: 'LONGTEXT COLLATE utf8mb4_bin',
    into: 'both',
    values: text.map((value) => `CONVERT(x'${Buffer.from(value.toWellFormed()).toString('hex')}' USING utf8mb4)`),
    hasMisfits: true,
    bits: 'HEX',
  },
  { type: 'VARCHAR(40)', into: 'postgres', column: 'varchar(40)', values: clean.map(quote), bits: 'HEX' },
  { type: "ENUM('a', 'it''s', '', 'ä,b')", into: 'both', values: fc.constantFrom("'a'", "'it''s'", "''", "'ä,b'") },
  { type: "SET('x', 'y', 'z')", into: 'postgres', column: 'text', values: between(0n, 7n) },
  { type: "SET('x', 'y', 'z')", into: 'sqlite', column: 'TEXT', values: between(0n, 7n) },
  { type: 'JSON', into: 'both', values: fc.json().map(quote), bits: 'HEX' },
  { type: 'UUID', into: 'both', values: uuid.map(quote) },
  {
    type: 'INET6',
    into: 'both',
    values: fc
      .oneof(
        fc.ipV6(),
        fc.ipV4().map((value) => `::ffff:${value}`),
      )
      .map(quote),
  },
  { type: 'BINARY(16)', into: 'both', values: hex.map((value) => `LEFT(${value}, 16)`), bits: 'HEX' },
  {
    type: 'BINARY(16)',
    into: 'postgres',
    column: { type: 'uuid', from: 'uuid-bytes' },
    values: uuid.map((value) => `x'${value.replaceAll('-', '')}'`),
    bits: 'HEX',
  },
  { type: 'VARBINARY(40)', into: 'both', values: hex, bits: 'HEX' },
  { type: 'LONGBLOB', into: 'both', values: hex, bits: 'HEX' },
  { type: 'DATE', into: 'both', values: moment('0001-01-01', '9999-12-31', 0).map((value) => `DATE(${value})`) },
  {
    type: 'DATE',
    into: 'postgres',
    values: fc.oneof(
      moment('1000-01-01', '9999-12-31', 0).map((value) => `DATE(${value})`),
      fc.constantFrom("'0000-00-00'", "'2024-02-31'", "'2024-00-10'"),
    ),
    hasMisfits: true,
  },
  { type: 'DATETIME(6)', into: 'both', values: moment('1000-01-01', '9999-12-31', 6) },
  {
    type: 'DATETIME',
    into: 'sqlite',
    values: fc.oneof(moment('1000-01-01', '9999-12-31', 0), fc.constant("'0000-00-00'")),
  },
  {
    type: 'DATETIME(3)',
    into: 'postgres',
    column: { type: 'timestamptz', from: 'sql-text', zone: 'America/New_York' },
    values: moment('1900-01-01', '2100-01-01', 3),
    hasMisfits: true,
  },
  { type: 'TIMESTAMP(6) NULL', into: 'both', values: moment('1970-01-01T00:00:01Z', '2038-01-19T03:14:07Z', 6) },
  {
    type: 'TIME(6)',
    into: 'both',
    values: fc.tuple(moment('2000-01-01', '2000-12-31', 6)).map(([value]) => quote(value.slice(12, -1))),
  },
  ...(['interval', 'TEXT'] as const).map((column): MariadbCase => ({
    type: 'TIME(3)',
    into: column === 'TEXT' ? 'sqlite' : 'postgres',
    column,
    values: fc
      .tuple(fc.integer({ min: -838, max: 838 }), fc.nat(59), fc.nat(59), fraction(3))
      .map(([hours, minutes, seconds, part]) =>
        quote(
          `${hours < 0 ? '-' : ''}${String(Math.abs(hours)).padStart(2, '0')}:${String(minutes).padStart(2, '0')}:${String(seconds).padStart(2, '0')}${part}`,
        ),
      ),
  })),
];

/** One column of the table `v` for each case. */
const columnsOf = <One extends Case<unknown>>(cases: readonly One[]) =>
  cases.map((one, index) => ({
    ...one,
    name: `c${index}_${one.type.toLowerCase().replaceAll(/[^a-z0-9]+/g, '_')}`,
    sample: fc.sample(one.values, { numRuns: VALUES, seed: SEED }),
  }));

type Columns = ReturnType<typeof columnsOf<Case<unknown>>>;

const declarations = (columns: Columns) => columns.map(({ name, type }) => `${name} ${type}`).join(', ');

interface Proof {
  readonly ctx: Context;
  readonly legacy: TestDatabase;
  readonly next: TestDatabase;
  readonly columns: Columns;
  /** What of each value has to be the same afterwards. */
  readonly bits: () => Promise<Record<string, unknown>[]>;
}

/** Moves the table `v` and brings every value back over rows that were spoilt; values that do not fit are told beforehand, all of them. */
async function prove({ ctx, legacy, next, columns, bits }: Proof): Promise<void> {
  const named = columns.flatMap(({ name, column }) => (column === undefined ? [] : [[`v.${name}`, column] as const]));
  const definition = sync({
    name: 'main',
    from: storeOf(legacy),
    to: storeOf(next),
    tables: { v: {} },
    schema: { columns: Object.fromEntries(named) },
  });
  const data = createDataMove([definition]);
  // A check with all the time in the world looks at every row.
  const endless = { ...ctx, clock: { ...ctx.clock, monotonicMs: () => 0 } };
  const errors = async () =>
    (await data.check(endless)).filter(({ level }) => level === 'error').map(({ message }) => message);
  const misfits = await misfitsOf(definition, columns);
  const told = await errors();
  for (const { name, hasMisfits, type } of columns) {
    const ids = misfits.get(name) ?? [];
    if (hasMisfits !== true) expect([type, ids]).toEqual([type, []]);
    if (ids.length === 0) continue;
    expect(told.filter((message) => message.startsWith(`${name}: ${ids.length} values do not fit`))).toHaveLength(1);
    await legacy.exec(`UPDATE v SET ${name} = NULL WHERE id IN (${ids.join(', ')})`);
  }
  expect(told).toHaveLength([...misfits.values()].filter((ids) => ids.length > 0).length);
  expect(await errors()).toEqual([]);

  const kept = await bits();
  expect(kept).toHaveLength(VALUES);
  const missing = (await data.schema?.missing(ctx)) ?? null;
  await data.installEpoch(ctx);
  await data.schema?.create(ctx, missing);
  await data.prepare(ctx);
  await data.copy(ctx);
  await data.schema?.complete(ctx, missing);
  const verdicts = await data.verify(ctx, 'forward', 'full');
  expect(verdicts.filter(({ outcome }) => outcome !== 'PASS')).toEqual([]);
  await data.prepareReverse(ctx);
  await data.unfence(ctx, 'next');
  await legacy.exec(`UPDATE v SET ${columns.map(({ name }) => `${name} = NULL`).join(', ')}`);
  const [first] = columns;
  await next.exec(`UPDATE v SET ${first?.name ?? ''} = ${first?.name ?? ''}`);
  for (let isDone = false; !isDone;) {
    const { applied, pending } = await data.catchUp(ctx, 'reverse');
    isDone = applied === 0 && pending === 0;
  }
  expect(await data.notReturnable(ctx)).toEqual([]);
  const back = await bits();
  expect(back).toHaveLength(VALUES);
  const differing = kept.flatMap((row, index) =>
    Object.keys(row)
      .filter((column) => row[column] !== back[index]?.[column])
      .map((column) => ({ column, was: row[column], is: back[index]?.[column] })),
  );
  expect(differing.slice(0, 5)).toEqual([]);
  await data.close();
}

function storeOf({ kind, address }: TestDatabase): Store {
  return { sqlite, postgres, mariadb }[kind](address);
}

/** Ids of the rows that a column's codec refuses, by column. */
async function misfitsOf(definition: SyncDefinition, columns: Columns): Promise<Map<string, number[]>> {
  await using temp = await tempFolder();
  const ctx = testContext(temp.path);
  const stores = new StoresInUse([definition]);
  const [table] = (await designSync(ctx, definition, stores))?.tables ?? [];
  if (table === undefined) throw new Error('there is no table to make');
  const codecs = codecsOf(table);
  const { from } = definition;
  const store = await stores.open(ctx, { identity: from.identity(ctx), store: from, side: 'legacy' });
  const misfits = new Map<string, number[]>();
  for (const row of await store.chunk('v', null, VALUES))
    for (const { name } of columns) {
      const value = row[name];
      if (value === null || value === undefined) continue;
      try {
        codecs.get(name)?.to(value);
      } catch (error) {
        if (!(error instanceof Unfit)) throw error;
        const ids = misfits.get(name) ?? [];
        ids.push(Number(row['id']));
        misfits.set(name, ids);
      }
    }
  await stores.close();
  return misfits;
}

const TITLE = `${VALUES} values of each type arrive and come back bit by bit, or are refused beforehand`;
const TIMEOUT_MS = 1_200_000;

let server: ThrowawayPostgres;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(async () => {
  await server.stop();
});

describe('from SQLite to Postgres', () => {
  it(TITLE, { timeout: TIMEOUT_MS }, async () => {
    await using temp = await tempFolder();
    await using next = await testPostgres(server.url);
    await using legacy = testSqlite(temp.path, 'legacy.db', 5000);
    const columns = columnsOf(FROM_SQLITE);
    await legacy.exec(`CREATE TABLE v (id INTEGER PRIMARY KEY, ${declarations(columns)})`);
    const db = new DatabaseSync(legacy.address);
    db.exec('BEGIN');
    const insert = db.prepare(`INSERT INTO v VALUES (?, ${columns.map(() => '?').join(', ')})`);
    for (let id = 0; id < VALUES; id++) insert.run(id, ...columns.map(({ sample }) => sample[id] as never));
    db.exec('COMMIT');
    const read = columns.map(
      ({ name }) =>
        `typeof(${name}) || ' ' || CASE typeof(${name}) WHEN 'real' THEN printf('%!.20g', ${name}) ELSE hex(${name}) END AS ${name}`,
    );
    await prove({
      ctx: testContext(temp.path),
      legacy,
      next,
      columns,
      bits: () => legacy.all(`SELECT id, ${read.join(', ')} FROM v ORDER BY id`),
    });
    db.close();
  });
});

describe('from Postgres to SQLite', () => {
  it(TITLE, { timeout: TIMEOUT_MS }, async () => {
    await using temp = await tempFolder();
    await using legacy = await testPostgres(server.url);
    await using next = testSqlite(temp.path, 'next.db', 5000);
    const columns = columnsOf(FROM_POSTGRES);
    await legacy.exec(`CREATE TABLE v (id bigint PRIMARY KEY, ${declarations(columns)})`);
    const rows = Array.from({ length: VALUES }, (_, id) => columns.map(({ sample }) => sample[id]));
    const cast = columns.map(({ type }, index) => `(r ->> ${index})::${type}`);
    await legacy.exec(
      `INSERT INTO v SELECT n - 1, ${cast.join(', ')} FROM json_array_elements(?::json) WITH ORDINALITY AS e(r, n)`,
      JSON.stringify(rows),
    );
    const read = columns.map(({ name }) => `${name}::text`);
    await prove({
      ctx: testContext(temp.path),
      legacy,
      next,
      columns,
      bits: () => legacy.all(`SELECT id, ${read.join(', ')} FROM v ORDER BY id`),
    });
  });
});

const isMissing = await mariadbIsMissing();

describe.skipIf(isMissing !== null)(`from MariaDB${isMissing === null ? '' : `: ${isMissing}`}`, () => {
  let maria: ThrowawayMariadb;
  beforeAll(async () => {
    maria = await startMariadb();
  });
  afterAll(async () => {
    await maria.stop();
  });

  it.each(['postgres', 'sqlite'] as const)(`to %s ${TITLE}`, { timeout: TIMEOUT_MS }, async (kind) => {
    await using temp = await tempFolder();
    await using legacy = await testMariadb(maria.url);
    await using next = kind === 'postgres' ? await testPostgres(server.url) : testSqlite(temp.path, 'next.db', 5000);
    const columns = columnsOf(FROM_MARIADB.filter(({ into }) => into === 'both' || into === kind));
    await legacy.exec(
      `SET sql_mode = 'ALLOW_INVALID_DATES'; CREATE TABLE v (id INT PRIMARY KEY, ${declarations(columns)})`,
    );
    const rows = Array.from(
      { length: VALUES },
      (_, id) => `(${[id, ...columns.map(({ sample }) => sample[id])].join(', ')})`,
    );
    for (let at = 0; at < VALUES; at += INSERT_ROWS)
      await legacy.exec(`INSERT INTO v VALUES ${rows.slice(at, at + INSERT_ROWS).join(', ')}`);
    const read = columns.map(({ name, bits = '' }) => `CONCAT(${bits}(${name})) AS ${name}`);
    await prove({
      ctx: testContext(temp.path),
      legacy,
      next,
      columns,
      bits: () => legacy.all(`SELECT id, ${read.join(', ')} FROM v ORDER BY id`),
    });
  });
});
