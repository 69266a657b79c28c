import { hash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Context } from '../../plan/context.ts';
import type { DataPort } from '../../plan/ports.ts';
import type { TableMapping } from '../../plan/sync.ts';
import { startChild } from '../../testing/child.ts';
import { testContext } from '../../testing/context.ts';
import { testPostgres, testSqlite, type TestDatabase } from '../../testing/databases.ts';
import { startPostgres, type ThrowawayPostgres } from '../../testing/postgres.ts';
import { tempFolder, type TempFolder } from '../../testing/temp.ts';
import { createDataMove, sync } from '../move.ts';
import { postgres } from '../stores/postgres/index.ts';
import { sqlite } from '../stores/sqlite/index.ts';
import { realText } from './text-rows.ts';

/** More than the copy row by row keeps to itself, and with `PADDING` more than one range. */
const ROWS = 6000;
const PADDING = 4096;

let server: ThrowawayPostgres;
let temp: TempFolder;
let ctx: Context;
let warnings: string[];
const opened: { close(): Promise<void> }[] = [];

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(async () => {
  await server.stop();
});
beforeEach(async () => {
  temp = await tempFolder();
  warnings = [];
  ctx = contextOf();
});
afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each.close();
  await temp.remove();
});

function contextOf(overrides: Partial<Context> = {}): Context {
  const report = { progress: () => undefined, log: () => undefined, warn: (text: string) => warnings.push(text) };
  return testContext(temp.path, { report, ...overrides });
}

const kept = <T extends { close(): Promise<void> }>(each: T): T => {
  opened.push(each);
  return each;
};
const newSqlite = () => kept(testSqlite(temp.path, 'legacy.db'));
const newPostgres = async () => kept(await testPostgres(server.url));
const storeOf = ({ kind, address }: TestDatabase) => (kind === 'sqlite' ? sqlite(address) : postgres(address));
const moveOf = (from: TestDatabase, to: TestDatabase, tables: Record<string, TableMapping> = { items: {} }): DataPort =>
  kept(createDataMove([sync({ name: 'main', from: storeOf(from), to: storeOf(to), tables })]));
/** The same move, but through a function, which only the copy row by row knows how to use. */
const rowByRow = { items: { row: { to: (row: object) => row, back: (row: object) => row } } } as Record<
  string,
  TableMapping
>;

/** Every value as the text that the server writes. */
async function dump(db: TestDatabase): Promise<string[]> {
  await db.exec("SET extra_float_digits = 1; SET TimeZone = 'UTC'");
  return (await db.all('SELECT i::text AS row FROM items AS i ORDER BY id')).map(({ row }) =>
    String(row).replace(/\w{200,}/g, (padding) => hash('sha256', padding)),
  );
}

const ledger = (db: TestDatabase) => db.all('SELECT seq, rows, complete FROM changeover_ledger ORDER BY seq');
/** Rows of each chunk; the entry before the chunks is what only the bulk copy writes. */
async function rangesOf(db: TestDatabase): Promise<unknown[]> {
  const [plan, ...entries] = await ledger(db);
  expect(plan?.seq).toBe(-1);
  expect(entries.at(-1)?.complete).toBe(true);
  return entries.slice(0, -1).map(({ rows }) => rows);
}
async function outcomeOf(data: DataPort, given = ctx): Promise<string> {
  const [verdict] = await data.verify(given, 'forward', 'full');
  return `${String(verdict?.outcome)} ${String(verdict?.evidence)}`;
}

