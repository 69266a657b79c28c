import type { Context } from '../../../plan/context.ts';
import type {
  BulkAddress,
  Capture,
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
import { PostgresCapture, partitionsOf } from './capture.ts';
import type { CaptureMethod } from './change-log.ts';
import { checkPostgres, footprintOfPostgres } from './check.ts';
import { computeRows, withComputed } from './computed.ts';
import { PostgresConnection, UNDEFINED_TABLE } from './connection.ts';
import { ReplicaLag, estimatedBytes, latencyMs } from './gauges.ts';
import { LogicalCapture } from './logical/capture.ts';
import { setSequences } from './sequences.ts';
import { sqlState, type Session } from './session.ts';
import { columnOf, lastFirst, orderOf, readKey, readShape, selection, within, type PostgresShape } from './shape.ts';
import type { Belonging } from '../../slices/belonging.ts';
import { belongingOf, WHOLE, type Own } from './own.ts';
import {
  fenceFunctionSql,
  fenceTrigger,
  fenceTriggerSql,
  fenceTruncateTrigger,
  sliceFenceFunctionSql,
  sliceFenceTriggerSql,
  type SliceRows,
} from './triggers.ts';
import { canonicalRows, readRow, readRows, writeBatch } from './write.ts';

/** How long the lock of the cutover tries; the hold's deadline is shorter than many a transaction. */
const LOCK_TIMEOUT_MS = 3_000;

/** One Postgres database, opened. */
export class OpenPostgres implements OpenStore {
  readonly kind = 'postgres';
  readonly capture: Capture;
  readonly bulk?: BulkAddress;
  readonly schema: SchemaAccess = {
    query: (sql, values = []) => this.#connection.main.query(sql, values),
    change: async (statements, { isTrial = false, about } = {}) => {
      await this.#connection.alter(statements, isTrial, about);
      this.#shapes.clear();
    },
    outside: (statement) => this.#connection.outside(statement),
  };
  readonly #connection: PostgresConnection;
  readonly #how: CaptureMethod;
  readonly #replicas: ReplicaLag;
  readonly #shapes = new Map<string, PostgresShape>();

  constructor(url: string, name: string, ctx: Context, how: CaptureMethod, own: Own = WHOLE) {
    this.#connection = new PostgresConnection(url, name, ctx, { marksWrites: how === 'log', own });
    // In bulk a table is read and written whole.
    if (own.scope === null) this.bulk = { kind: 'postgres', store: name, url, marksWrites: how === 'log' };
    this.#how = how;
    this.#replicas = new ReplicaLag(
      this.#connection.main,
      () => ctx.clock.monotonicMs(),
      (message) => {
        ctx.report.warn(`${name}: ${message}`);
      },
    );
    const method = how === 'log' ? LogicalCapture : PostgresCapture;
    this.capture = new method(
      this.#connection,
      (table) => this.shape(table),
      (table) => this.#fresh(table, null),
      () => this.#sliceRows(),
    );
  }

  async shape(table: string): Promise<PostgresShape> {
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
    const shape = await this.#reading(await this.#fresh(table, after), computed);
    const where = await this.#ours(shape, within(shape, { after, upTo }));
    const rows = await this.#connection.main.query(
      `SELECT ${selection(shape.columns)} FROM ${shape.qualified} AS t ${where}
       ORDER BY ${orderOf(shape)} LIMIT ${limit}`,
    );
    return rows.map((cells) => readRow(shape, cells));
  }

  async rows(table: string, keys: readonly Key[], computed: readonly Computed[] = []): Promise<Row[]> {
    const shape = await this.#reading(await this.shape(table), computed);
    return readRows(this.#connection.main, shape, keys, await this.#slice());
  }

  async count(table: string): Promise<number> {
    const shape = await this.shape(table);
    const [row] = await this.#connection.main.query(
      `SELECT count(*) FROM ${shape.qualified} AS t ${await this.#ours(shape)}`,
    );
    return Number(row?.[0]);
  }

  async lastKey(table: string): Promise<Key | null> {
    const shape = await this.shape(table);
    const columns = shape.key.map((name) => columnOf(shape, name));
    const [row] = await this.#connection.main.query(
      `SELECT ${selection(columns)} FROM ${shape.qualified} AS t ${await this.#ours(shape)} ORDER BY ${lastFirst(shape)} LIMIT 1`,
    );
    return row === undefined ? null : readKey(shape, row);
  }

  async estimatedBytes(table: string, rows: number, form: 'values' | 'copy'): Promise<number> {
    return estimatedBytes(this.#connection.main, await this.shape(table), rows, form);
  }

  async latencyMs(table: string): Promise<number> {
    return latencyMs(this.#connection.main, await this.shape(table));
  }

  replicaLagMs(): Promise<number | null> {
    return this.#replicas.now();
  }

  async canonical(table: string, rows: readonly Row[]): Promise<Row[]> {
    return canonicalRows(this.#connection.writer, await this.shape(table), rows);
  }

  async compute(table: string, rows: readonly Row[], computed: readonly Computed[]): Promise<Row[]> {
    const { main, store } = this.#connection;
    return computeRows(main, store, await this.shape(table), rows, computed);
  }

  async prepare(): Promise<void> {
    await this.#connection.prepare();
  }

  async installEpoch(epoch: number): Promise<void> {
    await this.#connection.installEpoch(epoch);
  }

  async write(batch: WriteBatch): Promise<void> {
    const shapes = new Map<string, PostgresShape>();
    for (const { table } of batch.changes) shapes.set(table, await this.shape(table));
    await writeBatch(this.#connection, shapes, batch, await this.#slice());
  }

  async ledger(run: string, sync: string): Promise<LedgerEntry[]> {
    if (!(await this.#connection.hasGate())) return [];
    const rows = await this.#connection.main.query(
      `SELECT tbl, seq, last_key, rows, hash, complete FROM ${await this.#connection.ours('ledger')}
       WHERE run = $1 AND sync = $2 ORDER BY tbl, seq`,
      [run, sync],
    );
    return rows.map((cells) => ledgerEntry(run, sync, cells));
  }

  async empty(tables: readonly string[], epoch: number): Promise<void> {
    const { faults } = this.#connection.ctx;
    const shapes: PostgresShape[] = [];
    const slice = await this.#slice();
    for (const table of slice?.childrenFirst(tables) ?? tables) shapes.push(await this.shape(table));
    await this.#connection.write(
      epoch,
      async (session) => {
        // Without its parents nobody knows whose a row is, so their order decides where there are slices.
        for (const shape of slice === null ? await childrenFirst(session, shapes) : shapes)
          await session.query(`DELETE FROM ${shape.qualified} AS t ${await this.#ours(shape)}`);
      },
      () => {
        faults.at('data.empty.before_commit');
      },
    );
    faults.at('data.empty.done');
  }

  async sequences(tables: readonly string[], atLeast: ReadonlyMap<string, bigint> = new Map()): Promise<void> {
    const shapes: PostgresShape[] = [];
    for (const table of tables) shapes.push(await this.shape(table));
    await setSequences(this.#connection, shapes, atLeast);
  }

  async lock(tables: readonly string[]): Promise<StoreLock> {
    const connection = this.#connection;
    // A lock on whole tables would keep the other slices waiting; the fence alone keeps this one out.
    if (connection.own.scope !== null) {
      await this.fence(tables, LOCK_TIMEOUT_MS);
      return { fence: () => Promise.resolve(), release: () => this.unfence() };
    }
    const shapes: PostgresShape[] = [];
    for (const table of tables) shapes.push(await this.shape(table));
    await this.#createFenceFunction();
    try {
      await connection.lock(shapes.map(({ qualified }) => qualified).sort(), LOCK_TIMEOUT_MS);
    } catch (error) {
      // To read them again names the one that is not there any more.
      if (sqlState(error) === UNDEFINED_TABLE) for (const table of tables) await this.#fresh(table, null);
      throw error;
    }
    return {
      fence: async () => {
        if (!connection.isLocked)
          throw new ChangeoverError('CHG_DATA_FENCED', { store: connection.store, table: tables.join(', ') });
        await this.#createFence(connection.main, shapes);
        connection.ctx.faults.at('data.fence.before_commit');
        await connection.endLock('COMMIT');
        connection.ctx.faults.at('data.fence.committed');
      },
      release: () => connection.endLock('ROLLBACK'),
    };
  }

  async fence(tables: readonly string[], timeoutMs?: number): Promise<void> {
    const { ctx } = this.#connection;
    const shapes: PostgresShape[] = [];
    for (const table of [...tables].sort()) shapes.push(await this.shape(table));
    const fences = new Set(await this.#fences(true));
    const isFenced = async ({ qualified }: PostgresShape) =>
      [qualified, ...(await partitionsOf(this.#connection.main, qualified))].every((table) => fences.has(table));
    const missing: PostgresShape[] = [];
    for (const shape of shapes) if (!(await isFenced(shape))) missing.push(shape);
    if (missing.length === 0) return;
    await this.#createFenceFunction();
    await this.#connection.change(
      tables.join(', '),
      (session) => this.#createFence(session, missing),
      () => {
        ctx.faults.at('data.fence.before_commit');
      },
      timeoutMs,
    );
    ctx.faults.at('data.fence.committed');
  }

  /** Disabling needs a lock that lets readers go on; dropping the trigger would wait for every one of them. */
  async unfence(): Promise<void> {
    const fenced = await this.#fences(true);
    if (fenced.length === 0) return;
    const { ctx } = this.#connection;
    await this.#connection.change(
      fenced.join(', '),
      async (session) => {
        for (const table of fenced)
          for (const trigger of this.#fenceTriggers())
            await session.query(`ALTER TABLE ${table} DISABLE TRIGGER ${trigger}`);
      },
      () => {
        ctx.faults.at('data.unfence.before_commit');
      },
    );
    ctx.faults.at('data.unfence.committed');
  }

  async isFenced(): Promise<boolean> {
    return (await this.#fences(true)).length > 0;
  }

  async check(tables: readonly string[], role: 'source' | 'target'): Promise<Finding[]> {
    return checkPostgres(this.#connection, (table) => this.shape(table), tables, { role, how: this.#how });
  }

  async footprint(tables: readonly string[], role: 'source' | 'target'): Promise<Footprint[]> {
    const use = { role, how: this.#how };
    return footprintOfPostgres(this.#connection, (table) => this.shape(table), tables, use, await this.#sliceRows());
  }

  async uninstall(): Promise<boolean> {
    if (!(await this.#connection.hasGate())) return false;
    for (const table of await this.#fences(false))
      await this.#connection.change(table, (session) =>
        session.query(
          this.#fenceTriggers()
            .map((trigger) => `DROP TRIGGER IF EXISTS ${trigger} ON ${table}`)
            .join('; '),
        ),
      );
    await this.capture.remove();
    const [home, { prefix }] = [await this.#connection.home(), this.#connection.own];
    await this.#connection.change('changeover_gate', async (session) => {
      const functions = await session.query(
        'SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = $1::regnamespace AND (proname = $2 OR starts_with(proname::text, $3))',
        [home, `${prefix}_fence`, `${prefix}_fence_`],
      );
      for (const [name] of functions) await session.query(`DROP FUNCTION ${name}`);
      await session.query(`DROP TABLE ${home}.${prefix}_ledger, ${home}.${prefix}_gate`);
    });
    return true;
  }

  async close(): Promise<void> {
    await this.#connection.close();
  }

  async #slice(): Promise<Belonging | null> {
    return belongingOf(this.#connection.own, (table) => this.shape(table));
  }

  async #sliceRows(): Promise<SliceRows | null> {
    const { scope } = this.#connection.own;
    const belonging = await this.#slice();
    if (scope === null || belonging === null) return null;
    const shapes = new Map<string, PostgresShape>();
    for (const table of Object.keys(scope.tables)) shapes.set(table, await this.shape(table));
    return { belonging, shapes };
  }

  /** The WHERE of a statement about a table `t`, with the condition of the slice. */
  async #ours({ name }: PostgresShape, where = ''): Promise<string> {
    const belongs = (await this.#slice())?.belongs(name, 't.') ?? null;
    if (belongs === null) return where;
    return where === '' ? `WHERE ${belongs}` : `${where} AND ${belongs}`;
  }

  #fenceTriggers(): string[] {
    const { own } = this.#connection;
    return own.scope === null ? [fenceTrigger(own)] : [fenceTrigger(own), fenceTruncateTrigger(own)];
  }

  async #createFenceFunction(): Promise<void> {
    if (this.#connection.own.scope !== null) return;
    const home = await this.#connection.home();
    await this.#connection.change('changeover_fence', (session) => session.query(fenceFunctionSql(home)));
  }

  async #createFence(session: Session, shapes: readonly PostgresShape[]): Promise<void> {
    const home = await this.#connection.home();
    const rows = await this.#sliceRows();
    if (rows !== null) return this.#createSliceFence(session, home, shapes, rows);
    for (const { qualified } of shapes)
      for (const sql of fenceTriggerSql(home, [qualified, ...(await partitionsOf(session, qualified))]))
        await session.query(sql);
  }

  /** All locks at once, and parents first, as a cascade takes them: writers go on until then, and none waits for us with what we wait for. */
  async #createSliceFence(
    session: Session,
    home: string,
    shapes: readonly PostgresShape[],
    rows: SliceRows,
  ): Promise<void> {
    const { own } = this.#connection;
    const statements: string[] = [];
    for (const shape of shapes) {
      const partitions = await partitionsOf(session, shape.qualified);
      await session.query(sliceFenceFunctionSql(home, shape, own, rows));
      statements.push(...sliceFenceTriggerSql(home, shape, partitions, own));
    }
    const order = rows.belonging.childrenFirst(shapes.map(({ name }) => name)).toReversed();
    const locked = order.flatMap((table) => rows.shapes.get(table)?.qualified ?? []);
    await session.query(`LOCK TABLE ${locked.join(', ')} IN SHARE ROW EXCLUSIVE MODE`);
    await session.query(statements.join('; '));
  }

  /** Tables with our refusing trigger, quoted. */
  async #fences(onlyEnabled: boolean): Promise<string[]> {
    const rows = await this.#connection.main.query(
      `SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
       FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE t.tgname = '${fenceTrigger(this.#connection.own)}'
         ${onlyEnabled ? "AND t.tgenabled <> 'D'" : 'AND t.tgparentid = 0'} ORDER BY 1`,
    );
    return rows.map(([name]) => name ?? '');
  }

  #reading(shape: PostgresShape, computed: readonly Computed[]): Promise<PostgresShape> {
    return withComputed(this.#connection.main, this.#connection.store, shape, computed);
  }

  /** A copy or a scan begins with the table as it is now; a chunk in the middle goes on with the columns it began with. */
  async #fresh(table: string, after: Key | null): Promise<PostgresShape> {
    if (after === null) this.#shapes.delete(table);
    return this.shape(table);
  }
}

/** A table before those that its foreign keys point to. */
async function childrenFirst(session: Session, shapes: readonly PostgresShape[]): Promise<PostgresShape[]> {
  const edges = await session.query(
    "SELECT conrelid::text, confrelid::text FROM pg_constraint WHERE contype = 'f' AND conrelid <> confrelid",
  );
  const ordered: PostgresShape[] = [];
  const visited = new Set<string>();
  const visit = (shape: PostgresShape) => {
    if (visited.has(shape.oid)) return;
    visited.add(shape.oid);
    for (const [child, parent] of edges) {
      const found = parent === shape.oid ? shapes.find(({ oid }) => oid === child) : undefined;
      if (found !== undefined) visit(found);
    }
    ordered.push(shape);
  };
  shapes.forEach(visit);
  return ordered;
}
