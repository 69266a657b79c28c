import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Context } from '../plan/context.ts';
import type { DataPort } from '../plan/ports.ts';
import type { Value } from '../plan/stores.ts';
import type { RowFunction, TableMapping } from '../plan/sync.ts';
import { testContext } from '../testing/context.ts';
import { testSqlite, type TestDatabase } from '../testing/databases.ts';
import { tempFolder, type TempFolder } from '../testing/temp.ts';
import { createDataMove, sync } from './move.ts';
import { sqlite } from './stores/sqlite/index.ts';

let temp: TempFolder;
let ctx: Context;
let legacy: TestDatabase;
let next: TestDatabase;
let data: DataPort;

beforeEach(async () => {
  temp = await tempFolder();
  ctx = testContext(temp.path);
  legacy = testSqlite(temp.path, 'legacy.db');
  next = testSqlite(temp.path, 'next.db');
});
afterEach(async () => {
  await data.close();
  await legacy.close();
  await next.close();
  await temp.remove();
});

function plan(tables: Record<string, TableMapping>): void {
  data = createDataMove([
    sync({ name: 'main', from: sqlite(legacy.address), to: sqlite(next.address), tables, chunkRows: 3 }),
  ]);
}

async function copied(): Promise<void> {
  await data.prepare(ctx);
  await data.copy(ctx);
}

/** Copies, cuts over, and leaves the new side writing. */
async function live(): Promise<void> {
  await copied();
  await data.prepareReverse(ctx);
  const locked = await data.lock(ctx, 'forward');
  await locked.applyToEmpty();
  expect((await locked.verify('full')).every(({ outcome }) => outcome === 'PASS')).toBe(true);
  await locked.fence();
  await data.unfence(ctx, 'next');
}

const outcomes = async (direction: 'forward' | 'reverse', scope: 'full' | 'changed' = 'full') =>
  (await data.verify(ctx, direction, scope)).map(({ outcome }) => outcome);
const errors = async () =>
  (await data.check(ctx)).filter(({ level }) => level === 'error').map(({ message }) => message);
const text = (value: Value | undefined) => String(value);

describe('a split', () => {
  /** A visit becomes an event and its counts; only the event carries back. */
  const split: Record<string, TableMapping> = {
    events: {
      from: 'visits',
      key: { to: ([id]) => [`visit-${text(id)}`], back: ([id]) => [Number(text(id).replace('visit-', ''))] },
      row: {
        to: ({ id, who }) => (who === 'nobody' ? null : { id: `visit-${text(id)}`, data: JSON.stringify({ who }) }),
        back: ({ id, data: json }) => {
          const { who } = JSON.parse(text(json)) as { who?: string };
          return who === undefined ? null : { id: Number(text(id).replace('visit-', '')), who };
        },
      },
    },
    counts: {
      from: 'visits',
      columns: { id: 'id' },
      row: { to: ({ id, who }) => ({ id: id ?? null, letters: text(who).length }) },
      reverse: 'derived',
    },
  };

  beforeEach(async () => {
    await legacy.exec('CREATE TABLE visits (id INTEGER PRIMARY KEY, who TEXT)');
    await next.exec(
      'CREATE TABLE events (id TEXT PRIMARY KEY, data TEXT); CREATE TABLE counts (id INTEGER PRIMARY KEY, letters INTEGER)',
    );
    await legacy.exec("INSERT INTO visits VALUES (1, 'ann'), (2, 'nobody'), (3, 'bob'), (4, 'eve'), (5, 'kim')");
    plan(split);
  });

  it('feeds two tables, and a row without a counterpart stays away', async () => {
    await copied();
    await legacy.exec("UPDATE visits SET who = 'nobody' WHERE id = 1; UPDATE visits SET who = 'zoe' WHERE id = 2");
    await legacy.exec('DELETE FROM visits WHERE id = 3');
    await data.catchUp(ctx, 'forward');
    expect((await next.all('SELECT id FROM events ORDER BY id')).map(({ id }) => id)).toEqual([
      'visit-2',
      'visit-4',
      'visit-5',
    ]);
    expect(await next.all('SELECT count(*) AS n FROM counts')).toEqual([{ n: 4 }]);
    expect(await outcomes('forward')).toEqual(['PASS', 'PASS']);
    expect(await outcomes('forward', 'changed')).toEqual(['PASS', 'PASS']);
  });

  it('goes back through one of them, keeps what never had a counterpart, and counts what cannot go back', async () => {
    await live();
    await next.exec(`UPDATE events SET data = '{"who":"ann the second"}' WHERE id = 'visit-1';
      INSERT INTO events VALUES ('visit-9', '{"who":"new"}'), ('visit-10', '{"sound":"bell"}'), ('visit-11', 'not json');
      DELETE FROM events WHERE id = 'visit-4'; UPDATE counts SET letters = 0`);
    await data.catchUp(ctx, 'reverse');
    expect((await legacy.all('SELECT who FROM visits ORDER BY id')).map(({ who }) => who)).toEqual([
      'ann the second',
      'nobody',
      'bob',
      'kim',
      'new',
    ]);
    expect(await data.notReturnable(ctx)).toEqual([
      { table: 'events', rows: 1, reason: 'the row function gives no row for it' },
      { table: 'events', rows: 1, reason: expect.stringContaining('the row function failed') as string },
    ]);
    expect(await outcomes('reverse')).toEqual(['PASS']);
    await next.exec(
      `UPDATE events SET data = '{"who":"bell"}' WHERE id = 'visit-10'; DELETE FROM events WHERE id = 'visit-11'`,
    );
    await data.catchUp(ctx, 'reverse');
    expect(await data.notReturnable(ctx)).toEqual([]);
  });
});

