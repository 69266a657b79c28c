import { createHash } from 'node:crypto';
import type { BulkAddress, Key, Value } from '../../plan/stores.ts';
import { SqliteConnection } from '../stores/sqlite/connection.ts';
import { readShape, type SqliteShape } from '../stores/sqlite/shape.ts';
import { quoted } from '../stores/sqlite/text.ts';
import { readKey, within } from '../stores/sqlite/values.ts';
import { encodeKey } from '../values.ts';
import { copyOut, type CopySink } from './copy-streams.ts';
import { hasSpecials, defineFunctions, lineOf } from './copy-text.ts';
import type { Stretch, WorkerSetup } from './messages.ts';
import type { PostgresTarget } from './postgres-target.ts';
import { keysOf, type Range } from './ranges.ts';
import { RANGE_BYTES, type BulkSource, type Work } from './source.ts';
import { workerContext } from './worker-context.ts';

/** Text that one query of ours makes: large enough to be cheap, small enough to leave the thread its turns. */
const BATCH_BYTES = 512 << 10;
const FIRST_BATCH_ROWS = 200;
const MAX_BATCH_ROWS = 20_000;
const MIN_RANGE_ROWS = 1000;
/** Rows by which the length of a line is estimated, at the start of the table and at its end. */
const SAMPLE_ROWS = 200;

interface Batch extends Stretch {
  readonly bytes: Uint8Array;
  readonly rows: number;
}

/**
 * A table of SQLite as COPY text. SQLite itself makes the lines, many rows in one value, so that no row and no cell ever becomes an object
 * of ours: that alone costs more than everything else together.
 */
export class SqliteSource implements BulkSource {
  readonly format = 'text';
  readonly #connection: SqliteConnection;
  readonly #shape: SqliteShape;
  readonly #plain: string;
  readonly #escaped: string;
  readonly #columns: number;
  /** The target's names of the key's columns. */
  readonly #keyColumns: readonly (string | undefined)[];
  #batchRows = FIRST_BATCH_ROWS;

