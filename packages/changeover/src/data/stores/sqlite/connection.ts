import { existsSync, statSync } from 'node:fs';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { ChangeoverError } from '../../../errors.ts';
import type { Context } from '../../../plan/context.ts';
import { WHOLE, type Own } from './own.ts';

/** How long one of our transactions waits for another writer. The waiting is asynchronous, in steps of `RETRY_MS`. */
const BUSY_TIMEOUT_MS = 10_000;
const RETRY_MS = 2;

/** How long a brief transaction looks for the moment right after another writer's commit. */
const QUIET_MS = 20;

const SQLITE_BUSY = 5;
const SQLITE_FULL = 13;

/** Tables that make the gate: they exist from `prepare` on. */
const gateSql = (prefix: string) => `
  CREATE TABLE IF NOT EXISTS ${prefix}_gate (
    id INTEGER PRIMARY KEY CHECK (id = 1), epoch INTEGER NOT NULL, bypass INTEGER NOT NULL, identity TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS ${prefix}_ledger (
    run TEXT NOT NULL, sync TEXT NOT NULL, tbl TEXT NOT NULL, seq INTEGER NOT NULL, last_key TEXT, rows INTEGER NOT NULL,
    hash TEXT NOT NULL, complete INTEGER NOT NULL, PRIMARY KEY (run, sync, tbl, seq)) WITHOUT ROWID;
  INSERT OR IGNORE INTO ${prefix}_gate VALUES (1, 0, 0, lower(hex(randomblob(16))));`;

/**
 * The one connection to a SQLite file, with its gate. Every write of ours is a transaction that first takes the write lock, then
 * looks at the epoch in the gate; the bypass that our triggers look at is set and reset inside it, so nobody else ever sees it set.
 */
export class SqliteConnection {
  readonly store: string;
  readonly ctx: Context;
  readonly own: Own;
  readonly #file: string;
  readonly #inode: string | null;
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  /** The epoch on whose behalf this process acts. */
  #epoch: number;
  #isLocked = false;