describe('columns', () => {
  beforeEach(async () => {
    await legacy.exec('CREATE TABLE notes (a INTEGER, b TEXT, body TEXT, secret TEXT, PRIMARY KEY (a, b))');
    await next.exec('CREATE TABLE notes (y TEXT, x INTEGER, text TEXT, rank INTEGER DEFAULT 7, PRIMARY KEY (y, x))');
    await legacy.exec("INSERT INTO notes VALUES (1, 'p', 'one', 's1'), (1, 'q', 'two', 's2'), (2, 'p', 'three', 's3')");
    plan({ notes: { columns: { x: 'a', y: 'b', text: 'body' }, givesUp: ['secret', 'rank'] } });
  });

  it('rename, reorder keys, and leave alone what they do not name', async () => {
    expect(await errors()).toEqual([]);
    await live();
    await next.exec(
      "UPDATE notes SET text = 'changed', rank = 9 WHERE x = 1 AND y = 'q'; DELETE FROM notes WHERE x = 2",
    );
    await next.exec("INSERT INTO notes (y, x, text) VALUES ('r', 5, 'new')");
    await data.catchUp(ctx, 'reverse');
    expect(await legacy.all('SELECT * FROM notes ORDER BY a, b')).toEqual([
      { a: 1, b: 'p', body: 'one', secret: 's1' },
      { a: 1, b: 'q', body: 'changed', secret: 's2' },
      { a: 5, b: 'r', body: 'new', secret: null },
    ]);
    expect(await outcomes('reverse')).toEqual(['PASS']);
  });

  it('that are not moved must be named', async () => {
    await data.close();
    plan({ notes: { columns: { x: 'a', y: 'b', text: 'bodi' } } });
    const found = await errors();
    expect(found).toContain('there is no source column bodi');
    expect(found).toContain('column secret of notes is not moved');
    expect(found).toContain('column body of notes is not moved');
  });
});

describe('a plan is refused', () => {
  beforeEach(async () => {
    await legacy.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    await next.exec(
      'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE two (a INTEGER, b TEXT, PRIMARY KEY (a, b))',
    );
    await legacy.exec("INSERT INTO t VALUES (1, 'a')");
  });

  it.each<[string, Record<string, TableMapping>, string]>([
    ['without a way back', { t: { row: { to: (row) => row } } }, 'has no `back`'],
    ['that gives up a table without saying so', { t: { reverse: 'none' } }, '`givesUp` does not say so'],
    ['whose key does not follow', { two: { from: 't', columns: { a: 'id', b: 'v' } } }, 'does not follow from the key'],
    ['for a table that is not there', { t: { from: 'missing' } }, 'there is no table missing'],
  ])('%s', async (_what, tables, message) => {
    plan(tables);
    expect((await errors()).join('\n')).toContain(message);
  });

  it('when a row function and the key functions do not agree', async () => {
    plan({ t: { row: { to: ({ id, v }) => ({ id: Number(id) + 1, v: v ?? null }), back: (row) => row } } });
    await data.prepare(ctx);
    await expect(data.copy(ctx)).rejects.toMatchObject({ code: 'CHG_DATA_KEY_MISMATCH' });
  });

  it('when the key functions are not inverse', async () => {
    const key = { to: () => [1], back: () => [2] };
    plan({ t: { key, row: { to: ({ v }) => ({ id: 1, v: v ?? null }), back: (row) => row } } });
    await data.prepare(ctx);
    await expect(data.copy(ctx)).rejects.toMatchObject({ code: 'CHG_DATA_KEY_NOT_INVERSE' });
  });

  it('when both ends are the same store', async () => {
    data = createDataMove([
      sync({ name: 'main', from: sqlite(legacy.address), to: sqlite(legacy.address), tables: { t: {} } }),
    ]);
    expect((await errors()).join()).toContain('the same store');
  });
});

