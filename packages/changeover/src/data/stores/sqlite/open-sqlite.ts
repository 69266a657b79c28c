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
  Value,
  WriteBatch,
} from '../../../plan/stores.ts';
import type { Finding, Footprint } from '../../../plan/words.ts';
import { ChangeoverError } from '../../../errors.ts';
import { ledgerEntry } from '../../ledger-cells.ts';
import { SqliteCapture } from './capture.ts';
import { checkSqlite, footprintOfSqlite } from './check.ts';
import { selected, withComputed } from './computed.ts';
import { SqliteConnection } from './connection.ts';
import { estimatedBytes } from './gauges.ts';
import type { Own } from './own.ts';
import { readShape, type SqliteShape } from './shape.ts';
import { quoted } from './text.ts';
import { fenceTriggers, type Trigger } from './triggers.ts';
import { boundRow, readKey, rowReader, within } from './values.ts';
import { readRows, writeBatch } from './write.ts';

/** How long the lock of the cutover waits for a writer; the hold's deadline is shorter than many a transaction. */
const LOCK_TIMEOUT_MS = 3_000;

export interface SqliteFile {
  readonly file: string;
  /** The path as the plan has it, for messages. */
  readonly name: string;
  readonly id: string;
  readonly busyTimeoutMs: number | null;
}

/** One SQLite file, opened. */
export class OpenSqlite implements OpenStore {
  readonly kind = 'sqlite';
  readonly capture: SqliteCapture;
  readonly bulk?: BulkAddress;
  readonly schema: SchemaAccess = {
    query: (sql, values = []) => this.#connection.read(() => this.#connection.all(sql, ...values) as Value[][]),
    change: (statements, { isTrial = false } = {}) => this.#connection.alter(statements, isTrial),
  };
  readonly #connection: SqliteConnection;
  readonly #file: SqliteFile;
  readonly #shapes = new Map<string, SqliteShape>();
  #shapesOf: bigint | null = null;

