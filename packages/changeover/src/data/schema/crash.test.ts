import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startChild } from '../../testing/child.ts';
import { openSqlite, testPostgres, testSqlite } from '../../testing/databases.ts';
import { startPostgres, type ThrowawayPostgres } from '../../testing/postgres.ts';
import { tempFolder } from '../../testing/temp.ts';

const LEGACY = `
  CREATE TABLE parents (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, age INTEGER CHECK (age > 0));
  CREATE TABLE children (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents (id), name TEXT);
  CREATE INDEX children_by_parent ON children (parent);
  INSERT INTO parents VALUES (1, 'a', 1), (2, 'b', 2);
  INSERT INTO children VALUES (1, 1, 'x'), (2, 2, NULL);`;

const EVERYTHING: Readonly<Record<'sqlite' | 'postgres', string>> = {
  sqlite:
    "SELECT type || ' ' || name AS what FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' AND name NOT LIKE 'changeover_%' ORDER BY 1",
  postgres: `
    SELECT relkind::text || ' ' || relname AS what FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE 'changeover%'
    UNION ALL SELECT contype::text || ' ' || conname || convalidated FROM pg_constraint WHERE connamespace = 'public'::regnamespace
      AND conname NOT LIKE 'changeover%' AND contype <> 'n' ORDER BY 1`,
};

const MADE: Readonly<Record<'sqlite' | 'postgres', readonly string[]>> = {
  sqlite: ['index children_by_parent', 'table children', 'table parents'],
  postgres: [
    'S children_id_seq',
    'S parents_id_seq',
    'c parents_check_1true',
    'f children_parent_fkeytrue',
    'i bystander_pkey',
    'i children_by_parent',
    'i children_pkey',
    'i parents_name_key',
    'i parents_pkey',
    'p bystander_pkeytrue',
    'p children_pkeytrue',
    'p parents_pkeytrue',
    'r bystander',
    'r children',
    'r parents',
    'u parents_name_keytrue',
  ],
};

let server: ThrowawayPostgres;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(async () => {
  await server.stop();
});

/** Ways to the end, each run killed after its first statement. */
const MAX_RUNS = 40;

it.each(['sqlite', 'postgres'] as const)(
  'a run that is killed after every statement makes and removes the same in %s',
  async (kind) => {
    await using temp = await tempFolder();
    await mkdir(path.join(temp.path, 'root'));
    await using legacy = testSqlite(temp.path, 'legacy.db', 5000);
    await legacy.exec(LEGACY);
    const file = path.join(temp.path, 'next.db');
    await using server_ = kind === 'postgres' ? await testPostgres(server.url) : null;
    const address = server_?.address ?? file;
    const everything = async () => {
      if (server_ !== null) return server_.all(EVERYTHING.postgres);
      await using db = openSqlite(file, 5000);
      return await db.all(EVERYTHING.sqlite);
    };
    if (server_ !== null)
      await server_.exec('CREATE TABLE bystander (id int PRIMARY KEY); INSERT INTO bystander VALUES (1)');

    let epoch = 0;
    const untilDone = async (what: 'make' | 'remove') => {
      for (let killed = 0; killed < MAX_RUNS; killed++) {
        const child = startChild(path.join(import.meta.dirname, 'schema.child.ts'), {
          args: [temp.path, legacy.address, address, what, String(++epoch), '1'],
        });
        const { signal, code } = await child.exited;
        if (signal === null) {
          expect(code, child.output()).toBe(0);
          return killed;
        }
        expect(signal).toBe('SIGKILL');
      }
      throw new Error('it never came to an end');
    };

    const made = await untilDone('make');
    expect(made).toBeGreaterThan(kind === 'sqlite' ? 2 : 6);
    expect((await everything()).map(({ what }) => what)).toEqual(MADE[kind]);
    const removed = await untilDone('remove');
    expect(removed).toBeGreaterThan(1);
    if (kind === 'sqlite') expect(existsSync(file)).toBe(false);
    else
      expect(await everything()).toEqual([
        { what: 'i bystander_pkey' },
        { what: 'p bystander_pkeytrue' },
        { what: 'r bystander' },
      ]);
  },
  120_000,
);
