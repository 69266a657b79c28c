import type { Context } from '../../../plan/context.ts';
import type {
  BulkAddress,
  Computed,
  Key,
  LedgerEntry,
  OpenStore,
  Row,
  SchemaAccess,
  StoreLock,
  WriteBatch,
} from '../../../plan/stores.ts';
import type { Finding, Footprint } from '../../../plan/words.ts';
import { ChangeoverError } from '../../../errors.ts';
import { ledgerEntry } from '../../ledger-cells.ts';
import { MariadbCapture } from './capture.ts';
import { readCascades } from './cascades.ts';
import { checkMariadb, footprintOfMariadb } from './check.ts';
import { computeRows, computedColumns } from './computed.ts';
import { MariadbConnection } from './connection.ts';
import { estimatedBytes, latencyMs } from './gauges.ts';
import { Guard } from './guard.ts';
import { canonicalRows, readColumns, readKey, readRows, rowReader, within } from './rows.ts';
import { keyColumns, readShape, selection, type MariadbColumn, type MariadbShape } from './shape.ts';
import { literal, quoted } from './text.ts';
import { writeBatch } from './write.ts';

/** How long the lock of the cutover tries; the hold's deadline is shorter than many a transaction. */
const LOCK_TIMEOUT_MS = 3_000;

/** One MariaDB or MySQL database, opened. */
export class OpenMariadb implements OpenStore {
  readonly kind = 'mariadb';
  readonly capture: MariadbCapture;
  readonly schema: SchemaAccess = {
    query: (sql) => this.#connection.main.texts(sql),
    change: async (statements) => {
      await this.#connection.alter(statements);
      this.#shapes.clear();
    },
  };
  readonly bulk: BulkAddress;
  readonly #connection: MariadbConnection;
  readonly #guard: Guard;
  readonly #shapes = new Map<string, MariadbShape>();

  constructor(url: string, name: string, ctx: Context) {
    this.bulk = { kind: 'mariadb', store: name, url };
    this.#connection = new MariadbConnection(url, name, ctx);
    this.#guard = new Guard(this.#connection);
    this.capture = new MariadbCapture(
      this.#connection,
      this.#guard,
      (table) => this.shape(table),
      (table) => this.#fresh(table, null),
    );
  }