describe('a row function', () => {
  beforeEach(async () => {
    await legacy.exec('CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT)');
    await legacy.exec('CREATE TABLE visits (id INTEGER PRIMARY KEY, person INTEGER)');
    await next.exec('CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT)');
    await next.exec('CREATE TABLE visits (id INTEGER PRIMARY KEY, name TEXT)');
    await legacy.exec(
      "INSERT INTO people VALUES (1, 'ann'), (2, 'bob'); INSERT INTO visits VALUES (1, 1), (2, 2), (3, 1)",
    );
  });

  it('may look up another table, whose changes then reach the rows made from it, in another process too', async () => {
    const tables: Record<string, TableMapping> = {
      people: {},
      visits: {
        row: {
          to: async ({ id, person }, tools) => ({
            id: id ?? null,
            name: (await tools.lookup('people', [person ?? null]))?.['name'] ?? null,
          }),
        },
        givesUp: ['who a visit was by'],
      },
    };
    plan(tables);
    await copied();
    await data.close();
    plan(tables);
    await legacy.exec("UPDATE people SET name = 'anna' WHERE id = 1");
    await data.catchUp(ctx, 'forward');
    expect((await next.all('SELECT name FROM visits ORDER BY id')).map(({ name }) => name)).toEqual([
      'anna',
      'bob',
      'anna',
    ]);
    expect(await outcomes('forward')).toEqual(['PASS', 'PASS']);
  });

  it('may not look up a table whose changes nobody captures', async () => {
    const to: RowFunction = async ({ id }, tools) => {
      await tools.lookup('people', [1]);
      return { id: id ?? null, name: null };
    };
    plan({ visits: { row: { to }, givesUp: ['all'] } });
    await data.prepare(ctx);
    await expect(data.copy(ctx)).rejects.toMatchObject({ code: 'CHG_DATA_LOOKUP_UNKNOWN' });
  });

  it('that fails names its row, and the copy goes on there when it is mended', async () => {
    let isBroken = true;
    const to = ({ id, name }: { id?: Value; name?: Value }) => {
      if (isBroken && id === 2) throw new RangeError('no such person');
      return { id: id ?? null, name: name ?? null };
    };
    plan({ people: { row: { to, back: (row) => row } } });
    await data.prepare(ctx);
    await expect(data.copy(ctx)).rejects.toThrow(
      'data.main: people: the row function failed on key ["i2"]: no such person',
    );
    isBroken = false;
    await data.copy(ctx);
    expect(await outcomes('forward')).toEqual(['PASS']);
  });

  it('that is slow tells how far it is, and stops when it is asked to', async () => {
    const seen: number[] = [];
    const controller = new AbortController();
    const slow = {
      ...ctx,
      signal: controller.signal,
      report: { ...ctx.report, progress: ({ done }: { done: number }) => seen.push(done) },
    };
    for (let id = 10; id < 40; id++) await legacy.exec(`INSERT INTO people VALUES (${id}, 'p${id}')`);
    const to = async (row: { id?: Value; name?: Value }) => {
      await new Promise((resolve) => setTimeout(resolve, 60));
      if (row.id === 20) controller.abort();
      return { id: row.id ?? null, name: row.name ?? null };
    };
    data = createDataMove([
      sync({
        name: 'main',
        from: sqlite(legacy.address),
        to: sqlite(next.address),
        tables: { people: { row: { to, back: (row) => row } } },
      }),
    ]);
    await data.prepare(ctx);
    await expect(data.copy(slow)).rejects.toThrow('abort');
    expect(seen.length).toBeGreaterThan(1);
    expect(seen.at(-1)).toBeLessThan(32);
  });
});

describe('what the legacy cannot hold', () => {
  beforeEach(async () => {
    await legacy.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT UNIQUE CHECK (length(v) < 5))');
    await next.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    await legacy.exec("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    plan({ t: {} });
    await live();
  });

  it('is counted with its reason, holds up nothing else, and does not stand in the way of a rollback', async () => {
    await next.exec(
      "INSERT INTO t VALUES (3, 'far too long'), (4, 'c'), (5, 'c'), (6, 'd'); UPDATE t SET v = 'B' WHERE id = 2",
    );
    await data.catchUp(ctx, 'reverse');
    expect(await legacy.all('SELECT * FROM t ORDER BY id')).toEqual([
      { id: 1, v: 'a' },
      { id: 2, v: 'B' },
      { id: 4, v: 'c' },
      { id: 6, v: 'd' },
    ]);
    const lost = await data.notReturnable(ctx);
    expect(lost.map(({ rows }) => rows)).toEqual([1, 1]);
    expect(lost.map(({ reason }) => reason).join()).toMatch(/CHECK constraint.*unique/s);
    expect(await outcomes('reverse')).toEqual(['PASS']);
    const locked = await data.lock(ctx, 'reverse');
    await locked.applyToEmpty();
    expect((await locked.verify('changed')).map(({ outcome }) => outcome)).toEqual(['PASS']);
    await locked.release();
  });

  it('is found the other way round too: forward it stops the move and names the row', async () => {
    await data.close();
    const back = createDataMove([
      sync({ name: 'back', from: sqlite(next.address), to: sqlite(legacy.address), tables: { t: {} } }),
    ]);
    const other = testContext(path.join(temp.path, 'other'), { runId: 'run-2' });
    await next.exec("INSERT INTO t VALUES (3, 'far too long')");
    await back.prepare(other);
    await expect(back.copy(other)).rejects.toMatchObject({ code: 'CHG_DATA_ROW_REFUSED', fields: { key: '["i3"]' } });
    await back.close();
  });
});
