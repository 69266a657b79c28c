import { createHash } from 'node:crypto';
import type { BulkAddress, Key, Value } from '../../plan/stores.ts';
import { selected, withComputed } from '../stores/sqlite/computed.ts';
import { SqliteConnection } from '../stores/sqlite/connection.ts';
import { readShape, type SqliteShape } from '../stores/sqlite/shape.ts';
import { quoted } from '../stores/sqlite/text.ts';
import { readKey, within } from '../stores/sqlite/values.ts';
import { encodeKey } from '../values.ts';
import { BINARY_HEADER, BINARY_TRAILER, binaryForm, BinaryRows } from './binary-rows.ts';
import { COPY_DATA, copyOut, frame, HEADER_BYTES, type CopyReader, type CopySink } from './copy-streams.ts';
import type { Stretch, WorkerSetup } from './messages.ts';
import { builtInType, type PostgresTarget } from './postgres-target.ts';
import { keysOf, type Range } from './ranges.ts';
import { NotEncodable, type RowEncoder } from './row-encoder.ts';
import { FormatChanged, RANGE_BYTES, type BulkSource, type Work } from './source.ts';
import { SqliteBatch } from './sqlite-batch.ts';
import { StreamPair } from './stream-pair.ts';
import { TextRows } from './text-rows.ts';
import { workerContext } from './worker-context.ts';

/** Bytes made at once: large enough to be cheap, small enough to leave the thread its turns. */
const BATCH_BYTES = 512 << 10;
const FIRST_BATCH_ROWS = 50;
const MAX_BATCH_ROWS = 20_000;
const MIN_RANGE_ROWS = 1000;
/** Rows by which the size of a row is estimated, at the start of the table and at its end. */
const SAMPLE_ROWS = 200;
/** What a value takes besides itself. */
const VALUE_BYTES = 4;

interface Batch extends Stretch {
  /** Good until the batch after the next one is made. */
  readonly bytes: Buffer;
  readonly rows: number;
}

/** A table of SQLite in one of COPY's formats: in binary where the columns on both sides are made for each other, else as text. */
export class SqliteSource implements BulkSource {
  format: 'text' | 'binary';
  readonly #connection: SqliteConnection;
  readonly #shape: SqliteShape;
  readonly #batch: SqliteBatch;
  /** What is selected, in SQL. */
  readonly #columns: readonly string[];
  /** Two that take turns: while the bytes of one are on their way the other makes the next. */
  #encoders: readonly [RowEncoder, RowEncoder];
  readonly #text: () => [RowEncoder, RowEncoder];
  /** The target's names of the key's columns. */
  readonly #keyColumns: readonly (string | undefined)[];
  #batchRows = FIRST_BATCH_ROWS;

  constructor(address: BulkAddress & { kind: 'sqlite' }, setup: WorkerSetup, target: PostgresTarget) {
    this.#connection = new SqliteConnection(address.file, address.store, workerContext(setup));
    const encoding = String(this.#connection.all('PRAGMA encoding')[0]?.[0]);
    if (encoding !== 'UTF-8') throw new TypeError(`the text of ${address.store} is ${encoding}`);
    this.#shape = readShape(this.#connection, setup.sourceTable);
    const names = setup.columns.map(([, source]) => source);
    const shape = withComputed(this.#connection, this.#shape, setup.computed);
    this.#columns = names.map((name) => {
      const column = shape.columns.find((one) => one.name === name);
      return column === undefined ? quoted(name) : selected(column);
    });
    this.#batch = new SqliteBatch(this.#connection, this.#shape, this.#columns);
    this.#keyColumns = this.#shape.key.map((key) => setup.columns.find(([, source]) => source === key)?.[0]);
    const forms = names.flatMap((name, index) => {
      const affinity = this.#shape.columns.find((column) => column.name === name)?.affinity ?? 'blob';
      const column = target.columns[index];
      return column === undefined ? [] : (binaryForm(affinity, builtInType(column)) ?? []);
    });
    const kinds = target.columns.map(({ kind }) => kind);
    this.#text = () => [new TextRows(kinds), new TextRows(kinds)];
    this.format = forms.length === this.#columns.length ? 'binary' : 'text';
    this.#encoders = this.format === 'text' ? this.#text() : [new BinaryRows(forms), new BinaryRows(forms)];
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
    const isBinary = this.format === 'binary';
    const send = async (bytes: Buffer) => {
      hash.update(bytes);
      await sink.flushed();
      await sink.write(bytes);
    };
    if (isBinary) await send(BINARY_HEADER);
    for await (const { bytes, rows } of this.#batches(range, false)) {
      work.check();
      await send(bytes);
      work.progress(rows, bytes.length);
      await work.released();
    }
    if (isBinary) await send(BINARY_TRAILER);
    return hash.digest('hex');
  }

