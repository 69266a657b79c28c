import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { TestDatabase } from '../../testing/databases.ts';
import { MappedMove } from '../../testing/mapped-move.ts';
import { startPostgres, type ThrowawayPostgres } from '../../testing/postgres.ts';
import { constant, createDataMove, expression, sync } from '../move.ts';
import { postgres } from '../stores/postgres/index.ts';
import { sqlite } from '../stores/sqlite/index.ts';

/** More than the copy row by row keeps to itself. */
const ROWS = 6000;

let server: ThrowawayPostgres;
let move: MappedMove;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(async () => {
  await server.stop();
});
afterEach(async () => {
  await move[Symbol.asyncDispose]();
});

const STORES = { sqlite, postgres };

describe.each(['sqlite', 'postgres'] as const)('a large table of %s', (from) => {
  it('is copied and compared in bulk with its expressions and constants', { timeout: 90_000 }, async () => {
    const storeOf = ({ kind, address }: TestDatabase) => STORES[kind as 'sqlite' | 'postgres'](address);
    const servers = { postgres: server };
    move = await MappedMove.begin({ servers, kinds: [from, 'postgres'], storeOf, createDataMove, sync });
    const { legacy, next } = move;
    await legacy.exec('CREATE TABLE items (id INTEGER PRIMARY KEY, a TEXT, b TEXT, n INTEGER)');
    await legacy.exec(
      from === 'sqlite'
        ? `WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < ${ROWS}) INSERT INTO items SELECT n, 'a\t' || n, CASE n % 5 WHEN 0 THEN NULL ELSE 'b\\' || n END, n FROM i`
        : `INSERT INTO items SELECT n, E'a\\t' || n, CASE n % 5 WHEN 0 THEN NULL ELSE 'b\\' || n END, n FROM generate_series(1, ${ROWS}) AS n`,
    );
    await next.exec(
      'CREATE TABLE items (id bigint PRIMARY KEY, label text, twice bigint, source text, at timestamptz, flag boolean)',
    );
    move.plan({
      items: {
        columns: {
          id: 'id',
          label: expression("items.a || '|' || coalesce(b, '-') -- joined", {
            back: { a: "split_part(label, '|', 1)", b: "nullif(split_part(label, '|', 2), '-')" },
          }),
          twice: expression('n * 2', { back: { n: 'twice / 2' } }),
          source: constant("it's\told\\"),
          at: constant('2025-01-31T10:00:00Z'),
          flag: constant(true),
        },
      },
    });
    expect(await move.errors()).toEqual([]);
    await move.copy();
    // The entry before the chunks is what only the bulk copy writes.
    expect(await next.all('SELECT min(seq)::int AS seq FROM changeover_ledger')).toEqual([{ seq: -1 }]);
    expect(
      await next.all('SELECT label, twice::int, source, at::text, flag FROM items WHERE id IN (5, 6) ORDER BY id'),
    ).toEqual([
      { label: 'a\t5|-', twice: 10, source: "it's\told\\", at: expect.any(String) as string, flag: true },
      { label: 'a\t6|b\\6', twice: 12, source: "it's\told\\", at: expect.any(String) as string, flag: true },
    ]);
    expect(await move.verify('forward')).toEqual(['PASS']);
    await move.data.unfence(move.ctx, 'next');
    await next.exec("UPDATE items SET source = 'other' WHERE id = 77; UPDATE items SET label = 'x' WHERE id = 78");
    expect(await move.verify('forward')).toEqual([
      `FAIL: ${ROWS} rows compared, 2 differ: (77) differs in source; (78) differs in label`,
    ]);
    await next.exec(
      "UPDATE items SET source = (SELECT source FROM items WHERE id = 1) WHERE id = 77; UPDATE items SET label = E'a\\t78|b\\\\78' WHERE id = 78",
    );
    expect(await move.switchOver()).toEqual(['PASS']);
    await next.exec(
      "UPDATE items SET twice = 0 WHERE id <= 10; DELETE FROM items WHERE id = 11; UPDATE items SET source = 'new' WHERE id = 12",
    );
    expect(await move.switchBack()).toEqual(['PASS']);
    expect(await legacy.all('SELECT count(*) AS n, sum(n) AS sum FROM items WHERE id <= 12')).toEqual([
      from === 'sqlite' ? { n: 11, sum: 12 } : { n: '11', sum: '12' },
    ]);
    expect((await move.data.notReturnable(move.ctx)).map(({ rows }) => rows)).toEqual([1]);
  });
});
