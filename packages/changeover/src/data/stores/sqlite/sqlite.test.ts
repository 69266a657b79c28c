import { mkdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { OpenStore, Row } from '../../../plan/stores.ts';
import { testContext } from '../../../testing/context.ts';
import { openSqlite, testSqlite, type TestDatabase } from '../../../testing/databases.ts';
import { smallDisk } from '../../../testing/small-disk.ts';
import { tempFolder, type TempFolder } from '../../../testing/temp.ts';
import { sqlite } from './index.ts';

let temp: TempFolder;
let db: TestDatabase;
const opened: OpenStore[] = [];

beforeEach(async () => {
  temp = await tempFolder();
  db = testSqlite(temp.path, 'a.db');
});
afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
  await db.close();
  await temp.remove();
});

async function open(epoch = 1): Promise<OpenStore> {
  const store = await sqlite(db.address).open(testContext(temp.path, { epoch }), 'legacy');
  opened.push(store);
  return store;
}

async function captured(...tables: string[]): Promise<OpenStore> {
  const store = await open();
  await store.prepare();
  await store.capture.install(tables);
  return store;
}

async function pending(store: OpenStore): Promise<unknown[][]> {
  return (await store.capture.pending(1000)).changes.map(({ table, key }) => [table, ...key]);
}

const write = (store: OpenStore, table: string, ...upserts: Row[]) =>
  store.write({ epoch: 1, changes: [{ table, deletes: [], upserts }] });