const TEXTS = [
  '',
  '\\',
  '\\N',
  '\\\\N',
  '\\.',
  '\\x41',
  '\\\\x41',
  '\\\\xzz',
  'N',
  ' leading and trailing ',
  'tab\tnewline\nreturn\rboth\r\n',
  '\b\f\v\u0001\u001f\u007f',
  'a\\tb\\nc\\',
  '"quoted", \'single\'',
  'ÄÖÜ ß ñ 漢字 🦊 \uFFFD \u2028 e\u0301',
  '\t',
  '\n',
  '\tstart',
  'end\n',
  '{"json":"\\u0041\\n"}',
  'null',
  'NULL',
  '5',
  '-0',
  '1e400',
];
const REALS = [
  0,
  1,
  -1,
  0.1,
  1 / 3,
  1.5e300,
  5e-324,
  2.2250738585072014e-308,
  1.7976931348623157e308,
  1e15,
  1e16,
  123456789012345.6,
  1e21,
  1e22,
  1e-4,
  1e-5,
  0.00012345,
  -1.7e-7,
  4.35,
  0.30000000000000004,
  9007199254740994,
  Infinity,
  -Infinity,
  -0,
  1e23,
];
const INTEGERS = [0n, 1n, -1n, 2n ** 53n + 1n, -(2n ** 53n) - 1n, 2n ** 63n - 1n, -(2n ** 63n), 42n];
const BLOBS = [
  new Uint8Array(0),
  new Uint8Array([0]),
  new Uint8Array([92, 120]),
  new Uint8Array([9, 10, 13, 92]),
  Uint8Array.from({ length: 256 }, (_, index) => index),
];

function pick<T>(values: readonly T[], index: number): T | null {
  return index % 11 === 10 ? null : (values[index % values.length] ?? null);
}

