import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Context } from '../plan/context.ts';
import type { DataPort } from '../plan/ports.ts';
import { testContext } from '../testing/context.ts';
import { tempFolder, type TempFolder } from '../testing/temp.ts';
import { createDataMove, sync } from './move.ts';
import { sqlite } from './stores/sqlite/index.ts';

const SCHEMA = `
  PRAGMA journal_mode = WAL;
  CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, at REAL, note TEXT UNIQUE, body BLOB);`;

let temp: TempFolder;
let ctx: Context;
let legacy: DatabaseSync;
let next: DatabaseSync;
let data: DataPort;

beforeEach(async () => {
  temp = await tempFolder();
  ctx = testContext(temp.path);
  legacy = new DatabaseSync(path.join(temp.path, 'legacy.db'));
  next = new DatabaseSync(path.join(temp.path, 'next.db'));
  legacy.exec(SCHEMA);
  next.exec(SCHEMA);
  data = createDataMove([
    sync({ name: 'main', from: sqlite('legacy.db'), to: sqlite('next.db'), tables: { events: {} }, chunkRows: 10 }),
  ]);
});

afterEach(async () => {
  await data.close();
  legacy.close();
  next.close();
  await temp.remove();
});

const add = (db: DatabaseSync, note: string) =>
  db
    .prepare('INSERT INTO events (kind, at, note, body) VALUES (?, ?, ?, ?)')
    .run('press', 1.5, note, Buffer.from(note));
const notes = (db: DatabaseSync) =>
  db
    .prepare('SELECT note FROM events ORDER BY id')
    .all()
    .map(({ note }) => note);
const rows = (db: DatabaseSync) => db.prepare('SELECT * FROM events ORDER BY id').all();
const outcomes = async (direction: 'forward' | 'reverse', scope: 'full' | 'changed' = 'full') =>
  (await data.verify(ctx, direction, scope)).map(({ outcome }) => outcome);

async function copied(): Promise<void> {
  await data.prepare(ctx);
  await data.copy(ctx);
}

async function cutOver(): Promise<void> {
  await data.prepareReverse(ctx);
  const locked = await data.lock(ctx, 'forward');
  await locked.applyToEmpty();
  expect((await locked.verify('changed')).map(({ outcome }) => outcome)).toEqual(['PASS']);
  await locked.sequences();
  await locked.fence();
  await data.unfence(ctx, 'next');
}

describe('a move between two SQLite files', () => {
  it('copies in chunks, applies what changed meanwhile, and verifies every row', async () => {
    for (let index = 0; index < 35; index++) add(legacy, `note ${index}`);
    await copied();
    add(legacy, 'late');
    legacy.exec("UPDATE events SET note = 'changed' WHERE id = 3; DELETE FROM events WHERE id = 5");
    expect(await data.catchUp(ctx, 'forward')).toEqual({ applied: 3, pending: 0 });
    expect(rows(next)).toEqual(rows(legacy));
    expect(await data.verify(ctx, 'forward', 'full')).toEqual([
      { check: 'main.events: rows equal', outcome: 'PASS', evidence: '35 rows compared, 0 differ', measured: 35 },
    ]);
  });

  it('switches under the lock, and takes everything back', async () => {
    for (let index = 0; index < 12; index++) add(legacy, `note ${index}`);
    await copied();
    expect(() => add(next, 'too early')).toThrow('does not accept writes');
    await outcomes('forward');
    add(legacy, 'last');
    await cutOver();
    expect(() => add(legacy, 'too late')).toThrow('does not accept writes');
    expect(await data.isFenced(ctx, 'legacy')).toBe(true);
    expect(await data.isFenced(ctx, 'next')).toBe(false);

    add(next, 'on the new side');
    next.exec("UPDATE events SET kind = 'gone' WHERE note = 'note 1'; DELETE FROM events WHERE note = 'note 2'");
    expect((await data.catchUp(ctx, 'reverse')).applied).toBe(3);
    expect(rows(legacy)).toEqual(rows(next));
    expect(await outcomes('reverse')).toEqual(['PASS']);

    add(next, 'just before the rollback');
    const locked = await data.lock(ctx, 'reverse');
    await locked.applyToEmpty();
    expect((await locked.verify('changed')).map(({ outcome }) => outcome)).toEqual(['PASS']);
    await locked.sequences();
    await locked.fence();
    await data.unfence(ctx, 'legacy');
    expect(notes(legacy)).toContain('just before the rollback');
    add(legacy, 'back home');
    expect(() => add(next, 'no more')).toThrow('does not accept writes');
    await data.catchUp(ctx, 'forward');
    expect(rows(next)).toEqual(rows(legacy));
    expect(await data.notReturnable(ctx)).toEqual([]);
  });

  it('leaves nothing of its own behind', async () => {
    const schema = (db: DatabaseSync) => db.prepare('SELECT type, name, sql FROM sqlite_schema').all();
    const before = schema(legacy);
    add(legacy, 'a');
    await copied();
    await data.prepareReverse(ctx);
    await data.uninstall(ctx, { emptyTarget: true });
    expect(schema(legacy)).toEqual(before);
    expect(schema(next)).toEqual(before);
    expect(notes(next)).toEqual([]);
  });

  it('finds a row that was changed behind its back', async () => {
    for (let index = 0; index < 12; index++) add(legacy, `note ${index}`);
    await copied();
    next.exec('UPDATE changeover_gate SET bypass = 1');
    next.exec("UPDATE events SET kind = 'wrong' WHERE id = 4; DELETE FROM events WHERE id = 6");
    add(next, 'extra');
    next.exec('UPDATE changeover_gate SET bypass = 0');
    const [verdict] = await data.verify(ctx, 'forward', 'full');
    expect(verdict?.outcome).toBe('FAIL');
    expect(verdict?.evidence).toBe('12 rows compared, 3 differ: (6) is missing; (13) is extra; (4) differs in kind');
  });

  it('moves a unique value from one row to another, in chains and in circles', async () => {
    for (const note of ['a', 'b', 'c']) add(legacy, note);
    await copied();
    legacy.exec(`
      UPDATE events SET note = 'x' WHERE id = 1; UPDATE events SET note = 'a' WHERE id = 2;
      UPDATE events SET note = 'b' WHERE id = 3; UPDATE events SET note = 'c' WHERE id = 1;`);
    await data.catchUp(ctx, 'forward');
    expect(notes(next)).toEqual(['c', 'a', 'b']);
    expect(await outcomes('forward')).toEqual(['PASS']);
  });

  it('says that both sides are empty instead of claiming equality of nothing', async () => {
    await copied();
    expect((await data.verify(ctx, 'forward', 'full'))[0]?.evidence).toBe('both sides are empty');
  });
});
