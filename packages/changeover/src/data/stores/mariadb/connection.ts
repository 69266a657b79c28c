import { randomUUID } from 'node:crypto';
import { ChangeoverError } from '../../../errors.ts';
import type { Context } from '../../../plan/context.ts';
import { NO_SUCH_TABLE, Session, errorNumber, isDeadlock } from './session.ts';
import { literal } from './text.ts';

/** Time for DDL, and for raising the gate, to find a moment without long writers. */
const DDL_TIMEOUT_MS = 30_000;
const EPOCH_TIMEOUT_MS = 10_000;
/** InnoDB ends one of two transactions that wait for each other; ours is repeated so many times. */
const MAX_DEADLOCKS = 10;

/** Tables that make the gate and the fence. */
const GATE = [
  'CREATE TABLE IF NOT EXISTS changeover_gate (id INT PRIMARY KEY, epoch BIGINT NOT NULL) ENGINE = InnoDB',
  `CREATE TABLE IF NOT EXISTS changeover_ledger (
     run VARCHAR(64) NOT NULL, sync VARCHAR(64) NOT NULL, tbl VARCHAR(64) NOT NULL, seq INT NOT NULL, last_key LONGTEXT, row_count INT NOT NULL,
     hash VARCHAR(128) NOT NULL, complete BOOL NOT NULL, PRIMARY KEY (run, sync, tbl, seq))
   ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`,
  `CREATE TABLE IF NOT EXISTS changeover_fence (tbl VARCHAR(64) PRIMARY KEY, fenced BOOL NOT NULL)
   ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`,
  `CREATE TABLE IF NOT EXISTS changeover_sessions (token VARCHAR(64) PRIMARY KEY, epoch BIGINT NOT NULL)
   ENGINE = InnoDB CHARACTER SET ascii COLLATE ascii_bin`,
];
const GATE_TABLES = ['changeover_ledger', 'changeover_fence', 'changeover_sessions', 'changeover_gate'];

/** A connection of ours, known to others by a lock that the server frees with it. */
interface Known {
  readonly session: Session;
  readonly token: string;
  epoch: number;
}

/**
 * The connections to one database, with its gate: `main` reads, `writer` changes rows, `holder` makes triggers and holds the lock of the cutover.
 *
 * Every transaction of ours that changes something first takes a shared lock on the gate row and looks at the epoch in it. Raising the epoch
 * updates that row, so it waits for such transactions, or ends them: once it is raised, nothing of a dead owner can commit any more.
 */
export class MariadbConnection {
  readonly store: string;
  readonly ctx: Context;
  readonly main: Session;
  readonly writer: Session;
  readonly holder: Session;
  readonly #known: readonly Known[];
  #epoch: number;
  #isLocked = false;

  constructor(url: string, store: string, ctx: Context) {
    this.store = store;
    this.ctx = ctx;
    this.#epoch = ctx.epoch;
    const known = (greeting: readonly string[] = []): Known => {
      const token = `changeover-${randomUUID()}`;
      const session = new Session(url, store, ctx.clock, [`SELECT GET_LOCK(${literal(token)}, 0)`, ...greeting]);
      return { session, token, epoch: -1 };
    };
    // The constraints held in the source; in a batch a child may come before its parent, and a deleted parent must not cascade.
    const [main, writer, holder] = [known(), known(['SET SESSION foreign_key_checks = 0']), known()];
    this.#known = [main, writer, holder];
    this.main = main.session;
    this.writer = writer.session;
    this.holder = holder.session;
  }

  /** The epoch that was installed last. */
  get epoch(): number {
    return this.#epoch;
  }

  get isLocked(): boolean {
    return this.#isLocked;
  }

