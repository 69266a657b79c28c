import type { BulkAddress, Key } from '../../plan/stores.ts';
import { withComputed } from '../stores/postgres/computed.ts';
import { Session } from '../stores/postgres/session.ts';
import {
  columnOf,
  orderOf,
  readKey,
  readShape,
  selection,
  within,
  type PostgresColumn,
  type PostgresShape,
} from '../stores/postgres/shape.ts';
import { quoted } from '../stores/postgres/text.ts';
import { encodeKey } from '../values.ts';
import { copyOut, type CopySink } from './copy-streams.ts';
import { byHalves } from './halving.ts';
import type { Stretch, WorkerSetup } from './messages.ts';
import { builtInType, type PostgresTarget } from './postgres-target.ts';
import { keysOf, type Range } from './ranges.ts';
import { RANGE_BYTES, type BulkSource, type Work } from './source.ts';
import { StreamPair } from './stream-pair.ts';
import { workerContext } from './worker-context.ts';

/** Pages sampled for one boundary, of about a thousand between two: the ranges then differ in size by some in a hundred. */
const SAMPLED_PAGES = 20;
/** Where the server sorts a range, it does so without files. */
const SORT_MEMORY = '32MB';

/** Types whose binary form means the same in every database and version that has them. */
const PORTABLE =
  'int2 int4 int8 oid float4 float8 numeric bool bytea text varchar bpchar name uuid date time timetz timestamp timestamptz interval json jsonb inet cidr macaddr macaddr8 bit varbit';
const BINARY_TYPES = new Set(PORTABLE.split(' ').flatMap((type) => [type, `_${type}`]));

/** A table of Postgres, whose rows go from server to server as the servers write and read them. */
export class PostgresSource implements BulkSource {
  readonly format: 'text' | 'binary';
  readonly #setup: WorkerSetup;
  readonly #session: Session;
  readonly #shape: PostgresShape;
  readonly #columns: readonly PostgresColumn[];
  /** What rows are read from: the table, with what is computed. */
  readonly #from: string;

  private constructor(
    session: Session,
    shape: PostgresShape,
    read: PostgresShape,
    setup: WorkerSetup,
    target: PostgresTarget,
  ) {
    const columns = setup.columns.map(([, source]) => columnOf(read, source));
    this.#from = `${read.qualified} AS t`;
    this.#setup = setup;
    this.#session = session;
    this.#shape = shape;
    this.#columns = columns;
    this.format = columns.every((column, index) => isPortable(column, target.columns[index])) ? 'binary' : 'text';
  }

  static async open(
    address: BulkAddress & { kind: 'postgres' },
    setup: WorkerSetup,
    target: PostgresTarget,
  ): Promise<PostgresSource> {
    const session = new Session(address.url, address.store, workerContext(setup).clock);
    const shape = await readShape(session, address.store, setup.sourceTable);
    await session.query(`SET work_mem = '${SORT_MEMORY}'`);
    const read = await withComputed(session, address.store, shape, setup.computed);
    return new PostgresSource(session, shape, read, setup, target);
  }

