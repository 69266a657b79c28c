import path from 'node:path';
import { ChangeoverError } from '../../../errors.ts';
import type { Context } from '../../../plan/context.ts';
import type { Key, LedgerEntry, OpenStore, Row, StoreLock, TableShape, WriteBatch } from '../../../plan/stores.ts';
import type { Finding, Footprint } from '../../../plan/words.ts';
import { named } from '../../durable.ts';
import { Sidecar } from '../../sidecar.ts';
import { encodeKey, keyOf } from '../../values.ts';
import { DocumentCapture } from './capture.ts';
import { compareKeys, DocumentReader, hashOf, type Contents, type Options, type Reading } from './reader.ts';
import { Replacer, type Replacement } from './replace.ts';

/** A file that somebody keeps changing is planned anew so often. */
const MAX_ATTEMPTS = 5;

type Content = Readonly<Record<string, readonly Row[]>>;

/** An opened document: small files, read and replaced as wholes. */
export class OpenDocument implements OpenStore {
  readonly kind = 'document';
  readonly capture: DocumentCapture;
  readonly #options: Options;
  readonly #store: string;
  readonly #paths: Readonly<Record<string, string>>;
  readonly #sidecar: Sidecar;
  readonly #reader: DocumentReader;
  readonly #replacer: Replacer;

  constructor(options: Options, identity: string, ctx: Context) {
    this.#options = options;
    this.#store = Object.values(options.files).join(', ');
    this.#paths = Object.fromEntries(
      Object.entries(options.files).map(([name, file]) => [name, path.resolve(ctx.root, file)]),
    );
    this.#sidecar = Sidecar.open(ctx, identity);
    this.#reader = new DocumentReader(options, this.#store, ctx);
    this.#replacer = new Replacer(this.#sidecar, ctx, this.#store, Object.values(this.#paths));
    this.capture = new DocumentCapture(this.#reader, this.#sidecar, ctx, this.#store);
  }

  shape(table: string): Promise<TableShape> {
    return this.#do('describing', async () => {
      const { key, columns } = this.#table(table);
      if (columns) return shapeOf(table, key, Object.entries(columns));
      const rows = [...(await this.#rowsOf(table)).values()];
      const names = new Set([...key, ...rows.flatMap((row) => Object.keys(row))]);
      return shapeOf(
        table,
        key,
        Array.from(names, (name) => [name, typeIn(rows, name)]),
      );
    });
  }

  chunk(table: string, after: Key | null, limit: number): Promise<Row[]> {
    return this.#do('reading', async () => {
      const { key } = this.#table(table);
      const rows = [...(await this.#servedRowsOf(table)).values()];
      const from = after === null ? 0 : rows.findIndex((row) => compareKeys(keyOf(row, key), after) > 0);
      return from < 0 ? [] : rows.slice(from, from + limit);
    });
  }

