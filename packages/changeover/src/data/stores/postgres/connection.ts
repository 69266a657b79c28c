import { ChangeoverError } from '../../../errors.ts';
import type { Context } from '../../../plan/context.ts';
import { WHOLE, type Own } from './own.ts';
import { LOCK_TIMEOUT_MS, Session, sqlState } from './session.ts';
import { quoted } from './text.ts';

/** Marks transactions of ours in the write-ahead log, so that they are not taken for the application's. */
export const OWN_PREFIX = 'changeover';
const INSUFFICIENT_PRIVILEGE = '42501';
export const UNDEFINED_TABLE = '42P01';
/** Time for DDL to find a moment without long writers. */
const DDL_TIMEOUT_MS = 30_000;
const EPOCH_TIMEOUT_MS = 10_000;
export const ROW_LOCK_TIMEOUT_MS = 5_000;

/**
 * The connections to one database, with its gate. Reads, capture and the lock of the cutover share one connection, writes have their own.
 *
 * Every transaction of ours that changes something first takes a share lock on the gate row and looks at the epoch in it. Raising the epoch
 * updates that row, so it waits for such transactions, or ends them: once it is raised, nothing of a dead owner can commit any more.
 */
export class PostgresConnection {
  readonly store: string;
  readonly ctx: Context;
  /** Reads, capture, and the lock. */
  readonly main: Session;
  readonly writer: Session;
  #epoch: number;
  #home: string | null = null;
  #canActAsReplica: boolean | null = null;
  #isLocked = false;

  /** True where changes are read from the log: our own transactions then say in it that they are ours. */
  readonly #marksWrites: boolean;
  readonly own: Own;

  constructor(
    url: string,
    store: string,
    ctx: Context,
    options: { readonly marksWrites: boolean; readonly own?: Own },
  ) {
    this.own = options.own ?? WHOLE;
    this.store = store;
    this.ctx = ctx;
    this.#marksWrites = options.marksWrites;
    this.main = new Session(url, store, ctx.clock);
    this.writer = new Session(url, store, ctx.clock);
    this.#epoch = ctx.epoch;
  }

  /** The epoch that was installed last. */
  get epoch(): number {
    return this.#epoch;
  }

  get isLocked(): boolean {
    return this.#isLocked;
  }