  constructor(file: string, store: string, ctx: Context, own: Own = WHOLE) {
    this.own = own;
    if (!existsSync(file)) throw new ChangeoverError('CHG_DATA_STORE_MISSING', { store });
    this.store = store;
    this.ctx = ctx;
    this.#epoch = ctx.epoch;
    // `mode=rw`: a store that vanished is not made anew, empty. Foreign keys stay unenforced for us, since a batch may hold a child
    // before its parent, and no cascade of ours must reach rows that the source never changed.
    this.#file = file;
    // Before it is opened: of a file that is replaced in between we then know too little, and open it once more.
    this.#inode = inodeOf(file);
    this.#db = new DatabaseSync(`${pathToFileURL(file).href}?mode=rw`, {
      enableForeignKeyConstraints: false,
      timeout: 0,
    });
  }

  /** True when the path names another file by now: what we have open is gone for everybody else. */
  get isReplaced(): boolean {
    return !this.#isLocked && inodeOf(this.#file) !== this.#inode;
  }

  get isLocked(): boolean {
    return this.#isLocked;
  }

  /** A cached statement that gives arrays, with integers as `bigint`. */
  statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      statement.setReadBigInts(true);
      statement.setReturnArrays(true);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  all(sql: string, ...values: (null | number | bigint | string | Uint8Array)[]): unknown[][] {
    return this.statement(sql).all(...values) as unknown as unknown[][];
  }

  /** A function of ours in SQL. It gets and gives what node:sqlite does: integers as `bigint`. */
  define(name: string, act: (...values: SQLInputValue[]) => SQLInputValue): void {
    this.#db.function(name, { deterministic: true, useBigIntArguments: true }, act);
  }

  exec(sql: string): void {
    this.#db.exec(sql);
  }

  /** Runs `work`, again and again while another connection holds the lock that it needs. `work` must be synchronous and repeatable. */
  async patiently<T>(work: () => T, timeoutMs = BUSY_TIMEOUT_MS): Promise<T> {
    const { clock } = this.ctx;
    const startMs = clock.monotonicMs();
    for (;;) {
      try {
        return work();
      } catch (error) {
        if (isFull(error)) throw new ChangeoverError('CHG_DATA_STORE_FULL', { store: this.store }, { cause: error });
        if (!isBusy(error)) throw error;
        const waitedMs = Math.round(clock.monotonicMs() - startMs);
        if (waitedMs >= timeoutMs)
          throw new ChangeoverError('CHG_DATA_STORE_BUSY', { store: this.store, waitedMs }, { cause: error });
        await clock.sleep(RETRY_MS);
      }
    }
  }

  /** One snapshot for several reads. */
  async read<T>(work: () => T): Promise<T> {
    return this.patiently(() => {
      if (this.#db.isTransaction) return work();
      this.#db.exec('BEGIN');
      try {
        return work();
      } finally {
        this.#db.exec('COMMIT');
      }
    });
  }

  /**
   * One transaction of ours: the write lock, the gate, then `work`. Inside a lock it is a savepoint of the lock's transaction.
   * `work` is synchronous, so that the write lock is never held across an await.
   */
  async write<T>(epoch: number, work: () => T, beforeCommit?: () => void): Promise<T> {
    return this.patiently(() => {
      this.#db.exec(this.#isLocked ? 'SAVEPOINT changeover' : 'BEGIN IMMEDIATE');
      try {
        this.#passGate(epoch);
        this.#db.exec(`UPDATE ${this.own.prefix}_gate SET bypass = 1`);
        const result = work();
        this.#db.exec(`UPDATE ${this.own.prefix}_gate SET bypass = 0`);
        beforeCommit?.();
        this.#db.exec(this.#isLocked ? 'RELEASE changeover' : 'COMMIT');
        return result;
      } catch (error) {
        if (this.#db.isTransaction)
          this.#db.exec(this.#isLocked ? 'ROLLBACK TO changeover; RELEASE changeover' : 'ROLLBACK');
        throw error;
      }
    });
  }

  /** A transaction on behalf of the epoch that was installed last. */
  async change<T>(work: () => T, beforeCommit?: () => void): Promise<T> {
    return this.write(this.#epoch, work, beforeCommit);
  }

  /** Statements of DDL in one transaction; a trial is rolled back. */
  async alter(statements: readonly string[], isTrial: boolean): Promise<void> {
    const trial = new Error('a trial ends here');
    const work = () => {
      for (const sql of statements) this.#db.exec(sql);
    };
    try {
      await this.change(work, () => {
        if (isTrial) throw trial;
      });
    } catch (error) {
      if (error !== trial) throw error;
    }
  }

  /**
   * A transaction on a live store, made so short that a writer which never waits hardly meets it: it begins right after another writer's
   * commit, and does not wait for the disk. Only for what may be lost with a loss of power, because it is then noticed or made again.
   */
  async changeBriefly<T>(work: () => T): Promise<T> {
    return this.#isLocked ? this.change(work) : this.#briefly(() => this.change(work));
  }

  async prepare(): Promise<void> {
    if (!this.hasGate())
      await this.#briefly(() =>
        this.patiently(() => {
          this.#db.exec(`BEGIN IMMEDIATE; ${gateSql(this.own.prefix)} COMMIT`);
        }),
      );
    await this.installEpoch(this.#epoch);
  }

  /** The last transaction of ours, brief too: `work` takes away the rest, and with the gate nothing of us is left. */
  async dissolve(work: () => void): Promise<void> {
    await this.#briefly(() =>
      this.patiently(() => {
        this.#db.exec('BEGIN IMMEDIATE');
        try {
          this.#passGate(this.#epoch);
          work();
          const { prefix } = this.own;
          this.#db.exec(`DROP TABLE ${prefix}_ledger; DROP TABLE ${prefix}_gate; COMMIT`);
        } finally {
          if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
        }
      }),
    );
  }

  async installEpoch(epoch: number, isLive = false): Promise<void> {
    this.#epoch = epoch;
    if (isLive || !this.hasGate() || this.#gateEpoch() >= epoch) return;
    await this.changeBriefly(() => undefined);
    this.ctx.faults.at('data.epoch.installed');
  }

  hasGate(): boolean {
    const sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?";
    return this.all(sql, `${this.own.prefix}_gate`).length > 0;
  }

  /** Tells the log of changes apart from one that was made anew. */
  identity(): string {
    const [row] = this.all(`SELECT identity FROM ${this.own.prefix}_gate`);
    return String(row?.[0]);
  }

  renewIdentity(): void {
    this.#db.exec(`UPDATE ${this.own.prefix}_gate SET identity = lower(hex(randomblob(16)))`);
  }

  /** Takes the write lock and keeps it until `endLock`. */
  async lock(timeoutMs: number): Promise<void> {
    await this.patiently(() => {
      this.#db.exec('BEGIN IMMEDIATE');
    }, timeoutMs);
    try {
      this.#passGate(this.#epoch);
    } catch (error) {
      this.#db.exec('ROLLBACK');
      throw error;
    }
    this.#isLocked = true;
  }

  endLock(how: 'COMMIT' | 'ROLLBACK'): void {
    if (!this.#isLocked) return;
    this.#db.exec(how);
    this.#isLocked = false;
  }

  close(): void {
    this.#statements.clear();
    if (this.#db.isOpen) this.#db.close();
  }

  async #briefly<T>(transact: () => Promise<T>): Promise<T> {
    await this.#afterCommit();
    this.#db.exec('PRAGMA synchronous = NORMAL');
    try {
      return await transact();
    } finally {
      this.#db.exec('PRAGMA synchronous = FULL');
    }
  }

  /** Resolves when another connection has just committed, or when none does for a while. */
  async #afterCommit(): Promise<void> {
    const version = () => this.all('PRAGMA data_version')[0]?.[0];
    const before = version();
    for (let waitedMs = 0; waitedMs < QUIET_MS && version() === before; waitedMs++) await this.ctx.clock.sleep(1);
  }

  #gateEpoch(): number {
    const [row] = this.all(`SELECT epoch FROM ${this.own.prefix}_gate`);
    return Number(row?.[0]);
  }

  /** Under the write lock: a dead owner's process finds a higher epoch here and changes nothing. */
  #passGate(epoch: number): void {
    const gate = this.#gateEpoch();
    if (gate > epoch) throw new ChangeoverError('CHG_DATA_EPOCH_STALE', { store: this.store, epoch, gate });
    if (gate < epoch) this.statement(`UPDATE ${this.own.prefix}_gate SET epoch = ?`).run(BigInt(epoch));
  }
}

/** Null where there is none. */
function inodeOf(file: string): string | null {
  const stat = statSync(file, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? null : `${stat.dev}:${stat.ino}`;
}

function isBusy(error: unknown): boolean {
  return (sqliteCode(error) & 0xff) === SQLITE_BUSY;
}

function isFull(error: unknown): boolean {
  return (sqliteCode(error) & 0xff) === SQLITE_FULL;
}

/** SQLite's extended result code, or 0 where the error is not SQLite's. */
export function sqliteCode(error: unknown): number {
  if (!(error instanceof Error) || !('errcode' in error)) return 0;
  return typeof error.errcode === 'number' ? error.errcode : 0;
}
