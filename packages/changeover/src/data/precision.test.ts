import fc from 'fast-check';
import { DatabaseSync } from 'node:sqlite';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Value } from '../plan/stores.ts';
import type { SchemaOptions } from '../plan/sync.ts';
import { testContext } from '../testing/context.ts';
import { connectPostgres, testPostgres } from '../testing/databases.ts';
import { startPostgres, type ThrowawayPostgres } from '../testing/postgres.ts';
import { tempFolder } from '../testing/temp.ts';
import { createDataMove, sync } from './move.ts';
import { codecsOf, designSync } from './schema/designs.ts';
import { Unfit } from './schema/codec.ts';
import { StoresInUse } from './stores-in-use.ts';
import { postgres } from './stores/postgres/index.ts';
import { sqlite } from './stores/sqlite/index.ts';

/** Generated values of each type and pair of engines; `PRECISION_VALUES=10000` for the full proof. */
const VALUES = Number(process.env['PRECISION_VALUES'] ?? 200);

interface Case {
  readonly type: string;
  readonly values: fc.Arbitrary<Value>;
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
const FROM_POSTGRES: readonly (Case & { readonly values: fc.Arbitrary<string> })[] = [
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

let server: ThrowawayPostgres;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(async () => {
  await server.stop();
});

const titled = <One extends Case>(cases: readonly One[]) =>
  cases.map(
    (one) =>
      [`${one.type || 'no type'}${one.column === undefined ? '' : ` as ${JSON.stringify(one.column)}`}`, one] as const,
  );

function sample<T>(values: fc.Arbitrary<T>): T[] {
  return fc.sample(values, { numRuns: VALUES, seed: 20_260_501 });
}

describe.each(titled(FROM_SQLITE))('%s of SQLite in Postgres', (_, { type, values, column, hasMisfits }) => {
  it(`arrives and comes back bit by bit, or is refused beforehand`, { timeout: 600_000 }, async () => {
    await using temp = await tempFolder();
    await using next = await testPostgres(server.url);
    const file = path.join(temp.path, 'legacy.db');
    const db = new DatabaseSync(file);
    db.exec(`PRAGMA journal_mode = WAL; CREATE TABLE v (id INTEGER PRIMARY KEY, v ${type}); BEGIN`);
    const insert = db.prepare('INSERT INTO v (v) VALUES (?)');
    for (const value of sample(values)) insert.run(value as never);
    db.exec('COMMIT');
    const schema = column === undefined ? {} : { columns: { 'v.v': column } };
    const ctx = testContext(temp.path);
    const definition = sync({
      name: 'main',
      from: sqlite(file),
      to: postgres(next.address),
      tables: { v: {} },
      schema,
    });
    const data = createDataMove([definition]);
    const misfits = await removeMisfits(definition, db);
    const errors = async () => (await data.check(ctx)).filter(({ level }) => level === 'error');
    if (hasMisfits !== true) expect(misfits).toEqual([]);
    expect(await errors()).toEqual([]);

    const kept = rowsOf(db);
    expect(kept.length).toBeGreaterThan(hasMisfits === true ? 0 : VALUES - 1);
    await there(data, ctx);
    // Everything is written back over rows that were spoilt.
    await data.prepareReverse(ctx);
    await data.unfence(ctx, 'next');
    db.exec('UPDATE v SET v = NULL');
    db.close();
    await next.exec('UPDATE v SET v = v');
    await untilCaughtUp(data, ctx);
    expect(await data.notReturnable(ctx)).toEqual([]);
    const again = new DatabaseSync(file);
    expect(rowsOf(again)).toEqual(kept);
    again.close();

    // What was taken out is what check names.
    const spoilt = new DatabaseSync(file);
    const put = spoilt.prepare('INSERT INTO v (v) VALUES (?)');
    for (const value of misfits.slice(0, 3)) put.run(value as never);
    spoilt.close();
    if (misfits.length > 0) expect((await errors()).map(({ message }) => message).join()).toContain('do not fit');
    await data.close();
  });
});

type Definition = ReturnType<typeof sync>;
type Data = ReturnType<typeof createDataMove>;
type Ctx = ReturnType<typeof testContext>;

/** Takes out the rows that the column's codec refuses, one by one, and gives their values. */
async function removeMisfits(definition: Definition, db: DatabaseSync): Promise<Value[]> {
  await using temp = await tempFolder();
  const ctx = testContext(temp.path);
  const stores = new StoresInUse([definition]);
  const design = await designSync(ctx, definition, stores);
  const [table] = design?.tables ?? [];
  const codec = table === undefined ? undefined : codecsOf(table).get('v');
  if (codec === undefined) throw new Error('the column has no codec');
  const store = await stores.open(ctx, {
    identity: definition.from.identity(ctx),
    store: definition.from,
    side: 'legacy',
  });
  const misfits: Value[] = [];
  const remove = db.prepare('DELETE FROM v WHERE id = ?');
  for (const { id, v } of await store.chunk('v', null, VALUES)) {
    try {
      if (v !== null && v !== undefined) codec.to(v);
    } catch (error) {
      if (!(error instanceof Unfit)) throw error;
      misfits.push(v ?? null);
      remove.run(id as number);
    }
  }
  await stores.close();
  return misfits;
}

function rowsOf(db: DatabaseSync): unknown[] {
  const statement = db.prepare('SELECT id, typeof(v) AS class, v FROM v ORDER BY id');
  statement.setReadBigInts(true);
  return statement
    .all()
    .map(({ id, class: own, v }) => [id, own, v instanceof Uint8Array ? Buffer.from(v).toString('hex') : v]);
}

async function there(data: Data, ctx: Ctx): Promise<void> {
  const missing = (await data.schema?.missing(ctx)) ?? null;
  await data.installEpoch(ctx);
  await data.schema?.create(ctx, missing);
  await data.prepare(ctx);
  await data.copy(ctx);
  await data.schema?.complete(ctx, missing);
  const verdicts = await data.verify(ctx, 'forward', 'full');
  expect(verdicts.filter(({ outcome }) => outcome !== 'PASS')).toEqual([]);
}

async function untilCaughtUp(data: Data, ctx: Ctx): Promise<void> {
  for (;;) {
    const { applied, pending } = await data.catchUp(ctx, 'reverse');
    if (applied === 0 && pending === 0) return;
  }
}

describe.each(titled(FROM_POSTGRES))('%s of Postgres in SQLite', (_, { type, values, column, hasMisfits }) => {
  it('arrives and comes back bit by bit, or is refused beforehand', { timeout: 600_000 }, async () => {
    await using temp = await tempFolder();
    await using legacy = await testPostgres(server.url);
    const file = path.join(temp.path, 'next.db');
    const ctx = testContext(temp.path);
    await legacy.exec(`CREATE TABLE v (id bigint PRIMARY KEY, v ${type})`);
    await legacy.exec(
      `INSERT INTO v SELECT row_number() OVER (), value::${type} FROM json_array_elements_text(?::json)`,
      JSON.stringify(sample(values)),
    );
    if (hasMisfits === true) await legacy.exec("DELETE FROM v WHERE v = 'NaN' OR v::text = '-0'");
    const schema = column === undefined ? {} : { columns: { 'v.v': column } };
    const data = createDataMove([
      sync({ name: 'main', from: postgres(legacy.address), to: sqlite(file), tables: { v: {} }, schema }),
    ]);
    const errors = async () => (await data.check(ctx)).filter(({ level }) => level === 'error');
    expect(await errors()).toEqual([]);
    const bits = (db: typeof legacy) => db.all('SELECT id, v::text AS v FROM v ORDER BY id');
    const kept = await bits(legacy);
    await there(data, ctx);
    await data.prepareReverse(ctx);
    await data.unfence(ctx, 'next');
    await legacy.exec('UPDATE v SET v = NULL');
    const next = new DatabaseSync(file, { timeout: 5000 });
    next.exec('UPDATE v SET v = v');
    next.close();
    await untilCaughtUp(data, ctx);
    expect(await data.notReturnable(ctx)).toEqual([]);
    await using again = await connectPostgres(legacy.address);
    expect(await bits(again)).toEqual(kept);
    if (hasMisfits === true) {
      await legacy.exec("INSERT INTO v VALUES (1000000, 'NaN'), (1000001, '-0')");
      expect((await errors()).map(({ message }) => message).join()).toMatch(/2 values do not fit REAL/);
    }
    await data.close();
  });
});
