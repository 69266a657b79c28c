import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { OpenStore, Row } from '../../../plan/stores.ts';
import { mariadbIsMissing } from '../../../testing/mariadb.ts';
import { MariadbRig } from '../../../testing/mariadb-rig.ts';
import { mariadb } from './index.ts';

const isMissing = await mariadbIsMissing();

describe('the address of a MariaDB', () => {
  it('shows neither account nor password in its identity and specification', () => {
    const store = mariadb('mysql://app:hunter2@db:3307/shop');
    expect(store.identity({ root: '' })).toBe('mariadb:db:3307/shop');
    expect(store.identity({ root: '' })).toBe(mariadb('mariadb://other:pw@db:3307/shop').identity({ root: '' }));
    expect(JSON.stringify(store.spec)).not.toContain('hunter2');
  });

  it('is not reached without a word about why, and without the password', async () => {
    const rig = mariadb('mariadb://app:hunter2@127.0.0.1:1/shop');
    const store = await rig.open(
      { clock: { monotonicMs: () => 0 }, faults: { at: () => undefined }, epoch: 1 } as never,
      'legacy',
    );
    const failure = await store.shape('t').catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'CHG_DATA_STORE_UNREACHABLE' });
    expect(String(failure)).not.toContain('hunter2');
  });
});