  constructor(file: SqliteFile, ctx: Context, own?: Own) {
    this.#file = file;
    // In bulk a table is read and written whole.
    if (own === undefined) this.bulk = { kind: 'sqlite', store: file.name, file: file.file };
    this.#connection = new SqliteConnection(file.file, file.name, ctx, own);
    this.capture = new SqliteCapture(this.#connection, file.id);
  }

  async shape(table: string): Promise<SqliteShape> {
    return this.#connection.read(() => this.#shape(table));
  }

  async chunk(
    table: string,
    after: Key | null,
    limit: number,
    upTo: Key | null = null,
    computed: readonly Computed[] = [],
  ): Promise<Row[]> {
    return this.#connection.read(() => {
      const shape = this.#read(table, computed);
      if (after === null) this.#assertNoNullKey(shape);
      const { where, values } = within(shape, { after, upTo });
      const columns = shape.columns.map(selected).join(', ');
      const key = shape.key.map(quoted).join(', ');
      const sql = `SELECT ${columns} FROM ${quoted(table)} ${this.#ours(table, where)} ORDER BY ${key} LIMIT ?`;
      return this.#connection.all(sql, ...values, BigInt(limit)).map(rowReader(this.#connection, shape));
    });
  }

  async rows(table: string, keys: readonly Key[], computed: readonly Computed[] = []): Promise<Row[]> {
    return this.#connection.read(() => readRows(this.#connection, this.#read(table, computed), keys));
  }

  async count(table: string): Promise<number> {
    return this.#connection.read(() => {
      this.#shape(table);
      return Number(this.#connection.all(`SELECT count(*) FROM ${quoted(table)} ${this.#ours(table)}`)[0]?.[0]);
    });
  }

  async estimatedBytes(table: string, rows: number, form: 'values' | 'copy'): Promise<number> {
    return this.#connection.read(() => estimatedBytes(this.#connection, this.#shape(table), rows, form));
  }

  async latencyMs(table: string): Promise<number> {
    return this.#connection.read(() => {
      const { name, key } = this.#shape(table);
      const sinceMs = performance.now();
      this.#connection.all(`SELECT 1 FROM ${quoted(name)} ORDER BY ${key.map(quoted).join(', ')} LIMIT 1`);
      return performance.now() - sinceMs;
    });
  }

  async lastKey(table: string): Promise<Key | null> {
    return this.#connection.read(() => {
      const shape = this.#shape(table);
      const key = shape.key.map(quoted);
      const sql = `SELECT ${key.join(', ')} FROM ${quoted(table)} ${this.#ours(table)} ORDER BY ${key.map((column) => `${column} DESC`).join(', ')} LIMIT 1`;
      const [row] = this.#connection.all(sql);
      return row === undefined ? null : readKey(shape, row as Value[]);
    });
  }

  /** Rows as this store would give them back, had they been written: affinity and strictness are SQLite's own. */
  async canonical(table: string, rows: readonly Row[]): Promise<Row[]> {
    return this.compute(table, rows, []);
  }

  async compute(table: string, rows: readonly Row[], computed: readonly Computed[]): Promise<Row[]> {
    return this.#connection.read(() => {
      const shape = this.#shape(table);
      const read = this.#read(table, computed);
      const columns = shape.columns.map(({ name, type }) => `${quoted(name)} ${type}`).join(', ');
      const names = shape.columns.map(({ name }) => quoted(name)).join(', ');
      const temporary = quoted(`changeover_canonical_${table}`);
      const strict = /\)\s*(\w+\s+\w+\s*,\s*)?STRICT\b[^)]*$/i.test(shape.sql) ? 'STRICT' : '';
      this.#connection.exec(
        `DROP TABLE IF EXISTS temp.${temporary}; CREATE TEMP TABLE ${temporary} (${columns}) ${strict}`,
      );
      const insert = this.#connection.statement(
        `INSERT INTO temp.${temporary} (${names}) VALUES (${shape.columns.map(() => '?').join(', ')})`,
      );
      for (const row of rows) insert.run(...boundRow(shape, row));
      const selection = read.columns.map(selected).join(', ');
      const written = this.#connection
        .all(`SELECT ${selection} FROM temp.${temporary} AS ${quoted(table)} ORDER BY rowid`)
        .map(rowReader(this.#connection, read));
      this.#connection.exec(`DROP TABLE temp.${temporary}`);
      return written;
    });
  }

  async prepare(): Promise<void> {
    await this.#connection.prepare();
  }

  isReplaced(): boolean {
    return this.#connection.isReplaced;
  }

  async installEpoch(epoch: number, { isLive } = { isLive: false }): Promise<void> {
    await this.#connection.installEpoch(epoch, isLive);
  }

  async write(batch: WriteBatch): Promise<void> {
    await writeBatch(this.#connection, (table) => this.#shape(table), batch);
  }

  async ledger(run: string, sync: string): Promise<LedgerEntry[]> {
    return this.#connection.read(() => {
      if (!this.#connection.hasGate()) return [];
      const sql = `SELECT tbl, seq, last_key, rows, hash, complete FROM ${this.#connection.own.prefix}_ledger WHERE run = ? AND sync = ? ORDER BY tbl, seq`;
      return this.#connection.all(sql, run, sync).map((cells) => ledgerEntry(run, sync, cells));
    });
  }

  async empty(tables: readonly string[], epoch: number): Promise<void> {
    const { faults } = this.#connection.ctx;
    await this.#connection.write(
      epoch,
      () => {
        const { slice } = this.#connection.own;
        for (const table of slice === null ? tables : slice.childrenFirst(tables))
          this.#connection.exec(`DELETE FROM ${quoted(this.#shape(table).name)} ${this.#ours(table)}`);
      },
      () => {
        faults.at('data.empty.before_commit');
      },
    );
    faults.at('data.empty.done');
  }

  /** SQLite raises its own generators when a row with a higher key is written; only their table's absence is looked after. */
  async sequences(tables: readonly string[], atLeast: ReadonlyMap<string, bigint> = new Map()): Promise<void> {
    await this.#connection.change(() => {
      for (const table of tables) {
        const shape = this.#shape(table);
        const [key] = shape.key;
        if (!shape.isAutoincrement || key === undefined) continue;
        // Without a row in the table the generator is not there yet.
        this.#connection
          .statement(
            'INSERT INTO sqlite_sequence (name, seq) SELECT ?1, 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = ?1)',
          )
          .run(table);
        this.#connection
          .statement(
            `UPDATE sqlite_sequence SET seq = max(seq, ?2 - 1, (SELECT coalesce(max(${quoted(key)}), 0) FROM ${quoted(table)})) WHERE name = ?1`,
          )
          .run(table, atLeast.get(table) ?? 1n);
      }
    });
  }

  async lock(tables: readonly string[]): Promise<StoreLock> {
    const connection = this.#connection;
    // The file's write lock would keep the other slices waiting; the fence alone keeps this one out.
    if (connection.own.slice !== null) return this.#fenceAsLock(tables);
    await connection.lock(LOCK_TIMEOUT_MS);
    return {
      fence: () => {
        if (!connection.isLocked)
          throw new ChangeoverError('CHG_DATA_FENCED', { store: this.#file.name, table: tables.join(', ') });
        this.#createFence(tables);
        connection.ctx.faults.at('data.fence.before_commit');
        connection.endLock('COMMIT');
        connection.ctx.faults.at('data.fence.committed');
        return Promise.resolve();
      },
      release: () => {
        connection.endLock('ROLLBACK');
        return Promise.resolve();
      },
    };
  }

  async fence(tables: readonly string[]): Promise<void> {
    const isFenced = await this.#connection.read(() => {
      const fences = new Set(this.#fences());
      return tables.every((table) => this.#fencesOf(table).every(({ name }) => fences.has(name)));
    });
    if (isFenced) return;
    const { faults } = this.#connection.ctx;
    await this.#connection.change(
      () => {
        this.#createFence(tables);
      },
      () => {
        faults.at('data.fence.before_commit');
      },
    );
    faults.at('data.fence.committed');
  }

  async unfence(): Promise<void> {
    if (!(await this.isFenced())) return;
    const { faults } = this.#connection.ctx;
    await this.#connection.change(
      () => {
        this.#dropFences();
      },
      () => {
        faults.at('data.unfence.before_commit');
      },
    );
    faults.at('data.unfence.committed');
  }

  async isFenced(): Promise<boolean> {
    return this.#connection.read(() => this.#fences().length > 0);
  }

  async check(tables: readonly string[], role: 'source' | 'target'): Promise<Finding[]> {
    return this.#connection.read(() => checkSqlite(this.#connection, this.#file, tables, role));
  }

  async footprint(tables: readonly string[], role: 'source' | 'target'): Promise<Footprint[]> {
    return this.#connection.read(() => footprintOfSqlite(this.#connection, this.#file, tables, role));
  }

  async uninstall(): Promise<boolean> {
    if (!this.#connection.hasGate()) return false;
    await this.#connection.dissolve(() => {
      this.#dropFences();
      this.capture.drop();
    });
    return true;
  }

  close(): Promise<void> {
    this.#connection.close();
    return Promise.resolve();
  }

  async #fenceAsLock(tables: readonly string[]): Promise<StoreLock> {
    await this.fence(tables);
    return { fence: () => Promise.resolve(), release: () => this.unfence() };
  }

  #fencesOf(table: string): Trigger[] {
    return fenceTriggers(this.#shape(table), this.#connection.own);
  }

  /** The WHERE of a statement about `table`, with the condition of the slice. */
  #ours(table: string, where = ''): string {
    const belongs = this.#connection.own.slice?.belongs(table, `${quoted(table)}.`) ?? null;
    if (belongs === null) return where;
    return where === '' ? `WHERE ${belongs}` : `${where} AND ${belongs}`;
  }

  #createFence(tables: readonly string[]): void {
    const present = new Set(this.#fences());
    for (const table of tables)
      for (const trigger of this.#fencesOf(table)) if (!present.has(trigger.name)) this.#connection.exec(trigger.sql);
  }

  #dropFences(): void {
    for (const name of this.#fences()) this.#connection.exec(`DROP TRIGGER ${quoted(name)}`);
  }

  #fences(): string[] {
    return this.#connection
      .all(
        "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND substr(name, 1, length(?1)) = ?1",
        `${this.#connection.own.prefix}_fence_`,
      )
      .map(([name]) => String(name));
  }

  /** Shapes are read again when the schema's version has changed. */
  #shape(table: string): SqliteShape {
    const version = this.#connection.all('PRAGMA schema_version')[0]?.[0] as bigint;
    if (version !== this.#shapesOf) this.#shapes.clear();
    this.#shapesOf = version;
    let shape = this.#shapes.get(table);
    if (shape === undefined) this.#shapes.set(table, (shape = readShape(this.#connection, table)));
    return shape;
  }

  #read(table: string, computed: readonly Computed[]): SqliteShape {
    return withComputed(this.#connection, this.#shape(table), computed);
  }

  #assertNoNullKey(shape: SqliteShape): void {
    const condition = shape.key.map((column) => `${quoted(column)} IS NULL`).join(' OR ');
    if (this.#connection.all(`SELECT 1 FROM ${quoted(shape.name)} WHERE ${condition} LIMIT 1`).length === 0) return;
    throw new ChangeoverError('CHG_DATA_KEY_NULL', { store: this.#file.name, table: shape.name, condition });
  }
}