  async prepare(): Promise<void> {
    if (!(await this.hasGate())) {
      for (const sql of GATE) await this.holder.query(sql);
      await this.holder.query('INSERT IGNORE INTO changeover_gate VALUES (1, 0)');
    }
    await this.installEpoch(this.#epoch);
  }

  async hasGate(): Promise<boolean> {
    return (await this.gateEpoch()) !== null;
  }

  /** Null where nothing of ours is in the database. */
  async gateEpoch(): Promise<number | null> {
    try {
      const [row] = await this.main.texts('SELECT epoch FROM changeover_gate WHERE id = 1');
      return row === undefined ? null : Number(row[0]);
    } catch (error) {
      if (errorNumber(error) === NO_SUCH_TABLE) return null;
      throw error;
    }
  }

  /**
   * Raises the gate. A dead or stopped owner's transaction may hold it: connections of ours with a lower epoch are ended, for what they have not
   * committed must never be.
   */
  async installEpoch(epoch: number): Promise<void> {
    this.#epoch = epoch;
    const current = await this.gateEpoch();
    if (current === null || current >= epoch) return;
    await this.holder.alone(() =>
      this.holder.patiently('changeover_gate', EPOCH_TIMEOUT_MS, async () => {
        try {
          await this.holder.query(`UPDATE changeover_gate SET epoch = ${epoch} WHERE id = 1 AND epoch < ${epoch}`);
        } catch (error) {
          await this.#endOlderOwners(epoch);
          throw error;
        }
      }),
    );
    this.ctx.faults.at('data.epoch.installed');
  }

  /**
   * A transaction on the writer's connection that changes rows: gate, then `work` past fence and capture. InnoDB's choice to end it for a
   * deadlock only makes it run again.
   */
  async write<T>(epoch: number, work: (session: Session) => Promise<T>, beforeCommit?: () => void): Promise<T> {
    const { writer } = this;
    return writer.alone(async () => {
      for (let deadlocks = 0; ; deadlocks++) {
        try {
          return await writer.transaction(async () => {
            await this.passGate(writer, epoch);
            await writer.query(`SET @changeover_epoch = ${epoch}`);
            const result = await work(writer);
            beforeCommit?.();
            return result;
          });
        } catch (error) {
          if (!isDeadlock(error) || deadlocks === MAX_DEADLOCKS) throw error;
        }
      }
    });
  }

  /**
   * Changes of the schema under short locks, on behalf of the epoch that was installed last. DDL commits by itself, so the writer's connection
   * holds the gate meanwhile; before each statement it is seen to hold it still.
   *
   * @param work Gets the function that runs one statement.
   */
  async change(what: string, work: (run: (sql: string) => Promise<void>) => Promise<void>): Promise<void> {
    const { holder } = this;
    await this.#ddl(what, () =>
      work(async (sql) => {
        await this.writer.query('DO 0');
        await holder.patiently(what, DDL_TIMEOUT_MS, () => holder.query(sql));
      }),
    );
  }

