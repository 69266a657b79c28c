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
const DEADLOCK_DETECTED = '40P01';

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
  #queue: Promise<unknown> = Promise.resolve();

  constructor(url: string, store: string, clock: Clock) {
    this.#url = url;
    this.#store = store;
    this.#clock = clock;
  }

  /** Runs `work` alone on this connection. */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#queue.then(work);
    this.#queue = turn.catch(() => undefined);
    return turn;
  }

  /** One statement. Call it inside `alone`, or where nothing else can use the connection. */
  async query(sql: string, values: readonly (Cell | readonly Cell[])[] = []): Promise<Cell[][]> {
    const client = await this.#connected();
    const answer = await client.query<Cell[]>({ text: sql, values: [...values], rowMode: 'array', types: RAW });
    return answer.rows;
  }

  /** How many rows one statement changed. */
  async execute(sql: string, values: readonly (Cell | readonly Cell[])[] = []): Promise<number> {
    const client = await this.#connected();
    const answer = await client.query({ text: sql, values: [...values], types: RAW });
    return answer.rowCount ?? 0;
  }

  /** `work` between BEGIN and COMMIT. */
  async transaction<T>(work: () => Promise<T>): Promise<T> {
    await this.query('BEGIN');
    try {
      const result = await work();
      await this.query('COMMIT');
      return result;
    } catch (error) {
      await this.rollback();
      throw error;
    }
  }

  async rollback(): Promise<void> {
    if (this.#isOpen) await this.query('ROLLBACK');
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
    if (client !== null) await client.end();
  }

  async #connected(): Promise<pg.Client> {
    if (this.#client !== null && this.#isOpen) return this.#client;
    const client = new pg.Client({ connectionString: this.#url, application_name: 'changeover', keepAlive: true });
    // Without a listener a lost connection would end the process; the next statement finds it closed.
    client.on('error', () => {
      this.#isOpen = false;
    });
    client.on('end', () => {
      if (this.#client === client) this.#isOpen = false;
    });
    try {
      await client.connect();
      await client.query(SETTINGS);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new ChangeoverError('CHG_DATA_STORE_UNREACHABLE', { store: this.#store, reason }, { cause });
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

/** The SQLSTATE of an error of Postgres, or null. */
export function sqlState(error: unknown): string | null {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : null;
}

function isLockTimeout(error: unknown): boolean {
  return [LOCK_NOT_AVAILABLE, DEADLOCK_DETECTED].includes(sqlState(error) ?? '');
}
