import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Context } from '../../../plan/context.ts';
import type { DataPort } from '../../../plan/ports.ts';
import type { SchemaOptions, TableMapping } from '../../../plan/sync.ts';
import type { Json } from '../../../plan/words.ts';
import { testContext } from '../../../testing/context.ts';
import { testMariadb, testPostgres, testSqlite, type TestDatabase } from '../../../testing/databases.ts';
import { mariadbIsMissing, startMariadb, type ThrowawayMariadb } from '../../../testing/mariadb.ts';
import { startPostgres, type ThrowawayPostgres } from '../../../testing/postgres.ts';
import { tempFolder, type TempFolder } from '../../../testing/temp.ts';
import { createDataMove, sync } from '../../move.ts';
import { mariadb } from '../../stores/mariadb/index.ts';
import { postgres } from '../../stores/postgres/index.ts';
import { sqlite } from '../../stores/sqlite/index.ts';

const isMissing = await mariadbIsMissing();

type Kind = 'mariadb' | 'postgres' | 'sqlite';

/** Every type that a MariaDB of today has, with a row at its limits and one of nothing. */
const EVERY_TYPE = `
  CREATE TABLE things (
    id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, flag TINYINT(1) NOT NULL DEFAULT 0, one BIT(1) DEFAULT b'1', tiny TINYINT DEFAULT -5, utiny TINYINT UNSIGNED,
    small SMALLINT, usmall SMALLINT UNSIGNED, medium MEDIUMINT, umedium MEDIUMINT UNSIGNED, plain INT, uint INT UNSIGNED, big BIGINT, ubig BIGINT UNSIGNED,
    price DECIMAL(12,4) DEFAULT 1.5, wide DECIMAL(65,30), r4 FLOAT, r8 DOUBLE DEFAULT 0.1, r8d DOUBLE(10,2), bits BIT(12), born YEAR DEFAULT 1999,
    d DATE DEFAULT '2024-02-29', dt DATETIME DEFAULT CURRENT_TIMESTAMP, dt6 DATETIME(6), ts TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP, ts6 TIMESTAMP(6) NULL,
    t TIME, t6 TIME(6), c CHAR(4) COLLATE utf8mb4_bin, v VARCHAR(10) COLLATE utf8mb4_bin DEFAULT 'it''s \\\\', body LONGTEXT COLLATE utf8mb4_bin,
    e ENUM('a', 'it''s', 'b\\\\c') DEFAULT 'a', s SET('x', 'y', 'z') DEFAULT 'x,z', j JSON DEFAULT '{}', u UUID, a4 INET4, a6 INET6,
    b BINARY(4) DEFAULT 'ab', vb VARBINARY(9), bl LONGBLOB, twice INT AS (plain + plain) STORED,
    CONSTRAINT sane CHECK (tiny < 100 AND plain BETWEEN -10 AND 2147483647), CHECK (small < 30000));
  CREATE UNIQUE INDEX by_v ON things (v); CREATE INDEX by_d ON things (d, plain DESC);
  INSERT INTO things (flag, one, tiny, utiny, small, usmall, medium, umedium, plain, uint, big, ubig, price, wide, r4, r8, r8d, bits, born, d, dt, dt6, ts, ts6, t, t6,
      c, v, body, e, s, j, u, a4, a6, b, vb, bl) VALUES
    (1, 0, -128, 255, -32768, 65535, -8388608, 16777215, 2147483647 DIV 2, 4294967295, -9223372036854775808, 9223372036854775807, -1.2345,
     -12345678901234567890123456789012345.000000000000000000000000000001, 1.1, 5e-324 * 3, -1.25, b'101010101010', 2155, '9999-12-31', '2024-03-31 02:30:00',
     '0001-01-01 00:00:00.000001', '2038-01-19 03:14:07', '1970-01-01 00:00:01.5', '23:59:59', '00:00:00.120000', 'ab', '', 'ä€𝄞 \t"''\\\\', 'it''s', 'x,z',
     '{"b": 1,  "a":2}', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '10.0.0.1', '::ffff:1.2.3.4', x'00ff', x'', REPEAT(x'00ff', 5000)),
    (0, 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, -0.1, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
     NULL, NULL, NULL, NULL, '', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
  DELETE FROM things WHERE id = 99; ALTER TABLE things AUTO_INCREMENT = 500;`;

