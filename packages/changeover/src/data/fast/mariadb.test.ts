import { hash } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Context } from '../../plan/context.ts';
import type { DataPort } from '../../plan/ports.ts';
import type { TableMapping } from '../../plan/sync.ts';
import { testContext } from '../../testing/context.ts';
import { testMariadb, testPostgres, type TestDatabase } from '../../testing/databases.ts';
import { mariadbIsMissing, startMariadb, type ThrowawayMariadb } from '../../testing/mariadb.ts';
import { startPostgres, type ThrowawayPostgres } from '../../testing/postgres.ts';
import { tempFolder, type TempFolder } from '../../testing/temp.ts';
import { tableMap } from '../mapping.ts';
import { createDataMove, sync } from '../move.ts';
import { mariadb } from '../stores/mariadb/index.ts';
import { postgres } from '../stores/postgres/index.ts';
import { Session } from '../stores/mariadb/session.ts';
import { Bulk } from './bulk.ts';
import { cellOf } from './mariadb-cells.ts';
import { readRows } from './mariadb-rows.ts';

const missing = await mariadbIsMissing();
/** More than the copy row by row keeps to itself. */
const ROWS = 6000;

describe.skipIf(missing !== null)(`MariaDB to Postgres${missing === null ? '' : ` (${missing})`}`, () => {
  let from: ThrowawayMariadb;
  let to: ThrowawayPostgres;
  let temp: TempFolder;
  let ctx: Context;
  let warnings: string[];
  let legacy: TestDatabase;
  let next: TestDatabase;
  const opened: { close(): Promise<void> }[] = [];

  beforeAll(async () => {
    [from, to] = await Promise.all([startMariadb({ settings: ['--max-allowed-packet=256M'] }), startPostgres()]);
  });
  afterAll(async () => {
    await Promise.all([from.stop(), to.stop()]);
  });
  beforeEach(async () => {
    temp = await tempFolder();
    warnings = [];
    ctx = contextOf();
    legacy = kept(await testMariadb(from.url));
    await legacy.exec("SET sql_mode = 'ALLOW_INVALID_DATES,NO_BACKSLASH_ESCAPES', time_zone = '+00:00'");
    next = kept(await testPostgres(to.url));
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
  const moveTo = (db: TestDatabase, tables: Record<string, TableMapping> = { items: {} }): DataPort =>
    kept(createDataMove([sync({ name: 'main', from: mariadb(legacy.address), to: postgres(db.address), tables })]));
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
  /** Rows of each range; the entry before them is what only the bulk copy writes. */
  async function rangesOf(db: TestDatabase): Promise<number[]> {
    const [plan, ...entries] = await db.all('SELECT seq, rows, complete FROM changeover_ledger ORDER BY seq');
    expect(plan?.seq).toBe(-1);
    expect(entries.at(-1)?.complete).toBe(true);
    return entries.slice(0, -1).map(({ rows }) => Number(rows));
  }
  async function outcomeOf(data: DataPort): Promise<string> {
    const [verdict] = await data.verify(ctx, 'forward', 'full');
    return `${String(verdict?.outcome)} ${String(verdict?.evidence)}`;
  }
  /** What the comparison in bulk leaves to the one row by row; null where it leaves everything. */
  async function differing(mapping: TableMapping = {}): Promise<unknown[] | null> {
    const source = kept(await mariadb(legacy.address).open(ctx, 'legacy'));
    const target = kept(await postgres(next.address).open(ctx, 'next'));
    const table = { legacy: await source.shape(mapping.from ?? 'items'), next: await target.shape('items') };
    const map = tableMap({ sync: 'main', name: 'items', mapping, ...table }, 'forward');
    const rows = map === null ? 0 : await source.count(map.source.name);
    const ranges = map === null ? null : await new Bulk('main', source, target).compare(ctx, map, rows);
    if (ranges === null) return null;
    const found: unknown[] = [];
    for await (const range of ranges) found.push(...range.differing);
    return found;
  }
  async function copied(tables?: Record<string, TableMapping>): Promise<DataPort> {
    const data = moveTo(next, tables);
    await data.prepare(ctx);
    await data.copy(ctx);
    return data;
  }

  const COLUMNS: readonly (readonly [name: string, source: string, target: string, values: readonly string[]])[] = [
    ['tiny', 'tinyint', 'smallint', ['-128', '127', '0']],
    ['utiny', 'tinyint unsigned', 'integer', ['255', '0']],
    ['small', 'smallint', 'smallint', ['-32768', '32767', '-1']],
    ['usmall', 'smallint unsigned zerofill', 'integer', ['65535', '7']],
    ['medium', 'mediumint', 'integer', ['-8388608', '8388607']],
    ['umedium', 'mediumint unsigned', 'bigint', ['16777215']],
    ['normal', 'int', 'integer', ['-2147483648', '2147483647', '-1', '65536']],
    ['unormal', 'int unsigned', 'bigint', ['4294967295', '2147483648']],
    ['big', 'bigint', 'bigint', ['-9223372036854775808', '9223372036854775807', '-4294967296', '4294967295', '-1']],
    [
      'ubig',
      'bigint unsigned',
      'numeric(20,0)',
      ['18446744073709551615', '9223372036854775808', '0', '10000', '99990000'],
    ],
    ['flag', 'tinyint(1)', 'boolean', ['0', '1']],
    ['bit1', 'bit(1)', 'boolean', ["b'0'", "b'1'"]],
    ['bits', 'bit(64)', 'numeric', ["b'1'", `b'${'1'.repeat(64)}'`, "b'100000000'"]],
    ['year', 'year', 'smallint', ['2024', '1901', '2155', '0']],
    [
      'real8',
      'double',
      'double precision',
      [
        '0.1',
        '-1e-7',
        '1.7976931348623157e308',
        '5e-324',
        '-0e0',
        '1e15',
        '123456789012345.6',
        '4.35',
        '1e23',
        '0.00012345',
      ],
    ],
    ['fixed8', 'double(10,2)', 'double precision', ['1.5', '-0.25', '12345678.91']],
    ['real4', 'float', 'real', ['0.1', '-0e0', '3.4028235e38', '1e-45', '16777217', '123456.789']],
    ['wider', 'float', 'double precision', ['0.1', '1e-45', '-3.3333333']],
    [
      'price',
      'decimal(12,2)',
      'numeric(12,2)',
      ['0.00', '-0.01', '9999999999.99', '-9999999999.99', '10000.00', '0.10', '100000000.00'],
    ],
    [
      'exact',
      'decimal(65,30)',
      'numeric',
      ['0', '0.000000000000000000000000000001', `-${'9'.repeat(35)}.${'9'.repeat(30)}`, '10000.0001', '1.00010000'],
    ],
    ['code', 'char(6)', 'character(6)', ["'ab'", "''", "'ß漢字'"]],
    [
      'word',
      'varchar(40)',
      'character varying(40)',
      ["''", "' blank '", "'\\N'", "'\\'", "'null'", "'a\tb\nc\rd'", "'🦊 \u2028'"],
    ],
    ['label', 'text', 'text', ["'x'", "'\\.'", "repeat('ä', 300)", "repeat('long ', 500)"]],
    ['latin', 'varchar(40) character set latin1', 'text', ["'ÄÖÜ ß ñ'", "'€'"]],
    ['mood', "enum('sad','it''s, fine','')", 'text', ["'sad'", "'it''s, fine'", "''"]],
    ['tags', "set('a','b','c')", 'text', ["'a,c'", "''"]],
    ['doc', 'json', 'json', [`'{"b" : 1, "a":[1.10], "t":"\\u00e4"}'`, "'null'"]],
    ['id2', 'uuid', 'uuid', ["'123e4567-e89b-12d3-a456-426614174000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"]],
    ['id3', 'char(36)', 'uuid', ["'123E4567-E89B-12D3-A456-42661417400F'"]],
    ['net', 'inet6', 'text', ["'::1'", "'2001:db8::ff00:42:8329'"]],
    ['fixed', 'binary(4)', 'bytea', ["x'00'", "x'5c780009'"]],
    ['body', 'blob', 'bytea', ["x''", "x'00'", "x'5c7841'", "x'090a0d5c'", "repeat(x'00ff', 5000)"]],
    [
      'day',
      'date',
      'date',
      ["'2024-02-29'", "'0001-01-01'", "'9999-12-31'", "'1999-12-31'", "'2000-03-01'", "'1900-02-28'"],
    ],
    ['at', 'datetime', 'timestamp', ["'2024-03-31 01:30:00'", "'0001-01-01 00:00:00'", "'1000-01-01 00:00:00'"]],
    [
      'precise',
      'datetime(6)',
      'timestamp(6)',
      [
        "'9999-12-31 23:59:59.999999'",
        "'1969-12-31 23:59:59.000001'",
        "'1999-12-31 23:59:59.999999'",
        "'2024-01-01 00:00:00.5'",
        "'0099-03-01 00:00:00.000001'",
      ],
    ],
    ['stamp', 'timestamp(3) null', 'timestamptz', ["'2024-10-27 00:59:59.123'", "'1970-01-01 00:00:01'"]],
    ['time', 'time(6)', 'time', ["'00:00:00'", "'23:59:59.999999'", "'12:00:00'"]],
    ['span', 'time(3)', 'interval', ["'-838:59:59.999'", "'838:59:59'", "'-00:00:00.001'", "'00:00:00'"]],
  ];

  async function filled(rows = ROWS): Promise<void> {
    const all = COLUMNS.map(([name, source]) => `${name} ${source}`).join(', ');
    await legacy.exec(`CREATE TABLE items (id bigint PRIMARY KEY, ${all}, pad text)`);
    for (let first = 0; first < rows; first += 500) {
      const lines = Array.from({ length: 500 }, (_, index) => {
        const id = first + index;
        const values = COLUMNS.map(([, , , own], column) =>
          (id + column) % 7 === 6 ? 'NULL' : own[(id * 3 + column) % own.length],
        );
        return `(${id - 3}, ${values.join(', ')}, repeat('p', 2000))`;
      });
      await legacy.exec(`INSERT INTO items VALUES ${lines.join(', ')}`);
    }
    await legacy.exec('ANALYZE TABLE items');
  }
  const TARGET = `CREATE TABLE items (id bigint PRIMARY KEY, ${COLUMNS.map(([name, , target]) => `"${name}" ${target}`).join(', ')}, pad text)`;

  it('copies every type exactly, as the copy row by row does, and verifies it', async () => {
    await filled();
    const other = kept(await testPostgres(to.url));
    for (const db of [next, other]) await db.exec(TARGET);
    const data = await copied();
    expect(warnings).toEqual([]);
    const ranges = await rangesOf(next);
    expect(ranges.length).toBeGreaterThan(2);
    expect(ranges.reduce((sum, rows) => sum + rows, 0)).toBe(ROWS);
    expect(await differing()).toEqual([]);
    expect(await outcomeOf(data)).toBe(`PASS ${ROWS} rows compared, 0 differ`);
    await data.close();

    const slow = moveTo(other, rowByRow);
    const slowContext = contextOf({ runId: 'slow', stateDir: `${temp.path}/slow` });
    await slow.prepare(slowContext);
    await slow.copy(slowContext);
    expect(await dump(next)).toEqual(await dump(other));
  }, 60_000);

  it('names the row and column that differ, and the rows of one side alone', async () => {
    await filled();
    await next.exec(TARGET);
    const data = await copied();
    await data.unfence(ctx, 'next');
    await next.exec(`UPDATE items SET real4 = real4 * 2 WHERE id = 3001; UPDATE items SET label = label || ' ' WHERE id = 3002;
      DELETE FROM items WHERE id = 10; INSERT INTO items (id) VALUES (100000), (-100)`);
    const outcome = await outcomeOf(data);
    expect(outcome).toMatch(/^FAIL 6000 rows compared, 5 differ/);
    for (const named of ['(3002) differs in label', '(10) is missing', '(100000) is extra', '(-100) is extra'])
      expect(outcome).toContain(named);
  }, 60_000);

  it('gives the range of a refused row to the copy that can name it', async () => {
    await legacy.exec('CREATE TABLE items (id int PRIMARY KEY, day date, label text)');
    await legacy.exec(`INSERT INTO items (id) SELECT seq FROM seq_1_to_${ROWS}`);
    await next.exec('CREATE TABLE items (id bigint PRIMARY KEY, day date, label text)');
    const data = moveTo(next);
    await data.prepare(ctx);
    for (const bad of ["day = '0000-00-00'", "label = concat('a', char(0), 'b')"]) {
      await legacy.exec(`UPDATE items SET ${bad} WHERE id = 5000`);
      const refused = { code: 'CHG_DATA_ROW_REFUSED', fields: { table: 'items', key: '["i5000"]' } };
      await expect(data.copy(ctx)).rejects.toMatchObject(refused);
    }
    expect(warnings[0]).toBe('items: some rows are copied one by one, since a date is zero');
    // Half of a surrogate pair, which the server takes for text.
    await legacy.exec("UPDATE items SET day = NULL, label = x'61EDA08062' WHERE id = 5000");
    await expect(data.copy(ctx)).rejects.toMatchObject({
      code: 'CHG_DATA_TEXT_INVALID',
      fields: { table: 'items', column: 'label', key: '["i5000"]' },
    });
    await legacy.exec('UPDATE items SET label = NULL WHERE id = 5000');
    await data.copy(ctx);
    expect((await rangesOf(next)).reduce((sum, rows) => sum + rows, 0)).toBe(ROWS);
    expect(await outcomeOf(data)).toBe(`PASS ${ROWS} rows compared, 0 differ`);
  }, 60_000);

  it.each([
    ["DATE '2024-02-30'", 'date', 'date', 'of no calendar'],
    ["TIMESTAMP '2023-02-29 00:00:00'", 'instant', 'timestamp without time zone', 'of no calendar'],
    ["TIMESTAMP '0000-01-01 00:00:00'", 'instant', 'timestamp with time zone', 'of no calendar'],
    ["TIME '24:00:01'", 'time', 'time without time zone', 'outside of the day'],
    ["TIME '-00:00:00.000001'", 'time', 'time without time zone', 'outside of the day'],
    ['CAST(9223372036854775808 AS UNSIGNED)', 'integer', 'bigint', 'above those of bigint'],
    ['2147483648', 'integer', 'integer', 'does not fit integer'],
    ['-2147483649', 'integer', 'integer', 'does not fit integer'],
    ['32768', 'integer', 'smallint', 'does not fit smallint'],
    ['-32769', 'integer', 'smallint', 'does not fit smallint'],
    ['65535', 'integer', 'smallint', 'does not fit smallint'],
    ['-1', 'integer', 'boolean', 'neither 0 nor 1'],
    ['2', 'integer', 'boolean', 'neither 0 nor 1'],
    ["'123e4567e89b12d3a456426614174000'", 'text', 'uuid', 'no uuid'],
  ] as const)('makes nothing else of %s as %s in a column of type %s', async (value, kind, target, reason) => {
    const session = kept(new Session(legacy.address, 'the source', ctx.clock, []));
    const reading = readRows(
      session,
      `SELECT ${value}`,
      ([wire]) => (wire === undefined ? [] : [cellOf(kind, target, wire)]),
      'plain',
      () => Promise.resolve(),
    );
    await expect(reading).rejects.toThrow(reason);
    // The connection is still of use.
    expect(await session.texts('SELECT 1')).toEqual([['1']]);
  });

  it('carries renamed columns and keys of several columns', async () => {
    await legacy.exec(
      `CREATE TABLE old (tenant varbinary(20), day date, no int unsigned, \`we ird\` blob, PRIMARY KEY (tenant, day, no))`,
    );
    await legacy.exec(
      `INSERT INTO old SELECT concat('t', char(seq % 3)), '2024-01-01' + INTERVAL seq % 7 DAY, seq, repeat(char(seq % 256), 3000) FROM seq_1_to_${ROWS}`,
    );
    await legacy.exec('ANALYZE TABLE old');
    await next.exec(
      'CREATE TABLE items (owner bytea, at date, number bigint, content bytea, PRIMARY KEY (owner, at, number))',
    );
    const mapping = { from: 'old', columns: { owner: 'tenant', at: 'day', number: 'no', content: 'we ird' } };
    const data = await copied({ items: mapping });
    expect((await rangesOf(next)).length).toBeGreaterThan(2);
    expect(await differing(mapping)).toEqual([]);
    await legacy.exec('DELETE FROM old WHERE no % 1000 = 7');
    await data.catchUp(ctx, 'forward');
    expect(await outcomeOf(data)).toBe(`PASS 5994 rows compared, 0 differ`);
  }, 60_000);

  it.each([
    ['utf8mb4_bin', '"C"', true],
    ['utf8mb4_general_ci', '"C"', false],
  ])(
    'copies in bulk with text keys of %s, and compares them so only where they order alike',
    async (theirs, ours, isAlike) => {
      await legacy.exec(`CREATE TABLE items (id varchar(40) COLLATE ${theirs} PRIMARY KEY, pad text)`);
      await legacy.exec(
        `INSERT INTO items SELECT concat(substr('aBcDäöÜ🦊ß', seq % 9 + 1, 1), seq), repeat('p', 3000) FROM seq_1_to_${ROWS}`,
      );
      await legacy.exec('ANALYZE TABLE items');
      await next.exec(`CREATE TABLE items (id varchar(40) COLLATE ${ours} PRIMARY KEY, pad text)`);
      const data = await copied();
      expect(warnings).toEqual([]);
      expect((await rangesOf(next)).length).toBeGreaterThan(2);
      expect(await differing()).toEqual(isAlike ? [] : null);
      expect(await outcomeOf(data)).toBe(`PASS ${ROWS} rows compared, 0 differ`);
    },
    60_000,
  );

  it('copies row by row what has a type without a binary form here', async () => {
    await legacy.exec('CREATE TABLE items (id int PRIMARY KEY, net inet6)');
    await legacy.exec(`INSERT INTO items SELECT seq, '::1' FROM seq_1_to_${ROWS}`);
    await next.exec('CREATE TABLE items (id int PRIMARY KEY, net inet)');
    const data = await copied();
    expect((await next.all('SELECT min(seq) AS seq FROM changeover_ledger'))[0]).toEqual({ seq: 0 });
    expect(await outcomeOf(data)).toBe(`PASS ${ROWS} rows compared, 0 differ`);
  }, 60_000);

  it('carries values larger than a packet of the server, and leaves no statement open', async () => {
    await legacy.exec('CREATE TABLE items (id int PRIMARY KEY, body longblob, label longtext)');
    await legacy.exec(
      "INSERT INTO items VALUES (1, repeat(x'00ff5c0a', 12500000), NULL), (2, x'', repeat('ä', 9000000)), (3, repeat('x', 16777215), 'end'), (4, repeat('x', 16777215 - 20), 'end')",
    );
    await legacy.exec('INSERT INTO items SELECT seq, NULL, NULL FROM seq_5_to_6000');
    await next.exec('CREATE TABLE items (id int PRIMARY KEY, body bytea, label text)');
    const data = await copied();
    expect(warnings).toEqual([]);
    expect(
      await next.all('SELECT id, md5(body) AS body, md5(label) AS label FROM items WHERE id < 5 ORDER BY id'),
    ).toEqual(
      await legacy.all('SELECT id, md5(body) AS body, md5(label) AS label FROM items WHERE id < 5 ORDER BY id'),
    );
    expect(await differing()).toEqual([]);
    expect(await outcomeOf(data)).toBe(`PASS ${ROWS} rows compared, 0 differ`);
    await data.close();
    const [status] = await legacy.all("SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'");
    expect(status?.Value).toBe('0');
  }, 60_000);

  it('goes on row by row where the connection is killed in the middle of a range', async () => {
    await legacy.exec('CREATE TABLE items (id int PRIMARY KEY, body blob)');
    await legacy.exec(`INSERT INTO items SELECT seq, repeat('x', 10000) FROM seq_1_to_${ROWS}`);
    await next.exec('CREATE TABLE items (id int PRIMARY KEY, body bytea)');
    await next.exec(`CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.id = 100 THEN PERFORM pg_sleep(2); END IF; RETURN NEW; END';
      CREATE TRIGGER slow BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION wait()`);
    const data = moveTo(next);
    await data.prepare(ctx);
    const copying = data.copy(ctx);
    copying.catch(() => undefined);
    // The target waits in the first range, so its source waits too, with the rest of its rows unsent.
    await vi.waitFor(async () => {
      const readers = await legacy.all(
        "SELECT id FROM information_schema.processlist WHERE command = 'Execute' AND db = DATABASE()",
      );
      expect(readers.length).toBeGreaterThan(0);
      for (const { id } of readers) await legacy.exec(`KILL CONNECTION ${Number(id)}`);
    }, 20_000);
    await copying;
    expect(warnings.join()).toContain('one by one');
    expect(await outcomeOf(data)).toBe(`PASS ${ROWS} rows compared, 0 differ`);
  }, 60_000);
});
