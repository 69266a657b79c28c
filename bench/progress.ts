import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { createDataMove, sync } from '../packages/changeover/src/data/move.ts';
import { postgres } from '../packages/changeover/src/data/stores/postgres/index.ts';
import { sqlite } from '../packages/changeover/src/data/stores/sqlite/index.ts';
import type { TableMapping } from '../packages/changeover/src/plan/sync.ts';
import { testContext } from '../packages/changeover/src/testing/context.ts';
import { testPostgres } from '../packages/changeover/src/testing/databases.ts';
import { startPostgres, type ThrowawayPostgres } from '../packages/changeover/src/testing/postgres.ts';

const ROUNDS = 3;
/** Of the time that the copy took, at which the estimate is looked at. */
const LOOKED_AT = [0.1, 0.5, 0.9] as const;

interface Table {
  readonly name: string;
  readonly rows: number;
  /** Bytes of the body of row `id`. */
  readonly bytes: (id: number, rows: number) => number;
}

/** In the uneven ones nine rows of ten are small, and the last or the first ones hold nearly all bytes. */
const TABLES: readonly Table[] = [
  { name: 'even', rows: 400_000, bytes: () => 200 },
  { name: 'large rows last', rows: 300_000, bytes: (id, rows) => (id < rows * 0.9 ? 20 : 4000) },
  { name: 'large rows first', rows: 300_000, bytes: (id, rows) => (id < rows * 0.1 ? 4000 : 20) },
];

export interface ProgressFigures {
  /** Share of the whole by which the time left was wrong at half and nine tenths of it, the worst of all: 0.1 is a tenth. */
  readonly evenOff: number;
  readonly unevenOff: number;
  /** At one tenth, where connections and threads have just started. */
  readonly startOff: number;
  /** The same for an estimate by rows alone. */
  readonly unevenOffByRows: number;
}

/**
 * How far the time left is off, seen from outside: what was said at a tenth, at half and at nine tenths of the time that the copy really took, in
 * bulk and row by row. Of several rounds the median counts, as the machine may be busy with something else in one.
 */
export async function benchProgress(factor: number): Promise<ProgressFigures> {
  const folder = mkdtempSync(path.join(tmpdir(), 'changeover-bench-'));
  const server = await startPostgres();
  const worst = { even: 0, uneven: 0, start: 0, byRows: 0 };
  try {
    for (const table of TABLES)
      for (const way of ['bulk', 'row by row'] as const) {
        // A row by itself costs ten times as much.
        const rows = Math.max(1000, Math.round(table.rows * factor * (way === 'bulk' ? 4 : 0.4)));
        const file = path.join(folder, 'legacy.db');
        write(file, table, rows);
        const rounds: { said: number; byRows: number }[][] = [];
        for (let round = 0; round < ROUNDS; round++) rounds.push(await copied(folder, file, server, way));
        const at = LOOKED_AT.map((_, index) => median(rounds.map((moments) => moments[index]?.said ?? Number.NaN)));
        const byRows = LOOKED_AT.map((_, index) =>
          median(rounds.map((moments) => moments[index]?.byRows ?? Number.NaN)),
        );
        console.error(`  ${table.name}, ${way}: off by ${shown(at)}; by rows alone ${shown(byRows)}`);
        const kind = table.name === 'even' ? 'even' : 'uneven';
        worst[kind] = Math.max(worst[kind], ...at.slice(1).map(Math.abs));
        worst.start = Math.max(worst.start, Math.abs(at[0] ?? Number.NaN));
        if (kind === 'uneven') worst.byRows = Math.max(worst.byRows, ...byRows.slice(1).map(Math.abs));
        rmSync(file);
      }
  } finally {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
  return { evenOff: worst.even, unevenOff: worst.uneven, startOff: worst.start, unevenOffByRows: worst.byRows };
}

function write(file: string, { bytes }: Table, rows: number): void {
  const db = new DatabaseSync(file);
  db.exec(
    'PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; CREATE TABLE items (id INTEGER PRIMARY KEY, body TEXT); BEGIN',
  );
  const insert = db.prepare('INSERT INTO items VALUES (?, ?)');
  for (let id = 0; id < rows; id++) insert.run(id, 'x'.repeat(bytes(id, rows)));
  db.exec('COMMIT; PRAGMA wal_checkpoint(TRUNCATE)');
  db.close();
}

/** For each moment that is looked at: by which share of the whole the end was expected too late. */
async function copied(
  folder: string,
  file: string,
  server: ThrowawayPostgres,
  way: 'bulk' | 'row by row',
): Promise<{ said: number; byRows: number }[]> {
  const home = mkdtempSync(path.join(folder, 'move-'));
  for (const name of ['root', 'state']) mkdirSync(path.join(home, name));
  const target = await testPostgres(server.url);
  await target.exec('CREATE TABLE items (id bigint PRIMARY KEY, body text)');
  const told: { atMs: number; leftMs: number | null; done: number; total: number }[] = [];
  const ctx = testContext(home, {
    report: {
      progress: ({ done, total, leftMs = null }) =>
        told.push({ atMs: performance.now(), leftMs, done, total: total ?? 0 }),
      warn: (message) => {
        console.error(message);
      },
      log: () => undefined,
    },
  });
  const byRow: TableMapping = { row: { to: (row) => row, back: (row) => row } };
  const items = way === 'bulk' ? {} : byRow;
  const data = createDataMove([
    sync({ name: 'main', from: sqlite(file), to: postgres(target.address), tables: { items } }),
  ]);
  try {
    await data.prepare(ctx);
    await data.copy(ctx);
  } finally {
    await data.uninstall(ctx, { emptyTarget: true });
    await data.close();
    await target.close();
  }
  const startMs = told[0]?.atMs ?? 0;
  const tookMs = (told.at(-1)?.atMs ?? 0) - startMs;
  return LOOKED_AT.map((at) => {
    const moment = told.find(({ atMs, leftMs }) => leftMs !== null && atMs - startMs >= at * tookMs);
    if (moment === undefined) return { said: Number.NaN, byRows: Number.NaN };
    const passedMs = moment.atMs - startMs;
    return {
      said: (passedMs + (moment.leftMs ?? 0)) / tookMs - 1,
      byRows: (passedMs * moment.total) / Math.max(1, moment.done) / tookMs - 1,
    };
  });
}

function shown(values: readonly number[]): string {
  return values.map((value, index) => `${Math.round(value * 100)} % at ${(LOOKED_AT[index] ?? 0) * 100} %`).join(', ');
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
