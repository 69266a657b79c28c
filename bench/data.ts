import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { createDataMove, sync } from '../packages/changeover/src/data/move.ts';
import { sqlite } from '../packages/changeover/src/data/stores/sqlite/index.ts';
import { testContext } from '../packages/changeover/src/testing/context.ts';
import {
  testMariadb,
  testPostgres,
  testSqlite,
  type TestDatabase,
} from '../packages/changeover/src/testing/databases.ts';
import { mariadbIsMissing, startMariadb, type ThrowawayMariadb } from '../packages/changeover/src/testing/mariadb.ts';
import { startPostgres, type ThrowawayPostgres } from '../packages/changeover/src/testing/postgres.ts';
import { isInstalled, pgcopydb, pgloader, readyText, readyTextInTwo, writeReadyText } from './data/peers.ts';
import { withProcessorTime } from './data/processor.ts';
import { BENCH_TABLES, writeMariadb, writeSqlite, type BenchTable } from './data/tables.ts';

const ROUNDS = 3;
const CAPTURED_WRITES = 5000;
/** As on a server of its own. */
const MARIADB_SETTINGS = ['--innodb-buffer-pool-size=512M', '--innodb-log-file-size=256M'];

/** Ratios are medians of one run, null where the peer is not there or failed; of several tables the worst counts. */
export interface DataFigures {
  readonly sqlitePostgresVsPgloader: number | null;
  readonly postgresPostgresVsPgcopydb: number | null;
  readonly mariadbPostgresVsPgloader: number | null;
  /** Time of our copy, SQLite to Postgres, over that of `\copy` of ready text; the worst of narrow and wide rows. */
  readonly copyVsLimit: number | null;
  readonly peakMemoryMb: number;
  /** Time of a small write to SQLite with capture over that without. */
  readonly captureWriteOverhead: number;
  /** Narrow rows, SQLite to Postgres. */
  readonly verifyRowsPerSecond: number;
}

interface Moved {
  readonly totalMs: number;
  /** Until all rows are there under their key, and everything that is written to the source is captured. */
  readonly copyMs: number;
  readonly verifyMs: number;
  readonly rows: number;
  readonly memoryMb: number;
}

/** One pair of stores and the peer that moves between the same two. */
interface Pair {
  readonly name: string;
  readonly peer: string;
  readonly figure: keyof DataFigures;
  /** Our time that is compared: pgloader is beaten with our verification in it; pgcopydb, which has none, by what it does itself. */
  readonly ours: 'totalMs' | 'copyMs';
  /** The source, filled; null where there can be none on this machine. */
  source(place: Place): Promise<{ readonly address: string; close(): Promise<void> } | null>;
  /** One run of the peer into `target`, which is empty; in milliseconds. */
  rival(place: Place, source: string, target: TestDatabase): Promise<number | null>;
}

interface Place {
  readonly folder: string;
  readonly server: ThrowawayPostgres;
  readonly mariadb: ThrowawayMariadb | null;
  readonly table: BenchTable;
  readonly rows: number;
  readonly file: string;
}

const PAIRS: readonly Pair[] = [
  {
    name: 'SQLite to Postgres',
    peer: 'pgloader',
    figure: 'sqlitePostgresVsPgloader',
    ours: 'totalMs',
    source: ({ file }) => Promise.resolve({ address: file, close: () => Promise.resolve() }),
    rival: ({ table }, source, target) => Promise.resolve(pgloader(source, target.address, ...(table.pgloader ?? []))),
  },
  {
    name: 'Postgres to Postgres',
    peer: 'pgcopydb',
    figure: 'postgresPostgresVsPgcopydb',
    ours: 'copyMs',
    source: async ({ server, table, folder }) => {
      const db = await testPostgres(server.url);
      await db.exec(table.postgres);
      readyText(db.address, path.join(folder, 'ready.text'));
      await db.exec('VACUUM ANALYZE events');
      return db;
    },
    rival: async ({ folder, table }, source, target) => {
      await target.exec(table.postgres.replace(' PRIMARY KEY', ' NOT NULL'));
      return pgcopydb(source, target.address, folder);
    },
  },
  {
    name: 'MariaDB to Postgres',
    peer: 'pgloader',
    figure: 'mariadbPostgresVsPgloader',
    ours: 'totalMs',
    source: async ({ mariadb, table, rows }) => {
      if (mariadb === null) return null;
      const db = await testMariadb(mariadb.url);
      await writeMariadb(db, table, rows);
      const close = async () => {
        await db.exec(`DROP DATABASE ${new URL(db.address).pathname.slice(1)}`);
        await db.close();
      };
      return { address: db.address, close };
    },
    rival: ({ table }, source, target) => Promise.resolve(pgloader(source, target.address, ...(table.pgloader ?? []))),
  },
];

