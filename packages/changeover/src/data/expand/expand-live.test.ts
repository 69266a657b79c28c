import { randomInt } from 'node:crypto';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startChild } from '../../testing/child.ts';
import { testContext } from '../../testing/context.ts';
import { connectPostgres, testPostgres, type TestDatabase } from '../../testing/databases.ts';
import { startPostgres, type ThrowawayPostgres } from '../../testing/postgres.ts';
import { tempFolder } from '../../testing/temp.ts';
import { createDataMove, expand } from '../move.ts';
import { postgres } from '../stores/postgres/index.ts';
import { PEOPLE, peopleSql } from './people.ts';

/** Ways to the end, each run killed after its first statement. */
const MAX_RUNS = 80;

const OURS = `
  SELECT relname AS what FROM pg_class WHERE relname LIKE '%changeover%'
  UNION ALL SELECT proname FROM pg_proc WHERE proname LIKE '%changeover%'
  UNION ALL SELECT tgname FROM pg_trigger WHERE tgname LIKE '%changeover%'`;

const SCHEMA = `
  SELECT attname AS what FROM pg_attribute WHERE attrelid = 'people'::regclass AND attnum > 0 AND NOT attisdropped
  UNION ALL SELECT conname || ' ' || convalidated FROM pg_constraint WHERE conrelid = 'people'::regclass AND contype <> 'n'
  UNION ALL SELECT indexrelid::regclass::text || ' ' || indisvalid FROM pg_index WHERE indrelid = 'people'::regclass ORDER BY 1`;

const BEFORE = ['first', 'id', 'last', 'people_pkey true', 'people_pkey true', 'version'];
const EXPANDED = [
  ...BEFORE,
  'full_name',
  'people_by_full_name true',
  'people_by_version true',
  'people_named true',
].sort();
const FINISHED = EXPANDED.filter((what) => !['first', 'last'].includes(what));

interface Name {
  readonly first: string;
  readonly last: string;
}

/** A writer that waited longer than this for a lock would fail with 55P03, and the test with it. */
const MAX_WAIT_MS = 2000;
const ROWS_A_TRANSACTION = 3;

/**
 * Applications of both sides that write the same rows, several rows a transaction, until they are stopped. Old ones write `first` and `last`,
 * new ones `full_name`. Each write raises the row's version, so that it is known which one was last.
 */
class Writers {
  /** Row → its last write, by version. */
  readonly #last = new Map<number, { readonly version: number; readonly name: Name }>();
  readonly #over = new AbortController();
  readonly #running: Promise<void>[] = [];
  readonly #address: string;
  readonly #rows: number;
  writes = 0;

  constructor(address: string, rows: number) {
    this.#address = address;
    this.#rows = rows;
  }

  start(side: 'old' | 'new', count: number): void {
    for (let index = 0; index < count; index++) this.#running.push(this.#write(side));
  }

