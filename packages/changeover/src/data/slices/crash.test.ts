import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { setTimeout as sleep } from 'node:timers/promises';
import { startChild } from '../../testing/child.ts';
import { connectPostgres, openSqlite, testPostgres, testSqlite, type TestDatabase } from '../../testing/databases.ts';
import { startPostgres, type ThrowawayPostgres } from '../../testing/postgres.ts';
import { tempFolder } from '../../testing/temp.ts';
import { SCHEMA, seed } from './slices.child.ts';

/** In the order in which one run reaches them, so that each runner is killed a little later than the one before. */
const FORWARD = [
  'data.epoch.installed',
  'data.capture.installing',
  'data.capture.installed',
  'data.fence.before_commit',
  'data.fence.committed',
  'data.empty.before_commit',
  'data.empty.done',
  'data.copy.before_chunk',
  'data.write.before_commit',
  'data.write.committed',
  'data.copy.after_chunk',
  'data.apply.read',
  'data.apply.written',
  'data.apply.acknowledged',
  'data.lock.locked',
  'data.lock.applied',
  'data.lock.verified',
  'data.lock.sequences',
  'data.unfence.before_commit',
  'data.unfence.committed',
];
/** Where Postgres as the source takes another path than SQLite. */
const SPECIFIC = /capture|fence|lock|acknowledged/;
const REVERSE = FORWARD.slice(FORWARD.indexOf('data.apply.read'));

let server: ThrowawayPostgres;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.stop());

/** One tenant's application: it writes all the time and knows what was acknowledged. */
class Tenant {
  readonly titles = new Map<string, string>();
  readonly refused = new Set<string>();
  #turn = 0;
  #stopped: Promise<void> = Promise.resolve();
  #isWriting = false;
  readonly #network: string;

  constructor(network: string) {
    this.#network = network;
    for (let number = 1; number <= 25; number++) this.titles.set(`${network}${number}`, `stream ${number}`);
  }

  write(db: TestDatabase): void {
    this.#isWriting = true;
    this.#stopped = this.#go(db);
  }

  async stop(): Promise<void> {
    this.#isWriting = false;
    await this.#stopped;
  }

  async #go(db: TestDatabase): Promise<void> {
    while (this.#isWriting) {
      await sleep(5);
      const turn = ++this.#turn;
      const id = `${this.#network}-${turn}`;
      const title = `t${turn}`;
      const [known = id] = [...this.titles.keys()].slice(turn % this.titles.size);
      const kind = turn % 3;
      try {
        if (kind === 0) {
          await db.exec(`INSERT INTO streams VALUES ('${id}', '${this.#network}', 1, '${title}')`);
          this.titles.set(id, title);
          await db.exec(`INSERT INTO plays VALUES ('${id}-play', '${id}', ${turn})`);
        } else if (kind === 1) {
          await db.exec(`UPDATE streams SET title = '${title}' WHERE id = '${known}'`);
          this.titles.set(known, title);
        } else if (this.titles.size > 20) {
          await db.exec(`DELETE FROM streams WHERE id = '${known}'`);
          this.titles.delete(known);
        }
      } catch (error) {
        this.refused.add((error as Error).message);
      }
    }
  }
}

describe.for(['sqlite', 'postgres'] as const)('a slice of %s whose mover is killed again and again', (from) => {
  it('arrives whole on either side, and the other tenant does not notice', { timeout: 300_000 }, async () => {
    await using temp = await tempFolder();
    await using legacy = from === 'sqlite' ? testSqlite(temp.path, 'legacy.db', 5000) : await testPostgres(server.url);
    await using next = await testPostgres(server.url);
    for (const db of [legacy, next]) await db.exec(SCHEMA);
    await seed(legacy);
    await next.exec("INSERT INTO countries VALUES (1, 'Germany'), (2, 'France')");
    const application = async (db: TestDatabase) => {
      const own = db.kind === 'sqlite' ? openSqlite(db.address, 5000) : await connectPostgres(db.address);
      if (db.kind === 'sqlite') await own.exec('PRAGMA foreign_keys = ON');
      return own;
    };
    await using ofA = await application(legacy);
    await using ofB = await application(legacy);
    await using ofAOnNext = await application(next);
    const [a, b] = [new Tenant('a'), new Tenant('b')];
    let epoch = 0;
    const own = (points: readonly string[]) => points.filter((point) => from === 'sqlite' || SPECIFIC.test(point));
    const run = async (direction: string, point: string) => {
      epoch += 1;
      const args = [temp.path, legacy.address, next.address, 'a', direction, String(epoch), point];
      const runner = startChild(new URL('./slices.child.ts', import.meta.url).pathname, { args });
      const expected = point === '-' ? { code: 0, signal: null } : { code: null, signal: 'SIGKILL' };
      expect(await runner.exited, `${direction} ${point}: ${runner.output()}`).toEqual(expected);
    };
    const titlesOf = async (db: TestDatabase, network: string): Promise<Record<string, unknown>> =>
      Object.fromEntries(
        (await db.all(`SELECT id, title FROM streams WHERE network_id = '${network}'`)).map(
          ({ id, title }) => [String(id), title] as const,
        ),
      );
    const count = async (db: TestDatabase, table: string, network: string) =>
      Number(
        (
          await db.all(
            `SELECT count(*) AS n FROM ${table} c JOIN streams s ON s.id = c.stream_id WHERE s.network_id = '${network}'`,
          )
        )[0]?.['n'],
      );

    a.write(ofA);
    b.write(ofB);
    for (const point of [...own(FORWARD), '-']) await run('forward', point);
    await a.stop();
    expect(await titlesOf(next, 'a')).toEqual(Object.fromEntries(a.titles));
    expect(await count(next, 'plays', 'a')).toBe(await count(legacy, 'plays', 'a'));
    expect(await titlesOf(next, 'b')).toEqual({});
    expect([...a.refused].every((message) => message.includes('does not accept writes'))).toBe(true);

    a.write(ofAOnNext);
    for (const point of [...own(REVERSE), '-']) await run('reverse', point);
    await a.stop();
    await b.stop();
    expect(await titlesOf(legacy, 'a')).toEqual(Object.fromEntries(a.titles));
    expect(await count(next, 'plays', 'a')).toBe(await count(legacy, 'plays', 'a'));
    expect(await titlesOf(legacy, 'b')).toEqual(Object.fromEntries(b.titles));
    expect([...b.refused]).toEqual([]);
    await legacy.exec("UPDATE streams SET country_id = 2 WHERE network_id = 'a'");
  });
});
