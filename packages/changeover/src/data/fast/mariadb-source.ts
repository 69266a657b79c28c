import type { BulkAddress, Key } from '../../plan/stores.ts';
import { readKey, within } from '../stores/mariadb/rows.ts';
import { Session } from '../stores/mariadb/session.ts';
import {
  columnOf,
  keyColumns,
  readShape,
  selection,
  type MariadbColumn,
  type MariadbShape,
} from '../stores/mariadb/shape.ts';
import { literal, quoted } from '../stores/mariadb/text.ts';
import { encodeKey, exactInteger } from '../values.ts';
import { ByteComparison } from './byte-comparison.ts';
import { copyOut, type CopySink } from './copy-streams.ts';
import { byHalves } from './halving.ts';
import { cellOf, isCanonical, type WireColumn } from './mariadb-cells.ts';
import { readRows } from './mariadb-rows.ts';
import type { Cell } from './mariadb-transfer.ts';
import type { Stretch, WorkerSetup } from './messages.ts';
import type { PostgresTarget } from './postgres-target.ts';
import { keysOf, type Range } from './ranges.ts';
import { RANGE_BYTES, type BulkSource, type Work } from './source.ts';
import { workerContext } from './worker-context.ts';

/** The target may keep us waiting; the server's own patience of a minute is that of somebody at a terminal. */
const GREETING = ['SET SESSION net_write_timeout = 600'];
const MIN_RANGE_ROWS = 1000;
/** Rows by which the length of a row is estimated, at the start of the table and at its end. */
const SAMPLE_ROWS = 200;
/** Kinds of keys whose values have one order everywhere. */
const ORDERED = new Set(['integer', 'bit', 'decimal', 'date', 'instant', 'binary', 'bytes']);

/** A table of MariaDB or MySQL, whose rows go from the one binary protocol into the other. */
export class MariadbSource implements BulkSource {
  readonly format = 'binary';
  readonly #setup: WorkerSetup;
  readonly #session: Session;
  readonly #shape: MariadbShape;
  readonly #columns: readonly MariadbColumn[];
  readonly #target: PostgresTarget;

  private constructor(session: Session, shape: MariadbShape, setup: WorkerSetup, target: PostgresTarget) {
    this.#setup = setup;
    this.#session = session;
    this.#shape = shape;
    this.#columns = setup.columns.map(([, source]) => columnOf(shape, source));
    this.#target = target;
  }

  static async open(
    address: BulkAddress & { kind: 'mariadb' },
    setup: WorkerSetup,
    target: PostgresTarget,
  ): Promise<MariadbSource> {
    const session = new Session(address.url, address.store, workerContext(setup).clock, GREETING);
    return new MariadbSource(session, await readShape(session, address.store, setup.sourceTable), setup, target);
  }

  async boundaries(work: Work): Promise<string[]> {
    const rangeRows = await this.#rangeRows();
    const even = await this.#evenBoundaries(rangeRows);
    if (even !== null) return even;
    const boundaries: string[] = [];
    const next = (after: string | null) => this.#keyAt({ after, upTo: null }, rangeRows - 1);
    for (let key = await next(null); key !== null; key = await next(key)) {
      work.check();
      boundaries.push(key);
    }
    return boundaries;
  }