  isComparable(target: PostgresTarget): Promise<boolean> {
    return target.hasBytewiseOrder(this.#keyColumns);
  }

  /**
   * Byte by byte: where both sides are written canonically equal bytes are equal rows, and no row has to be taken apart. The target is read in
   * one go; from the first batch on that differs, batch by batch.
   */
  async compare(
    range: Range,
    target: PostgresTarget,
    work: Work,
  ): Promise<{ rows: number; differing: readonly Stretch[] }> {
    const differing: Stretch[] = [];
    let equal = 0;
    const batches = this.#batches(range, true);
    const pull = async () => {
      await work.released();
      const { value, done } = await batches.next();
      return done === true ? null : value;
    };
    const pass = ({ rows, bytes }: Batch) => {
      equal += rows;
      work.progress(rows, bytes.length);
    };
    let open = await this.#match(target, range, pull, pass);
    for (; open !== null; open = await pull()) {
      const rest = [open];
      if ((await this.#match(target, open, () => Promise.resolve(rest.shift() ?? null), pass)) !== null)
        differing.push({ after: open.after, upTo: open.upTo });
    }
    return { rows: equal, differing };
  }

  close(): Promise<void> {
    this.#batch.close();
    this.#connection.close();
    return Promise.resolve();
  }

  /** Compares a stretch, whose batches `pull` gives. Resolves with the first batch that differs; what is left of the target is thrown away. */
  async #match(
    target: PostgresTarget,
    stretch: Stretch,
    pull: () => Promise<Batch | null>,
    pass: (batch: Batch) => void,
  ): Promise<Batch | null> {
    const pair = new StreamPair();
    const sql = `COPY (${target.select(stretch)} ORDER BY ${target.order}) TO STDOUT (FORMAT ${this.format})`;
    const isBinary = this.format === 'binary';
    const reading = pair.read(1, (reader) =>
      copyOut(target.session, sql, isBinary ? withoutHeader(reader, BINARY_HEADER.length) : reader),
    );
    // It is waited for below; until then a failure must not pass for one that nobody sees.
    reading.catch(() => undefined);
    try {
      let batch = await pull();
      for (let next = batch; next !== null;) {
        batch = next;
        await pair.give(0, batch.bytes);
        if (!pair.isEqual) break;
        next = await pull();
        if (next !== null) pass(batch);
      }
      if (isBinary) await pair.give(0, frame(BINARY_TRAILER));
      pair.end(0);
      await reading;
      if (pair.isEqual && batch !== null) pass(batch);
      return pair.isEqual ? null : batch;
    } catch (error) {
      pair.end(0);
      await reading;
      throw error;
    }
  }

  /** The range in pieces of about `BATCH_BYTES`; the last one ends where the range does, empty or not. */
  async *#batches(range: Range, isFramed: boolean): AsyncGenerator<Batch, undefined> {
    const end = keysOf(range).upTo;
    for (let { after } = keysOf(range), isLast = false; !isLast;) {
      const from: Key | null = after;
      const upTo: Key | null = await this.#connection.read(() => {
        const key = this.#keyAt({ after: from, upTo: end }, this.#batchRows - 1);
        this.#batch.fill({ after: from, upTo: key ?? end });
        return key;
      });
      isLast = upTo === null;
      const last = upTo ?? end;
      const made = this.#encode(isFramed);
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

  #encode(isFramed: boolean): { bytes: Buffer; rows: number } {
    const [encoder, other] = this.#encoders;
    this.#encoders = [other, encoder];
    try {
      return encoder.encode(this.#batch.records(), isFramed);
    } catch (error) {
      if (!(error instanceof NotEncodable)) throw error;
      this.format = 'text';
      this.#encoders = this.#text();
      throw new FormatChanged();
    }
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
    const size = this.#columns.map((column) => `coalesce(octet_length(${column}), 0)`).join(' + ');
    const sizes = await this.#connection.read(() =>
      ['', ' DESC'].map((direction) => {
        const by = this.#shape.key.map((column) => `${quoted(column)}${direction}`).join(', ');
        const sql = `SELECT avg(size) FROM (SELECT ${size} AS size FROM ${quoted(this.#shape.name)} ORDER BY ${by} LIMIT ${SAMPLE_ROWS})`;
        return Number(this.#connection.all(sql)[0]?.[0] ?? 0);
      }),
    );
    const bytes = Math.max(...sizes) + this.#columns.length * VALUE_BYTES;
    return Math.max(MIN_RANGE_ROWS, Math.round(RANGE_BYTES / bytes));
  }
}

/**
 * The stream of a COPY in binary without the header, which comes in the first row's message: what is left of that message gets a header of its
 * own, over the last bytes of what goes.
 */
function withoutHeader(reader: CopyReader, bytes: number): CopyReader {
  let head: Buffer | null = Buffer.alloc(0);
  return {
    ...reader,
    take: (chunk, from, to) => {
      if (head === null) return reader.take(chunk, from, to);
      head = Buffer.concat([head, chunk.subarray(from, to)]);
      if (head.length < bytes + HEADER_BYTES) return true;
      const rest = head;
      head = null;
      rest.writeUInt32BE(rest.readUInt32BE(1) - bytes, bytes + 1);
      rest[bytes] = COPY_DATA;
      return reader.take(rest, bytes, rest.length);
    },
  };
}