describe('SQLite to Postgres', () => {
  const SOURCE = `CREATE TABLE items (id INTEGER PRIMARY KEY, label TEXT, amount REAL, big INTEGER, body BLOB, flag BOOLEAN,
    anything, price NUMERIC, code VARCHAR(40), pad TEXT)`;
  const TARGET = `CREATE TABLE items (id bigint PRIMARY KEY, label text, amount double precision, big bigint, body bytea, flag boolean,
    anything text, price numeric, code varchar(40), pad text)`;

  async function filled(db: TestDatabase, rows = ROWS, padding = PADDING): Promise<void> {
    await db.exec(SOURCE);
    await db.exec('BEGIN');
    const pad = 'p'.repeat(padding);
    for (let id = 0; id < rows; id++) {
      // Text and numbers in a column that was declared as neither.
      const anything =
        [pick(TEXTS, id * 7), pick(INTEGERS, id), pick([0.5, 1e-7, 1e21, 2.5], id), 'plain'][id % 4] ?? null;
      const values = [
        BigInt(id) - 3n,
        pick(TEXTS, id),
        pick(REALS, id),
        pick(INTEGERS, id),
        pick(BLOBS, id),
        id % 3 === 2 ? null : BigInt(id % 2),
        anything,
        pick([1n, -5n, 0.25, 12345678.9], id),
        `code ${id}`,
        pad,
      ];
      await db.exec(`INSERT INTO items VALUES (${values.map(() => '?').join(', ')})`, ...values);
    }
    await db.exec('COMMIT');
  }

  it('copies every hostile value exactly, as the copy row by row does, and verifies it', async () => {
    const legacy = newSqlite();
    await filled(legacy);
    const [next, other] = [await newPostgres(), await newPostgres()];
    for (const db of [next, other]) await db.exec(TARGET);
    const data = moveOf(legacy, next);
    await data.prepare(ctx);
    await data.copy(ctx);
    expect(warnings).toEqual([]);
    const ranges = await rangesOf(next);
    expect(ranges.length).toBeGreaterThan(2);
    expect(ranges.reduce((sum: number, rows) => sum + Number(rows), 0)).toBe(ROWS);
    expect(await outcomeOf(data)).toBe(`PASS ${ROWS} rows compared, 0 differ`);
    await data.close();

    const slow = moveOf(legacy, other, rowByRow);
    const slowContext = contextOf({ runId: 'slow', stateDir: `${temp.path}/slow` });
    await slow.prepare(slowContext);
    await slow.copy(slowContext);
    expect((await ledger(other))[0]?.seq).toBe(0);
    expect(await dump(next)).toEqual(await dump(other));
  }, 60_000);

  it('writes a real as Postgres writes it back', async () => {
    const doubles = new Float64Array(20_000);
    crypto.getRandomValues(new Uint8Array(doubles.buffer, 0, 65_536));
    const values = [
      ...doubles.slice(0, 8192),
      ...REALS,
      99999999999999.98,
      999999999999999.9,
      0.000099999999999999,
    ].filter((value) => !Number.isNaN(value));
    const client = new pg.Client(server.url);
    await client.connect();
    const sent = values.map((value) => (Object.is(value, -0) ? '-0' : String(value)));
    const answer = await client.query<{ text: string }>('SELECT unnest($1::text[])::float8::text AS text', [sent]);
    await client.end();
    const texts = values.map(realText);
    expect(texts.map((text) => Number(text))).toEqual(values);
    // Where the shortest text lies exactly between two doubles, Postgres writes one digit more: such a row is compared by its values.
    const others = answer.rows.filter(({ text }, index) => text !== texts[index]);
    expect(others.length).toBeLessThan(values.length / 200);
    for (const { text } of others) expect(text).toMatch(/\d\.\d{15,16}e\+\d\d/);
  });

  it('holds values equal that the target writes in another way', async () => {
    const legacy = newSqlite();
    await legacy.exec(
      'CREATE TABLE items (id INTEGER PRIMARY KEY, price TEXT, at TEXT, doc TEXT, day TEXT, ref TEXT, seen TEXT, pad TEXT)',
    );
    await legacy.exec('BEGIN');
    for (let id = 0; id < ROWS; id++)
      await legacy.exec(
        'INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
        id,
        ['1.5', '-0.10', '12345678.9', '7', null][id % 5] ?? null,
        ['2024-03-31T01:30:00.5+01:00', '2024-01-01 00:00:00', '2024-06-01T12:00:00Z'][id % 3] ?? null,
        `{"b" : 1, "a":[1.10, ${id}]}`,
        '20240229',
        '{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}',
        '2024-01-01T10:00:00.250',
        'p'.repeat(1000),
      );
    await legacy.exec('COMMIT');
    const next = await newPostgres();
    await next.exec(
      'CREATE TABLE items (id bigint PRIMARY KEY, price numeric(10, 2), at timestamptz, doc jsonb, day date, ref uuid, seen timestamp(3), pad text)',
    );
    const data = moveOf(legacy, next);
    await data.prepare(ctx);
    await data.copy(ctx);
    expect(warnings).toEqual([]);
    await rangesOf(next);
    expect(await outcomeOf(data)).toBe(`PASS ${ROWS} rows compared, 0 differ`);
    await data.unfence(ctx, 'next');
    await next.exec(`UPDATE items SET price = 1.51 WHERE id = 5; UPDATE items SET at = at + interval '1 microsecond' WHERE id = 7;
      UPDATE items SET doc = doc || '{"a":[1.1, 9]}' WHERE id = 9; UPDATE items SET ref = gen_random_uuid() WHERE id = 11`);
    // What the target's type rounds away is a difference.
    await legacy.exec("UPDATE items SET seen = '2024-01-01T10:00:00.2504' WHERE id = 13");
    await data.catchUp(ctx, 'forward');
    const outcome = await outcomeOf(data);
    for (const named of [
      '(5) differs in price',
      '(7) differs in at',
      '(9) differs in doc',
      '(11) differs in ref',
      '(13) differs in seen',
    ])
      expect(outcome).toContain(named);
  }, 60_000);

  it('names the row and column that differ, and the rows of one side alone', async () => {
    const legacy = newSqlite();
    await filled(legacy);
    const next = await newPostgres();
    await next.exec(TARGET);
    const data = moveOf(legacy, next);
    await data.prepare(ctx);
    await data.copy(ctx);
    await data.unfence(ctx, 'next');
    await next.exec(`UPDATE items SET code = code || ' ' WHERE id = 3000; DELETE FROM items WHERE id = 10;
      INSERT INTO items (id) VALUES (100000), (-100)`);
    const outcome = await outcomeOf(data);
    expect(outcome).toMatch(/^FAIL 6000 rows compared, 4 differ/);
    for (const named of ['(3000) differs in code', '(10) is missing', '(100000) is extra', '(-100) is extra'])
      expect(outcome).toContain(named);
  }, 60_000);

  it('gives the range of a refused row to the copy that can name it', async () => {
    const legacy = newSqlite();
    await filled(legacy, ROWS, 10);
    await legacy.exec("UPDATE items SET big = 'not a number' WHERE id = 5000");
    const next = await newPostgres();
    await next.exec(TARGET);
    const data = moveOf(legacy, next);
    await data.prepare(ctx);
    await expect(data.copy(ctx)).rejects.toMatchObject({
      code: 'CHG_DATA_ROW_REFUSED',
      fields: { table: 'items', key: '["i5000"]' },
    });
    await legacy.exec(
      "UPDATE items SET big = 7 WHERE id = 5000; UPDATE items SET label = CAST(x'61ff62' AS TEXT) WHERE id = 4000",
    );
    await expect(data.copy(ctx)).rejects.toMatchObject({
      code: 'CHG_DATA_TEXT_INVALID',
      fields: { column: 'label', key: '["i4000"]' },
    });
    await legacy.exec(
      "UPDATE items SET label = 'valid' WHERE id = 4000; UPDATE items SET label = 'a' || char(0) || 'b' WHERE id = 50",
    );
    await expect(data.copy(ctx)).rejects.toMatchObject({ code: 'CHG_DATA_ROW_REFUSED', fields: { key: '["i50"]' } });
    await legacy.exec("UPDATE items SET label = 'valid' WHERE id = 50");
    await data.copy(ctx);
    expect(await outcomeOf(data)).toBe(`PASS ${ROWS} rows compared, 0 differ`);
  }, 60_000);

  it('carries renamed columns and keys of several columns of any type', async () => {
    const legacy = newSqlite();
    await legacy.exec(
      'CREATE TABLE old (tenant TEXT NOT NULL, "no" INTEGER NOT NULL, "we ird" BLOB, PRIMARY KEY (tenant, "no")) WITHOUT ROWID',
    );
    await legacy.exec('BEGIN');
    for (let index = 0; index < ROWS; index++)
      await legacy.exec(
        'INSERT INTO old VALUES (?, ?, ?)',
        TEXTS[index % 5] ?? '',
        index,
        new Uint8Array(3000).fill(index),
      );
    await legacy.exec('COMMIT');
    const next = await newPostgres();
    await next.exec('CREATE TABLE items (owner text, number int, content bytea, PRIMARY KEY (owner, number))');
    const data = moveOf(legacy, next, {
      items: { from: 'old', columns: { owner: 'tenant', number: 'no', content: 'we ird' } },
    });
    await data.prepare(ctx);
    await data.copy(ctx);
    expect((await rangesOf(next)).length).toBeGreaterThan(2);
    expect(await outcomeOf(data)).toBe(`PASS ${ROWS} rows compared, 0 differ`);
    await legacy.exec('DELETE FROM old WHERE "no" % 1000 = 7');
    expect(await outcomeOf(data, contextOf({ epoch: 0 }))).toMatch(/^INCONCLUSIVE/);
    await data.catchUp(ctx, 'forward');
    expect(await outcomeOf(data)).toBe('PASS 5994 rows compared, 0 differ');
  }, 60_000);

  it('follows a table that changes while it is copied', async () => {
    const legacy = newSqlite();
    await filled(legacy);
    await legacy.exec('CREATE UNIQUE INDEX codes ON items (code)');
    const next = await newPostgres();
    await next.exec(`${TARGET}; CREATE UNIQUE INDEX codes ON items (code)`);
    const data = moveOf(legacy, next);
    await data.prepare(ctx);
    const done = new AbortController();
    const writing = (async () => {
      for (let turn = 0; !done.signal.aborted; turn++) {
        const [one, two] = [(turn * 37) % 3000, 5900 - ((turn * 997) % 2500)];
        // A unique value changes hands, from one end of the table to the other.
        await legacy.exec(`BEGIN; UPDATE items SET code = 'free ${turn}' WHERE id = ${one};
          UPDATE items SET code = 'code ${one}' WHERE id = ${two} AND code <> 'code ${one}' AND NOT EXISTS (SELECT 1 FROM items WHERE code = 'code ${one}');
          DELETE FROM items WHERE id = ${4000 + (turn % 500)}; COMMIT`);
        // Each move of a value costs a batch that meets it another reading, so it must not be faster than that.
        await sleep(200);
      }
    })();
    try {
      await data.copy(ctx);
    } finally {
      done.abort();
      await writing;
    }
    await data.catchUp(ctx, 'forward');
    expect(await outcomeOf(data)).toMatch(/^PASS \d+ rows compared, 0 differ$/);
  }, 60_000);

  it('goes on from the ledger when it is killed at any of its points', async () => {
    const legacy = newSqlite();
    await legacy.exec('CREATE TABLE events (id INTEGER PRIMARY KEY, kind TEXT NOT NULL)');
    await legacy.exec(`INSERT INTO events WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < ${ROWS})
      SELECT value, printf('%.*c', 4000, 'k') FROM n`);
    const next = await newPostgres();
    await next.exec('CREATE TABLE events (id bigint PRIMARY KEY, kind text NOT NULL)');
    const run = async (epoch: number, point: string) => {
      const args = [temp.path, legacy.address, next.address, 'forward', String(epoch), point];
      return startChild(new URL('../runner.child.ts', import.meta.url).pathname, { args }).exited;
    };
    const copied = async () => Number((await next.all('SELECT count(*) AS rows FROM events'))[0]?.rows);
    const points = [
      'data.copy.before_chunk',
      'data.write.before_commit',
      'data.write.committed',
      'data.copy.after_chunk',
    ];
    const counts: number[] = [];
    for (const [index, point] of points.entries()) {
      expect((await run(index + 1, point)).signal, point).toBe('SIGKILL');
      counts.push(await copied());
    }
    // The first two die before anything is committed; each of the others leaves what it committed, whole ranges only.
    expect(counts.slice(0, 2)).toEqual([0, 0]);
    expect(counts[2]).toBeGreaterThan(0);
    expect(counts[3]).toBeGreaterThan(counts[2] ?? 0);
    const sums = await next.all('SELECT sum(rows)::int AS rows FROM changeover_ledger');
    expect(sums).toEqual([{ rows: counts[3] }]);
    expect(await run(9, '-')).toEqual({ code: 0, signal: null });
    expect(await copied()).toBe(ROWS);
  }, 120_000);

  it('copies a range once more that the server has lost in a crash after it was committed', async () => {
    const legacy = newSqlite();
    await filled(legacy);
    const next = await newPostgres();
    await next.exec(TARGET);
    const data = moveOf(legacy, next);
    await data.prepare(ctx);
    // What is left of the second range after a crash: nothing.
    await next.exec(`CREATE TABLE lost (seq int);
      CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.seq <> 1 OR EXISTS (SELECT FROM lost) THEN RETURN NEW; END IF;
        DELETE FROM items WHERE xmin = pg_current_xact_id()::xid;
        INSERT INTO lost VALUES (NEW.seq);
        RETURN NULL;
      END $$;
      CREATE TRIGGER lose BEFORE INSERT ON changeover_ledger FOR EACH ROW EXECUTE FUNCTION lose();
      ALTER TABLE changeover_ledger ENABLE ALWAYS TRIGGER lose`);
    await data.copy(ctx);
    expect(await next.all('SELECT seq FROM lost')).toEqual([{ seq: 1 }]);
    expect(await outcomeOf(data)).toBe(`PASS ${ROWS} rows compared, 0 differ`);
  }, 60_000);

  it('goes on when the server has crashed under it', async () => {
    const own = await startPostgres();
    try {
      const legacy = newSqlite();
      await filled(legacy);
      const admin = new pg.Client(own.url);
      await admin.connect();
      // What was committed without waiting for the disk stays in memory until somebody else waits.
      await admin.query("ALTER SYSTEM SET wal_writer_delay = '10s'");
      await admin.query('SELECT pg_reload_conf()');
      await admin.end();
      const before = await testPostgres(own.url);
      await before.exec(TARGET);
      await before.close();
      const next = { kind: 'postgres', address: before.address } as TestDatabase;
      let chunks = 0;
      const crashed: Promise<void>[] = [];
      const faults = {
        at: (point: string) => {
          if (point === 'data.write.committed' && ++chunks === 2) crashed.push(own.crash());
        },
      };
      const data = moveOf(legacy, next);
      await data.prepare(ctx);
      // Where the server is back before anybody has given up, the copy does not even end.
      const [outcome] = await Promise.allSettled([data.copy(contextOf({ faults }))]);
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'CHG_DATA_STORE_UNREACHABLE' });
      expect(crashed).toHaveLength(1);
      await Promise.all(crashed);
      const client = new pg.Client(next.address);
      await client.connect();
      const { rows } = await client.query<{ held: number; entered: number }>(
        'SELECT (SELECT count(*)::int FROM items) AS held, (SELECT coalesce(sum(rows), 0)::int FROM changeover_ledger) AS entered',
      );
      await client.end();
      // A range that goes on row by row has its entry only with its last rows.
      expect(rows[0]?.entered).toBeLessThanOrEqual(rows[0]?.held ?? 0);
      await data.copy(ctx);
      expect(await outcomeOf(data)).toBe(`PASS ${ROWS} rows compared, 0 differ`);
      await data.close();
    } finally {
      await own.stop();
    }
  }, 60_000);

  it('ends within a second when it is interrupted, and commits nothing afterwards', async () => {
    const legacy = newSqlite();
    await filled(legacy);
    const next = await newPostgres();
    await next.exec(TARGET);
    // The server takes its time, and does not listen meanwhile.
    await next.exec(`CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.05); RETURN NEW; END';
      CREATE TRIGGER slow BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION slow();
      ALTER TABLE items ENABLE ALWAYS TRIGGER slow`);
    const stop = new AbortController();
    const interrupted = contextOf({ signal: stop.signal });
    const data = moveOf(legacy, next);
    await data.prepare(interrupted);
    const copying = data.copy(interrupted);
    copying.catch(() => undefined);
    const isSlow = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
    while ((await next.all(isSlow)).length === 0) await sleep(5);
    const startedMs = performance.now();
    stop.abort();
    await expect(copying).rejects.toThrow('aborted');
    expect(performance.now() - startedMs).toBeLessThan(1000);
    expect(
      await next.all("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'COPY%' AND datname = current_database()"),
    ).toEqual([]);
    expect(await next.all('SELECT count(*)::int AS rows FROM items')).toEqual([{ rows: 0 }]);
    await next.exec('DROP TRIGGER slow ON items');
    await data.copy(ctx);
    expect(await outcomeOf(data)).toBe(`PASS ${ROWS} rows compared, 0 differ`);
  }, 60_000);

  it('writes nothing more once the epoch was raised under it', async () => {
    const legacy = newSqlite();
    await filled(legacy);
    const next = await newPostgres();
    await next.exec(TARGET);
    const successor = moveOf(legacy, next);
    let chunks = 0;
    const raised: Promise<void>[] = [];
    const data = moveOf(legacy, next);
    const faults = {
      at: (point: string) => {
        if (point === 'data.write.committed' && ++chunks === 1)
          raised.push(successor.installEpoch(contextOf({ epoch: 2 })));
      },
    };
    const old = contextOf({ faults });
    await data.prepare(old);
    // Whoever raises the epoch ends the connections of older owners: they meet the gate, or that.
    await expect(
      (async () => {
        await data.copy(old);
        // Where the raise came after the last range, the end of the table meets it.
        await Promise.all(raised);
        await data.copy(contextOf({ runId: 'again' }));
      })(),
    ).rejects.toMatchObject({ code: expect.stringMatching(/^CHG_DATA_(EPOCH_STALE|STORE_UNREACHABLE)$/) as string });
    await Promise.all(raised);
    const content = async () => {
      const [{ rows } = {}] = await next.all('SELECT count(*)::int AS rows FROM items');
      return { rows: Number(rows), entries: await ledger(next) };
    };
    const before = await content();
    await sleep(300);
    expect(await content()).toEqual(before);
    // A range whose connection was ended goes on row by row, and has its entry only with its last rows.
    expect(before.entries.reduce((sum, entry) => sum + Number(entry.rows), 0)).toBeLessThanOrEqual(before.rows);
    const heir = contextOf({ epoch: 2 });
    await successor.prepare(heir);
    await successor.copy(heir);
    expect(await outcomeOf(successor, heir)).toBe(`PASS ${ROWS} rows compared, 0 differ`);
  }, 60_000);
});