  constructor(address: BulkAddress & { kind: 'sqlite' }, setup: WorkerSetup, target: PostgresTarget) {
    this.#connection = new SqliteConnection(address.file, address.store, workerContext(setup));
    const encoding = String(this.#connection.all('PRAGMA encoding')[0]?.[0]);
    if (encoding !== 'UTF-8') throw new TypeError(`the text of ${address.store} is ${encoding}`);
    defineFunctions(this.#connection);
    this.#shape = readShape(this.#connection, setup.sourceTable);
    const columns = setup.columns.map(([, source], index) => {
      const kind = target.columns[index]?.kind ?? 'text';
      const affinity = this.#shape.columns.find(({ name }) => name === source)?.affinity ?? 'blob';
      return { name: source, kind, affinity };
    });
    this.#plain = lineOf(columns, 'plain');
    this.#escaped = lineOf(columns, 'escaped');
    this.#columns = columns.length;
    this.#keyColumns = this.#shape.key.map((key) => setup.columns.find(([, source]) => source === key)?.[0]);
  }

  async boundaries(work: Work): Promise<string[]> {
    const step = await this.#rangeRows();
    const boundaries: string[] = [];
    const next = (after: Key | null) => this.#connection.read(() => this.#keyAt({ after, upTo: null }, step - 1));
    for (let key = await next(null); key !== null; key = await next(key)) {
      work.check();
      boundaries.push(encodeKey(key));
    }
    return boundaries;
  }

  async copy(range: Range, sink: CopySink, work: Work): Promise<string> {
    const hash = createHash('sha256');
    for await (const { bytes, rows } of this.#batches(range)) {
      work.check();
      hash.update(bytes);
      await sink.write(bytes);
      work.progress(rows, bytes.length);
    }
    return hash.digest('hex');
  }

  isComparable(target: PostgresTarget): Promise<boolean> {
    return target.hasBytewiseOrder(this.#keyColumns);
  }

  /** Byte by byte: where both sides are written canonically equal bytes are equal rows, and no row has to be taken apart. */
  async compare(
    range: Range,
    target: PostgresTarget,
    work: Work,
  ): Promise<{ rows: number; differing: readonly Stretch[] }> {
    const differing: Stretch[] = [];
    let equal = 0;
    const order = target.order;
    for await (const { after, upTo, bytes, rows } of this.#batches(range)) {
      work.check();
      const seen: { at: number; isEqual: boolean } = { at: 0, isEqual: true };
      const sql = `COPY (${target.select({ after, upTo })} ORDER BY ${order}) TO STDOUT`;
      await copyOut(target.session, sql, {
        form: 'payload',
        take: (chunk, from, to) => {
          const end = seen.at + to - from;
          seen.isEqual &&= end <= bytes.length && chunk.compare(bytes, seen.at, end, from, to) === 0;
          seen.at = end;
          return true;
        },
      });
      if (seen.isEqual && seen.at === bytes.length) equal += rows;
      else differing.push({ after, upTo });
      work.progress(rows, bytes.length);
    }
    return { rows: equal, differing };
  }

  close(): Promise<void> {
    this.#connection.close();
    return Promise.resolve();
  }

  /** The range in pieces of about `BATCH_BYTES`; the last one ends where the range does, empty or not. */
  async *#batches(range: Range): AsyncGenerator<Batch> {
    const end = keysOf(range).upTo;
    for (let { after } = keysOf(range), isLast = false; !isLast;) {
      const from: Key | null = after;
      const [upTo, made]: [Key | null, { bytes: Uint8Array; rows: number }] = await this.#connection.read(() => {
        const key = this.#keyAt({ after: from, upTo: end }, this.#batchRows - 1);
        return [key, this.#lines({ after: from, upTo: key ?? end })] as const;
      });
      isLast = upTo === null;
      const last = upTo ?? end;
      yield {
        after: from === null ? null : encodeKey(from),
        upTo: last === null ? null : encodeKey(last),
        ...made,
      };
      after = upTo;
      const fitting = Math.round((this.#batchRows * BATCH_BYTES) / Math.max(made.bytes.length, 1));
      if (!isLast) this.#batchRows = Math.max(1, Math.min(fitting, this.#batchRows * 8, MAX_BATCH_ROWS));
    }
  }

  #lines(range: { readonly after: Key | null; readonly upTo: Key | null }): { bytes: Uint8Array; rows: number } {
    const plain = this.#query(this.#plain, range);
    // Most text has nothing to escape; looking for it afterwards is far cheaper than replacing it in every value.
    return hasSpecials(plain.bytes, plain.rows, this.#columns) ? this.#query(this.#escaped, range) : plain;
  }

  #query(
    line: string,
    range: { readonly after: Key | null; readonly upTo: Key | null },
  ): { bytes: Uint8Array; rows: number } {
    const { where, values } = within(this.#shape, range);
    const order = this.#shape.key.map(quoted).join(', ');
    // group_concat takes the rows in the order of the subquery: SQLite keeps an ORDER BY there for aggregates that depend on it.
    const sql = `SELECT CAST(group_concat(line, '') AS BLOB), count(*)
      FROM (SELECT ${line} AS line FROM ${quoted(this.#shape.name)} ${where} ORDER BY ${order})`;
    const [row] = this.#connection.all(sql, ...values);
    const bytes = row?.[0];
    return { bytes: bytes instanceof Uint8Array ? bytes : new Uint8Array(0), rows: Number(row?.[1]) };
  }

  /** The key at `position`, from 0, of a range; null where it has no more than that. */
  #keyAt(range: { readonly after: Key | null; readonly upTo: Key | null }, position: number): Key | null {
    const { where, values } = within(this.#shape, range);
    const columns = this.#shape.key.map(quoted).join(', ');
    const sql = `SELECT ${columns} FROM ${quoted(this.#shape.name)} ${where} ORDER BY ${columns} LIMIT 1 OFFSET ?`;
    const [row] = this.#connection.all(sql, ...values, BigInt(position));
    return row === undefined ? null : readKey(this.#shape, row as Value[]);
  }

  async #rangeRows(): Promise<number> {
    const lengths = await this.#connection.read(() => {
      const order = this.#shape.key.map(quoted);
      const edges = ['', ' DESC'].map((direction) => {
        const by = order.map((column) => `${column}${direction}`).join(', ');
        return `SELECT avg(length(CAST(line AS BLOB))) FROM
          (SELECT ${this.#plain} AS line FROM ${quoted(this.#shape.name)} ORDER BY ${by} LIMIT ${SAMPLE_ROWS})`;
      });
      return edges.map((sql) => Number(this.#connection.all(sql)[0]?.[0] ?? 0));
    });
    return Math.max(MIN_RANGE_ROWS, Math.round(RANGE_BYTES / Math.max(...lengths, 1)));
  }
}