describe('capture on SQLite', () => {
  it.each([
    ['INSERT OR REPLACE on a unique column', "INSERT OR REPLACE INTO t VALUES (9, 'b', 'new')"],
    ['REPLACE that hits several rows', "REPLACE INTO t VALUES (1, 'b', 'z')"],
    ['UPDATE OR REPLACE', "UPDATE OR REPLACE t SET name = 'b' WHERE id = 3"],
    ['an upsert', "INSERT INTO t VALUES (4, 'b', 'q') ON CONFLICT (name) DO UPDATE SET tag = 'upserted'"],
    ['INSERT OR REPLACE … SELECT', 'INSERT OR REPLACE INTO t SELECT id + 10, name, tag FROM t'],
    ['UPDATE OR IGNORE', "UPDATE OR IGNORE t SET name = 'q'"],
  ])('misses no row that %s changes or deletes', async (_what, sql) => {
    await db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT UNIQUE, tag TEXT, UNIQUE (tag, name))');
    await db.exec("INSERT INTO t VALUES (1, 'a', 'x'), (2, 'b', 'y'), (3, 'c', 'z')");
    const store = await captured('t');
    const before = new Map((await db.all('SELECT * FROM t')).map((row) => [row['id'], JSON.stringify(row)]));
    await db.exec(sql);
    const after = new Map((await db.all('SELECT * FROM t')).map((row) => [row['id'], JSON.stringify(row)]));
    const changed = [...new Set([...before.keys(), ...after.keys()])].filter((id) => before.get(id) !== after.get(id));
    const logged = (await pending(store)).map(([, id]) => id);
    expect(changed.length).toBeGreaterThan(0);
    for (const id of changed) expect(logged).toContain(id);
  });

  it('sees cascades, and an unlimited DELETE, which SQLite would otherwise do without looking at rows', async () => {
    await db.exec(`CREATE TABLE p (id INTEGER PRIMARY KEY); INSERT INTO p VALUES (1), (2);
      CREATE TABLE c (id INTEGER PRIMARY KEY, p INTEGER REFERENCES p ON DELETE CASCADE); INSERT INTO c VALUES (10, 1), (20, 2)`);
    const store = await captured('p', 'c');
    await db.exec('PRAGMA foreign_keys = ON; DELETE FROM p WHERE id = 1; DELETE FROM c');
    expect((await pending(store)).sort()).toEqual([
      ['c', 10],
      ['c', 20],
      ['p', 1],
    ]);
  });

  it('tells keys apart as SQLite does, and keeps them exact', async () => {
    await db.exec(
      `CREATE TABLE any_key (k PRIMARY KEY NOT NULL, v); CREATE TABLE wide (a TEXT, b INTEGER, c BLOB, d REAL, PRIMARY KEY (a, b, c, d)) WITHOUT ROWID`,
    );
    const store = await captured('any_key', 'wide');
    await db.exec(`INSERT INTO any_key VALUES (1, 'integer'), ('1', 'text'), (x'31', 'blob'), (1.5, 'real')`);
    await db.exec(`INSERT INTO wide VALUES ('it''s, "x"' || char(0) || 'y', 9223372036854775807, x'00ff', 0.1)`);
    const keys = (await store.capture.pending(100)).changes;
    const rows = await store.rows(
      'any_key',
      keys.filter(({ table }) => table === 'any_key').map(({ key }) => key),
    );
    expect(rows.map(({ v }) => v)).toEqual(['integer', 'text', 'blob', 'real']);
    expect(keys.at(-1)?.key).toEqual(['it\'s, "x"\0y', 9223372036854775807n, new Uint8Array([0, 255]), 0.1]);
    expect(await store.rows('wide', [keys.at(-1)?.key ?? []])).toHaveLength(1);
  });

  it('logs both spellings of a key that compares without case', async () => {
    await db.exec("CREATE TABLE t (k TEXT PRIMARY KEY COLLATE NOCASE, v); INSERT INTO t VALUES ('a', 1)");
    const store = await captured('t');
    await db.exec("INSERT OR REPLACE INTO t VALUES ('A', 2)");
    expect((await pending(store)).map(([, key]) => key).sort()).toEqual(['A', 'a']);
  });

  it('notices a table that was rebuilt under the same name', async () => {
    await db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const store = await captured('t');
    await db.exec('CREATE TABLE t2 (id INTEGER PRIMARY KEY, v TEXT); DROP TABLE t; ALTER TABLE t2 RENAME TO t');
    await db.exec("INSERT INTO t VALUES (1, 'unseen')");
    expect(await store.capture.intact()).toHaveLength(1);
    await store.capture.install(['t']);
    expect((await store.capture.pending(10)).rescan).toEqual(['t']);
  });

  it('goes on after VACUUM', async () => {
    await db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const store = await captured('t');
    await db.exec("INSERT INTO t VALUES (1, 'a')");
    await db.exec('VACUUM');
    await db.exec("INSERT INTO t VALUES (2, 'b')");
    expect(await store.capture.intact()).toEqual([]);
    expect(await pending(store)).toHaveLength(2);
  });

  it('begins again when its place is lost, and does not trust the place of another log', async () => {
    await db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY)');
    const store = await captured('t');
    await db.exec('INSERT INTO t VALUES (1), (2), (3)');
    await store.capture.acknowledge(await store.capture.pending(10));
    await store.close();
    await db.exec('DROP TABLE t; CREATE TABLE t (id INTEGER PRIMARY KEY)');
    for (const { name } of await db.all(
      "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'changeover%'",
    ))
      await db.exec(`DROP TABLE "${String(name)}"`);
    const other = await captured('t');
    await db.exec('INSERT INTO t VALUES (1)');
    expect(await pending(other)).toEqual([['t', 1]]);
  });

  it('begins anew with a log that was removed, though everything else of ours stayed', async () => {
    await db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY)');
    const store = await captured('t');
    await db.exec('INSERT INTO t VALUES (1), (2), (3)');
    await store.capture.acknowledge(await store.capture.pending(10));
    await store.capture.remove();
    await store.capture.install(['t']);
    await db.exec('INSERT INTO t VALUES (4)');
    expect(await pending(store)).toEqual([['t', 4]]);
  });

  it('prunes what was applied long ago', async () => {
    await db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER)');
    const store = await captured('t');
    await db.exec(
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25000) INSERT INTO t SELECT i, i FROM n`,
    );
    for (;;) {
      const batch = await store.capture.pending(5000);
      if (batch.changes.length === 0) break;
      await store.capture.acknowledge(batch);
    }
    expect(await db.all('SELECT count(*) < 6000 AS few FROM changeover_changes')).toEqual([{ few: 1 }]);
    await db.exec('UPDATE t SET v = 0 WHERE id = 7');
    expect(await pending(store)).toEqual([['t', 7]]);
  });
});

describe('values on SQLite', () => {
  it('keep their type and every bit', async () => {
    await db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, i INTEGER, r REAL, n NUMERIC, s TEXT, b BLOB, x)');
    await db.exec(`INSERT INTO t VALUES
      (1, 9007199254740993, 0.1, 12.5, '1', x'00', 1), (2, -9223372036854775808, 5e-324, 3, 'a' || char(0) || 'b', x'', 1.0),
      (3, 9007199254740991, 9e999, NULL, '', NULL, '1'), (4, NULL, -0.0, 1e300, char(128512, 65533), zeroblob(3), x'31')`);
    const store = await open();
    await store.prepare();
    await db.exec('CREATE TABLE copy (id INTEGER PRIMARY KEY, i INTEGER, r REAL, n NUMERIC, s TEXT, b BLOB, x)');
    const rows = await store.chunk('t', null, 10);
    expect(rows[0]).toMatchObject({ i: 9007199254740993n, x: 1n });
    expect(rows[1]?.['x']).toBe(1);
    expect(rows[2]?.['i']).toBe(9007199254740991);
    await write(store, 'copy', ...rows);
    const all = (table: string) =>
      db.all(
        `SELECT id, ${['i', 'r', 'n', 's', 'b', 'x'].map((c) => `typeof(${c}) AS t_${c}, hex(${c}) AS h_${c}`).join(', ')} FROM ${table}`,
      );
    expect(await all('copy')).toEqual(await all('t'));
    expect(await store.canonical?.('t', rows)).toEqual(rows);
  });

  it('take the form that the column gives them', async () => {
    await db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT, i INTEGER, r REAL)');
    const store = await open();
    expect(await store.canonical?.('t', [{ id: 1, s: 5, i: '7', r: 2n }])).toEqual([{ id: 1, s: '5', i: 7, r: 2 }]);
  });

  it('that are no valid UTF-8 are refused by name and never changed silently', async () => {
    await db.exec(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT); INSERT INTO t VALUES (1, 'ok'), (2, CAST(x'ff41' AS TEXT))",
    );
    const store = await open();
    await expect(store.chunk('t', null, 10)).rejects.toMatchObject({
      code: 'CHG_DATA_TEXT_INVALID',
      fields: { table: 't', column: 's', key: '["i2"]' },
    });
  });

  it('that do not fit are refused by name', async () => {
    await db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, i INT) STRICT');
    const store = await open();
    await store.prepare();
    const refused = { code: 'CHG_DATA_ROW_REFUSED', fields: { key: '["i2"]' } };
    await expect(write(store, 't', { id: 1, i: 1 }, { id: 2, i: 'x' })).rejects.toMatchObject(refused);
    await expect(write(store, 't', { id: 2, i: 2n ** 63n })).rejects.toMatchObject(refused);
    expect(await store.count('t')).toBe(0);
  });

  it('of generated columns and names that need quotes are handled', async () => {
    await db.exec(
      `CREATE TABLE "a ""b" ("my key" INTEGER PRIMARY KEY, "select" TEXT, up TEXT AS (upper("select")) STORED)`,
    );
    const store = await captured('a "b');
    await write(store, 'a "b', { 'my key': 1, select: "it's" });
    expect(await store.chunk('a "b', null, 1)).toEqual([{ 'my key': 1, select: "it's" }]);
    await db.exec('DELETE FROM "a ""b"');
    expect(await pending(store)).toEqual([['a "b', 1]]);
    await store.fence(['a "b']);
    await store.uninstall();
  });
});

describe('check on SQLite', () => {
  const messages = async (store: OpenStore, role: 'source' | 'target', ...tables: string[]) =>
    (await store.check(tables, role)).map(({ level, message }) => `${level}: ${message}`).join('\n');

  it('names NULL keys, keyless tables, expression indexes and triggers', async () => {
    await db.exec(`CREATE TABLE t (k TEXT PRIMARY KEY, v TEXT); INSERT INTO t VALUES (NULL, 'a'), (NULL, 'b'), ('x', 'c');
      CREATE UNIQUE INDEX odd ON t (lower(v)); CREATE TRIGGER theirs AFTER INSERT ON t BEGIN SELECT 1; END; CREATE TABLE keyless (v TEXT)`);
    const store = await open();
    const found = await messages(store, 'source', 't', 'keyless', 'absent');
    for (const part of [
      'error: 2 rows have NULL',
      'unique index odd is on an expression',
      'has no primary key',
      'no table absent',
    ])
      expect(found).toContain(part);
    expect(await messages(store, 'target', 't')).toContain('its triggers fire for moved rows too: theirs');
    await expect(store.chunk('t', null, 5)).rejects.toMatchObject({ code: 'CHG_DATA_KEY_NULL' });
  });

  it('takes a unique index over columns that are NOT NULL for the key', async () => {
    await db.exec('CREATE TABLE t (a TEXT NOT NULL, b INTEGER NOT NULL, c TEXT, UNIQUE (c), UNIQUE (a, b))');
    expect((await (await open()).shape('t')).key).toEqual(['a', 'b']);
  });

  it('asks for WAL or for a declared patience, and reads only', async () => {
    const file = path.join(temp.path, 'old.db');
    const raw = new DatabaseSync(file);
    raw.exec('CREATE TABLE t (id INTEGER PRIMARY KEY)');
    raw.close();
    const before = [readFileSync(file), statSync(file).mtimeMs];
    const ctx = testContext(temp.path);
    const [undeclared, declared] = [
      await sqlite(file).open(ctx, 'legacy'),
      await sqlite(file, { busyTimeoutMs: 5000 }).open(ctx, 'legacy'),
    ];
    opened.push(undeclared, declared);
    expect(await messages(undeclared, 'source', 't')).toContain('error: the journal mode is delete');
    expect(await messages(declared, 'source', 't')).toBe('');
    await undeclared.footprint(['t'], 'source');
    expect([readFileSync(file), statSync(file).mtimeMs]).toEqual(before);
  });

  it('does not make a file that is not there', async () => {
    const store = sqlite('nowhere.db').open(testContext(temp.path), 'legacy');
    await expect(store).rejects.toMatchObject({ code: 'CHG_DATA_STORE_MISSING' });
  });
});

describe('a write of ours on SQLite', () => {
  it('passes the fence, and is not captured as a change of its own', async () => {
    await db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const store = await captured('t');
    await store.fence(['t']);
    await write(store, 't', { id: 1, v: 'applied' });
    await write(store, 't', { id: 1, v: 'applied again' });
    expect(await db.all('SELECT * FROM t')).toEqual([{ id: 1, v: 'applied again' }]);
    expect(await pending(store)).toEqual([]);
  });

  it('says that there is no space left, and has written nothing', async (context) => {
    const folder = path.join(temp.path, 'disk');
    mkdirSync(folder);
    const disk = smallDisk(folder, 2);
    if (disk === null) return context.skip('mounting a small disk needs root');
    const small = openSqlite(path.join(folder, 'small.db'), 1000);
    try {
      await small.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
      const store = await sqlite(small.address).open(testContext(temp.path), 'next');
      opened.push(store);
      await store.prepare();
      await expect(write(store, 't', { id: 1, v: 'x'.repeat(4_000_000) })).rejects.toMatchObject({
        code: 'CHG_DATA_STORE_FULL',
      });
      expect(await small.all('SELECT * FROM t')).toEqual([]);
      await write(store, 't', { id: 1, v: 'small' });
    } finally {
      await small.close();
      disk.unmount();
    }
  });

  it('of a chunk that is in the ledger changes nothing', async () => {
    await db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const store = await captured('t');
    const ledger = { run: 'r', sync: 's', table: 't', seq: 0, lastKey: '[1]', rows: 1, hash: 'h', complete: false };
    const chunk = (v: string) => ({
      epoch: 1,
      changes: [{ table: 't', deletes: [], upserts: [{ id: 1, v }] }],
      ledger,
    });
    await store.write(chunk('first'));
    await store.write(chunk('by a second runner, late'));
    expect(await db.all('SELECT v FROM t')).toEqual([{ v: 'first' }]);
    expect(await store.ledger('r', 's')).toEqual([ledger]);
  });
});

describe('SQLite that is busy', () => {
  it('is waited for without blocking this process', async () => {
    await db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY)');
    const store = await open();
    await store.prepare();
    await db.exec('BEGIN IMMEDIATE');
    let ticks = 0;
    const timer = setInterval(() => ticks++, 5);
    const writing = write(store, 't', { id: 1 });
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(ticks).toBeGreaterThan(5);
    await db.exec('COMMIT');
    await writing;
    clearInterval(timer);
    expect(await store.count('t')).toBe(1);
  });

  it('in rollback-journal mode lets a reader finish before it writes', async () => {
    const patient = openSqlite(path.join(temp.path, 'journal.db'), 2000);
    await patient.exec(
      'PRAGMA journal_mode = DELETE; CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)',
    );
    const store = await sqlite(patient.address, { busyTimeoutMs: 2000 }).open(testContext(temp.path), 'legacy');
    opened.push(store);
    await store.prepare();
    await patient.exec('BEGIN');
    await patient.all('SELECT * FROM t');
    const writing = write(store, 't', { id: 2 });
    await new Promise((resolve) => setTimeout(resolve, 60));
    await patient.exec('COMMIT');
    await writing;
    expect(await patient.all('SELECT count(*) AS n FROM t')).toEqual([{ n: 2 }]);
    await patient.close();
  });
});
