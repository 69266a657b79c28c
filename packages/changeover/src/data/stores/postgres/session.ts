import pg from 'pg';
import { ChangeoverError } from '../../../errors.ts';
import type { Clock } from '../../../plan/context.ts';

/** One statement of ours waits this long for a lock; then it steps back, so that nobody queues behind it. */
export const LOCK_TIMEOUT_MS = 100;
const FIRST_BACKOFF_MS = 20;
const MAX_BACKOFF_MS = 500;
/** A stopped process of ours must not keep locks for ever. */
const IDLE_IN_TRANSACTION_MS = 60_000;

export const LOCK_NOT_AVAILABLE = '55P03';
const DISK_FULL = '53100';
const DEADLOCK_DETECTED = '40P01';
/** With these the server ends the connection: https://www.postgresql.org/docs/current/errcodes-appendix.html */
const ENDING = /^(08...|57P0[1-3]|25P0[34])$/;

/** Every value arrives as the text that Postgres writes; the settings make that text the same on every server. */
const RAW = { getTypeParser: () => (text: string) => text };
const SETTINGS = `
  SET row_security = off; SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres';
  SET bytea_output = 'hex'; SET extra_float_digits = 1; SET client_min_messages = 'warning';
  SET idle_in_transaction_session_timeout = ${IDLE_IN_TRANSACTION_MS}`;

export type Cell = string | null;

/** One connection, used by one piece of work at a time. A connection that was lost is made again for the next piece of work. */
export class Session {
  readonly #url: string;
  readonly #store: string;
  readonly #clock: Clock;
  #client: pg.Client | null = null;
  #isOpen = false;
  /** The connection on which a transaction is open. */
  #inTransaction: pg.Client | null = null;
  #turn: Promise<unknown> = Promise.resolve();
  #statement: Promise<unknown> = Promise.resolve();

  constructor(url: string, store: string, clock: Clock) {
    this.#url = url;
    this.#store = store;
    this.#clock = clock;
  }