describe('Postgres to Postgres', () => {
  const COLUMNS = `label text, code varchar(40), padded char(6), one "char", amount double precision, single real, big bigint, small smallint,
    price numeric, money numeric(12, 2), flag boolean, body bytea, at timestamptz, local timestamp, day date, time time, zone timetz,
    span interval, doc json, docb jsonb, id2 uuid, net inet, mac macaddr, bits bit varying(9), numbers int[], texts text[], search tsvector,
    place point, range int4range`;
  const VALUES = `
    CASE n % 9 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN '\\N' WHEN 3 THEN E'tab\\tnl\\nback\\\\slash' WHEN 4 THEN '🦊' ELSE 'label ' || n END,
    'code ' || n, CASE n % 3 WHEN 0 THEN 'ab' WHEN 1 THEN '' END, 'x',
    CASE n % 7 WHEN 0 THEN 'NaN' WHEN 1 THEN 'Infinity' WHEN 2 THEN '-0' WHEN 3 THEN 1e-7 WHEN 4 THEN 0.1 ELSE n / 3.0 END::float8, (n / 7.0)::real,
    9223372036854770000 - n, (n % 100)::smallint, CASE n % 4 WHEN 0 THEN 'NaN' WHEN 1 THEN 1e-20 ELSE n * 1.500 END::numeric, n * 1.25, n % 2 = 0,
    decode(lpad(to_hex(n), 8, '0'), 'hex'), timestamptz '2024-03-31 01:30:00.123456+01' + n * interval '1 hour',
    CASE n % 5 WHEN 0 THEN 'infinity' ELSE '2024-02-29 23:59:59.999999' END::timestamp, CASE n % 2 WHEN 0 THEN '0044-03-15 BC' ELSE '2024-02-29' END::date, '24:00:00', '12:00:00-08',
    '1 year -2 mons 3 days -04:05:06.7', '{"b" : 1, "a":[1.10]}', '{"b" : 1, "a":[1.10], "t":"\\u00e4"}', gen_random_uuid(), '10.0.0.1/8', '08:00:2b:01:02:03',
    B'10110', ARRAY[1, NULL, 3], ARRAY['a,b', NULL, '"', 'NULL', ''], 'fat cat', '(1.5,-2)', '[1,5)'`;

  async function filled(db: TestDatabase, type = 'CREATE TABLE', rows = ROWS): Promise<void> {
    await db.exec(`${type} items (id bigint PRIMARY KEY, ${COLUMNS}, pad text)`);
    await db.exec(
      `INSERT INTO items SELECT n, ${VALUES}, (SELECT string_agg(md5(k::text || random()), '') FROM generate_series(1, 100 + n * 0) AS k) FROM generate_series(-2, ${rows} - 3) AS n`,
    );
  }

  it('copies every type as the servers send it, and verifies it', async () => {
    const [legacy, next] = [await newPostgres(), await newPostgres()];
    await filled(legacy);
    await next.exec(`CREATE TABLE items (id bigint PRIMARY KEY, ${COLUMNS}, pad text)`);
    const data = moveOf(legacy, next);
    await data.prepare(ctx);
    await data.copy(ctx);
    expect(warnings).toEqual([]);
    expect((await rangesOf(next)).length).toBeGreaterThan(1);
    expect(await dump(next)).toEqual(await dump(legacy));
    expect(await outcomeOf(data)).toBe(`PASS ${ROWS} rows compared, 0 differ`);
    await data.unfence(ctx, 'next');
    await next.exec(
      `UPDATE items SET docb = '{}' WHERE id = 4321; DELETE FROM items WHERE id = 17; INSERT INTO items (id) VALUES (99999)`,
    );
    const outcome = await outcomeOf(data);
    for (const named of ['(4321) differs in docb', '(17) is missing', '(99999) is extra'])
      expect(outcome).toContain(named);
    expect(outcome).toMatch(/^FAIL 6000 rows compared, 3 differ/);
  }, 60_000);

  it('goes through text where the types are of one database, or wider in the target', async () => {
    const [legacy, next] = [await newPostgres(), await newPostgres()];
    for (const db of [legacy, next])
      await db.exec("CREATE TYPE mood AS ENUM ('sad', 'fine'); CREATE DOMAIN name AS text");
    await legacy.exec('CREATE TABLE items (id int PRIMARY KEY, feeling mood, nick name, short char(5), pad text)');
    await legacy.exec(
      `INSERT INTO items SELECT n, CASE n % 2 WHEN 0 THEN 'sad' END::mood, E'a\\t\\\\' || n, 'ab', repeat(md5(n::text), 200) FROM generate_series(1, ${ROWS}) AS n`,
    );
    await next.exec('CREATE TABLE items (id bigint PRIMARY KEY, feeling mood, nick name, short text, pad text)');
    const data = moveOf(legacy, next);
    await data.prepare(ctx);
    await data.copy(ctx);
    expect(warnings).toEqual([]);
    await rangesOf(next);
    expect(await dump(next)).toEqual((await dump(legacy)).map((row) => row.replace('"ab   "', 'ab')));
    expect(await outcomeOf(data)).toBe(`PASS ${ROWS} rows compared, 0 differ`);
  }, 60_000);

  it('copies row by row what a range cannot, and says so once', async () => {
    const [legacy, next] = [await newPostgres(), await newPostgres()];
    for (const [name, first] of [
      ['items', 1],
      ['more', 5990],
    ] as const)
      await legacy.exec(`CREATE TABLE ${name} (id int PRIMARY KEY, label text);
        INSERT INTO ${name} SELECT n, '${name} ' || n FROM generate_series(${first}, ${first + ROWS - 1}) AS n`);
    await next.exec('CREATE TABLE items (id int PRIMARY KEY, label text)');
    const [from, to] = [storeOf(legacy), storeOf(next)];
    const data = kept(
      createDataMove([
        sync({ name: 'first', from, to, tables: { items: {} } }),
        sync({ name: 'second', from, to, tables: { items: { from: 'more' } } }),
      ]),
    );
    await data.prepare(ctx);
    await data.copy(ctx);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain('duplicate key');
    expect(await next.all('SELECT id, label FROM items WHERE id IN (5989, 5990, 11989) ORDER BY id')).toEqual([
      { id: 5989, label: 'items 5989' },
      { id: 5990, label: 'more 5990' },
      { id: 11989, label: 'more 11989' },
    ]);
  }, 60_000);
});