  /** The schema of our own tables, quoted. */
  async home(): Promise<string> {
    if (this.#home !== null) return this.#home;
    const [row] = await this.main.query('SELECT current_schema()');
    const schema = row?.[0] ?? null;
    if (schema === null)
      throw new ChangeoverError('CHG_DATA_STORE_FAILED', {
        store: this.store,
        action: 'finding a schema',
        reason: 'search_path names no schema that exists',
      });
    this.#home = quoted(schema);
    return this.#home;
  }

  /** The name of a table or function of ours, with its schema. */
  async ours(name: string): Promise<string> {
    return `${await this.home()}.${this.own.prefix}_${name}`;
  }

  /** True where we may switch off foreign keys and the application's triggers for our own transactions. */
  async canActAsReplica(): Promise<boolean> {
    if (this.#canActAsReplica !== null) return this.#canActAsReplica;
    try {
      await this.writer.transaction(() => this.writer.query('SET LOCAL session_replication_role = replica'));
      this.#canActAsReplica = true;
    } catch (error) {
      if (sqlState(error) !== INSUFFICIENT_PRIVILEGE) throw error;
      this.#canActAsReplica = false;
    }
    return this.#canActAsReplica;
  }

  async prepare(): Promise<void> {
    const [gate, ledger] = [await this.ours('gate'), await this.ours('ledger')];
    if (!(await this.hasGate()))
      await this.main.alone(() =>
        this.main.transaction(async () => {
          await this.main.query(`
            CREATE TABLE IF NOT EXISTS ${gate} (id int PRIMARY KEY CHECK (id = 1), epoch bigint NOT NULL);
            CREATE TABLE IF NOT EXISTS ${ledger} (
              run text, sync text, tbl text, seq int, last_key text, rows int NOT NULL, hash text NOT NULL, complete boolean NOT NULL,
              PRIMARY KEY (run, sync, tbl, seq));
            INSERT INTO ${gate} VALUES (1, 0) ON CONFLICT DO NOTHING;
            REVOKE ALL ON ${gate}, ${ledger} FROM PUBLIC`);
        }),
      );
    await this.installEpoch(this.#epoch);
  }

  async hasGate(): Promise<boolean> {
    const [row] = await this.main.query('SELECT to_regclass($1) IS NOT NULL', [await this.ours('gate')]);
    return row?.[0] === 't';
  }

  /**
   * Raises the gate. A dead or stopped owner's transaction may hold it: our own connections of a lower epoch are ended, for what they have not
   * committed must never be.
   */
  async installEpoch(epoch: number): Promise<void> {
    this.#epoch = epoch;
    if (!(await this.hasGate()) || (await this.#gateEpoch()) >= epoch) return;
    const gate = await this.ours('gate');
    await this.writer.patiently('changeover_gate', EPOCH_TIMEOUT_MS, async () => {
      try {
        await this.writer.alone(() =>
          this.writer.transaction(async () => {
            await this.writer.query(`SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}`);
            await this.writer.query(`UPDATE ${gate} SET epoch = $1 WHERE epoch < $1`, [String(epoch)]);
          }),
        );
      } catch (error) {
        await this.#endOlderOwners(epoch);
        throw error;
      }
    });
    // What runs outside of a transaction does not hold the gate any more when its owner is dead.
    await this.#endOlderOwners(epoch);
    this.ctx.faults.at('data.epoch.installed');
  }

  /** A transaction on the writer's connection that changes rows: gate, then bypass of fence and capture, then `work`. */
  async write<T>(epoch: number, work: (session: Session) => Promise<T>, beforeCommit?: () => void): Promise<T> {
    const isReplica = await this.canActAsReplica();
    return this.writer.alone(() =>
      this.writer.transaction(async () => {
        // A row that somebody keeps locked must not keep a hold waiting for ever.
        await this.writer.query(`SET LOCAL lock_timeout = ${ROW_LOCK_TIMEOUT_MS}`);
        await this.passGate(this.writer, epoch);
        await this.writer.query("SELECT set_config('changeover.epoch', $1, true)", [String(epoch)]);
        if (this.#marksWrites) await this.writer.query(`SELECT pg_logical_emit_message(true, '${OWN_PREFIX}', '')`);
        // The constraints held in the source; in a batch a child may come before its parent.
        await this.writer.query(
          isReplica ? 'SET LOCAL session_replication_role = replica' : 'SET CONSTRAINTS ALL DEFERRED',
        );
        const result = await work(this.writer);
        beforeCommit?.();
        return result;
      }),
    );
  }

  /**
   * A transaction that changes the schema under short locks, on behalf of the epoch that was installed last. Inside the lock it is part of
   * the lock's transaction.
   */
  async change<T>(
    tables: string,
    work: (session: Session) => Promise<T>,
    beforeCommit?: () => void,
    timeoutMs = DDL_TIMEOUT_MS,
  ): Promise<T> {
    if (this.#isLocked) return work(this.main);
    return this.main.patiently(tables, timeoutMs, () =>
      this.main.alone(() =>
        this.main.transaction(async () => {
          await this.main.query(`SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}`);
          await this.passGate(this.main, this.#epoch);
          const result = await work(this.main);
          beforeCommit?.();
          return result;
        }),
      ),
    );
  }

  /** Statements of DDL in one transaction; a trial is rolled back. */
  async alter(statements: readonly string[], isTrial: boolean, about = 'the new tables'): Promise<void> {
    const trial = new Error('a trial ends here');
    const work = async (session: Session) => {
      for (const sql of statements) await session.query(sql);
    };
    try {
      await this.change(about, work, () => {
        if (isTrial) throw trial;
      });
    } catch (error) {
      if (error !== trial) throw error;
    }
  }

  /**
   * One statement that cannot be part of a transaction. The gate is held meanwhile by another connection, which a stopped owner keeps and
   * a killed one loses; either way the next owner ends this one by its name.
   */
  async outside(sql: string): Promise<void> {
    await this.change(sql, async (session) => {
      await session.query('SET LOCAL idle_in_transaction_session_timeout = 0');
      await this.writer.alone(async () => {
        await this.writer.query(`SET application_name = 'changeover epoch ${this.#epoch}'`);
        try {
          await this.writer.query(sql);
        } finally {
          await this.writer.query("SET application_name = 'changeover'");
        }
      });
    });
  }

  /** Locks writers of `tables` (quoted names in order) out, and keeps them out until `endLock`. */
  async lock(tables: readonly string[], timeoutMs: number): Promise<void> {
    await this.main.patiently(tables.join(', '), timeoutMs, async () => {
      await this.main.begin();
      try {
        await this.main.query(`SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}`);
        await this.passGate(this.main, this.#epoch);
        await this.main.query(`LOCK TABLE ${tables.join(', ')} IN SHARE ROW EXCLUSIVE MODE`);
      } catch (error) {
        await this.main.rollback();
        throw error;
      }
    });
    this.#isLocked = true;
  }

  async endLock(how: 'COMMIT' | 'ROLLBACK'): Promise<void> {
    if (!this.#isLocked) return;
    this.#isLocked = false;
    if (how === 'COMMIT') await this.main.commit();
    else await this.main.rollback();
  }

  /** Inside a transaction: holds the gate until it ends. A dead owner's process finds a higher epoch here and changes nothing. */
  async passGate(session: Session, epoch: number): Promise<void> {
    const gate = await this.ours('gate');
    await session.query("SELECT set_config('application_name', $1, true)", [`${this.own.prefix} epoch ${epoch}`]);
    const [row] = await session.query(`SELECT epoch FROM ${gate} FOR SHARE`);
    const current = Number(row?.[0]);
    if (current > epoch) throw new ChangeoverError('CHG_DATA_EPOCH_STALE', { store: this.store, epoch, gate: current });
    if (current < epoch) await session.query(`UPDATE ${gate} SET epoch = $1`, [String(epoch)]);
  }

  async close(): Promise<void> {
    await this.main.close();
    await this.writer.close();
  }

  async #gateEpoch(): Promise<number> {
    try {
      const [row] = await this.main.query(`SELECT epoch FROM ${await this.ours('gate')}`);
      return Number(row?.[0]);
    } catch (error) {
      if (sqlState(error) === UNDEFINED_TABLE) return 0;
      throw error;
    }
  }

  async #endOlderOwners(epoch: number): Promise<void> {
    await this.main.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
         AND substring(application_name FROM '^${this.own.prefix} epoch (\\d+)$')::bigint < $1`,
      [String(epoch)],
    );
  }
}