  /** Rejects with the first error that any of them met. */
  async stop(): Promise<void> {
    this.#over.abort();
    await Promise.all(this.#running);
  }

  /** Every row as its last writer left it: on both sides, or on the one whose columns are there. */
  expected(id: number): Name {
    return this.#last.get(id)?.name ?? { first: `f${id}`, last: `l${id}` };
  }

  async #write(side: 'old' | 'new'): Promise<void> {
    const db = await connectPostgres(this.#address);
    try {
      await db.exec(`SET lock_timeout = ${MAX_WAIT_MS}`);
      while (!this.#over.signal.aborted) await this.#transaction(db, side);
    } finally {
      await db.close();
    }
  }

  async #transaction(db: TestDatabase, side: 'old' | 'new'): Promise<void> {
    // In the order of the key, or they would lock each other out.
    const ids = new Set(Array.from({ length: ROWS_A_TRANSACTION }, () => randomInt(1, this.#rows + 1)));
    const written: { id: number; version: number; name: Name }[] = [];
    await db.exec('BEGIN');
    for (const id of [...ids].sort((a, b) => a - b)) {
      const name = { first: `${side}${randomInt(1e6)}`, last: `x${randomInt(1e6)}` };
      const set =
        side === 'old' ? `first = '${name.first}', last = '${name.last}'` : `full_name = '${name.first} ${name.last}'`;
      const [row] = await db.all(
        `INSERT INTO people (id, ${side === 'old' ? 'first, last' : 'full_name'}, version)
         VALUES (${id}, ${side === 'old' ? `'${name.first}', '${name.last}'` : `'${name.first} ${name.last}'`}, 1)
         ON CONFLICT (id) DO UPDATE SET ${set}, version = people.version + 1 RETURNING version`,
      );
      written.push({ id, version: Number(row?.['version']), name });
    }
    await db.exec('COMMIT');
    this.writes += written.length;
    for (const { id, version, name } of written)
      if (version > (this.#last.get(id)?.version ?? 0)) this.#last.set(id, { version, name });
  }
}

let server: ThrowawayPostgres;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(async () => {
  await server.stop();
});

const schemaOf = async (db: TestDatabase) => (await db.all(SCHEMA)).map(({ what }) => what);

async function expectRows(
  db: TestDatabase,
  writers: Writers,
  count: number,
  columns: 'old' | 'new' | 'both',
): Promise<void> {
  const rows = await db.all('SELECT * FROM people ORDER BY id');
  expect(rows).toHaveLength(count);
  for (const { id, first, last, full_name } of rows) {
    const name = writers.expected(Number(id));
    if (columns !== 'new') expect({ id, first, last }).toEqual({ id, ...name });
    if (columns !== 'old') expect({ id, full_name }).toEqual({ id, full_name: `${name.first} ${name.last}` });
  }
}

it('old and new applications write the same rows all the time, and none of them waits, fails or loses a write', async () => {
  await using temp = await tempFolder();
  await using db = await testPostgres(server.url);
  await db.exec(peopleSql(3000));
  const ctx = testContext(temp.path, { liveSide: 'legacy' });
  const data = createDataMove([
    expand({ name: 'main', in: postgres(db.address), tables: { people: PEOPLE }, chunkRows: 200 }),
  ]);
  const writers = new Writers(db.address, 3000);
  writers.start('old', 4);
  await data.prepare(ctx);
  writers.start('new', 2);
  await data.copy(ctx);
  expect((await data.verify(ctx, 'forward', 'full')).map(({ outcome }) => outcome)).toEqual(['PASS']);
  expect((await data.verify(ctx, 'reverse', 'full')).map(({ outcome }) => outcome)).toEqual(['PASS']);
  await writers.stop();
  expect(writers.writes).toBeGreaterThan(100);
  expect(await schemaOf(db)).toEqual(EXPANDED);
  await expectRows(db, writers, 3000, 'both');

  // The old application has ended, the new one goes on while the old columns go.
  const after = new Writers(db.address, 3000);
  await db.exec("UPDATE people SET full_name = 'f' || id || ' l' || id, version = 0");
  after.start('new', 4);
  await data.uninstall(testContext(temp.path, { liveSide: 'next' }), { emptyTarget: false });
  await after.stop();
  await data.close();
  expect(await schemaOf(db)).toEqual(FINISHED);
  expect(await db.all(OURS)).toEqual([]);
  await expectRows(db, after, 3000, 'new');
}, 60_000);

it('runs that are killed after every statement while others write come to the end, and back', async () => {
  await using temp = await tempFolder();
  await using db = await testPostgres(server.url);
  await db.exec(peopleSql(200));
  let epoch = 0;
  const start = (what: string, statements: string) =>
    startChild(path.join(import.meta.dirname, 'expand.child.ts'), {
      args: [temp.path, db.address, what, String(++epoch), statements],
    });
  const run = async (what: string, statements: string) => {
    const child = start(what, statements);
    const { signal, code } = await child.exited;
    if (signal === null) expect(code, child.output()).toBe(0);
    else expect(signal).toBe('SIGKILL');
    return signal === null;
  };
  const untilDone = async (what: string, isDone: () => Promise<boolean> = () => Promise.resolve(false)) => {
    for (let killed = 0; killed < MAX_RUNS; killed++) if ((await isDone()) || (await run(what, '1'))) return killed;
    throw new Error('it never came to an end');
  };

  const writers = new Writers(db.address, 200);
  writers.start('old', 2);
  // What is made is taken away again, by runs that are killed too.
  expect(await run('make', '0')).toBe(true);
  expect(await untilDone('undo')).toBeGreaterThan(1);
  expect(await schemaOf(db)).toEqual(BEFORE);
  expect(await db.all(OURS)).toEqual([]);

  const isConstrained = async () => {
    const constrained = "attrelid = 'people'::regclass AND attname = 'full_name' AND attnotnull";
    return (await db.all(`SELECT FROM pg_attribute WHERE ${constrained}`)).length > 0;
  };
  expect(await untilDone('make', isConstrained)).toBeGreaterThan(8);
  // Killed in the middle of an index, which waits for a transaction that was open before; the next owner ends what goes on without it.
  await using other = await connectPostgres(db.address);
  await other.exec("BEGIN; INSERT INTO people VALUES (99999, 'a', 'b')");
  const building = () =>
    db.all(
      "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'CREATE INDEX%' AND wait_event_type = 'Lock'",
    );
  const killed = start('make', '0');
  while ((await building()).length === 0) await sleep(10);
  await killed.kill('SIGKILL');
  await killed.exited;
  const [orphan] = await building();
  expect(orphan).toBeDefined();
  const next = run('make', '1');
  while ((await building()).some(({ pid }) => pid === orphan?.['pid'])) await sleep(10);
  expect(await schemaOf(db)).toContain('people_by_full_name false');
  await other.exec('ROLLBACK');
  expect(await next).toBe(false);
  expect(await untilDone('make')).toBeGreaterThan(1);

  expect(await schemaOf(db)).toEqual(EXPANDED);
  await writers.stop();
  expect(writers.writes).toBeGreaterThan(50);
  await expectRows(db, writers, 200, 'both');
  expect(await untilDone('finish')).toBeGreaterThan(1);
  expect(await schemaOf(db)).toEqual(FINISHED);
  expect(await db.all(OURS)).toEqual([]);
  await expectRows(db, writers, 200, 'new');
}, 300_000);