describe.skipIf(isMissing !== null)(`MariaDB${isMissing === null ? '' : `: ${isMissing}`}`, () => {
  let maria: ThrowawayMariadb;
  let server: ThrowawayPostgres;
  let temp: TempFolder;
  let ctx: Context;
  const opened: (TestDatabase | DataPort)[] = [];

  beforeAll(async () => {
    [maria, server] = await Promise.all([startMariadb(), startPostgres()]);
  });
  afterAll(async () => {
    await Promise.all([maria.stop(), server.stop()]);
  });
  beforeEach(async () => {
    temp = await tempFolder();
    ctx = testContext(temp.path);
  });
  afterEach(async () => {
    for (const one of opened.splice(0).reverse()) await one.close();
    await temp.remove();
  });

  async function database(kind: Kind, name = 'next'): Promise<TestDatabase> {
    const make = {
      mariadb: () => testMariadb(maria.url),
      postgres: () => testPostgres(server.url),
      sqlite: () => Promise.resolve(testSqlite(temp.path, `${name}.db`, 5000)),
    };
    const db = await make[kind]();
    opened.push(db);
    return db;
  }

  const storeOf = ({ kind, address }: TestDatabase) => ({ mariadb, postgres, sqlite })[kind](address);

  function moveOf(
    from: TestDatabase,
    to: TestDatabase,
    tables: Readonly<Record<string, TableMapping>>,
    schema: 'create' | SchemaOptions = 'create',
  ): DataPort {
    const data = createDataMove([sync({ name: 'main', from: storeOf(from), to: storeOf(to), tables, schema })]);
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

  async function switchOver(data: DataPort): Promise<void> {
    await data.prepareReverse(ctx);
    const lock = await data.lock(ctx, 'forward');
    await lock.sequences();
    await lock.fence();
    await data.unfence(ctx, 'next');
  }

  async function untilBack(data: DataPort): Promise<void> {
    for (;;) {
      const { applied, pending } = await data.catchUp(ctx, 'reverse');
      if (applied === 0 && pending === 0) return;
    }
  }

  /** Takes every value away where no capture looks: what is there afterwards has come back. */
  async function spoil(db: TestDatabase, table: string, except: readonly string[]): Promise<void> {
    const columns = await db.all(
      `SELECT COLUMN_NAME AS name FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '${table}'`,
    );
    const nulls = columns.map(({ name }) => String(name)).filter((name) => !except.includes(name));
    await db.exec(
      `SET @changeover_epoch = ${ctx.epoch}; UPDATE ${table} SET ${nulls.map((name) => `${name} = NULL`).join(', ')}; SET @changeover_epoch = NULL`,
    );
  }

  const failures = (verdicts: readonly { outcome: string; evidence: string }[]) =>
    verdicts.filter(({ outcome }) => outcome !== 'PASS').map(({ evidence }) => evidence);

  const findingsOf = async (data: DataPort) => (await data.check(ctx)).filter(({ level }) => level === 'error');
  const errorsOf = async (data: DataPort) => (await findingsOf(data)).map(({ message }) => message);
  const bitsOf = (db: TestDatabase) =>
    db.all(`SELECT id, flag, one + 0 AS one, tiny, utiny, small, usmall, medium, umedium, plain, uint, CONCAT(big) AS big, CONCAT(ubig) AS ubig, price, wide,
      CONCAT(r4 + 0e0) AS r4, CONCAT(r8) AS r8, r8d, bits + 0 AS bits, born, CONCAT(d) AS d, CONCAT(dt) AS dt, CONCAT(dt6) AS dt6, CONCAT(ts) AS ts,
      CONCAT(ts6) AS ts6, t, t6, HEX(c) AS c, HEX(v) AS v, HEX(body) AS body, e, s, j, u, a4, a6, HEX(b) AS b, HEX(vb) AS vb, MD5(bl) AS bl, twice FROM things ORDER BY id`);

  describe.each(['postgres', 'sqlite'] as const)('into %s', (kind) => {
    const columns: Record<string, string> =
      kind === 'postgres'
        ? { 'things.flag': 'boolean', 'things.s': 'text', 'things.ubig': 'numeric(20,0)' }
        : { 'things.s': 'TEXT' };

    it('makes every type, key, index and check, and brings every value there and back bit by bit', async () => {
      const legacy = await database('mariadb');
      const next = await database(kind);
      await legacy.exec(EVERY_TYPE);
      if (kind === 'postgres') await legacy.exec('UPDATE things SET ubig = 18446744073709551615 WHERE id = 1');
      const refused = moveOf(legacy, next, { things: {} });
      expect((await errorsOf(refused)).map((message) => message.replace(/ is (ambiguous|lossy).*/, ' $1'))).toEqual(
        kind === 'postgres'
          ? ['things.flag: tinyint(1) → smallint ambiguous', "things.s: set('x','y','z') → text ambiguous"]
          : ["things.s: set('x','y','z') → TEXT ambiguous"],
      );
      const data = moveOf(legacy, next, { things: {} }, { columns });
      expect(await errorsOf(data)).toEqual([]);
      const missing = await runToReady(data);
      const kept = await bitsOf(legacy);
      await switchOver(data);
      await spoil(legacy, 'things', ['id', 'twice', 'flag']);
      await next.exec('UPDATE things SET small = small');
      await untilBack(data);
      expect(await data.notReturnable(ctx)).toEqual([]);
      expect(failures(await data.verify(ctx, 'reverse', 'full'))).toEqual([]);
      expect(await bitsOf(legacy)).toEqual(kept);
      await expect(next.exec("UPDATE things SET e = 'none' WHERE id = 1")).rejects.toThrow(/check/i);
      await expect(next.exec('UPDATE things SET tiny = 100')).rejects.toThrow(/sane/);
      await expect(next.exec("UPDATE things SET v = 'x', price = NULL")).rejects.toThrow(/unique/i);
      // Key 500 was given to a row that is gone.
      await next.exec("INSERT INTO things (v) VALUES ('new')");
      expect(await next.all("SELECT CAST(id AS TEXT) AS id, tiny, e, s, born FROM things WHERE v = 'new'")).toEqual([
        {
          id: '500',
          tiny: -5,
          e: 'a',
          s: 'x,z',
          born: 1999,
        },
      ]);
      await data.uninstall(ctx, { emptyTarget: true });
      await data.schema?.remove(ctx, missing);
    });
  });

  const COLLATED = `
    CREATE TABLE people (id INT PRIMARY KEY, mail VARCHAR(40) COLLATE utf8mb4_general_ci UNIQUE, note TEXT COLLATE utf8mb4_unicode_ci, KEY by_note (note(10)),
      changed TIMESTAMP NULL ON UPDATE CURRENT_TIMESTAMP, code VARCHAR(36) COLLATE ascii_bin DEFAULT (UUID()), shape POINT, CHECK (mail LIKE '%@%'), FULLTEXT (note));
    CREATE TRIGGER shout BEFORE INSERT ON people FOR EACH ROW SET NEW.note = UPPER(NEW.note);
    INSERT INTO people (id, mail, note) VALUES (1, 'Ann@x', 'a'), (2, 'bob@x', 'A'), (3, 'ann@y', 'ä');`;

  it('asks about each collation, function, partial index and type that only MariaDB has, and goes on with what the plan names', async () => {
    const [legacy, next] = [await database('mariadb'), await database('postgres')];
    await legacy.exec(COLLATED);
    const refused = moveOf(legacy, next, { people: {} });
    const findings = await refused.check(ctx);
    expect(findings.filter(({ level }) => level === 'error').map(({ message }) => message)).toEqual([
      'people.mail: varchar(40) → character varying(40) is lossy: MariaDB compares it by utf8mb4_general_ci; the target compares byte by byte, so values that were equal there are two here',
      'people.note: text → text is lossy: MariaDB compares it by utf8mb4_unicode_ci; the target compares byte by byte, so values that were equal there are two here',
      'people.code:default: uuid() → nothing is lossy: it may mean something else in the target, or nothing',
      'people.shape: point → bytea is ambiguous: Postgres has no point: its bytes are kept, and nothing understands them',
      "people_CONSTRAINT_1_check: `mail` like '%@%' → nothing is lossy: it may mean something else in the target, or nothing",
      'people_by_note: (note(10)) → nothing is lossy: it may mean something else in the target, or nothing',
      'people_note: FULLTEXT (note) → nothing is lossy: it may mean something else in the target, or nothing',
      'people.changed:on-update: on update current_timestamp() → nothing is lossy: it may mean something else in the target, or nothing',
    ]);
    expect(findings.map(({ message }) => message)).toContain('not made for the new table: trigger shout');
    const [first] = findings.filter(({ level }) => level === 'error');
    expect(first?.remedy).toContain("columns: { 'people.mail': 'character varying(40)' } accepts that");
    await expect(refused.prepare(ctx)).rejects.toMatchObject({ code: 'CHG_DATA_TABLE_MISSING' });

    const schema = {
      columns: { 'people.mail': 'varchar(40)', 'people.note': 'text', 'people.shape': 'bytea' },
      omit: [
        'people.code:default',
        'people_CONSTRAINT_1_check',
        'people_by_note',
        'people_note',
        'people.changed:on-update',
      ],
    };
    const data = moveOf(legacy, next, { people: {} }, schema);
    expect(await errorsOf(data)).toEqual([]);
    const rules = (await data.schema?.rules(ctx)) ?? [];
    expect(rules.filter(({ verdict }) => verdict !== 'exact').every(({ isNamed }) => isNamed)).toBe(true);
    await runToReady(data);
    expect(await next.all('SELECT id, mail FROM people ORDER BY mail')).toEqual([
      { id: 1, mail: 'Ann@x' },
      { id: 3, mail: 'ann@y' },
      { id: 2, mail: 'bob@x' },
    ]);
  });

  it('names the keys of rows that are two in the legacy and one by the collation that the plan gives the target', async () => {
    const legacy = await database('mariadb');
    await legacy.exec(`
      CREATE TABLE words (id INT PRIMARY KEY, w VARCHAR(20) COLLATE utf8mb4_bin UNIQUE);
      INSERT INTO words VALUES (1, 'Ann'), (2, 'ann'), (3, 'Bob'), (4, 'ANN')`);
    const next = await database('postgres');
    await next.exec("CREATE COLLATION anycase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)");
    const told = async (to: TestDatabase, type: string) =>
      errorsOf(moveOf(legacy, to, { words: {} }, { columns: { 'words.w': type } }));
    expect(await told(next, 'text COLLATE anycase')).toEqual([
      'words_w (w): rows that are equal by text COLLATE anycase: ["i1"] and ["i2"] and ["i4"]',
    ]);
    expect(await told(await database('sqlite'), 'TEXT COLLATE NOCASE')).toEqual([
      'words_w (w): rows that are equal by TEXT COLLATE NOCASE: ["i1"] and ["i2"] and ["i4"]',
    ]);
    expect(await told(await database('sqlite', 'other'), 'TEXT')).toEqual([]);
  });

  it('names every value that the target cannot hold, with its key, and moves all of them by the types that can', async () => {
    const [legacy, next] = [await database('mariadb'), await database('postgres')];
    await legacy.exec(`
      SET sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO';
      CREATE TABLE v (id INT PRIMARY KEY, flag BOOLEAN, u BIGINT UNSIGNED, d DATE, dt DATETIME(6), ts TIMESTAMP NULL, t TIME(3), txt TEXT COLLATE utf8mb4_bin);
      INSERT INTO v VALUES (1, 1, 9223372036854775807, '2024-01-01', '2024-01-01', '2024-01-01', '12:00:00', 'x'),
        (2, 2, 9223372036854775808, '0000-00-00', '2024-02-31 00:00:00.5', '0000-00-00', '-838:59:59', CONCAT('n', CHAR(0))),
        (3, 0, 18446744073709551615, '2024-00-10', '0000-00-00', '2024-01-01', '24:00:00', ''), (4, 1, 0, '9999-12-31', NULL, '2038-01-19', '-00:00:00.5', '')`);
    const types = { 'v.flag': 'boolean' };
    const refused = await errorsOf(moveOf(legacy, next, { v: {} }, { columns: types }));
    expect(refused.map((message) => message.replace(/Stored are.*/, ''))).toEqual([
      'flag: 1 values do not fit boolean: 2 in the row ["i2"] (it is neither 0 nor 1). ',
      'u: 2 values do not fit bigint: 9223372036854775808 in the row ["i2"] (it is not between 0 and 9223372036854775807); 18446744073709551615 in the row ["i3"] (it is not between 0 and 9223372036854775807). ',
      'd: 2 values do not fit date: "0000-00-00" in the row ["i2"] (it is not a day as YYYY-MM-DD); "2024-00-10" in the row ["i3"] (it is not a day as YYYY-MM-DD). ',
      'dt: 2 values do not fit timestamp(6) without time zone: "2024-02-31 00:00:00.500000" in the row ["i2"] (it is not a day as YYYY-MM-DD); "0000-00-00 00:00:00.000000" in the row ["i3"] (it is not a day as YYYY-MM-DD). ',
      'ts: 1 values do not fit timestamp(0) with time zone: "0000-00-00 00:00:00" in the row ["i2"] (it is not a day as YYYY-MM-DD). ',
      't: 3 values do not fit time(3) without time zone: "-838:59:59.000" in the row ["i2"] (it is not a time of day); "24:00:00.000" in the row ["i3"] (it is not a time of day); "-00:00:00.500" in the row ["i4"] (it is not a time of day). ',
      'txt: 1 values do not fit text: "n\\u0000" in the row ["i2"] (it has a NUL character, which ends a text elsewhere). ',
    ]);
    await legacy.exec("UPDATE v SET txt = '' WHERE id = 2");
    const wide = {
      'v.flag': 'smallint',
      'v.u': 'numeric(20,0)',
      'v.d': 'text',
      'v.dt': 'text',
      'v.ts': 'text',
      'v.t': 'interval',
    };
    const data = moveOf(legacy, next, { v: {} }, { columns: wide });
    expect(await errorsOf(data)).toEqual([]);
    await runToReady(data);
    expect(await next.all('SELECT u::text, d, dt, ts, t::text FROM v WHERE id IN (2, 4) ORDER BY id')).toEqual([
      {
        u: '9223372036854775808',
        d: '0000-00-00',
        dt: '2024-02-31 00:00:00.500000',
        ts: '0000-00-00 00:00:00',
        t: '-838:59:59',
      },
      { u: '0', d: '9999-12-31', dt: null, ts: '2038-01-19 00:00:00', t: '-00:00:00.5' },
    ]);
    const bits = () =>
      legacy.all(
        'SELECT id, flag, CONCAT(u) AS u, CONCAT(d) AS d, CONCAT(dt) AS dt, CONCAT(ts) AS ts, CONCAT(t) AS t, txt FROM v ORDER BY id',
      );
    const kept = await bits();
    await switchOver(data);
    await legacy.exec("SET sql_mode = ''");
    await spoil(legacy, 'v', ['id', 'ts']);
    await next.exec('UPDATE v SET id = id');
    await untilBack(data);
    expect(await data.notReturnable(ctx)).toEqual([]);
    expect(await bits()).toEqual(kept);
  });

  it('reads a DATETIME in the zone that the plan says, and refuses the hours that its clocks showed twice or never', async () => {
    const [legacy, next] = [await database('mariadb'), await database('postgres')];
    await legacy.exec(`
      CREATE TABLE v (id INT PRIMARY KEY, at DATETIME(6));
      INSERT INTO v VALUES (1, '2024-07-01 12:00:00.12'), (2, '2024-01-01 12:00:00'), (3, '2024-03-31 02:30:00'), (4, '2024-10-27 02:30:00')`);
    const zoned = { columns: { 'v.at': { type: 'timestamptz', from: 'sql-text', zone: 'Europe/Berlin' } } } as const;
    const unsaid = moveOf(legacy, next, { v: {} }, { columns: { 'v.at': 'timestamptz' } });
    expect(await errorsOf(unsaid)).toEqual([
      'v.at: datetime(6) → timestamptz is ambiguous: how datetime(6) becomes timestamptz is not said',
    ]);
    const data = moveOf(legacy, next, { v: {} }, zoned);
    expect((await errorsOf(data)).join()).toMatch(
      /at: 2 values do not fit timestamptz: .*never showed this time.*showed this time twice/,
    );
    await legacy.exec('DELETE FROM v WHERE id > 2');
    expect(await errorsOf(data)).toEqual([]);
    await runToReady(data);
    expect(await next.all("SELECT (at AT TIME ZONE 'UTC')::text AS at FROM v ORDER BY id")).toEqual([
      { at: '2024-07-01 10:00:00.12' },
      { at: '2024-01-01 11:00:00' },
    ]);
  });

  it.each(['postgres', 'sqlite'] as const)('names rows that point at nothing, as %s compares', async (kind) => {
    const [legacy, next] = [await database('mariadb'), await database(kind)];
    await legacy.exec(`
      CREATE TABLE parents (code VARCHAR(9) COLLATE utf8mb4_general_ci PRIMARY KEY);
      CREATE TABLE children (id INT PRIMARY KEY, parent VARCHAR(9) COLLATE utf8mb4_general_ci, CONSTRAINT born FOREIGN KEY (parent) REFERENCES parents (code) ON DELETE SET NULL);
      INSERT INTO parents VALUES ('a'), ('b'); INSERT INTO children VALUES (1, 'a'), (2, 'B'), (4, NULL), (5, 'b ');
      SET foreign_key_checks = 0; INSERT INTO children VALUES (3, 'c')`);
    const columns = { 'parents.code': 'varchar(9)', 'children.parent': 'varchar(9)' };
    const data = moveOf(legacy, next, { parents: {}, children: {} }, { columns });
    const findings = (await data.check(ctx)).filter(({ message }) => message.startsWith('born'));
    expect(findings.map(({ level, message }) => `${level}: ${message}`)).toEqual([
      `${kind === 'postgres' ? 'error' : 'warning'}: born: 3 rows point at rows of parents that are not there: id 2; id 3; id 5`,
    ]);
    await legacy.exec("UPDATE children SET parent = 'b' WHERE id IN (2, 5); DELETE FROM children WHERE id = 3");
    expect(await errorsOf(data)).toEqual([]);
    await runToReady(data);
    await data.prepareReverse(ctx);
    await data.unfence(ctx, 'next');
    if (kind === 'sqlite') await next.exec('PRAGMA foreign_keys = ON');
    await expect(next.exec("INSERT INTO children VALUES (9, 'zz')")).rejects.toThrow(/foreign key|born/i);
  });

  it('counts what the new side writes and MariaDB would round, cut off, pad or take for something else', async () => {
    const [legacy, next] = [await database('mariadb'), await database('postgres')];
    await legacy.exec(`
      CREATE TABLE v (id INT PRIMARY KEY, c CHAR(5) COLLATE utf8mb4_bin, n DECIMAL(5,1), u INT UNSIGNED, e ENUM('a', 'b'), s SET('x', 'y'), b BINARY(2), d DATETIME, t TIME, f DOUBLE(6,1), a INET6);
      INSERT INTO v (id) SELECT seq FROM seq_1_to_12`);
    const columns = {
      'v.c': 'text',
      'v.n': 'numeric',
      'v.e': 'text',
      'v.s': 'text',
      'v.d': 'timestamp',
      'v.t': 'interval',
    };
    const data = moveOf(legacy, next, { v: {} }, { columns });
    expect(await errorsOf(data)).toEqual([]);
    await runToReady(data);
    await switchOver(data);
    await next.exec(`
      ALTER TABLE v DROP CONSTRAINT v_e_check; UPDATE v SET c = 'x ' WHERE id = 1; UPDATE v SET n = 1.25 WHERE id = 2; UPDATE v SET u = -1 WHERE id = 3; UPDATE v SET e = '2' WHERE id = 4;
      UPDATE v SET s = 'y,x' WHERE id = 5; UPDATE v SET b = '\\x01' WHERE id = 6; UPDATE v SET d = 'infinity' WHERE id = 7; UPDATE v SET t = '3 days' WHERE id = 8;
      UPDATE v SET f = 'NaN' WHERE id = 9; UPDATE v SET f = 1.25 WHERE id = 10; UPDATE v SET a = '10.0.0.0/8' WHERE id = 11;
      UPDATE v SET c = 'ok', n = 1.5, u = 1, e = 'b', s = 'x,y', b = '\\x0102', d = '2024-01-01', t = '80:00:00', f = 1.5, a = '::1' WHERE id = 12`);
    await untilBack(data);
    const kept = await data.notReturnable(ctx);
    expect(kept.reduce((sum, { rows }) => sum + rows, 0)).toBe(11);
    expect(await legacy.all('SELECT c, n, u, e, s, HEX(b) AS b, CONCAT(d) AS d, t, f, a FROM v WHERE id = 12')).toEqual(
      [
        {
          c: 'ok',
          n: '1.5',
          u: 1,
          e: 'b',
          s: 'x,y',
          b: '0102',
          d: '2024-01-01 00:00:00',
          t: '80:00:00',
          f: 1.5,
          a: '::1',
        },
      ],
    );
    expect(
      await legacy.all('SELECT COUNT(*) AS n FROM v WHERE COALESCE(c, n, u, e, s, b, d, t, f, a) IS NOT NULL'),
    ).toEqual([{ n: 1 }]);
  });
});