  async copy(range: Range, sink: CopySink, work: Work): Promise<string> {
    let told = 0;
    await this.#read(range, 'plain', async (bytes) => {
      work.check();
      work.progress(0, bytes.length);
      told += bytes.length;
      await sink.write(bytes);
      await work.released();
    });
    return `bytes ${told}`;
  }

  async isComparable(target: PostgresTarget): Promise<boolean> {
    if (!target.columns.every(({ type }) => isCanonical(type))) return false;
    const pairs = this.#setup.columns;
    const keys = this.#shape.key.map((key) => pairs.find(([, source]) => source === key)?.[0]);
    if (keys.length !== target.shape.key.length || keys.some((key, index) => key !== target.shape.key[index]))
      return false;
    const others = keyColumns(this.#shape).filter(({ kind }) => !ORDERED.has(kind));
    // Of texts only those in the order of their bytes have one order everywhere.
    return (
      others.every(({ definition }) => /_bin$/.test(definition)) &&
      (others.length === 0 || target.hasBytewiseOrder(keys))
    );
  }

  /** Byte by byte, as both servers give the rows; where they differ the range is halved. */
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
    const comparison = new ByteComparison();
    const end = () => {
      comparison.end();
    };
    const sql = `COPY (${target.select(stretch)} ORDER BY ${target.order}) TO STDOUT (FORMAT binary)`;
    const theirs = copyOut(target.session, sql, comparison).finally(end);
    // A value that the target cannot hold is a difference; whoever compares row by row says which one.
    const ours = this.#read(stretch, 'framed', (bytes) => comparison.write(bytes)).finally(end);
    const [here, there] = await Promise.allSettled([ours, theirs]);
    for (const side of [here, there]) if (side.status === 'rejected') throw side.reason;
    return { rows: here.status === 'fulfilled' ? here.value : 0, isEqual: comparison.isEqual };
  }

  async #read(stretch: Stretch, form: 'plain' | 'framed', write: (bytes: Buffer) => Promise<void>): Promise<number> {
    const names = this.#columns.map(({ name }) => quoted(name)).join(', ');
    const sql = `SELECT ${names} FROM ${quoted(this.#shape.name)} ${within(this.#shape, keysOf(stretch))} ORDER BY ${this.#order}`;
    return readRows(this.#session, sql, (wires) => this.#cells(wires), form, write);
  }

  #cells(wires: readonly WireColumn[]): Cell[] {
    return this.#columns.map(({ kind }, index) => {
      const wire = wires[index];
      const target = this.#target.columns[index];
      if (wire === undefined || target === undefined) throw new TypeError('a column is missing');
      return cellOf(kind, target.type, wire);
    });
  }

  get #order(): string {
    return this.#shape.key.map(quoted).join(', ');
  }

  /** The key at `position`, from 0, of a range; null where it has no more than that. */
  async #keyAt(stretch: Stretch, position: number): Promise<string | null> {
    const [cells] = await this.#session.query(
      `SELECT ${selection(keyColumns(this.#shape))} FROM ${quoted(this.#shape.name)} ${within(this.#shape, keysOf(stretch))}
       ORDER BY ${this.#order} LIMIT 1 OFFSET ${position}`,
    );
    const key: Key | null = cells === undefined ? null : readKey(this.#shape, cells);
    return key === null ? null : encodeKey(key);
  }

  /** Where at least every other number of a key is taken, equal distances make ranges that are alike, and no row has to be counted off. */
  async #evenBoundaries(rangeRows: number): Promise<string[] | null> {
    const [column, ...others] = keyColumns(this.#shape);
    if (column?.kind !== 'integer' || others.length > 0) return null;
    const name = quoted(column.name);
    const [row] = await this.#session.texts(
      `SELECT MIN(${name}), MAX(${name}), (SELECT TABLE_ROWS FROM information_schema.TABLES
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ${literal(this.#shape.name)}) FROM ${quoted(this.#shape.name)}`,
    );
    const [first, last, estimate] = (row ?? []).map((cell) => BigInt(cell ?? 0));
    if (first === undefined || last === undefined || last - first >= 2n * (estimate ?? 0n)) return null;
    const boundaries: string[] = [];
    const step = BigInt(rangeRows);
    for (let at = first + step - 1n; at < last; at += step) boundaries.push(encodeKey([exactInteger(at)]));
    return boundaries;
  }

  /** By the mean length of the rows at either end of the table. */
  async #rangeRows(): Promise<number> {
    const length = this.#columns.map(({ name }) => `COALESCE(LENGTH(${quoted(name)}), 0)`).join(' + ');
    const lengths: number[] = [];
    for (const direction of ['', ' DESC']) {
      const order = this.#shape.key.map((column) => `${quoted(column)}${direction}`).join(', ');
      const [row] = await this.#session.texts(
        `SELECT AVG(bytes) FROM (SELECT ${length} AS bytes FROM ${quoted(this.#shape.name)} ORDER BY ${order} LIMIT ${SAMPLE_ROWS}) AS sample`,
      );
      lengths.push(Number(row?.[0] ?? 0));
    }
    return Math.max(MIN_RANGE_ROWS, Math.round(RANGE_BYTES / Math.max(...lengths, 1)));
  }
}