  async boundaries(work: Work): Promise<string[]> {
    work.check();
    const { qualified, key } = this.#shape;
    // A partitioned table has no pages of its own.
    const [size] = await this.#session.query(
      `SELECT sum(pg_table_size(relid)), sum(pg_relation_size(relid) / current_setting('block_size')::bigint)
       FROM (SELECT relid FROM pg_partition_tree($1::regclass) UNION SELECT $1::regclass) AS parts`,
      [qualified],
    );
    const ranges = Math.ceil(Number(size?.[0]) / RANGE_BYTES);
    if (ranges <= 1) return [];
    const percent = Math.min(100, (100 * ranges * SAMPLED_PAGES) / Math.max(Number(size?.[1]), 1));
    const columns = key.map(quoted).join(', ');
    // The server sorts the sample and gives back only the keys at equal distances.
    const rows = await this.#session.query(
      `SELECT ${columns} FROM (
         SELECT ${columns}, row_number() OVER (ORDER BY ${columns}) AS place, count(*) OVER () AS places
         FROM ${qualified} TABLESAMPLE SYSTEM (${percent})) AS sample
       WHERE place < places AND place * ${ranges} / places > (place - 1) * ${ranges} / places
       ORDER BY ${columns}`,
    );
    return rows.map((cells) => encodeKey(readKey(this.#shape, cells)));
  }

  async copy(range: Range, sink: CopySink, work: Work): Promise<string> {
    let told = 0;
    // As the target's type is to read it: padding says nothing where the target does not pad.
    const isSame = this.format === 'binary';
    const columns = isSame
      ? this.#columns.map(({ name, alias = name }) => quoted(alias)).join(', ')
      : selection(this.#columns);
    await copyOut(this.#session, this.#copyOf(this.#select(columns, range)), {
      form: 'framed',
      take: (chunk, from, to) => {
        work.check();
        work.progress(0, to - from);
        told += to - from;
        return sink.forward(chunk.subarray(from, to)) && !work.isHeld;
      },
      ready: async () => {
        await work.released();
        await sink.drained();
      },
    });
    return `bytes ${told}`;
  }

  isComparable(target: PostgresTarget): Promise<boolean> {
    const kinds = (shape: PostgresShape) => shape.key.map((name) => columnOf(shape, name).kind).join();
    const pairs = this.#setup.columns;
    const isSame = this.#shape.key.every((key, index) =>
      pairs.some(([name, source]) => source === key && target.shape.key[index] === name),
    );
    return Promise.resolve(isSame && kinds(this.#shape) === kinds(target.shape));
  }

  /** Both servers write a range in the same form, and the bytes are compared as they come; where they differ the range is halved. */
  compare(range: Range, target: PostgresTarget, work: Work): Promise<{ rows: number; differing: readonly Stretch[] }> {
    return byHalves(range, work, {
      compareOne: (stretch) => this.#compareOne(stretch, target),
      keyAt: (stretch, position) => this.#keyAt(stretch, position),
    });
  }

  async close(): Promise<void> {
    await this.#session.close();
  }

  async #compareOne(stretch: Stretch, target: PostgresTarget): Promise<{ rows: number; isEqual: boolean }> {
    const pair = new StreamPair();
    const own = `${this.#select(selection(this.#columns), stretch)} ORDER BY ${orderOf(this.#shape)}`;
    const other = `${target.select(stretch)} ORDER BY ${target.order}`;
    const [rows] = await Promise.all([
      pair.read(0, (reader) => copyOut(this.#session, this.#copyOf(own), reader)),
      pair.read(1, (reader) => copyOut(target.session, this.#copyOf(other), reader)),
    ]);
    return { rows, isEqual: pair.isEqual };
  }

  #copyOf(select: string): string {
    return `COPY (${select}) TO STDOUT (FORMAT ${this.format})`;
  }

  #select(columns: string, stretch: Stretch): string {
    return `SELECT ${columns} FROM ${this.#from} ${within(this.#shape, keysOf(stretch))}`;
  }

  async #keyAt(stretch: Stretch, position: number): Promise<string | null> {
    const columns = this.#shape.key.map(quoted).join(', ');
    const [cells] = await this.#session.query(
      `SELECT ${columns} FROM ${this.#shape.qualified} ${within(this.#shape, keysOf(stretch))} ORDER BY ${columns} LIMIT 1 OFFSET ${position}`,
    );
    const key: Key | null = cells === undefined ? null : readKey(this.#shape, cells);
    return key === null ? null : encodeKey(key);
  }
}

function isPortable(source: PostgresColumn, target: PostgresColumn | undefined): boolean {
  return source.type === target?.type && source.cast === target.cast && BINARY_TYPES.has(builtInType(source) ?? '');
}
