import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Context } from '../../plan/context.ts';
import type { DataPort } from '../../plan/ports.ts';
import type { Direction } from '../../plan/words.ts';
import { testContext } from '../../testing/context.ts';
import { testPostgres, testSqlite, type TestDatabase } from '../../testing/databases.ts';
import { startPostgres, type ThrowawayPostgres } from '../../testing/postgres.ts';
import { tempFolder, type TempFolder } from '../../testing/temp.ts';
import { createDataMove } from '../move.ts';
import { SCHEMA, seed, syncOf } from './slices.child.ts';

let server: ThrowawayPostgres;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.stop());

describe.for(['sqlite', 'postgres'] as const)('a slice of %s moved to postgres', (from) => {
  let temp: TempFolder;
  let legacy: TestDatabase;
  let next: TestDatabase;
  const moves: DataPort[] = [];

  beforeEach(async () => {
    temp = await tempFolder();
    legacy = from === 'sqlite' ? testSqlite(temp.path, 'legacy.db', 5000) : await testPostgres(server.url);
    next = await testPostgres(server.url);
    await legacy.exec(SCHEMA);
    await next.exec(SCHEMA);
    await seed(legacy);
  });
  afterEach(async () => {
    for (const move of moves.splice(0)) await move.close();
    await legacy.close();
    await next.close();
    await temp.remove();
  });

  /** A slice with its own state and epoch, or what belongs to none. */
  const moveOf = (slice: string | null, epoch = 1): [DataPort, Context] => {
    const move = createDataMove([syncOf(legacy.address, next.address)], { slice });
    moves.push(move);
    const own = testContext(temp.path, { epoch, runId: `run-${slice ?? 'rest'}` });
    return [move, own];
  };

  const rowsOf = async (database: TestDatabase, network: string) => [
    await database.all(`SELECT * FROM streams WHERE network_id = '${network}' ORDER BY id`),
    await database.all(
      `SELECT p.* FROM plays p JOIN streams s ON s.id = p.stream_id WHERE s.network_id = '${network}' ORDER BY p.id`,
    ),
    await database.all(
      `SELECT n.* FROM notes n JOIN plays p ON p.id = n.play_id JOIN streams s ON s.id = p.stream_id WHERE s.network_id = '${network}' ORDER BY n.id`,
    ),
  ];

  const follow = async (move: DataPort, ctx: Context, direction: Direction) => {
    for (;;) if ((await move.catchUp(ctx, direction)).pending === 0) return;
  };
  const outcomes = async (move: DataPort, ctx: Context, direction: Direction) =>
    (await move.verify(ctx, direction, 'full')).filter(({ outcome }) => outcome !== 'PASS');

  const rest = async () => {
    const [move, ctx] = moveOf(null);
    await move.prepare(ctx);
    await move.copy(ctx);
    return [move, ctx] as const;
  };
  const toReady = async (slice: string, epoch = 1) => {
    const [move, ctx] = moveOf(slice, epoch);
    await move.installEpoch(ctx);
    await move.prepare(ctx);
    await move.copy(ctx);
    await follow(move, ctx, 'forward');
    await move.prepareReverse(ctx);
    expect(await outcomes(move, ctx, 'forward')).toEqual([]);
    return [move, ctx] as const;
  };
  const flip = async (move: DataPort, ctx: Context, direction: Direction) => {
    const locked = await move.lock(ctx, direction);
    await locked.applyToEmpty();
    const verdicts = await locked.verify('changed');
    expect(verdicts.filter(({ outcome }) => outcome !== 'PASS')).toEqual([]);
    await locked.sequences();
    await locked.fence();
    await move.unfence(ctx, direction === 'forward' ? 'next' : 'legacy');
  };

  it('goes there and back while another one goes on at the legacy, and then that one goes', async () => {
    const [shared, sharedCtx] = await rest();
    const [a, ctx] = await toReady('a');
    expect(await next.all('SELECT DISTINCT network_id FROM streams')).toEqual([{ network_id: 'a' }]);

    await legacy.exec(`INSERT INTO streams VALUES ('a-late', 'a', 1, 'late');
      INSERT INTO plays VALUES ('a-late-play', 'a-late', 9);
      INSERT INTO notes VALUES ('a-late-note', 'a-late-play', 'hello');
      INSERT INTO streams VALUES ('b-late', 'b', 1, 'late');
      UPDATE countries SET name = 'Deutschland' WHERE id = 1`);
    await follow(shared, sharedCtx, 'forward');
    await flip(a, ctx, 'forward');
    expect(await rowsOf(next, 'a')).toEqual(await rowsOf(legacy, 'a'));
    expect(await next.all('SELECT * FROM countries ORDER BY id')).toEqual(
      await legacy.all('SELECT * FROM countries ORDER BY id'),
    );

    // The legacy takes what is of b and refuses what is of a, at every depth.
    await legacy.exec(
      "INSERT INTO streams VALUES ('bx', 'b', 1, 'two'); INSERT INTO plays VALUES ('bx-play', 'bx', 1)",
    );
    for (const sql of [
      "INSERT INTO streams VALUES ('ax', 'a', 1, 'ninety')",
      "UPDATE streams SET country_id = 2 WHERE network_id = 'a'",
      "UPDATE streams SET network_id = 'a', title = 'crossing' WHERE id = 'bx'",
      "UPDATE streams SET network_id = 'b', title = 'crossing' WHERE id = 'a1'",
      "DELETE FROM plays WHERE stream_id = 'a1'",
      "INSERT INTO notes VALUES ('n9', 'a1-play', 'no')",
      "UPDATE plays SET stream_id = 'a1' WHERE id = 'bx-play'",
    ])
      await expect(legacy.exec(sql), sql).rejects.toThrow(/changeover: this side does not accept writes now/);

    // The new side takes what is of a, and keeps it together.
    await next.exec("UPDATE streams SET title = 'changed' WHERE id = 'a1'; DELETE FROM notes WHERE id = 'a-late-note'");
    await next.exec("INSERT INTO plays VALUES ('a-new', 'a1', 77)");
    await expect(next.exec("UPDATE streams SET network_id = 'b', title = 'crossing' WHERE id = 'a1'")).rejects.toThrow(
      /leave its slice/,
    );
    await legacy.exec("UPDATE streams SET title = 'meanwhile' WHERE id = 'b1'");

    await follow(a, ctx, 'reverse');
    expect(await outcomes(a, ctx, 'reverse')).toEqual([]);
    const before = await rowsOf(legacy, 'b');
    await flip(a, ctx, 'reverse');
    expect(await rowsOf(legacy, 'a')).toEqual(await rowsOf(next, 'a'));
    expect(await rowsOf(legacy, 'b')).toEqual(before);
    await legacy.exec("UPDATE streams SET title = 'back' WHERE id = 'a1'");
    await expect(next.exec("UPDATE streams SET title = 'later' WHERE id = 'a1'")).rejects.toThrow(/changeover/);
    await a.uninstall(ctx, { emptyTarget: true });
    expect(await next.all('SELECT * FROM streams')).toEqual([]);
    expect(await next.all('SELECT * FROM notes')).toEqual([]);

    const [b, ctxOfB] = await toReady('b');
    await flip(b, ctxOfB, 'forward');
    expect(await rowsOf(next, 'b')).toEqual(await rowsOf(legacy, 'b'));
    expect(await next.all("SELECT * FROM streams WHERE network_id <> 'b'")).toEqual([]);
    await legacy.exec("UPDATE streams SET title = 'a writes on' WHERE id = 'a1'");
    await expect(legacy.exec("UPDATE streams SET title = 'x' WHERE id = 'b1'")).rejects.toThrow(/changeover/);
  });

  it('leaves nothing of it behind when it is taken out, and all of the others', async () => {
    await rest();
    const [a, ctx] = await toReady('a');
    await toReady('b');
    const names =
      from === 'sqlite'
        ? "SELECT name FROM sqlite_schema WHERE name LIKE 'changeover_slice%' ORDER BY name"
        : "SELECT relname AS name FROM pg_class WHERE relname LIKE 'changeover_slice%' UNION SELECT tgname FROM pg_trigger WHERE tgname LIKE 'changeover_slice%' UNION SELECT proname FROM pg_proc WHERE proname LIKE 'changeover_slice%' ORDER BY 1";
    const both = (await legacy.all(names)).length;
    await a.uninstall(ctx, { emptyTarget: true });
    expect((await legacy.all(names)).length).toBe(both / 2);
    expect(await next.all('SELECT DISTINCT network_id FROM streams')).toEqual([{ network_id: 'b' }]);
  });

  it('follows rows that change hands, come with a parent or go with it, before it is switched', async () => {
    await rest();
    const [a, ctx] = await toReady('a');
    await legacy.exec("UPDATE streams SET network_id = 'b', title = 'given away' WHERE id = 'a3'");
    await legacy.exec("UPDATE streams SET network_id = 'a', title = 'taken over' WHERE id = 'b3'");
    await legacy.exec("UPDATE plays SET stream_id = 'b4' WHERE id = 'a4-play'");
    if (from === 'sqlite') await legacy.exec('PRAGMA foreign_keys = ON');
    await legacy.exec("DELETE FROM streams WHERE id = 'a5'");
    await follow(a, ctx, 'forward');
    expect(await rowsOf(next, 'a')).toEqual(await rowsOf(legacy, 'a'));
    expect(await next.all('SELECT count(*) AS plays FROM plays')).toEqual([{ plays: '23' }]);
    expect(await outcomes(a, ctx, 'forward')).toEqual([]);
    await flip(a, ctx, 'forward');
    expect(await rowsOf(next, 'a')).toEqual(await rowsOf(legacy, 'a'));
  });

  it('does not begin where references lead out of it or into it, and names them', async () => {
    await rest();
    await legacy.exec('ALTER TABLE streams ADD COLUMN copy_of TEXT REFERENCES streams (id)');
    await next.exec('ALTER TABLE streams ADD COLUMN copy_of TEXT REFERENCES streams (id)');
    await legacy.exec("UPDATE streams SET copy_of = 'b7' WHERE id IN ('a1', 'a2')");
    await legacy.exec("UPDATE streams SET copy_of = 'a9' WHERE id = 'b9'");
    const [a, ctx] = moveOf('a');
    const errors = (await a.check(ctx)).filter(({ level }) => level === 'error').map(({ message }) => message);
    expect(errors).toEqual([
      '2 rows point at rows of streams that are not of the slice: (a1); (a2)',
      '1 rows of others point at rows of streams that are of the slice: (b9)',
    ]);
    await legacy.exec('UPDATE streams SET copy_of = NULL');
    expect((await a.check(ctx)).filter(({ level }) => level === 'error')).toEqual([]);
    const [ready] = await toReady('a');
    await legacy.exec("UPDATE streams SET copy_of = 'b7' WHERE id = 'a1'");
    await follow(ready, ctx, 'forward');
    expect(await outcomes(ready, ctx, 'forward')).toMatchObject([
      { check: 'references of slice a stay in it', outcome: 'FAIL' },
    ]);
  });

  it('does not begin under a name that no row has', async () => {
    const [move, ctx] = moveOf("o'neil");
    expect(await move.check(ctx)).toMatchObject([
      { level: 'error', message: 'the legacy has no row of it', remedy: 'name one of a, b' },
    ]);
    expect(await move.slices(ctx)).toEqual(['a', 'b']);
  });

  it('is not switched before the shared rows that it points at are there', async () => {
    const [shared, sharedCtx] = await rest();
    const [a, ctx] = await toReady('a');
    await legacy.exec("INSERT INTO countries VALUES (3, 'Spain'); UPDATE streams SET country_id = 3 WHERE id = 'a1'");
    await follow(a, ctx, 'forward');
    expect(await outcomes(a, ctx, 'forward')).toMatchObject([
      { check: 'shared rows of slice a are there', outcome: 'FAIL' },
    ]);
    await follow(shared, sharedCtx, 'forward');
    expect(await outcomes(a, ctx, 'forward')).toEqual([]);
  });

  it('never writes over a row of another slice that has the same key, in either direction', async () => {
    await rest();
    const [b, ctxOfB] = await toReady('b');
    await flip(b, ctxOfB, 'forward');
    await next.exec("INSERT INTO streams VALUES ('same', 'b', 1, 'of b')");
    await legacy.exec("INSERT INTO streams VALUES ('same', 'a', 1, 'of a')");
    await follow(b, ctxOfB, 'reverse');
    expect(await legacy.all("SELECT network_id, title FROM streams WHERE id = 'same'")).toEqual([
      { network_id: 'a', title: 'of a' },
    ]);
    expect(await b.notReturnable(ctxOfB)).toMatchObject([{ table: 'streams', rows: 1 }]);
    await expect(toReady('a')).rejects.toThrow(/streams refuses the row with key \["tsame"\]: a row of another slice/);
    expect(await next.all("SELECT network_id, title FROM streams WHERE id = 'same'")).toEqual([
      { network_id: 'b', title: 'of b' },
    ]);
  });
});