/**
 * Moves end to end, keys built, every row verified and capture on, beside the best tool for each pair: turn by turn, so that a busy machine
 * hits both. All tables have their key from the beginning, as the target of a move has.
 *
 * @param factor Share of the rows of a full run.
 */
export async function benchData(factor: number): Promise<DataFigures> {
  const folder = mkdtempSync(path.join(tmpdir(), 'changeover-bench-'));
  const server = await startPostgres();
  const mariadb = (await mariadbIsMissing()) === null ? await startMariadb({ settings: MARIADB_SETTINGS }) : null;
  const ratios = new Map<keyof DataFigures, (number | null)[]>();
  const runs: Moved[] = [];
  const overLimit: number[] = [];
  let verifyRowsPerSecond = 0;
  try {
    for (const table of BENCH_TABLES) {
      const rows = Math.max(1, Math.round(table.rows * factor));
      const place = { folder, server, mariadb, table, rows, file: path.join(folder, `${table.name}.db`) };
      writeSqlite(place.file, table, rows);
      for (const pair of PAIRS) {
        const compared = await comparePair(place, pair);
        if (compared === null) continue;
        const { ours, rival, limit } = compared;
        runs.push(...ours);
        const ratio = rival === null ? null : rival / median(ours.map((one) => one[pair.ours]));
        ratios.set(pair.figure, [...(ratios.get(pair.figure) ?? []), ratio]);
        console.error(describe(table, rows, pair, compared));
        if (table.name === 'blobs' || pair.figure !== 'sqlitePostgresVsPgloader') continue;
        if (limit !== null) overLimit.push(median(ours.map(({ copyMs }) => copyMs)) / limit);
        if (table.name !== 'narrow') continue;
        verifyRowsPerSecond = (1000 * rows) / median(ours.map(({ verifyMs }) => verifyMs));
      }
      rmSync(place.file);
    }
    return {
      sqlitePostgresVsPgloader: worst(ratios.get('sqlitePostgresVsPgloader')),
      postgresPostgresVsPgcopydb: worst(ratios.get('postgresPostgresVsPgcopydb')),
      mariadbPostgresVsPgloader: worst(ratios.get('mariadbPostgresVsPgloader')),
      copyVsLimit: overLimit.length === 0 ? null : Math.max(...overLimit),
      peakMemoryMb: Math.max(...runs.map(({ memoryMb }) => memoryMb)),
      captureWriteOverhead: await captureOverhead(folder),
      verifyRowsPerSecond,
    };
  } finally {
    await server.stop();
    await mariadb?.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Compared {
  readonly ours: readonly Moved[];
  readonly rival: number | null;
  /** `\\copy` of ready text, in one stream and in two. */
  readonly limit: number | null;
  readonly limitInTwo: number | null;
  /** Processor time of each, servers included. */
  readonly oursProcessorMs: number | null;
  readonly rivalProcessorMs: number | null;
}

async function comparePair(place: Place, pair: Pair): Promise<Compared | null> {
  const hasRival = isInstalled(pair.peer);
  if (!hasRival) console.error(`${pair.peer} is not installed: no ratio for ${pair.name}`);
  const ready = path.join(place.folder, 'ready.text');
  const source = await pair.source(place);
  if (source === null) return null;
  const ours: Moved[] = [];
  const rivals: (number | null)[] = [];
  const limits: (number | null)[] = [];
  const limitsInTwo: (number | null)[] = [];
  const processor: Record<'ours' | 'rival', (number | null)[]> = { ours: [], rival: [] };
  try {
    for (let round = 0; round < ROUNDS; round++) {
      await withTarget(place, async (target) => {
        await target.exec(place.table.postgres);
        const { result, processorMs } = await withProcessorTime(place.server.pid, () =>
          move(place.folder, source.address, target.address),
        );
        ours.push(result);
        processor.ours.push(processorMs);
        // Any later pair of the same table reads this text.
        if (round === 0) writeReadyText(target.address, ready);
      });
      if (hasRival)
        await withTarget(place, async (target) => {
          const { result, processorMs } = await withProcessorTime(place.server.pid, () =>
            pair.rival(place, source.address, target),
          );
          rivals.push(result);
          processor.rival.push(processorMs);
        });
      await withTarget(place, async (target) => {
        await target.exec(place.table.postgres);
        limits.push(readyText(target.address, ready));
      });
      await withTarget(place, async (target) => {
        await target.exec(place.table.postgres);
        limitsInTwo.push(readyTextInTwo(target.address, ready));
      });
    }
  } finally {
    await source.close();
  }
  return {
    ours,
    rival: medianOf(rivals),
    limit: medianOf(limits),
    limitInTwo: medianOf(limitsInTwo),
    oursProcessorMs: medianOf(processor.ours),
    rivalProcessorMs: medianOf(processor.rival),
  };
}

async function withTarget({ server }: Place, act: (target: TestDatabase) => Promise<void>): Promise<void> {
  const target = await testPostgres(server.url);
  const name = new URL(target.address).pathname.slice(1);
  try {
    await act(target);
  } finally {
    await target.close();
    const admin = await testPostgres(server.url);
    await admin.exec(`DROP DATABASE ${name} WITH (FORCE)`);
    await admin.exec('CHECKPOINT');
    await admin.close();
  }
}

async function move(folder: string, from: string, to: string): Promise<Moved> {
  const state = mkdtempSync(path.join(folder, 'move-'));
  for (const name of ['root', 'state']) mkdirSync(path.join(state, name));
  const program = path.join(import.meta.dirname, 'data/move.ts');
  const { stdout } = await promisify(execFile)(process.execPath, [program, state, from, to]);
  return JSON.parse(stdout) as Moved;
}

/** The same small transactions on a table that is captured and on one that is not, in turns. */
async function captureOverhead(folder: string): Promise<number> {
  const home = path.join(folder, 'capture');
  for (const name of ['root', 'state']) mkdirSync(path.join(home, name), { recursive: true });
  const schema = 'CREATE TABLE events (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, at REAL)';
  const [plain, captured, next] = ['plain.db', 'captured.db', 'next.db'].map((name) => testSqlite(home, name));
  if (plain === undefined || captured === undefined || next === undefined) throw new TypeError('three files');
  for (const db of [plain, captured, next]) await db.exec(`PRAGMA synchronous = NORMAL; ${schema}`);
  const ctx = testContext(home);
  const from = sqlite(captured.address);
  const data = createDataMove([sync({ name: 'main', from, to: sqlite(next.address), tables: { events: {} } })]);
  await data.prepare(ctx);
  const took = new Map<TestDatabase, number[]>([
    [plain, []],
    [captured, []],
  ]);
  for (let write = 0; write < CAPTURED_WRITES; write++)
    for (const [db, times] of took) {
      const started = performance.now();
      await db.exec("INSERT INTO events (kind, at) VALUES ('press', 1.5)");
      times.push(performance.now() - started);
    }
  await data.close();
  for (const db of [plain, captured, next]) await db.close();
  return median(took.get(captured) ?? []) / median(took.get(plain) ?? []);
}

function describe(
  table: BenchTable,
  rows: number,
  pair: Pair,
  { ours, rival, limit, limitInTwo, oursProcessorMs, rivalProcessorMs }: Compared,
): string {
  const seconds = (ms: number | null) => (ms === null ? 'not measured' : `${(ms / 1000).toFixed(2)} s`);
  const part = (name: 'totalMs' | 'copyMs' | 'verifyMs') => seconds(median(ours.map((one) => one[name])));
  const memory = Math.max(...ours.map(({ memoryMb }) => memoryMb)).toFixed(0);
  const whole = `ours ${part('totalMs')} (copy ${part('copyMs')}, verification ${part('verifyMs')}, processor ${seconds(oursProcessorMs)}, ${memory} MB)`;
  const other = `${pair.peer} ${seconds(rival)} (processor ${seconds(rivalProcessorMs)})`;
  return `  ${pair.name}, ${rows} ${table.name} rows: ${whole}, ${other}, ready text ${seconds(limit)}, in two streams ${seconds(limitInTwo)}`;
}

/** Null where one is. */
function worst(values: readonly (number | null)[] = []): number | null {
  return values.some((value) => value === null) || values.length === 0 ? null : Math.min(...values.map(Number));
}

function medianOf(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length < values.length || known.length === 0 ? null : median(known);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