describe.skipIf(isMissing !== null)(`MariaDB${isMissing === null ? '' : `: ${isMissing}`}`, () => {
  const rig = new MariadbRig(mariadb);
  const write = (store: OpenStore, table: string, ...upserts: Row[]) =>
    store.write({ epoch: 1, changes: [{ table, deletes: [], upserts }] });

  describe('values', () => {
    it('come back exactly as they were written', async () => {
      await rig.db.exec(`
        CREATE TABLE t (id INT PRIMARY KEY, i8 BIGINT, u8 BIGINT UNSIGNED, n DECIMAL(65, 10), f FLOAT, d DOUBLE, b BIT(64), bo TINYINT(1), y YEAR,
          dt DATETIME(6), ts TIMESTAMP(3) NULL, da DATE, ti TIME(2), j JSON, bi BINARY(4), vb VARBINARY(9), bl LONGBLOB, c CHAR(5), v VARCHAR(9),
          te LONGTEXT, l VARCHAR(9) CHARACTER SET latin1, e ENUM('a', 'it''s'), s SET('x', 'y', 'z'), u UUID)`);
      const store = await rig.prepared();
      const row: Row = {
        id: 1,
        i8: -9223372036854775808n,
        u8: 18446744073709551615n,
        n: '-1234567890123456789012345678901234567890123456789012345.0123456789',
        f: Math.fround(1.1),
        d: 5e-324,
        b: 18446744073709551615n,
        bo: 1,
        y: 2024,
        dt: '2024-02-29 23:59:59.999999',
        ts: '2024-03-31 02:30:00.120',
        da: '2024-02-29',
        ti: '-838:59:59.00',
        j: '{"b":1,  "a":[1,2]}',
        bi: new Uint8Array([1, 0, 0, 0]),
        vb: new Uint8Array([0, 39, 92, 255]),
        bl: new Uint8Array(0),
        c: 'ab',
        v: "it's \\ 🙂\0",
        te: 'äöü '.repeat(1000),
        l: 'é',
        e: "it's",
        s: 'x,z',
        u: 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
      };
      await write(store, 't', row);
      expect(await store.chunk('t', null, 1)).toEqual([row]);
      expect(await store.canonical?.('t', [row])).toEqual([row]);
      const empty: Row = Object.fromEntries(Object.keys(row).map((name) => [name, name === 'id' ? 2 : null]));
      await write(store, 't', empty);
      expect(await store.rows('t', [[2]])).toEqual([empty]);
    });

    it('keep their instant whatever zone the sessions of the application are in', async () => {
      await rig.db.exec('CREATE TABLE t (id INT PRIMARY KEY, ts TIMESTAMP(6) NULL, dt DATETIME(6))');
      const store = await rig.prepared();
      await rig.db.exec(
        "SET time_zone = '+09:00'; INSERT INTO t VALUES (1, '2024-03-31 09:00:00.5', '2024-03-31 09:00:00.5')",
      );
      expect(await store.chunk('t', null, 1)).toEqual([
        { id: 1, ts: '2024-03-31 00:00:00.500000', dt: '2024-03-31 09:00:00.500000' },
      ]);
      await write(store, 't', { id: 2, ts: '2024-03-31T09:00:00.5+09:00', dt: '2024-12-31 23:30:00-01' });
      const kept = { id: 2, ts: '2024-03-31 00:00:00.500000', dt: '2025-01-01 00:30:00.000000' };
      expect(await store.rows('t', [[2]])).toEqual([kept]);
      expect(await rig.db.all('SELECT CAST(ts AS CHAR) AS ts FROM t WHERE id = 2')).toEqual([
        { ts: '2024-03-31 09:00:00.500000' },
      ]);
    });

    it('that strict servers refuse are moved all the same: zero dates, the id 0, an impossible day', async () => {
      await rig.db.exec(`
        CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, d DATE, dt DATETIME);
        SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'; INSERT INTO t VALUES (0, '0000-00-00', '2024-02-31 00:00:00')`);
      const store = await rig.captured('t');
      const [row] = await store.chunk('t', null, 1);
      expect(row).toEqual({ id: 0, d: '0000-00-00', dt: '2024-02-31 00:00:00' });
      await store.write({ epoch: 1, changes: [{ table: 't', deletes: [[0]], upserts: [] }] });
      await write(store, 't', row ?? {});
      expect(await store.chunk('t', null, 2)).toEqual([row]);
    });

    it.each([
      ['a text that is too long', { v: 'four' }],
      ['an integer that is too large', { i: 2n ** 31n }],
      ['a negative number without a sign to hold', { u: -1 }],
      ['a time that is none', { ts: 'noon' }],
      ['no number', { d: NaN }],
      ['a member that the ENUM lacks', { e: 'c' }],
      ['JSON that is none', { j: '{' }],
      ['a character that the column’s set lacks', { l: '🙂' }],
    ])('are refused and never cut off: %s', async (_what, values) => {
      await rig.db.exec(
        `CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(3), i INT, u INT UNSIGNED, ts DATETIME, d DOUBLE, e ENUM('a', 'b'), j JSON,
           l VARCHAR(3) CHARACTER SET latin1)`,
      );
      const store = await rig.prepared();
      await expect(write(store, 't', { id: 1 }, { id: 7, ...values })).rejects.toMatchObject({
        code: 'CHG_DATA_ROW_REFUSED',
        fields: { table: 't', key: '["i7"]' },
      });
      expect(await store.count('t')).toBe(0);
    });

    it('in another spelling are recognised, and those that a column rounds are not taken for equal', async () => {
      await rig.db.exec(
        'CREATE TABLE t (id INT PRIMARY KEY, n DECIMAL(10, 2), dt DATETIME(3), bi BINARY(4), b BIT(4), u UUID, i BIGINT, c CHAR(5))',
      );
      const store = await rig.prepared();
      const other: Row = {
        id: 1,
        n: '+007.5',
        dt: '2024-01-01T02:00:00.12+02:00',
        bi: new Uint8Array([1]),
        b: '0101',
        u: 'A0EEBC999C0B4EF8BB6D6BB9BD380A11',
        i: '42',
        c: 'a  ',
      };
      await write(store, 't', other);
      const settled = await store.canonical?.('t', [other]);
      expect(settled).toEqual(await store.chunk('t', null, 1));
      expect(settled).toEqual([
        {
          id: 1,
          n: '7.50',
          dt: '2024-01-01 00:00:00.120',
          bi: new Uint8Array([1, 0, 0, 0]),
          b: 5,
          u: 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
          i: 42,
          c: 'a',
        },
      ]);
      const rounded = [{ id: 1, n: '1.125', dt: '2024-01-01 00:00:00.1235' }];
      expect(await store.canonical?.('t', rounded)).toEqual(rounded);
    });

    it('are the same after a way there and back, for any double, integer, text and bytes', async () => {
      await rig.db.exec('CREATE TABLE t (id INT PRIMARY KEY, d DOUBLE, i BIGINT, v LONGTEXT, b LONGBLOB)');
      const store = await rig.prepared();
      let id = 0;
      await fc.assert(
        fc.asyncProperty(
          fc.double({ noNaN: true, noDefaultInfinity: true }),
          fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
          fc.string({ unit: 'grapheme' }),
          fc.uint8Array(),
          async (d, i, v, b) => {
            id += 1;
            const row = { id, d: d + 0, i: BigInt.asIntN(64, i), v, b };
            await write(store, 't', row);
            const [found] = await store.rows('t', [[id]]);
            expect({ ...found, i: BigInt(String(found?.['i'])), b: Buffer.from(found?.['b'] as Uint8Array) }).toEqual({
              ...row,
              b: Buffer.from(b),
            });
          },
        ),
        { numRuns: 200 },
      );
    });

    it('that are no valid UTF-8, which the server takes all the same, are refused by name and never changed silently', async () => {
      await rig.db.exec(`
        CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(9), w VARCHAR(9) CHARACTER SET ucs2, l VARCHAR(9) CHARACTER SET latin1);
        INSERT INTO t VALUES (1, 'fine', 'fine', x'80819F'), (2, x'EDA080', '', ''), (3, '', x'D83D', '')`);
      const store = await rig.open();
      expect(await store.rows('t', [[1]])).toEqual([{ id: 1, v: 'fine', w: 'fine', l: '€\x81Ÿ' }]);
      const invalid = (column: string, id: number) => ({
        code: 'CHG_DATA_TEXT_INVALID',
        fields: { column, key: `["i${id}"]` },
      });
      await expect(store.rows('t', [[2]])).rejects.toMatchObject(invalid('v', 2));
      await expect(store.chunk('t', [2], 9)).rejects.toMatchObject(invalid('w', 3));
    });

    it('that the server computes are read and never written', async () => {
      await rig.db.exec(
        'CREATE TABLE t (id INT PRIMARY KEY, a INT, twice INT AS (a * 2) STORED, thrice INT AS (a * 3) VIRTUAL)',
      );
      const store = await rig.prepared();
      expect((await store.shape('t')).columns.map(({ name }) => name)).toEqual(['id', 'a']);
      await write(store, 't', { id: 1, a: 5, twice: 7, thrice: 7 });
      await write(store, 't', { id: 1, a: 6 });
      expect(await store.chunk('t', null, 1)).toEqual([{ id: 1, a: 6, twice: 12, thrice: 18 }]);
    });

    it('of names that need quotes are found', async () => {
      await rig.db.exec('CREATE TABLE `Odd ``table\' "x"` (`the key` INT PRIMARY KEY, `select` TEXT)');
      const table = 'Odd `table\' "x"';
      const store = await rig.captured(table);
      await write(store, table, { 'the key': 1, select: "it's" });
      expect(await store.chunk(table, null, 5)).toEqual([{ 'the key': 1, select: "it's" }]);
      await rig.db.exec('DELETE FROM `Odd ``table\' "x"`');
      expect((await store.capture.pending(5)).changes).toEqual([{ table, key: [1] }]);
      await rig.db.exec('TRUNCATE `Odd ``table\' "x"`');
      expect(await store.capture.intact()).toHaveLength(1);
      await store.uninstall();
    });
  });

  describe('chunks', () => {
    it('go through keys of several columns and every type, by the index', async () => {
      await rig.db.exec(`
        CREATE TABLE t (e ENUM('z', 'a'), v VARCHAR(20) COLLATE utf8mb4_general_ci, d DOUBLE, f FLOAT, b BIT(3), ts TIMESTAMP(6) DEFAULT 0, bi BINARY(2),
          s SET('q', 'p'), n DECIMAL(8, 3), PRIMARY KEY (e, v, d, f, b, ts, bi, s, n));
        INSERT INTO t SELECT IF(seq % 2, 'a', 'z'), CONCAT('V', seq % 3), seq / 7, seq / 3, seq % 8, '2024-01-01 00:00:00.000001', x'0102',
          IF(seq % 5, 'p', 'q,p'), seq / 11 FROM seq_1_to_200`);
      const store = await rig.open();
      const shape = await store.shape('t');
      const seen: Row[] = [];
      for (;;) {
        const last = seen.at(-1);
        const rows = await store.chunk(
          't',
          last === undefined ? null : shape.key.map((column) => last[column] ?? null),
          7,
        );
        seen.push(...rows);
        if (rows.length < 7) break;
      }
      expect(seen).toHaveLength(200);
      expect(seen).toEqual(await store.chunk('t', null, 1000));
      const keys = seen.map((row) => shape.key.map((column) => row[column] ?? null));
      expect(await store.rows('t', keys)).toHaveLength(200);
    });

    it('compare text keys by their collation', async () => {
      await rig.db.exec(`
        CREATE TABLE t (v VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY); INSERT INTO t VALUES ('b'), ('A'), ('ä2'), ('C')`);
      const store = await rig.prepared();
      expect((await store.chunk('t', ['a'], 9)).map(({ v }) => v)).toEqual(['ä2', 'b', 'C']);
      expect(await store.rows('t', [['a'], ['A']])).toEqual([{ v: 'A' }]);
      await write(store, 't', { v: 'a' });
      expect((await store.chunk('t', null, 9)).map(({ v }) => v)).toEqual(['a', 'ä2', 'b', 'C']);
    });

    it('read no more than they give, in the middle of a table too', async () => {
      await rig.db.exec(`
        CREATE TABLE t (a INT, b VARCHAR(20), PRIMARY KEY (a, b)); INSERT INTO t SELECT seq DIV 10, seq FROM seq_1_to_20000`);
      const store = await rig.open();
      const readRows = async () => {
        const [row] = await rig.db.all("SHOW GLOBAL STATUS LIKE 'Handler_read_next'");
        return Number(row?.['Value']);
      };
      const before = await readRows();
      expect(await store.chunk('t', [1500, '15005'], 100)).toHaveLength(100);
      expect((await readRows()) - before).toBeLessThan(400);
    });
  });

  describe('writing', () => {
    it('puts a child before its parent, and does not cascade what it deletes', async () => {
      await rig.db.exec(`
        CREATE TABLE parents (id INT PRIMARY KEY, name VARCHAR(9) UNIQUE);
        CREATE TABLE children (id INT PRIMARY KEY, parent INT, FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE CASCADE)`);
      const store = await rig.prepared();
      await write(store, 'children', { id: 10, parent: 1 });
      await write(store, 'parents', { id: 1, name: 'a' }, { id: 2, name: 'b' });
      await write(store, 'parents', { id: 1, name: 'b' }, { id: 2, name: 'a' });
      expect(await store.count('children')).toBe(1);
      expect((await store.chunk('parents', null, 9)).map(({ name }) => name)).toEqual(['b', 'a']);
    });

    it('changes no row of another key, as ON DUPLICATE KEY would', async () => {
      await rig.db.exec(
        "CREATE TABLE t (id INT PRIMARY KEY, u VARCHAR(9) UNIQUE, v INT); INSERT INTO t VALUES (1, 'x', 1)",
      );
      const store = await rig.prepared();
      await expect(write(store, 't', { id: 2, u: 'X', v: 2 })).rejects.toMatchObject({
        name: 'UniqueConflict',
        keys: [[1]],
      });
      expect(await store.chunk('t', null, 9)).toEqual([{ id: 1, u: 'x', v: 1 }]);
    });

    it('goes beyond the size of one packet', async () => {
      await rig.db.exec('CREATE TABLE t (id INT PRIMARY KEY, b LONGBLOB)');
      const store = await rig.prepared();
      const rows = Array.from({ length: 12 }, (_, id) => ({ id, b: new Uint8Array(1_000_000).fill(id) }));
      await write(store, 't', ...rows);
      expect((await store.rows('t', [[11]]))[0]?.['b']).toEqual(rows[11]?.b);
    });

    it('is repeated when InnoDB ends it for a deadlock', async () => {
      await rig.db.exec('CREATE TABLE t (id INT PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 0), (2, 0), (3, 0)');
      const store = await rig.prepared();
      const other = await rig.application();
      // The other one has changed more, so that ours is ended.
      await other.exec('BEGIN; INSERT INTO t SELECT seq, 1 FROM seq_100_to_200; UPDATE t SET v = 1 WHERE id = 2');
      const writing = write(store, 't', { id: 1, v: 5 }, { id: 2, v: 5 });
      await new Promise((resolve) => setTimeout(resolve, 200));
      await other.exec('UPDATE t SET v = 1 WHERE id = 1; COMMIT');
      await writing;
      expect(await store.rows('t', [[1], [2]])).toEqual([
        { id: 1, v: 5 },
        { id: 2, v: 5 },
      ]);
    });

    it('is known to a later owner, after a removal in the same process too', async () => {
      await rig.db.exec('CREATE TABLE t (id INT PRIMARY KEY)');
      const store = await rig.prepared();
      for (let time = 0; time < 2; time++) {
        await write(store, 't', { id: time });
        const known = await rig.db.all('SELECT IS_USED_LOCK(token) > 0 AS isHeld, epoch FROM changeover_sessions');
        expect(known).toEqual([{ isHeld: 1, epoch: 1 }]);
        await store.uninstall();
        await store.prepare();
      }
    });

    it('raises AUTO_INCREMENT past what is there, and never lowers it', async () => {
      await rig.db.exec(
        'CREATE TABLE a (id INT AUTO_INCREMENT PRIMARY KEY); CREATE TABLE b (id INT AUTO_INCREMENT PRIMARY KEY) AUTO_INCREMENT = 500; CREATE TABLE c (id INT PRIMARY KEY)',
      );
      const store = await rig.prepared();
      for (const table of ['a', 'b', 'c']) await write(store, table, { id: 41 });
      for (let time = 0; time < 2; time++) await store.sequences(['a', 'b', 'c']);
      await rig.db.exec('INSERT INTO a VALUES (); INSERT INTO b VALUES ()');
      expect(await rig.db.all('SELECT MAX(id) AS id FROM a UNION ALL SELECT MAX(id) FROM b')).toEqual([
        { id: 42 },
        { id: 500 },
      ]);
    });
  });

  describe('check', () => {
    const messages = async (store: OpenStore, role: 'source' | 'target', ...tables: string[]) =>
      (await store.check(tables, role))
        .map(({ level, message, remedy }) => `${level}: ${message} → ${remedy ?? ''}`)
        .join('\n');

    it('finds nothing wrong in a plain table', async () => {
      await rig.db.exec('CREATE TABLE t (id INT PRIMARY KEY)');
      expect(await messages(await rig.open(), 'source', 't')).toBe('');
    });

    it('names each missing right with the statement that gives it, and that statement helps', async () => {
      await rig.db.exec('CREATE TABLE t (id INT PRIMARY KEY)');
      const name = await rig.account();
      await rig.db.exec(`GRANT SELECT ON *.* TO ${name}@127.0.0.1`);
      const store = await rig.open(name);
      const findings = await store.check(['t'], 'source');
      const remedies = findings.map(({ remedy }) => remedy ?? '');
      expect(remedies).toEqual([
        expect.stringMatching(
          /^GRANT INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, TRIGGER ON `test_\w+`\.\* TO 'u\w+'@'127.0.0.1'$/,
        ),
        expect.stringMatching(/^GRANT PROCESS ON \*\.\* TO 'u\w+'@'127.0.0.1'$/),
        'SET GLOBAL log_bin_trust_function_creators = 1',
      ]);
      for (const remedy of remedies) await rig.db.exec(remedy);
      const allowed = await rig.open(name);
      expect(await messages(allowed, 'source', 't')).toBe('');
      await allowed.prepare();
      await allowed.capture.install(['t']);
      await rig.db.exec('INSERT INTO t VALUES (1)');
      expect((await allowed.capture.pending(9)).changes).toHaveLength(1);
      await (await allowed.lock(['t'])).fence();
      expect(await allowed.uninstall()).toBe(true);
      await rig.db.exec('SET GLOBAL log_bin_trust_function_creators = 0');
    });

    it('refuses other engines, tables without a key, and what cannot be captured', async () => {
      const other = `other_${Math.random().toString(36).slice(2)}`;
      await rig.db.exec(`
        CREATE DATABASE ${other}; CREATE TABLE ${other}.p (id INT PRIMARY KEY);
        CREATE TABLE m (id INT PRIMARY KEY) ENGINE = Aria; CREATE TABLE my (id INT PRIMARY KEY) ENGINE = MyISAM; CREATE TABLE k (v INT UNIQUE);
        CREATE TABLE c (id INT PRIMARY KEY, p INT, CONSTRAINT far FOREIGN KEY (p) REFERENCES ${other}.p (id) ON DELETE CASCADE)`);
      const store = await rig.open();
      expect(await messages(store, 'source', 'm')).toMatch(/engine Aria .* → ALTER TABLE `m` ENGINE = InnoDB/);
      expect(await messages(store, 'target', 'my')).toMatch(/engine MyISAM knows no transactions → ALTER TABLE `my`/);
      expect(await messages(store, 'source', 'k')).toMatch(/no primary key .* → Give k a primary key/);
      expect(await messages(store, 'source', 'c')).toMatch(/foreign key far .* database other_/);
      expect(await messages(store, 'source', 'nothing')).toMatch(/there is no table nothing/);
      await rig.db.exec(`DROP TABLE c; DROP DATABASE ${other}`);
    });

    it('warns of the application’s triggers on a target, of a lax sql_mode and of prepared transactions', async () => {
      await rig.db.exec(
        'CREATE TABLE t (id INT PRIMARY KEY); CREATE TRIGGER audit AFTER INSERT ON t FOR EACH ROW SET @seen = 1',
      );
      await rig.db.exec(
        "SET @mode = @@GLOBAL.sql_mode; SET GLOBAL sql_mode = ''; XA START 'left'; INSERT INTO t VALUES (1); XA END 'left'; XA PREPARE 'left'",
      );
      const text = await messages(await rig.open(), 'target', 't');
      await rig.db.exec("XA ROLLBACK 'left'; SET GLOBAL sql_mode = @mode");
      expect(text).toMatch(/warning: its triggers fire for moved rows too: audit/);
      expect(text).toMatch(/warning: sql_mode is not strict/);
      expect(text).toMatch(/error: XA transaction left is prepared .* XA ROLLBACK 'left'/);
    });
  });
});
