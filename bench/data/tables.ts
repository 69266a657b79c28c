import { DatabaseSync } from 'node:sqlite';
import type { TestDatabase } from '../../packages/changeover/src/testing/databases.ts';

/** A table of the benchmark, the same rows in every store. */
export interface BenchTable {
  readonly name: string;
  /** Rows of a full run. */
  readonly rows: number;
  readonly sqlite: string;
  readonly postgres: string;
  readonly mariadb: string;
  /** Without it pgloader runs out of memory: it holds 100,000 rows before it writes the first. */
  readonly pgloader?: readonly string[];
  /** Values of row `id`, in the order of the columns. */
  readonly row: (id: number) => (null | number | string | Uint8Array)[];
}

const WIDE_GROUPS = [0, 1, 2, 3, 4];
const BLOB_BYTES = 20_000;

const wide = (types: Readonly<Record<'integer' | 'real' | 'text' | 'flag', string>>) =>
  WIDE_GROUPS.map(
    (group) =>
      `count_${group} ${types.integer}, level_${group} ${types.real}, name_${group} ${types.text}, is_${group} ${types.flag}, note_${group} ${types.text}, code_${group} ${types.integer}`,
  ).join(', ');

export const BENCH_TABLES: readonly BenchTable[] = [
  {
    name: 'narrow',
    rows: 1_000_000,
    sqlite:
      'CREATE TABLE events (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, at REAL, device INTEGER NOT NULL, ok INTEGER, note TEXT, payload TEXT)',
    postgres:
      'CREATE TABLE events (id bigint PRIMARY KEY, kind text NOT NULL, at double precision, device bigint NOT NULL, ok bigint, note text, payload text)',
    mariadb:
      'CREATE TABLE events (id bigint PRIMARY KEY, kind varchar(40) NOT NULL, at double, device bigint NOT NULL, ok bigint, note text, payload text)',
    row: (id) => [
      id,
      ['press', 'motion', 'face'][id % 3] ?? '',
      1.7e9 + id * 0.37,
      id % 1000,
      id % 2,
      id % 7 === 0 ? null : `note of event ${id}`,
      `{"event":${id},"confidence":0.${id % 997},"camera":"front door"}`,
    ],
  },
  {
    name: 'wide',
    rows: 1_000_000,
    sqlite: `CREATE TABLE events (id INTEGER PRIMARY KEY, ${wide({ integer: 'INTEGER', real: 'REAL', text: 'TEXT', flag: 'BOOLEAN' })})`,
    postgres: `CREATE TABLE events (id bigint PRIMARY KEY, ${wide({ integer: 'bigint', real: 'double precision', text: 'text', flag: 'boolean' })})`,
    mariadb: `CREATE TABLE events (id bigint PRIMARY KEY, ${wide({ integer: 'bigint', real: 'double', text: 'text', flag: 'boolean' })})`,
    row: (id) => [
      id,
      ...WIDE_GROUPS.flatMap((group) => [
        id * (group + 1),
        id * 0.37 + group,
        `name ${id % 100} of ${group}`,
        id % 2,
        id % 5 === group ? null : `note ${id}`,
        id % 1000,
      ]),
    ],
  },
  {
    name: 'blobs',
    rows: 100_000,
    pgloader: ['--with', 'prefetch rows = 1000'],
    sqlite: 'CREATE TABLE events (id INTEGER PRIMARY KEY, name TEXT, body BLOB)',
    postgres: 'CREATE TABLE events (id bigint PRIMARY KEY, name text, body bytea)',
    mariadb: 'CREATE TABLE events (id bigint PRIMARY KEY, name text, body longblob)',
    row: (id) => [id, `picture ${id}.jpg`, noise(id)],
  },
];

/** Bytes that do not compress, different for each row. */
function noise(seed: number): Uint8Array {
  const words = new Uint32Array(BLOB_BYTES / 4);
  for (let index = 0, state = seed + 1; index < words.length; index++) {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9;
    words[index] = state;
  }
  return new Uint8Array(words.buffer);
}

export function writeSqlite(file: string, table: BenchTable, rows: number): void {
  const db = new DatabaseSync(file);
  db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; ${table.sqlite}; BEGIN`);
  const insert = db.prepare(
    `INSERT INTO events VALUES (${table
      .row(0)
      .map(() => '?')
      .join(', ')})`,
  );
  for (let id = 1; id <= rows; id++) insert.run(...table.row(id));
  db.exec('COMMIT; PRAGMA wal_checkpoint(TRUNCATE)');
  db.close();
}

/** Bytes of one INSERT, about; the server takes 16 MiB. */
const INSERT_BYTES = 2 << 20;

export async function writeMariadb(db: TestDatabase, table: BenchTable, rows: number): Promise<void> {
  await db.exec(`SET SESSION sql_log_bin = 0; ${table.mariadb}`);
  let lines: string[] = [];
  let bytes = 0;
  for (let id = 1; id <= rows; id++) {
    const line = `(${table.row(id).map(literal).join(', ')})`;
    lines.push(line);
    bytes += line.length;
    if (bytes < INSERT_BYTES && id < rows) continue;
    await db.exec(`INSERT INTO events VALUES ${lines.join(', ')}`);
    lines = [];
    bytes = 0;
  }
  await db.exec('ANALYZE TABLE events');
}

function literal(value: null | number | string | Uint8Array): string {
  if (value === null) return 'NULL';
  if (typeof value === 'number') return String(value);
  return typeof value === 'string' ? `'${value}'` : `x'${Buffer.from(value.buffer).toString('hex')}'`;
}
