import type { Connection, RowDataPacket } from 'mysql2/promise';
import { ChangeoverError } from '../../../errors.ts';
import type { Clock } from '../../../plan/context.ts';

/** A statement of ours that needs a lock waits this long; then it steps back, so that nobody queues behind it. */
const FIRST_ATTEMPT_MS = 100;
const MAX_ATTEMPT_MS = 400;
const FIRST_BACKOFF_MS = 20;
const MAX_BACKOFF_MS = 500;
/** For row locks of our writes, and for tables that an application keeps under LOCK TABLES. */
export const ROW_LOCK_TIMEOUT_S = 5;
/** A stopped process of ours must not keep locks for ever. */
const IDLE_IN_TRANSACTION_S = 60;

/** Number of the character set of bytes. */
const BINARY_CHARSET = 63;

export const DUPLICATE_ENTRY = 1062;
export const NO_SUCH_TABLE = 1146;
const LOCK_WAIT_TIMEOUT = 1205;
const DEADLOCK = 1213;
const STATEMENT_TIMEOUT = 1969;
const QUERY_INTERRUPTED = 1317;
/** The connection was killed, the server shuts down, the connection was idle for too long. */
const CLOSING = [1927, 1053, 4031];
/** The disk is full, the tablespace is full. */
const FULL = [1021, 1114];

/** Strict, so that nothing is cut off; without the checks that would refuse what the other side really holds, such as zero dates and the id 0. */
const SQL_MODE =
  'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION,NO_BACKSLASH_ESCAPES,ALLOW_INVALID_DATES';

/** A value as the server sent it: text in UTF-8, or the bytes of a binary column. */
export type Cell = Buffer | null;

/**
 * One connection, used by one piece of work at a time. A connection that was lost is made again for the next piece of work, never in the middle
 * of a transaction or of `pinned` work.
 */
export class Session {
  readonly #url: string;
  /** Its name in messages. */
  readonly store: string;
  readonly #clock: Clock;
  readonly #greeting: readonly string[];
  #connection: Connection | null = null;
  #connecting: Promise<Connection> | null = null;
  #isMariadb = true;
  #pins = 0;
  #turn: Promise<unknown> = Promise.resolve();

  /** @param greeting Statements that each new connection begins with. */
  constructor(url: string, store: string, clock: Clock, greeting: readonly string[]) {
    this.#url = url;
    this.store = store;
    this.#clock = clock;
    this.#greeting = greeting;
  }

  get isConnected(): boolean {
    return this.#connection !== null;
  }

  /** Runs `work` alone: other work of this kind waits, and only single statements may come in between. */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  /** Runs `work` on one and the same connection: where that is lost, every further statement of `work` fails. */
  async pinned<T>(work: () => Promise<T>): Promise<T> {
    await this.#connected();
    this.#pins += 1;
    try {
      return await work();
    } finally {
      this.unpin();
    }
  }

  /** For work that ends in another call: `pin` now, `unpin` there. */
  async pin(): Promise<void> {
    await this.#connected();
    this.#pins += 1;
  }

  unpin(): void {
    this.#pins -= 1;
  }

  /** The rows of one statement; none for a statement that gives no rows. */
  async query(sql: string): Promise<Cell[][]> {
    return this.raw((connection) => rowsOf(connection, sql));
  }