  rows(table: string, keys: readonly Key[]): Promise<Row[]> {
    return this.#do('reading', async () => {
      const rows = await this.#servedRowsOf(table);
      return keys.map((key) => rows.get(encodeKey(key))).filter((row) => row !== undefined);
    });
  }

  count(table: string): Promise<number> {
    return this.#do('reading', async () => (await this.#rowsOf(table)).size);
  }

  prepare(): Promise<void> {
    return this.#do('preparing', () => {
      this.#replacer.recover();
      this.#replacer.clean();
    });
  }

  installEpoch(epoch: number): Promise<void> {
    return this.#do('taking over', () => {
      this.#sidecar.installEpoch(epoch);
      this.#replacer.recover();
    });
  }

  /** Reads the rows, changes these, and replaces the files. */
  write({ epoch, changes, ledger }: WriteBatch): Promise<void> {
    return this.#do('writing', async () => {
      if (ledger && this.#sidecar.isInLedger(ledger)) return;
      const content: Record<string, readonly Row[]> = {};
      for (const { table, deletes, upserts } of changes) {
        const { key } = this.#table(table);
        const held = content[table] ?? [...(await this.#rowsOf(table)).values()];
        const rows = new Map(held.map((row) => [encodeKey(keyOf(row, key)), row]));
        for (const deleted of deletes) rows.delete(encodeKey(deleted));
        for (const row of upserts) {
          const id = encodeKey(keyOf(row, key));
          rows.set(id, { ...rows.get(id), ...row });
        }
        content[table] = [...rows.values()];
      }
      await this.replace(content, epoch);
      this.#sidecar.gated(epoch, () => {
        if (ledger) this.#sidecar.enterIntoLedger(ledger);
      });
    });
  }

  /**
   * Makes the files hold exactly these rows; tables that are not named keep theirs. A file whose contents stay equal keeps its bytes. Throws
   * `CHG_DATA_DOCUMENT_LOSSY` when the plan's `render` loses something, before anything is changed.
   */
  replace(content: Content, epoch: number): Promise<void> {
    return this.#do('replacing', async () => {
      for (let attempt = 1; ; attempt += 1) {
        this.#replacer.recover();
        const replacements = this.#plan(await this.#reader.read(), content);
        try {
          // Also with nothing to replace: an owner that was replaced must hear it here.
          if (replacements.length > 0) this.#replacer.replace(epoch, replacements);
          else this.#sidecar.gated(epoch, () => undefined);
          return;
        } catch (error) {
          const isChanged = error instanceof ChangeoverError && error.code === 'CHG_DATA_DOCUMENT_CHANGED';
          if (!isChanged || attempt === MAX_ATTEMPTS) throw error;
        }
      }
    });
  }

  arrange(table: string, rows: readonly Row[]): readonly Row[] {
    const { key, order } = this.#table(table);
    if (order === undefined) return rows;
    const places = new Map<string, number>();
    const inOrder = [...rows].sort((a, b) => compareKeys(keyOf(a, [order]), keyOf(b, [order])));
    return inOrder.map((row) => {
      const list = encodeKey(
        keyOf(
          row,
          key.filter((column) => column !== order),
        ),
      );
      const place = places.get(list) ?? 0;
      places.set(list, place + 1);
      return { ...row, [order]: place };
    });
  }

  ledger(run: string, sync: string): Promise<LedgerEntry[]> {
    return this.#do('reading the ledger', () => this.#sidecar.ledger(run, sync));
  }

  empty(tables: readonly string[], epoch: number): Promise<void> {
    return this.replace(Object.fromEntries(tables.map((table) => [table, []])), epoch);
  }

  sequences(): Promise<void> {
    return Promise.resolve();
  }

  /** A document is fenced by stopping the unit that writes it. */
  lock(): Promise<StoreLock> {
    return Promise.resolve({ fence: () => Promise.resolve(), release: () => Promise.resolve() });
  }

  fence(): Promise<void> {
    return Promise.resolve();
  }

  unfence(): Promise<void> {
    return Promise.resolve();
  }

  isFenced(): Promise<boolean> {
    return Promise.resolve(false);
  }

  async check(_tables: readonly string[], role: 'source' | 'target'): Promise<Finding[]> {
    const about = this.#store;
    try {
      const reading = await this.#do('reading', () => this.#reader.read());
      if (role === 'target') return this.#checkRender(reading);
      const missing = Object.values(reading.files).filter(({ stamp }) => stamp === null);
      return missing.map((file) => ({ level: 'info', about, message: `${file.path} does not exist: it has no rows` }));
    } catch (error) {
      if (!(error instanceof ChangeoverError)) throw error;
      return [{ level: 'error', about, message: error.message, remedy: error.hint }];
    }
  }

  footprint(_tables: readonly string[], role: 'source' | 'target'): Promise<Footprint[]> {
    if (role === 'source') return Promise.resolve([]);
    return Promise.resolve(
      Object.values(this.#paths).map((file) => ({
        where: file,
        adds: 'a new version of the file, when its rows change; a draft beside it for milliseconds',
        right: 'to write the file and its folder',
        removal: 'none: it is the data',
      })),
    );
  }

  /** Nothing of ours is ever in the file or beside it for long. */
  uninstall(): Promise<boolean> {
    return this.#do('uninstalling', () => {
      this.#replacer.recover();
      this.#replacer.clean();
      this.#sidecar.forget();
      return false;
    });
  }

  close(): Promise<void> {
    this.#sidecar.close();
    return Promise.resolve();
  }

  /** The files that must change so that they hold these rows. */
  #plan(reading: Reading, content: Content): Replacement[] {
    for (const table of Object.keys(content)) this.#table(table);
    const held = rowsIn(reading.tables);
    const rows = { ...held, ...content };
    // A derived table follows the others, so nobody can say beforehand what it will hold.
    const told = Object.entries(rows).filter(([table]) => table in content || this.#table(table).derived !== true);
    const wanted = Object.fromEntries(
      told.map(([table, each]) => [table, this.#reader.byKey(table, this.#table(table).key, each)]),
    );
    if (differing(wanted, reading.tables) === null) return [];
    // A file is replaced when its own rows changed: what `rows` does not show of the others must not be lost.
    const before = this.#rendered(held, reading.contents);
    const after = this.#rendered(rows, reading.contents);
    const replacements: Replacement[] = [];
    const result: Record<string, unknown> = { ...reading.contents };
    for (const [name, { path: file, stamp }] of Object.entries(reading.files)) {
      const bytes = after[name] ?? null;
      if (isEqual(before[name] ?? null, bytes)) continue;
      replacements.push({ path: file, before: stamp, bytes });
      result[name] = bytes && this.#options.format.parse(bytes);
    }
    this.#assertRows(wanted, result);
    return replacements;
  }

  /** What each file would be; null for one that would not exist. */
  #rendered(rows: Content, contents: Contents): Readonly<Record<string, Uint8Array | null>> {
    const { render, files, format } = this.#options;
    if (!render) throw new ChangeoverError('CHG_DATA_DOCUMENT_READ_ONLY', { store: this.#store });
    const rendered = render(rows, contents);
    return Object.fromEntries(
      Object.keys(files).map((name) => {
        const made = rendered[name] ?? null;
        return [name, made === null ? null : format.serialize(made)];
      }),
    );
  }

  #checkRender({ contents, tables }: Reading): Finding[] {
    if (!this.#options.render) {
      const message = 'it cannot be written, so a rollback returns nothing to it: the plan gives no `render`';
      const remedy = 'add `render`, the opposite of `rows`';
      return [{ level: 'warning', about: this.#store, message, remedy }];
    }
    const { parse } = this.#options.format;
    const rendered = Object.entries(this.#rendered(rowsIn(tables), contents));
    this.#assertRows(tables, Object.fromEntries(rendered.map(([name, bytes]) => [name, bytes && parse(bytes)])));
    return [];
  }

  #assertRows(wanted: Reading['tables'], contents: Contents): void {
    const table = differing(wanted, this.#reader.tablesOf(contents));
    if (table !== null) throw new ChangeoverError('CHG_DATA_DOCUMENT_LOSSY', { store: this.#store, table });
  }

  #table(name: string): Options['tables'][string] {
    const table = this.#options.tables[name];
    if (!table) throw new ChangeoverError('CHG_DATA_TABLE_MISSING', { store: this.#store, table: name });
    return table;
  }

  async #rowsOf(name: string): Promise<ReadonlyMap<string, Row>> {
    this.#table(name);
    return (await this.#reader.read()).tables[name] ?? new Map<string, Row>();
  }

  /** Rows that may go to the other side: the capture must know in which state they were read. */
  async #servedRowsOf(name: string): Promise<ReadonlyMap<string, Row>> {
    this.#table(name);
    const reading = await this.#reader.read();
    this.capture.served(reading);
    return reading.tables[name] ?? new Map<string, Row>();
  }

  #do<Result>(action: string, act: () => Promise<Result> | Result): Promise<Result> {
    return named(this.#store, action, act);
  }
}

/** A table in which two sets of rows differ; null when all are equal. */
function differing(a: Reading['tables'], b: Reading['tables']): string | null {
  const isEqual = (one: ReadonlyMap<string, Row>, other: ReadonlyMap<string, Row>): boolean =>
    one.size === other.size &&
    [...one].every(([id, row]) => {
      const found = other.get(id);
      return found !== undefined && hashOf(found) === hashOf(row);
    });
  return Object.keys(a).find((table) => !isEqual(a[table] ?? new Map(), b[table] ?? new Map())) ?? null;
}

function rowsIn(tables: Reading['tables']): Content {
  return Object.fromEntries(Object.entries(tables).map(([table, byKey]) => [table, [...byKey.values()]]));
}

function isEqual(a: Uint8Array | null, b: Uint8Array | null): boolean {
  return a === null || b === null ? a === b : Buffer.from(a).equals(b);
}

function shapeOf(name: string, key: readonly string[], columns: readonly (readonly [string, string])[]): TableShape {
  return {
    name,
    key,
    columns: columns.map(([column, type]) => ({ name: column, type, nullable: !key.includes(column) })),
  };
}

function typeIn(rows: readonly Row[], column: string): string {
  const value = rows.map((row) => row[column] ?? null).find((candidate) => candidate !== null);
  if (value instanceof Uint8Array) return 'blob';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'double';
  return { bigint: 'integer', boolean: 'boolean' }[typeof value as string] ?? 'text';
}
