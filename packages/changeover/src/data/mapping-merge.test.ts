import { afterEach, describe, expect, it } from 'vitest';
import type { TableMapping } from '../plan/sync.ts';
import type { TestDatabase } from '../testing/databases.ts';
import { MappedMove } from '../testing/mapped-move.ts';
import { constant, createDataMove, sync } from './move.ts';
import { sqlite } from './stores/sqlite/index.ts';

let move: MappedMove;
afterEach(async () => {
  await move[Symbol.asyncDispose]();
});

async function begin(legacy: string, next: string): Promise<MappedMove> {
  const storeOf = ({ address }: TestDatabase) => sqlite(address);
  move = await MappedMove.begin({ servers: {}, storeOf, createDataMove, sync });
  await move.legacy.exec(legacy);
  await move.next.exec(next);
  return move;
}

const ids = async (database: TestDatabase, table: string, column = 'id') =>
  (await database.all(`SELECT ${column} FROM ${table} ORDER BY ${column}`)).map((row) => row[column]);

describe('several tables that become one', () => {
  const LEGACY = `CREATE TABLE events_2025 (id INTEGER PRIMARY KEY, what TEXT UNIQUE);
    CREATE TABLE events_2026 (id INTEGER PRIMARY KEY, what TEXT UNIQUE);
    INSERT INTO events_2025 VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd');
    INSERT INTO events_2026 VALUES (11, 'k'), (12, 'l'), (13, 'm'), (14, 'n')`;
  const NEXT =
    'CREATE TABLE events (id INTEGER PRIMARY KEY, what TEXT UNIQUE, year TEXT NOT NULL); CREATE TABLE notes (event INTEGER REFERENCES events ON DELETE CASCADE, id INTEGER PRIMARY KEY)';
  const YEARS: Record<string, TableMapping> = {
    events_2025: { to: 'events', columns: { id: 'id', what: 'what', year: constant('2025') } },
    events_2026: { to: 'events', columns: { id: 'id', what: 'what', year: constant('2026') } },
  };

  it('are told apart by their constants, on the way there and back', async () => {
    const { legacy, next } = await begin(LEGACY, NEXT);
    move.plan(YEARS);
    expect(await move.errors()).toEqual([]);
    await move.copy();
    await legacy.exec("UPDATE events_2025 SET what = 'A' WHERE id = 1; DELETE FROM events_2026 WHERE id = 12");
    await legacy.exec("INSERT INTO events_2025 VALUES (5, 'e'); UPDATE events_2026 SET id = 15 WHERE id = 13");
    expect(await move.switchOver()).toEqual(['PASS', 'PASS']);
    expect(await next.all("SELECT group_concat(id || what || year, ' ') AS all_of FROM events")).toEqual([
      { all_of: '1A2025 2b2025 3c2025 4d2025 5e2025 11k2026 14n2026 15m2026' },
    ]);
    await next.exec(`UPDATE events SET year = '2026' WHERE id = 1; UPDATE events SET what = 'B' WHERE id = 2;
      DELETE FROM events WHERE id IN (3, 11); INSERT INTO events VALUES (21, 'u', '2026'), (22, 'v', '2025');
      UPDATE events SET year = '2027' WHERE id = 4; UPDATE events SET id = 16 WHERE id = 14`);
    expect(await move.switchBack()).toEqual(['PASS', 'PASS']);
    expect(await ids(legacy, 'events_2025')).toEqual([2, 4, 5, 22]);
    expect(await ids(legacy, 'events_2026')).toEqual([1, 15, 16, 21]);
    expect(await move.data.notReturnable(move.ctx)).toEqual([
      { table: 'events', rows: 1, reason: 'year is "2027": no mapping has this constant' },
    ]);
  });

  it('hold a row that moves from one to the other, whichever change is seen first', async () => {
    const { legacy, next } = await begin(LEGACY, NEXT);
    move.plan(YEARS);
    await move.copy();
    // Both for a while; the archive of an application does it so.
    await legacy.exec("INSERT INTO events_2026 VALUES (1, 'a')");
    await move.follow('forward');
    await legacy.exec("UPDATE events_2025 SET what = 'of the former' WHERE id = 1");
    await move.follow('forward');
    await legacy.exec('DELETE FROM events_2025 WHERE id = 1');
    await move.follow('forward');
    expect(await next.all('SELECT * FROM events WHERE id = 1')).toEqual([{ id: 1, what: 'a', year: '2026' }]);
    await legacy.exec("INSERT INTO events_2025 VALUES (11, 'k')");
    await move.follow('forward');
    await legacy.exec('DELETE FROM events_2026 WHERE id = 11');
    expect(await move.switchOver()).toEqual(['PASS', 'PASS']);
    expect(await next.all('SELECT * FROM events WHERE id = 11')).toEqual([{ id: 11, what: 'k', year: '2025' }]);
  });

  it('keep what only the new table says about a row that moves, and pass verification with it', async () => {
    const { legacy, next } = await begin(
      LEGACY,
      NEXT.replace('year TEXT NOT NULL', "year TEXT NOT NULL, rank TEXT DEFAULT 'none'"),
    );
    move.plan(YEARS);
    await move.copy();
    await move.data.unfence(move.ctx, 'next');
    await next.exec("UPDATE events SET rank = 'first' WHERE id = 1");
    expect(await move.verify('forward')).toEqual(['PASS', 'PASS']);
    await legacy.exec("BEGIN; DELETE FROM events_2025 WHERE id = 1; INSERT INTO events_2026 VALUES (1, 'a'); COMMIT");
    await move.follow('forward');
    expect(await next.all('SELECT year, rank FROM events WHERE id = 1')).toEqual([{ year: '2026', rank: 'first' }]);
    expect(await move.verify('forward', 'changed')).toEqual(['PASS', 'PASS']);
  });

  it('give a unique value to each other between the copy of the one and of the other', async () => {
    const { legacy, next } = await begin(LEGACY, NEXT);
    move.plan(YEARS, 2);
    await move.data.prepare(move.ctx);
    let chunks = 0;
    const at = (point: string) => {
      if (point === 'data.copy.after_chunk' && ++chunks === 3)
        void legacy.exec(
          "UPDATE events_2025 SET what = 'was a' WHERE id = 1; UPDATE events_2026 SET what = 'a' WHERE id = 11",
        );
    };
    await move.data.copy({ ...move.ctx, faults: { at } });
    expect(await next.all('SELECT id, what FROM events WHERE id IN (1, 11)')).toEqual([
      { id: 1, what: 'was a' },
      { id: 11, what: 'a' },
    ]);
    expect(await move.switchOver()).toEqual(['PASS', 'PASS']);
  });

  it('give a unique value from a row of the one to a row of the other', async () => {
    const { legacy, next } = await begin(LEGACY, NEXT);
    move.plan(YEARS);
    await move.copy();
    await legacy.exec(
      "UPDATE events_2025 SET what = 'was a' WHERE id = 1; UPDATE events_2026 SET what = 'a' WHERE id = 11",
    );
    await legacy.exec(
      "UPDATE events_2026 SET what = 'no more b' WHERE id = 12; UPDATE events_2025 SET what = 'l' WHERE id = 2",
    );
    await legacy.exec("UPDATE events_2026 SET what = 'm2' WHERE id = 13");
    await legacy.exec("UPDATE events_2026 SET what = 'b' WHERE id = 13");
    expect(await move.switchOver()).toEqual(['PASS', 'PASS']);
    await next.exec("UPDATE events SET what = 'was k' WHERE id = 11; UPDATE events SET what = 'k' WHERE id = 1");
    expect(await move.switchBack()).toEqual(['PASS', 'PASS']);
    expect(await legacy.all('SELECT what FROM events_2025 WHERE id = 1')).toEqual([{ what: 'k' }]);
  });

  it('take changes that come while they are copied, one of them not begun yet', async () => {
    const { legacy } = await begin(LEGACY, NEXT);
    move.plan(YEARS, 1);
    await move.data.prepare(move.ctx);
    let chunks = 0;
    const writing = {
      ...move.ctx,
      faults: {
        at: (point: string) => {
          if (point !== 'data.copy.after_chunk') return;
          chunks += 1;
          if (chunks === 2)
            void legacy.exec("INSERT INTO events_2026 VALUES (1, 'z'); DELETE FROM events_2025 WHERE id = 1");
          if (chunks === 6)
            void legacy.exec('DELETE FROM events_2026 WHERE id = 11; DELETE FROM events_2025 WHERE id = 4');
        },
      },
    };
    await move.data.copy(writing);
    await move.follow('forward');
    expect(await move.verify('forward')).toEqual(['PASS', 'PASS']);
    expect(await ids(move.next, 'events')).toEqual([1, 2, 3, 12, 13, 14]);
  });

  it('are every row accounted for, once: what is missing, different, in the wrong year or of no year is found', async () => {
    const { next } = await begin(LEGACY, NEXT);
    move.plan(YEARS);
    await move.copy();
    await move.data.unfence(move.ctx, 'next');
    const damaged = async (sql: string) => {
      await next.exec(sql);
      return (await move.verify('forward')).join('; ');
    };
    expect(await damaged("INSERT INTO events VALUES (99, 'x', '1999')")).toMatch(/1 differ: \(99\) is extra; PASS/);
    expect(await damaged("UPDATE events SET year = '2026' WHERE id = 99")).toMatch(/^PASS; .*\(99\) is extra/);
    expect(await damaged("DELETE FROM events WHERE id = 99; UPDATE events SET year = '2027' WHERE id = 2")).toMatch(
      /1 differ: \(2\) differs in year; PASS/,
    );
    expect(await damaged("UPDATE events SET year = '2025' WHERE id = 2; DELETE FROM events WHERE id = 14")).toMatch(
      /^PASS; .*\(14\) is missing/,
    );
  });

  it('say in the count under the lock that all rows together are the rows of the new table', async () => {
    const { legacy } = await begin(LEGACY, NEXT);
    move.plan(YEARS);
    await move.copy();
    expect(await move.verify('forward')).toEqual(['PASS', 'PASS']);
    await legacy.exec('DELETE FROM events_2026 WHERE id = 11');
    await move.follow('forward');
    const evidence = (await move.data.verify(move.ctx, 'forward', 'changed')).map((verdict) => verdict.evidence);
    expect(evidence[0]).toContain('7 rows in the source, 7 in the target');
  });

  it('may have the same keys where the constant is part of the new key', async () => {
    const { legacy, next } = await begin(
      `CREATE TABLE a (id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE b (id INTEGER PRIMARY KEY, v TEXT);
       INSERT INTO a VALUES (1, 'a1'), (2, 'a2'); INSERT INTO b VALUES (1, 'b1'), (2, 'b2')`,
      'CREATE TABLE both (id INTEGER, v TEXT, source TEXT, PRIMARY KEY (source, id))',
    );
    const of = (source: string): TableMapping => ({
      to: 'both',
      columns: { source: constant(source), id: 'id', v: 'v' },
    });
    move.plan({ a: of('a'), b: of('b') });
    expect(await move.errors()).toEqual([]);
    await move.copy();
    await legacy.exec("UPDATE a SET v = 'A1' WHERE id = 1; DELETE FROM b WHERE id = 1");
    expect(await move.switchOver()).toEqual(['PASS', 'PASS']);
    await next.exec(
      "UPDATE both SET source = 'b', v = 'moved' WHERE source = 'a' AND id = 1; DELETE FROM both WHERE id = 2 AND source = 'a'; INSERT INTO both VALUES (7, 'x', 'c'), (8, 'y', 'a')",
    );
    expect(await move.switchBack()).toEqual(['PASS', 'PASS']);
    expect(await legacy.all('SELECT * FROM a')).toEqual([{ id: 8, v: 'y' }]);
    expect(await legacy.all('SELECT * FROM b ORDER BY id')).toEqual([
      { id: 1, v: 'moved' },
      { id: 2, v: 'b2' },
    ]);
    expect(await move.data.notReturnable(move.ctx)).toEqual([
      { table: 'both', rows: 1, reason: 'source is "c": no mapping has this constant' },
    ]);
  });

  it('may be given up on the way back, without anything to tell them apart', async () => {
    const { legacy } = await begin(LEGACY, 'CREATE TABLE events (id INTEGER PRIMARY KEY, what TEXT)');
    const of = (from: string): TableMapping => ({
      from,
      to: 'events',
      reverse: 'none',
      givesUp: ['events of the new side'],
    });
    move.plan({ one: of('events_2025'), two: of('events_2026') });
    expect(await move.errors()).toEqual([]);
    await move.copy();
    await legacy.exec("DELETE FROM events_2025 WHERE id = 1; INSERT INTO events_2026 VALUES (1, 'a'), (30, 'x')");
    expect(await move.switchOver()).toEqual(['PASS', 'PASS']);
    expect(await ids(move.next, 'events')).toEqual([1, 2, 3, 4, 11, 12, 13, 14, 30]);
  });

  it.each<[string, Record<string, TableMapping>, RegExp]>([
    [
      'share keys',
      YEARS,
      /2 keys of events_2025 are in events_2026 too, and events holds each once: \["i2"\], \["i3"\]/,
    ],
    [
      'nothing tells apart',
      { events_2025: { to: 'events', givesUp: ['year'] }, events_2026: { to: 'events', givesUp: ['year'] } },
      /events_2025 and events_2026 both become events, and nothing tells where a row goes back to/,
    ],
    [
      'have the same constant',
      { ...YEARS, events_2026: { ...YEARS['events_2025'] } },
      /events_2025 and events_2026 have the same constant in year: "2025"/,
    ],
    [
      'are one table twice',
      { ...YEARS, again: { ...YEARS['events_2025'], from: 'events_2025' } },
      /events_2025 and again have the same source and the same target/,
    ],
  ])('are refused where they %s', async (_what, tables, message) => {
    const { legacy } = await begin(LEGACY, NEXT);
    await legacy.exec("INSERT INTO events_2026 VALUES (2, 'x'), (3, 'y')");
    move.plan(tables);
    expect((await move.errors()).join('\n')).toMatch(message);
  });

  it('with keys that come to collide while they are moved do not pass verification', async () => {
    const { legacy } = await begin(LEGACY, NEXT);
    move.plan(YEARS);
    await move.copy();
    await legacy.exec("INSERT INTO events_2026 VALUES (2, 'not b')");
    await move.follow('forward');
    expect((await move.verify('forward')).join()).toMatch(/FAIL: .*\(2\) differs in what, year/);
  });
});