  /** `work` with the connection itself, for what is more than a statement. */
  async raw<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    const connection = await this.#connected();
    try {
      return await work(connection);
    } catch (cause) {
      if (FULL.includes(errorNumber(cause)))
        throw new ChangeoverError('CHG_DATA_STORE_FULL', { store: this.store }, { cause });
      if (!isFatal(cause)) throw cause;
      this.#forget(connection);
      connection.destroy();
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new ChangeoverError('CHG_DATA_STORE_UNREACHABLE', { store: this.store, reason }, { cause });
    }
  }

  /** The columns of what a statement gives, as the protocol numbers their types, and how many rows it gives. */
  async answer(sql: string): Promise<{ types: { type: number; isBinary: boolean }[]; rows: number }> {
    const [rows, fields] = await this.raw((connection) => connection.query<RowDataPacket[]>(sql));
    const types = fields.map(({ columnType, characterSet }) => ({
      type: columnType ?? 0,
      isBinary: characterSet === BINARY_CHARSET,
    }));
    return { types, rows: rows.length };
  }

  /** Rows as text, for what the server tells about itself. */
  async texts(sql: string): Promise<(string | null)[][]> {
    return (await this.query(sql)).map((cells) => cells.map((cell) => (cell === null ? null : cell.toString())));
  }

  /** `work` between BEGIN and COMMIT. */
  async transaction<T>(work: () => Promise<T>): Promise<T> {
    return this.pinned(async () => {
      await this.query('BEGIN');
      try {
        const result = await work();
        await this.query('COMMIT');
        return result;
      } catch (error) {
        await this.rollback();
        throw error;
      }
    });
  }

  /** A lost connection has rolled back by itself. */
  async rollback(): Promise<void> {
    if (this.isConnected) await this.query('ROLLBACK');
  }

  /**
   * Work that needs locks of tables or of the fence, again and again until it gets them: each attempt waits briefly and backs off, so that no
   * writer ever queues behind us for longer than that. MySQL knows no limit below a second for it.
   */
  async patiently<T>(what: string, timeoutMs: number, attempt: () => Promise<T>): Promise<T> {
    const startMs = this.#clock.monotonicMs();
    let attemptMs = FIRST_ATTEMPT_MS;
    for (let backoffMs = FIRST_BACKOFF_MS; ; backoffMs = Math.min(backoffMs * 2, MAX_BACKOFF_MS)) {
      try {
        return await this.#briefly(attemptMs, attempt);
      } catch (cause) {
        if (!isLockTimeout(cause)) throw cause;
        const waitedMs = Math.round(this.#clock.monotonicMs() - startMs);
        if (waitedMs >= timeoutMs) {
          const holders = await this.#holders();
          const fields = { store: this.store, tables: what, waitedMs, holders };
          throw new ChangeoverError('CHG_DATA_LOCK_TIMEOUT', fields, { cause });
        }
        await this.#clock.sleep(backoffMs);
        attemptMs = Math.min(attemptMs * 2, MAX_ATTEMPT_MS);
      }
    }
  }

  /** `work` while which the connection may do nothing in a transaction for as long as it takes. MySQL has no limit for that. */
  async unhurried<T>(work: () => Promise<T>): Promise<T> {
    const limitTo = async (seconds: number) => {
      if (this.#isMariadb && this.isConnected) await this.query(`SET SESSION idle_transaction_timeout = ${seconds}`);
    };
    await limitTo(0);
    try {
      return await work();
    } finally {
      await limitTo(IDLE_IN_TRANSACTION_S);
    }
  }

  async close(): Promise<void> {
    const connection = this.#connection;
    this.#connection = null;
    if (connection !== null) await connection.end();
  }

  async #briefly<T>(limitMs: number, attempt: () => Promise<T>): Promise<T> {
    await this.#connected();
    const limit = this.#isMariadb
      ? `max_statement_time = ${limitMs / 1000}`
      : 'lock_wait_timeout = 1, innodb_lock_wait_timeout = 1';
    const usual = this.#isMariadb
      ? 'max_statement_time = 0'
      : `lock_wait_timeout = ${ROW_LOCK_TIMEOUT_S}, innodb_lock_wait_timeout = ${ROW_LOCK_TIMEOUT_S}`;
    await this.query(`SET SESSION ${limit}`);
    try {
      return await attempt();
    } finally {
      if (this.isConnected) await this.query(`SET SESSION ${usual}`);
    }
  }

  async #connected(): Promise<Connection> {
    if (this.#connection !== null) return this.#connection;
    if (this.#pins > 0)
      throw new ChangeoverError('CHG_DATA_STORE_UNREACHABLE', {
        store: this.store,
        reason: 'the connection was lost in the middle of a transaction',
      });
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = null;
    });
    return this.#connecting;
  }

  async #connect(): Promise<Connection> {
    try {
      const mysql = await import('mysql2/promise');
      const connection = await mysql.createConnection({
        uri: this.#url,
        charset: 'utf8mb4_general_ci',
        rowsAsArray: true,
        // The server's own text and bytes, untouched: what they mean depends on the column.
        typeCast: (field) => field.buffer(),
        enableKeepAlive: true,
      });
      // Without a listener a lost connection would end the process; the next statement finds it gone.
      connection.on('error', () => {
        this.#forget(connection);
      });
      connection.on('end', () => {
        this.#forget(connection);
      });
      const [[version]] = (await rowsOf(connection, 'SELECT version()')) as [[Buffer]];
      this.#isMariadb = version.toString().includes('MariaDB');
      const idle = this.#isMariadb ? `, idle_transaction_timeout = ${IDLE_IN_TRANSACTION_S}` : '';
      await rowsOf(
        connection,
        `SET SESSION sql_mode = '${SQL_MODE}', time_zone = '+00:00', innodb_lock_wait_timeout = ${ROW_LOCK_TIMEOUT_S},
           lock_wait_timeout = ${ROW_LOCK_TIMEOUT_S}${idle}`,
      );
      await rowsOf(connection, 'SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ');
      for (const sql of this.#greeting) await rowsOf(connection, sql);
      this.#connection = connection;
      return connection;
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new ChangeoverError('CHG_DATA_STORE_UNREACHABLE', { store: this.store, reason }, { cause });
    }
  }

  /** Does not close it: the driver then tells the statements that are under way nothing any more. */
  #forget(connection: Connection): void {
    if (this.#connection === connection) this.#connection = null;
  }

  async #holders(): Promise<string> {
    try {
      const rows = await this.texts(`
        SELECT t.trx_mysql_thread_id, p.USER, p.COMMAND, TIMESTAMPDIFF(SECOND, t.trx_started, NOW())
        FROM information_schema.INNODB_TRX t JOIN information_schema.PROCESSLIST p ON p.ID = t.trx_mysql_thread_id
        WHERE p.ID <> CONNECTION_ID() ORDER BY t.trx_started LIMIT 3`);
      const open = rows.map(([id, user, command, age]) => `connection ${id} (${user}, ${command}, open for ${age} s)`);
      for (const [, , , xid] of await this.texts('XA RECOVER')) open.push(`prepared XA transaction ${xid}`);
      return open.length === 0 ? 'nobody any more' : open.join(', ');
    } catch (error) {
      return `somebody; their names need the right PROCESS (${error instanceof Error ? error.message : String(error)})`;
    }
  }
}

async function rowsOf(connection: Connection, sql: string): Promise<Cell[][]> {
  const [answer] = await connection.query<RowDataPacket[][]>(sql);
  return Array.isArray(answer) ? (answer as unknown as Cell[][]) : [];
}

/** True for an error after which the connection is of no use: by the driver's word, or by the server's, which closes it. */
function isFatal(error: unknown): boolean {
  return (error instanceof Error && 'fatal' in error && error.fatal === true) || CLOSING.includes(errorNumber(error));
}

/** The number of an error of the server, or 0. */
export function errorNumber(error: unknown): number {
  return error instanceof Error && 'errno' in error && typeof error.errno === 'number' ? error.errno : 0;
}

/** The SQLSTATE of an error of the server, or an empty text. */
export function sqlState(error: unknown): string {
  return error instanceof Error && 'sqlState' in error && typeof error.sqlState === 'string' ? error.sqlState : '';
}

export function isLockTimeout(error: unknown): boolean {
  return [LOCK_WAIT_TIMEOUT, DEADLOCK, STATEMENT_TIMEOUT, QUERY_INTERRUPTED].includes(errorNumber(error));
}

export function isDeadlock(error: unknown): boolean {
  return errorNumber(error) === DEADLOCK;
}
