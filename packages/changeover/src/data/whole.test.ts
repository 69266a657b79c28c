import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Context } from '../plan/context.ts';
import type { DataPort } from '../plan/ports.ts';
import { testContext } from '../testing/context.ts';
import { testSqlite, type TestDatabase } from '../testing/databases.ts';
import { tempFolder, type TempFolder } from '../testing/temp.ts';
import { createDataMove, sync } from './move.ts';
import { document, jsonFormat } from './stores/document/index.ts';
import { log } from './stores/log/index.ts';
import { sqlite } from './stores/sqlite/index.ts';

let temp: TempFolder;
let ctx: Context;
let next: TestDatabase;
let data: DataPort;

beforeEach(async () => {
  temp = await tempFolder();
  ctx = testContext(temp.path);
  next = testSqlite(temp.path, 'next.db');
});
afterEach(async () => {
  await data.close();
  await next.close();
  await temp.remove();
});

const outcomes = async (direction: 'forward' | 'reverse') =>
  (await data.verify(ctx, direction, 'full')).map(({ outcome }) => outcome);

async function live(): Promise<void> {
  await data.installEpoch(ctx);
  await data.prepare(ctx);
  await data.copy(ctx);
  await data.prepareReverse(ctx);
  await data.catchUp(ctx, 'forward');
  expect(await outcomes('forward')).toEqual(['PASS']);
  const locked = await data.lock(ctx, 'forward');
  await locked.applyToEmpty();
  expect((await locked.verify('changed')).map(({ outcome }) => outcome)).toEqual(['PASS']);
  await locked.fence();
  await data.unfence(ctx, 'next');
}

interface People {
  readonly people: Record<string, { readonly age: number; readonly note?: string }>;
}

describe('a document', () => {
  let file: string;
  const read = () => JSON.parse(readFileSync(file, 'utf8')) as People;
  const write = (people: People['people']) => {
    writeFileSync(file, JSON.stringify({ people }));
  };

  beforeEach(async () => {
    file = path.join(temp.path, 'people.json');
    write({ ann: { age: 30, note: 'kept' }, bob: { age: 40 }, robot: { age: -1 } });
    await next.exec('CREATE TABLE persons (name TEXT PRIMARY KEY, age INTEGER)');
    const store = document({
      files: { people: file },
      format: jsonFormat(),
      tables: {
        people: {
          key: ['name'],
          columns: { name: 'text', age: 'integer', note: 'text' },
          rows: ({ people }) =>
            Object.entries((people as unknown as People | null)?.people ?? {}).map(([name, { age, note }]) => ({
              name,
              age,
              note: note ?? null,
            })),
        },
      },
      render: ({ people }) => ({
        people: {
          people: Object.fromEntries(
            people.map(({ name, age, note }) => [
              String(name),
              { age: Number(age), ...(note == null ? {} : { note: String(note) }) },
            ]),
          ),
        },
      }),
    });
    data = createDataMove([
      sync({
        name: 'people',
        from: store,
        to: sqlite(next.address),
        tables: {
          persons: {
            from: 'people',
            row: {
              to: ({ name, age }) => (Number(age) < 0 ? null : { name: name ?? null, age: age ?? null }),
              back: ({ name, age }) => (age === null ? null : { name: name ?? null, age: age ?? null }),
            },
          },
        },
      }),
    ]);
  });

  it('is followed while it changes, and replaced as a whole on the way back', async () => {
    await data.prepare(ctx);
    await data.copy(ctx);
    write({ ann: { age: 31, note: 'kept' }, eve: { age: 20 }, robot: { age: -1 } });
    await live();
    expect(await next.all('SELECT * FROM persons ORDER BY name')).toEqual([
      { name: 'ann', age: 31 },
      { name: 'eve', age: 20 },
    ]);
    await next.exec("UPDATE persons SET age = 32 WHERE name = 'ann'; DELETE FROM persons WHERE name = 'eve'");
    await next.exec("INSERT INTO persons VALUES ('zoe', 5), ('ageless', NULL)");
    await data.catchUp(ctx, 'reverse');
    expect(read()).toEqual({
      people: { ann: { age: 32, note: 'kept' }, robot: { age: -1 }, zoe: { age: 5 } },
    });
    expect(await data.notReturnable(ctx)).toMatchObject([{ table: 'persons', rows: 1 }]);
    expect(await outcomes('reverse')).toEqual(['PASS']);
    const bytes = readFileSync(file);
    const locked = await data.lock(ctx, 'reverse');
    await locked.applyToEmpty();
    expect((await locked.verify('changed')).map(({ outcome }) => outcome)).toEqual(['PASS']);
    await locked.fence();
    expect(readFileSync(file)).toEqual(bytes);
  });
});

describe('a log', () => {
  it('is followed line by line, and appended to on the way back', async () => {
    const file = path.join(temp.path, 'events.log');
    const line = (text: string) => `${JSON.stringify({ text })}\n`;
    writeFileSync(file, line('one') + 'broken\n' + line('two'));
    await next.exec('CREATE TABLE events (id TEXT PRIMARY KEY, text TEXT)');
    data = createDataMove([
      sync({
        name: 'events',
        from: log(file, { format: 'json' }),
        to: sqlite(next.address),
        tables: {
          events: {
            from: 'lines',
            row: {
              to: ({ id, text }) => ({ id: id ?? null, text: (JSON.parse(String(text)) as { text: string }).text }),
              back: ({ id, text }) => ({ id: id ?? null, text: JSON.stringify({ text }) }),
            },
            givesUp: ['changed and deleted events: the log only grows'],
          },
        },
      }),
    ]);
    await data.prepare(ctx);
    await data.copy(ctx);
    appendFileSync(file, line('three') + '{"text": "half');
    await data.catchUp(ctx, 'forward');
    expect((await next.all('SELECT text FROM events')).map(({ text }) => text)).toEqual(['one', 'two', 'three']);
    writeFileSync(file, readFileSync(file, 'utf8').replace('{"text": "half', ''));
    await live();
    const before = readFileSync(file, 'utf8');
    await next.exec(
      "INSERT INTO events VALUES ('new-1', 'four'); UPDATE events SET text = 'changed' WHERE text = 'one'",
    );
    await data.catchUp(ctx, 'reverse');
    expect(readFileSync(file, 'utf8')).toBe(before + line('four'));
    expect(await data.notReturnable(ctx)).toMatchObject([{ table: 'events', rows: 1 }]);
    expect(await outcomes('reverse')).toEqual(['PASS']);
    const locked = await data.lock(ctx, 'reverse');
    await locked.applyToEmpty();
    expect((await locked.verify('changed')).map(({ outcome }) => outcome)).toEqual(['PASS']);
    await locked.fence();
  });
});