  /** Runs `work` alone: other work of this kind waits, and only single statements may come in between. */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  /** The rows of one statement, or of the last of several without values. */
  async query(sql: string, values: readonly (Cell | readonly Cell[])[] = []): Promise<Cell[][]> {
    return this.#next(async (client) => {
      const answer = await client.query<Cell[]>({ text: sql, values: [...values], rowMode: 'array', types: RAW });
      return answer.rows;
    });
  }

  /** `work` with the connection itself, for what is more than a statement. Nothing else is sent until it has ended. */
  async raw<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
    return this.#next(work);
  }

  /** COPY … FROM STDIN of text that is at hand. */
  async copyIn(sql: string, data: Buffer): Promise<void> {
    await this.#next(
      (client) =>
        new Promise<void>((resolve, reject) => {
          client.query(new CopyIn(sql, data, resolve, reject));
        }),
    );
  }

  /**
   * Opens a transaction, which `commit` or `rollback` ends. When its connection is lost, every statement until then fails: on another
   * connection it would be a transaction of its own, without the locks, the gate and the bypass of this one.
   */
  async begin(): Promise<void> {
    await this.#next(async (client) => {
      await client.query('BEGIN');
      this.#inTransaction = client;
    });
  }

  async commit(): Promise<void> {
    try {
      await this.query('COMMIT');
    } finally {
      this.#inTransaction = null;
    }
  }

  /** `work` between BEGIN and COMMIT. */
  async transaction<T>(work: () => Promise<T>): Promise<T> {
    await this.begin();
    try {
      const result = await work();
      await this.commit();
      return result;
    } catch (error) {
      await this.rollback();
      if (sqlState(error) !== DISK_FULL) throw error;
      throw new ChangeoverError('CHG_DATA_STORE_FULL', { store: this.#store }, { cause: error });
    }
  }

  async rollback(): Promise<void> {
    const client = this.#inTransaction;
    this.#inTransaction = null;
    if (this.#isOpen && client === this.#client) await this.query('ROLLBACK');
  }

  /**
   * A transaction that needs table locks, again and again until it gets them: each attempt waits briefly and backs off, so that no writer
   * ever queues behind us for longer than that.
   */
  async patiently<T>(tables: string, timeoutMs: number, attempt: () => Promise<T>): Promise<T> {
    const startMs = this.#clock.monotonicMs();
    for (let backoffMs = FIRST_BACKOFF_MS; ; backoffMs = Math.min(backoffMs * 2, MAX_BACKOFF_MS)) {
      try {
        return await attempt();
      } catch (cause) {
        if (!isLockTimeout(cause)) throw cause;
        const waitedMs = Math.round(this.#clock.monotonicMs() - startMs);
        if (waitedMs >= timeoutMs) {
          const holders = await this.#holders();
          throw new ChangeoverError(
            'CHG_DATA_LOCK_TIMEOUT',
            { store: this.#store, tables, waitedMs, holders },
            { cause },
          );
        }
        await this.#clock.sleep(backoffMs);
      }
    }
  }

  async close(): Promise<void> {
    const client = this.#client;
    this.#client = null;
    this.#isOpen = false;
    this.#inTransaction = null;
    if (client !== null) await client.end();
  }

  /** One statement after the other. */
  async #next<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
    const turn = this.#statement.then(async () => {
      const client = await this.#connected();
      try {
        return await work(client);
      } catch (cause) {
        if (!this.#isLost(client, cause)) throw cause;
        this.#forget(client);
        throw this.#unreachable(cause);
      }
    });
    this.#statement = turn.catch(() => undefined);
    return turn;
  }

  /** A server that ends the connection says so first; where nobody says anything, the socket is closed by now. */
  #isLost(client: pg.Client, error: unknown): boolean {
    if (error instanceof ChangeoverError) return false;
    if (error instanceof pg.DatabaseError) return ENDING.test(sqlState(error) ?? '');
    return !(client === this.#client && this.#isOpen);
  }

  /** What one says that was lost before says nothing about the connection that took its place. */
  #forget(client: pg.Client): void {
    if (this.#client === client) this.#isOpen = false;
  }

  #unreachable(cause: unknown): ChangeoverError<'CHG_DATA_STORE_UNREACHABLE'> {
    const reason = cause instanceof Error ? cause.message : String(cause);
    return new ChangeoverError('CHG_DATA_STORE_UNREACHABLE', { store: this.#store, reason }, { cause });
  }

  async #connected(): Promise<pg.Client> {
    if (this.#client !== null && this.#isOpen) return this.#client;
    if (this.#inTransaction !== null)
      throw new ChangeoverError('CHG_DATA_STORE_UNREACHABLE', {
        store: this.#store,
        reason: 'the connection was lost inside of a transaction',
      });
    const client = new pg.Client({ connectionString: this.#url, application_name: 'changeover', keepAlive: true });
    // Without a listener a lost connection would end the process; the next statement finds it closed.
    client.on('error', () => {
      this.#forget(client);
    });
    client.on('end', () => {
      this.#forget(client);
    });
    try {
      await client.connect();
      await client.query(SETTINGS);
    } catch (cause) {
      throw this.#unreachable(cause);
    }
    this.#client = client;
    this.#isOpen = true;
    return client;
  }

  async #holders(): Promise<string> {
    const rows = await this.query(`
      SELECT pid, coalesce(nullif(application_name, ''), usename), state, extract(epoch FROM now() - xact_start)::int
      FROM pg_stat_activity
      WHERE xact_start IS NOT NULL AND datname = current_database() AND pid <> pg_backend_pid()
      ORDER BY xact_start LIMIT 3`);
    if (rows.length === 0) return 'nobody any more';
    return rows.map(([pid, who, state, age]) => `pid ${pid} (${who}, ${state}, open for ${age} s)`).join(', ');
  }
}

/** What pg's client asks of a query object, for one COPY: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY */
class CopyIn implements pg.Submittable {
  readonly #sql: string;
  readonly #data: Buffer;
  readonly #resolve: () => void;
  readonly #reject: (error: Error) => void;

  constructor(sql: string, data: Buffer, resolve: () => void, reject: (error: Error) => void) {
    this.#sql = sql;
    this.#data = data;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  submit(connection: pg.Connection): void {
    connection.query(this.#sql);
  }

  handleCopyInResponse(connection: CopyConnection): void {
    connection.sendCopyFromChunk(this.#data);
    connection.endCopyFrom();
  }

  handleError(error: Error): void {
    this.#reject(error);
  }

  handleReadyForQuery(): void {
    this.#resolve();
  }

  handleCommandComplete(): void {
    return;
  }
}

interface CopyConnection {
  sendCopyFromChunk(chunk: Buffer): void;
  endCopyFrom(): void;
}

/** The SQLSTATE of an error of Postgres, or null. */
export function sqlState(error: unknown): string | null {
  return error instanceof pg.DatabaseError ? (error.code ?? null) : null;
}

function isLockTimeout(error: unknown): boolean {
  return [LOCK_NOT_AVAILABLE, DEADLOCK_DETECTED].includes(sqlState(error) ?? '');
}