  async shape(table: string): Promise<MariadbShape> {
    let shape = this.#shapes.get(table);
    if (shape === undefined) {
      shape = await readShape(this.#connection.main, this.#connection.store, table);
      this.#shapes.set(table, shape);
    }
    return shape;
  }

  async chunk(
    table: string,
    after: Key | null,
    limit: number,
    upTo: Key | null = null,
    computed: readonly Computed[] = [],
  ): Promise<Row[]> {
    const shape = await this.#fresh(table, after);
    const columns = [...readColumns(shape), ...(await this.#computed(shape, computed))];
    const session = await this.#connection.reader();
    const rows = await session.query(
      `SELECT ${selection(columns)} FROM ${quoted(table)} ${within(shape, { after, upTo })}
       ORDER BY ${shape.key.map(quoted).join(', ')} LIMIT ${limit}`,
    );
    return rows.map(rowReader(session, shape, columns));
  }

  async rows(table: string, keys: readonly Key[], computed: readonly Computed[] = []): Promise<Row[]> {
    const shape = await this.shape(table);
    const columns = [...readColumns(shape), ...(await this.#computed(shape, computed))];
    return readRows(await this.#connection.reader(), shape, keys, columns);
  }

  async count(table: string): Promise<number> {
    await this.shape(table);
    const session = await this.#connection.reader();
    const [row] = await session.texts(`SELECT COUNT(*) FROM ${quoted(table)}`);
    return Number(row?.[0]);
  }

  async lastKey(table: string): Promise<Key | null> {
    const shape = await this.shape(table);
    const session = await this.#connection.reader();
    const order = shape.key.map((column) => `${quoted(column)} DESC`).join(', ');
    const [cells] = await session.query(
      `SELECT ${selection(keyColumns(shape))} FROM ${quoted(table)} ORDER BY ${order} LIMIT 1`,
    );
    return cells === undefined ? null : readKey(shape, cells);
  }

  async estimatedBytes(table: string): Promise<number> {
    return estimatedBytes(await this.#connection.reader(), table);
  }

  async latencyMs(table: string): Promise<number> {
    return latencyMs(await this.#connection.reader(), await this.shape(table));
  }

  async canonical(table: string, rows: readonly Row[]): Promise<Row[]> {
    return canonicalRows(this.#connection.main, await this.shape(table), rows);
  }

  async compute(table: string, rows: readonly Row[], computed: readonly Computed[]): Promise<Row[]> {
    const { store } = this.#connection;
    return computeRows(await this.#connection.reader(), store, await this.shape(table), rows, computed);
  }

  async prepare(): Promise<void> {
    await this.#connection.prepare();
  }

  async installEpoch(epoch: number): Promise<void> {
    await this.#connection.installEpoch(epoch);
  }

  async write(batch: WriteBatch): Promise<void> {
    const shapes = new Map<string, MariadbShape>();
    for (const { table } of batch.changes) shapes.set(table, await this.shape(table));
    await writeBatch(this.#connection, shapes, batch);
  }

  async ledger(run: string, sync: string): Promise<LedgerEntry[]> {
    if (!(await this.#connection.hasGate())) return [];
    const rows = await this.#connection.main.texts(
      `SELECT tbl, seq, last_key, row_count, hash, complete FROM changeover_ledger
       WHERE run = ${literal(run)} AND sync = ${literal(sync)} ORDER BY tbl, seq`,
    );
    return rows.map((cells) => ledgerEntry(run, sync, cells));
  }

  /** Not TRUNCATE, which would commit by itself. The order is free: our own writes are not checked for foreign keys. */
  async empty(tables: readonly string[], epoch: number): Promise<void> {
    const { faults } = this.#connection.ctx;
    for (const table of tables) await this.shape(table);
    await this.#connection.write(
      epoch,
      async (session) => {
        for (const table of tables) await session.query(`DELETE FROM ${quoted(table)}`);
      },
      () => {
        faults.at('data.empty.before_commit');
      },
    );
    faults.at('data.empty.done');
  }

  /** Of tables whose key is the column with AUTO_INCREMENT. */
  async nextKeys(tables: readonly string[]): Promise<ReadonlyMap<string, bigint>> {
    const next = new Map<string, bigint>();
    for (const table of tables) {
      const { counter, key } = await this.shape(table);
      if (counter !== null && key.length === 1 && key[0] === counter) next.set(table, await this.#nextOf(table));
    }
    return next;
  }

  /** InnoDB raises AUTO_INCREMENT with each higher key that is written; only a counter that an application set back is looked after. */
  async sequences(tables: readonly string[], atLeast: ReadonlyMap<string, bigint> = new Map()): Promise<void> {
    const counters = (await Promise.all(tables.map((table) => this.shape(table)))).filter(
      ({ counter }) => counter !== null,
    );
    await this.#connection.change('AUTO_INCREMENT', async (run) => {
      for (const { name, counter } of counters) {
        if (counter === null) continue;
        const [row] = await this.#connection.main.texts(
          `SELECT COALESCE(MAX(${quoted(counter)}), 0) + 1 FROM ${quoted(name)}`,
        );
        const highest = BigInt(row?.[0] ?? 0);
        const given = atLeast.get(name) ?? 0n;
        const next = highest > given ? highest : given;
        // Never lowered: the server takes the highest key where this number is below it.
        if (next > (await this.#nextOf(name))) await run(`ALTER TABLE ${quoted(name)} AUTO_INCREMENT = ${next}`);
      }
    });
  }

  async lock(tables: readonly string[]): Promise<StoreLock> {
    const connection = this.#connection;
    for (const table of tables) await this.shape(table);
    const cascades = await readCascades(connection.main, tables);
    await this.#guard.install(tables, cascades);
    const guarded = Guard.tablesOf(tables, cascades);
    await connection.lock(guarded, guarded.map(quoted), LOCK_TIMEOUT_MS, () => this.#assertLockHolds(tables));
    return {
      fence: async () => {
        if (!connection.isLocked)
          throw new ChangeoverError('CHG_DATA_FENCED', { store: connection.store, table: tables.join(', ') });
        await this.#assertLockHolds(tables);
        await Guard.close(connection.holder, guarded);
        connection.ctx.faults.at('data.fence.before_commit');
        await connection.endLock('COMMIT');
        connection.ctx.faults.at('data.fence.committed');
      },
      release: () => connection.endLock('ROLLBACK'),
    };
  }

  async fence(tables: readonly string[]): Promise<void> {
    const { ctx, main } = this.#connection;
    const cascades = await readCascades(main, tables);
    for (const table of tables) await this.shape(table);
    const guarded = Guard.tablesOf(tables, cascades);
    const fenced = await this.#guard.fenced();
    if (guarded.every((table) => fenced.includes(table)) && (await this.#guard.isIntact(tables, cascades))) return;
    await this.#guard.install(tables, cascades);
    await this.#connection.settle(
      guarded.join(', '),
      (session) => Guard.close(session, guarded),
      () => {
        ctx.faults.at('data.fence.before_commit');
      },
    );
    ctx.faults.at('data.fence.committed');
  }

  async unfence(): Promise<void> {
    const fenced = await this.#guard.fenced();
    if (fenced.length === 0) return;
    const { ctx } = this.#connection;
    await this.#connection.settle(
      fenced.join(', '),
      (session) => session.query('UPDATE changeover_fence SET fenced = FALSE WHERE fenced'),
      () => {
        ctx.faults.at('data.unfence.before_commit');
      },
    );
    ctx.faults.at('data.unfence.committed');
  }

  async isFenced(): Promise<boolean> {
    return (await this.#guard.fenced()).length > 0;
  }

  async check(tables: readonly string[], role: 'source' | 'target'): Promise<Finding[]> {
    return checkMariadb(this.#connection, (table) => this.shape(table), tables, role);
  }

  async footprint(tables: readonly string[], role: 'source' | 'target'): Promise<Footprint[]> {
    return footprintOfMariadb(this.#connection, (table) => this.shape(table), tables, role);
  }

  async uninstall(): Promise<boolean> {
    if (!(await this.#guard.isPresent())) return false;
    if (await this.#connection.hasGate()) {
      await this.#guard.remove();
      await this.capture.remove();
    }
    await this.#connection.dissolve();
    return true;
  }

  async close(): Promise<void> {
    await this.#connection.close();
  }

  /**
   * A trigger that is gone lets writers by, and a prepared XA transaction has given back its shared locks. One that was being prepared
   * when the lock was taken is seen at the second look, before the fence.
   */
  async #assertLockHolds(tables: readonly string[]): Promise<void> {
    const { main, store } = this.#connection;
    const cascades = await readCascades(main, tables);
    if (!(await this.#guard.isIntact(tables, cascades)))
      throw new ChangeoverError('CHG_DATA_CAPTURE_BROKEN', { store, what: 'a refusing trigger is missing' });
    const prepared = await main.texts('XA RECOVER');
    if (prepared.length > 0) {
      const holders = prepared.map(([, , , xid]) => `prepared XA transaction ${xid}`).join(', ');
      throw new ChangeoverError('CHG_DATA_LOCK_TIMEOUT', { store, tables: tables.join(', '), waitedMs: 0, holders });
    }
  }

  async #nextOf(table: string): Promise<bigint> {
    const [row] = await this.#connection.main.texts(
      `SELECT AUTO_INCREMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ${literal(table)}`,
    );
    return BigInt(row?.[0] ?? 0);
  }

  async #computed(shape: MariadbShape, computed: readonly Computed[]): Promise<MariadbColumn[]> {
    if (computed.length === 0) return [];
    return computedColumns(await this.#connection.reader(), this.#connection.store, shape, computed);
  }

  /** A copy or a scan begins with the table as it is now; a chunk in the middle goes on with the columns it began with. */
  async #fresh(table: string, from: Key | null): Promise<MariadbShape> {
    if (from === null) this.#shapes.delete(table);
    return this.shape(table);
  }
}
