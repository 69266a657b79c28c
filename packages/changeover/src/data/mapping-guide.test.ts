import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
import type { TableMapping } from '../plan/sync.ts';
import type { TestDatabase } from '../testing/databases.ts';
import { MappedMove } from '../testing/mapped-move.ts';
import { createDataMove, sync } from './move.ts';
import { sqlite } from './stores/sqlite/index.ts';

const GUIDE = fileURLToPath(new URL('../../../../docs/guide.md', import.meta.url));
const DEFINE = new URL('define.ts', import.meta.url).href;

it('the tables that the guide shows move there and back', async () => {
  const storeOf = ({ address }: TestDatabase) => sqlite(address);
  await using move = await MappedMove.begin({ servers: {}, storeOf, createDataMove, sync });
  const { legacy, next } = move;
  const [, section = ''] = readFileSync(GUIDE, 'utf8').split('### Mapping\n');
  const example = /```ts\n(.*?)```/s.exec(section)?.[1] ?? '';
  const file = path.join(path.dirname(legacy.address), 'tables', 'example.mjs');
  mkdirSync(path.dirname(file));
  writeFileSync(
    file,
    `import { constant, expression } from ${JSON.stringify(DEFINE)};\n${example}\nexport { tables };\n`,
  );
  const { tables } = (await import(/* @vite-ignore */ pathToFileURL(file).href)) as {
    tables: Record<string, TableMapping>;
  };

  await legacy.exec(`CREATE TABLE users (user_id INTEGER PRIMARY KEY, first TEXT, last TEXT, street TEXT, city TEXT);
    CREATE TABLE events_2025 (id INTEGER PRIMARY KEY, what TEXT); CREATE TABLE events_2026 (id INTEGER PRIMARY KEY, what TEXT);
    CREATE TABLE badges (id INTEGER PRIMARY KEY, data TEXT);
    INSERT INTO users VALUES (1, 'Ann', 'Lee', 'High St', 'Leeds'), (2, 'Bob', 'Ray', NULL, NULL);
    INSERT INTO events_2025 VALUES (1, 'bell'); INSERT INTO events_2026 VALUES (2, 'knock');
    INSERT INTO badges VALUES (1, '{"color":"red"}')`);
  await next.exec(`CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, initials TEXT);
    CREATE TABLE addresses (person INTEGER PRIMARY KEY, street TEXT, city TEXT);
    CREATE TABLE events (id INTEGER PRIMARY KEY, what TEXT, year INTEGER); CREATE TABLE badges (id INTEGER PRIMARY KEY, color TEXT)`);
  move.plan(tables);
  expect(await move.errors()).toEqual([]);
  await move.copy();
  for (const verdict of await move.switchOver()) expect(verdict).toBe('PASS');
  await next.exec(`UPDATE people SET name = 'Anna Lee' WHERE id = 1; INSERT INTO addresses VALUES (2, 'Low Rd', 'York');
    UPDATE events SET year = 2026 WHERE id = 1; UPDATE badges SET color = 'blue'`);
  for (const verdict of await move.switchBack()) expect(verdict).toBe('PASS');
  expect(await legacy.all('SELECT * FROM users')).toEqual([
    { user_id: 1, first: 'Anna', last: 'Lee', street: 'High St', city: 'Leeds' },
    { user_id: 2, first: 'Bob', last: 'Ray', street: 'Low Rd', city: 'York' },
  ]);
  expect(await legacy.all('SELECT id FROM events_2026')).toEqual([{ id: 1 }, { id: 2 }]);
  expect(await legacy.all('SELECT data FROM badges')).toEqual([{ data: '{"color":"blue"}' }]);
});