  /**
   * Statements of the schema that may take long: only their wait for locks is limited. Whoever takes over ends both connections, so the one that
   * holds the gate may look idle for as long as it takes.
   */
  async alter(statements: readonly string[]): Promise<void> {
    await this.#ddl('the schema', () =>
      this.writer.unhurried(async () => {
        for (const sql of statements) {
          await this.writer.query('DO 0');
          await this.holder.query(sql);
        }
      }),
    );
  }

  async #ddl(what: string, work: () => Promise<void>): Promise<void> {
    const { holder, writer } = this;
    this.#assertUnlocked(what);
    await holder.alone(() =>
      writer.alone(() =>
        holder.pinned(() =>
          writer.transaction(async () => {
            await this.#register(holder, this.#epoch);
            await this.passGate(writer, this.#epoch);
            await work();
          }),
        ),
      ),
    );
  }

  /** A transaction of ours on tables of our own, patient with writers that hold the fence. */
  async settle<T>(what: string, work: (session: Session) => Promise<T>, beforeCommit?: () => void): Promise<T> {
    const { holder } = this;
    this.#assertUnlocked(what);
    return holder.alone(() =>
      holder.patiently(what, DDL_TIMEOUT_MS, () =>
        holder.transaction(async () => {
          await this.passGate(holder, this.#epoch);
          const result = await work(holder);
          beforeCommit?.();
          return result;
        }),
      ),
    );
  }

  /**
   * Keeps writers of `tables` out until `endLock`. The rows of `changeover_fence` come first and alone: a transaction that holds nothing else
   * is the one that InnoDB ends when writers wait for each other across it.
   *
   * @param tables In a fixed order; each has its row in `changeover_fence`.
   * @param look Looks, under the lock, for what makes it worthless; throws then.
   */
  async lock(
    tables: readonly string[],
    quotedTables: readonly string[],
    timeoutMs: number,
    look: () => Promise<void>,
  ): Promise<void> {
    const { holder } = this;
    await holder.alone(async () => {
      await this.#register(holder, this.#epoch);
      await holder.pin();
      try {
        await holder.patiently(tables.join(', '), timeoutMs, async () => {
          await holder.query('BEGIN');
          try {
            await holder.query(
              `SELECT tbl FROM changeover_fence WHERE tbl IN (${tables.map(literal).join(', ')}) ORDER BY tbl FOR UPDATE`,
            );
            await this.passGate(holder, this.#epoch);
            // Whoever reads a table in a transaction keeps it from being truncated, altered or renamed.
            for (const table of quotedTables) await holder.query(`SELECT 1 FROM ${table} LIMIT 1`);
            await look();
          } catch (error) {
            await holder.rollback();
            throw error;
          }
        });
      } catch (error) {
        holder.unpin();
        throw error;
      }
    });
    this.#isLocked = true;
  }

  async endLock(how: 'COMMIT' | 'ROLLBACK'): Promise<void> {
    if (!this.#isLocked) return;
    this.#isLocked = false;
    try {
      if (how === 'COMMIT') await this.holder.query('COMMIT');
      else await this.holder.rollback();
    } finally {
      this.holder.unpin();
    }
  }

  /** The connection to read with. While the lock is held it is seen to be held still, and so it never looks idle. */
  async reader(): Promise<Session> {
    if (this.#isLocked) await this.holder.query('DO 0');
    return this.main;
  }

  /** Inside a transaction: holds the gate until it ends. A dead owner's process finds a higher epoch here and changes nothing. */
  async passGate(session: Session, epoch: number): Promise<void> {
    await this.#register(session, epoch);
    const [row] = await session.texts('SELECT epoch FROM changeover_gate WHERE id = 1 LOCK IN SHARE MODE');
    const current = Number(row?.[0]);
    if (current > epoch) throw new ChangeoverError('CHG_DATA_EPOCH_STALE', { store: this.store, epoch, gate: current });
    if (current < epoch) await session.query(`UPDATE changeover_gate SET epoch = ${epoch} WHERE id = 1`);
  }

  /** Takes the gate away. Whoever comes later finds the database as it was before us. */
  async dissolve(): Promise<void> {
    if (await this.hasGate())
      await this.settle('changeover_gate', (session) => session.query('DELETE FROM changeover_gate'));
    for (const table of GATE_TABLES)
      await this.holder.patiently(table, DDL_TIMEOUT_MS, () => this.holder.query(`DROP TABLE IF EXISTS ${table}`));
    for (const known of this.#known) known.epoch = -1;
  }

  async close(): Promise<void> {
    const registered = this.#known.filter(({ epoch }) => epoch >= 0).map(({ token }) => literal(token));
    if (registered.length > 0 && this.main.isConnected && (await this.hasGate()))
      await this.main.query(`DELETE FROM changeover_sessions WHERE token IN (${registered.join(', ')})`);
    for (const { session } of this.#known) await session.close();
  }

  /** Whatever commits by itself would end the lock's transaction, and the lock with it. */
  #assertUnlocked(what: string): void {
    if (!this.#isLocked) return;
    const fields = { store: this.store, action: `changing ${what}`, reason: 'the tables are locked' };
    throw new ChangeoverError('CHG_DATA_STORE_FAILED', fields);
  }

  /** Through another connection: the own one may be in a transaction already. */
  async #register(session: Session, epoch: number): Promise<void> {
    const known = this.#known.find((one) => one.session === session);
    if (known === undefined || known.epoch === epoch) return;
    await this.main.query(`REPLACE INTO changeover_sessions VALUES (${literal(known.token)}, ${epoch})`);
    known.epoch = epoch;
  }

  /** The server frees a token's lock with its connection, so a number that was given to somebody else meanwhile is never ended. */
  async #endOlderOwners(epoch: number): Promise<void> {
    const rows = await this.main.texts(
      `SELECT token, IS_USED_LOCK(token) FROM changeover_sessions WHERE epoch < ${epoch}`,
    );
    const own = new Set(this.#known.map(({ token }) => token));
    for (const [token, id] of rows) {
      if (own.has(token ?? '')) continue;
      if (id != null) await this.main.query(`KILL CONNECTION ${id}`).catch(ignoreGone);
      else await this.main.query(`DELETE FROM changeover_sessions WHERE token = ${literal(token ?? '')}`);
    }
  }
}

/** A connection may end between the look and the kill. */
function ignoreGone(error: unknown): void {
  const NO_SUCH_THREAD = 1094;
  if (errorNumber(error) !== NO_SUCH_THREAD) throw error;
}
