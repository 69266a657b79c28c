import { ChangeoverError } from '../../errors.ts';
import type { BulkAddress, LedgerEntry } from '../../plan/stores.ts';
import { PostgresConnection } from '../stores/postgres/connection.ts';
import type { Session } from '../stores/postgres/session.ts';
import {
  columnOf,
  orderOf,
  readShape,
  selection,
  within,
  type PostgresColumn,
  type PostgresShape,
} from '../stores/postgres/shape.ts';
import { quoted } from '../stores/postgres/text.ts';
import { addToLedger, isInLedger } from '../stores/postgres/write.ts';
import { copyIn, type CopySink } from './copy-streams.ts';
import type { WorkerSetup } from './messages.ts';
import { keysOf, type Range } from './ranges.ts';
import { workerContext } from './worker-context.ts';

/** Types without a kind of their own that order as the bytes of their text do. */
const BYTEWISE: readonly string[] = ['text', 'varchar', 'uuid'];

/** One table of a Postgres that is copied into, over connections of this thread. */
export class PostgresTarget {
  readonly #connection: PostgresConnection;
  readonly #setup: WorkerSetup;
  readonly shape: PostgresShape;
  /** The target's columns in the order of the pairs. */
  readonly columns: readonly PostgresColumn[];

  private constructor(connection: PostgresConnection, setup: WorkerSetup, shape: PostgresShape) {
    this.#connection = connection;
    this.#setup = setup;
    this.shape = shape;
    this.columns = setup.columns.map(([target]) => columnOf(shape, target));
  }

  static async open(address: BulkAddress & { kind: 'postgres' }, setup: WorkerSetup): Promise<PostgresTarget> {
    const connection = new PostgresConnection(address.url, address.store, workerContext(setup), {
      marksWrites: address.marksWrites,
    });
    const shape = await readShape(connection.main, address.store, setup.targetTable);
    // What was copied lies in the order of its key, which a server does not know before it has looked at the table: it would sort.
    await connection.main.query('SET enable_sort = off');
    return new PostgresTarget(connection, setup, shape);
  }

  /** For reading. */
  get session(): Session {
    return this.#connection.main;
  }

  /** The columns of the key, as ORDER BY takes them. */
  get order(): string {
    return orderOf(this.shape);
  }

  /**
   * True where `keyColumns` are the key, in its order, and every one of them orders as its bytes do: then SQLite, whose text compares by its
   * bytes, has the same ranges. A text column with another collation has not.
   */
  async hasBytewiseOrder(keyColumns: readonly (string | undefined)[]): Promise<boolean> {
    const { key, oid } = this.shape;
    if (key.length !== keyColumns.length || key.some((column, index) => column !== keyColumns[index])) return false;
    const collated = await this.session.query(
      `SELECT a.attname FROM pg_attribute a JOIN pg_collation c ON c.oid = a.attcollation
       JOIN pg_database d ON d.datname = current_database()
       WHERE a.attrelid = $1 AND c.collname NOT IN ('C', 'POSIX') AND NOT (c.collname = 'default' AND d.datcollate IN ('C', 'POSIX'))`,
      [oid],
    );
    const others = new Set(collated.map(([name]) => name));
    return key.every((name) => {
      const column = columnOf(this.shape, name);
      const { kind } = column;
      const isBytewise = kind === 'integer' || kind === 'bytes' || BYTEWISE.includes(builtInType(column) ?? '');
      return isBytewise && !others.has(name);
    });
  }

  async backends(): Promise<string[]> {
    const sessions = [this.#connection.main, this.#connection.writer];
    const rows = await Promise.all(sessions.map((session) => session.query('SELECT pg_backend_pid()')));
    return rows.map(([row]) => row?.[0] ?? '');
  }

  /** A SELECT of the moved columns in a range of keys. The key's columns have the same order in the source (`hasSameOrder`). */
  select(range: Pick<Range, 'after' | 'upTo'>): string {
    return `SELECT ${selection(this.columns)} FROM ${this.shape.qualified} ${within(this.shape, keysOf(range))}`;
  }

  /**
   * One transaction: the gate, the ledger, the rows that `feed` writes, the ledger's entry, and, when `mayCommit` resolves, the commit. Does
   * nothing where the entry is there. Resolves with the number of rows.
   */
  async write(
    range: Range,
    format: 'text' | 'binary',
    feed: (sink: CopySink) => Promise<string>,
    mayCommit: () => Promise<void>,
  ): Promise<number> {
    const { run, sync, epoch } = this.#setup;
    const ledger = await this.#connection.ours('ledger');
    const columns = this.columns.map(({ name }) => quoted(name)).join(', ');
    const sql = `COPY ${this.shape.qualified} (${columns}) FROM STDIN (FORMAT ${format})`;
    return this.#connection.write(epoch, async (session) => {
      // Rows and entry are lost together or not at all; whoever ends the table makes sure that none was.
      await session.query('SET LOCAL synchronous_commit = off');
      const table = this.shape.name;
      const entry: LedgerEntry = {
        run,
        sync,
        table,
        seq: range.seq,
        lastKey: range.upTo,
        rows: 0,
        hash: '',
        complete: false,
      };
      if (await isInLedger(session, ledger, entry)) return 0;
      let hash = '';
      const rows = await copyIn(session, sql, async (sink) => {
        hash = await feed(sink);
      });
      await addToLedger(session, ledger, { ...entry, rows, hash });
      await mayCommit();
      return rows;
    });
  }

  async close(): Promise<void> {
    await this.#connection.close();
  }
}

/** The name of a type that every Postgres has, without the quotes of names that are words of SQL; null for any other. */
export function builtInType({ cast }: PostgresColumn): string | null {
  return /^pg_catalog\."?(\w+)"?$/.exec(cast)?.[1] ?? null;
}

/** The kinds of target that a worker can write to. */
export function targetAddress(address: BulkAddress): BulkAddress & { kind: 'postgres' } {
  if (address.kind === 'postgres') return address;
  throw new ChangeoverError('CHG_DATA_STORE_FAILED', {
    store: address.store,
    action: 'opening it for a bulk copy',
    reason: `no bulk copy into ${address.kind}`,
  });
}
