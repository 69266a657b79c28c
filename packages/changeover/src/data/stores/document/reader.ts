import { createHash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { ChangeoverError } from '../../../errors.ts';
import type { Context } from '../../../plan/context.ts';
import type { Key, Row, Value } from '../../../plan/stores.ts';
import { isMissing, isSameStamp, isSettled, stampOf, type Stamp } from '../../durable.ts';
import { encodeKey, hashRows, keyOf } from '../../values.ts';
import type { DocumentOptions } from './document.ts';

export type Options = DocumentOptions<string, string, unknown, unknown>;
export type Contents = Readonly<Record<string, unknown>>;

/** One file as it was read; a missing one has neither stamp nor bytes. */
export interface FileRead {
  readonly path: string;
  readonly stamp: Stamp | null;
  readonly sha256: string | null;
  readonly readAtMs: number;
  readonly contents: unknown;
}

/** Everything that was read at one time. */
export interface Reading {
  readonly files: Readonly<Record<string, FileRead>>;
  readonly contents: Contents;
  /** Rows of each table in the order of their keys, by encoded key. */
  readonly tables: Readonly<Record<string, ReadonlyMap<string, Row>>>;
}

/** A writer replaces a small file in milliseconds; one that is still changing after this time is given up. */
const TORN_TIMEOUT_MS = 2_000;
const RETRY_MS = 20;

/** Reads the files of a document as wholes, and never a half-written one as a whole one. */
export class DocumentReader {
  readonly #options: Options;
  readonly #store: string;
  readonly #ctx: Context;
  #last: Reading | null = null;

  constructor(options: Options, store: string, ctx: Context) {
    this.#options = options;
    this.#store = store;
    this.#ctx = ctx;
  }

  async read(): Promise<Reading> {
    const files: Record<string, FileRead> = {};
    for (const [name, file] of Object.entries(this.#options.files)) {
      files[name] = await this.#readFile(path.resolve(this.#ctx.root, file), this.#last?.files[name] ?? null);
    }
    const last = this.#last;
    const isSame =
      last !== null && Object.entries(files).every(([name, file]) => file.sha256 === last.files[name]?.sha256);
    const contents = Object.fromEntries(Object.entries(files).map(([name, file]) => [name, file.contents]));
    this.#last = isSame ? { ...last, files } : { files, contents, tables: this.tablesOf(contents) };
    return this.#last;
  }

  /** The rows of contents. Throws `CHG_DATA_DOCUMENT_ROWS` when the plan's functions fail or make no proper rows. */
  tablesOf(contents: Contents): Reading['tables'] {
    const tables: Record<string, ReadonlyMap<string, Row>> = {};
    for (const [name, { key, rows }] of Object.entries(this.#options.tables)) {
      let made: readonly Row[];
      try {
        made = rows(contents);
      } catch (cause) {
        if (cause instanceof ChangeoverError) throw cause;
        throw this.#rowsFailed(name, cause instanceof Error ? cause.message : String(cause), cause);
      }
      tables[name] = this.byKey(name, key, made);
    }
    return tables;
  }

  /** Rows by their encoded key, in the order of their keys. */
  byKey(table: string, key: readonly string[], rows: readonly Row[]): ReadonlyMap<string, Row> {
    const byKey = new Map<string, Row>();
    for (const row of [...rows].sort((a, b) => compareKeys(keyOf(a, key), keyOf(b, key)))) {
      const values = keyOf(row, key);
      const id = encodeKey(values);
      if (values.includes(null)) throw this.#rowsFailed(table, `a row without ${key.join(', ')}`);
      if (byKey.has(id)) throw this.#rowsFailed(table, `two rows with the key ${values.map(String).join(', ')}`);
      byKey.set(id, row);
    }
    return byKey;
  }

  async #readFile(file: string, last: FileRead | null): Promise<FileRead> {
    const untilMs = this.#ctx.clock.monotonicMs() + TORN_TIMEOUT_MS;
    for (;;) {
      const readAtMs = this.#ctx.clock.wallMs();
      const read = await readWhole(file, last);
      if (read === null) return { path: file, stamp: null, sha256: null, readAtMs, contents: null };
      const isLate = this.#ctx.clock.monotonicMs() >= untilMs;
      if (read === 'torn') {
        if (isLate) throw this.#torn(file);
      } else if (!('bytes' in read)) {
        return read;
      } else {
        const { stamp, bytes } = read;
        const sha256 = createHash('sha256').update(bytes).digest('hex');
        if (sha256 === last?.sha256) return { ...last, stamp, readAtMs };
        try {
          return { path: file, stamp, sha256, readAtMs, contents: this.#options.format.parse(bytes) };
        } catch (cause) {
          // A writer that truncates and writes in place leaves it broken for a moment; a settled file stays broken.
          if (isLate || isSettled(stamp, readAtMs)) throw this.#broken(file, cause);
        }
      }
      await this.#ctx.clock.sleep(RETRY_MS, this.#ctx.signal);
    }
  }

  #torn(file: string): ChangeoverError {
    return new ChangeoverError('CHG_DATA_DOCUMENT_TORN', { file, waitedMs: TORN_TIMEOUT_MS });
  }

  #broken(file: string, cause: unknown): ChangeoverError {
    const reason = cause instanceof Error ? cause.message : String(cause);
    return new ChangeoverError(
      'CHG_DATA_DOCUMENT_BROKEN',
      { file, format: this.#options.format.name, reason },
      { cause },
    );
  }

  #rowsFailed(table: string, reason: string, cause?: unknown): ChangeoverError {
    return new ChangeoverError('CHG_DATA_DOCUMENT_ROWS', { store: this.#store, table, reason }, { cause });
  }
}

/** The bytes of a file and its stamp; `last` itself when it cannot have changed, null when it is missing. */
async function readWhole(
  file: string,
  last: FileRead | null,
): Promise<{ stamp: Stamp; bytes: Buffer } | FileRead | 'torn' | null> {
  let handle: FileHandle;
  try {
    handle = await open(file, 'r');
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
  try {
    const stamp = stampOf(await handle.stat({ bigint: true }));
    if (last?.stamp && isSameStamp(last.stamp, stamp) && isSettled(stamp, last.readAtMs)) return last;
    const bytes = await handle.readFile();
    const after = stampOf(await handle.stat({ bigint: true }));
    return isSameStamp(stamp, after) && bytes.length === after.size ? { stamp, bytes } : 'torn';
  } finally {
    await handle.close();
  }
}

/** Equal rows have equal hashes, whatever the order of their columns. */
export function hashOf(row: Row): string {
  return hashRows([row]);
}

/** Numbers before texts before bytes, each in its own order. */
export function compareKeys(a: Key, b: Key): number {
  for (const [index, value] of a.entries()) {
    const order = compareValues(value, b[index] ?? null);
    if (order !== 0) return order;
  }
  return 0;
}

function compareValues(a: Value, b: Value): number {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b);
  const [kindA, kindB] = [kindOf(a), kindOf(b)];
  if (kindA !== kindB) return kindA - kindB;
  if (a === b || a === null || b === null) return 0;
  return a < b ? -1 : 1;
}

function kindOf(value: Value): number {
  if (value === null) return 0;
  if (typeof value === 'boolean') return 1;
  if (typeof value === 'number' || typeof value === 'bigint') return 2;
  return typeof value === 'string' ? 3 : 4;
}
