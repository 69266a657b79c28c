import { createHash } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Context } from '../../../plan/context.ts';
import type { OpenStore, SliceScope, Store } from '../../../plan/stores.ts';
import type { Json, Side } from '../../../plan/words.ts';
import { OpenSqlite } from './open-sqlite.ts';
import { ownOf } from './own.ts';

export interface SqliteOptions {
  /**
   * How long the application itself waits for a lock, in ms, where the file is not in WAL mode. Declaring it says that our short locks
   * do not make its writes fail. Default: not declared, and `check` then asks for WAL.
   */
  readonly busyTimeoutMs?: number;
}

/**
 * A SQLite file as a store of rows.
 *
 * @param file Path relative to the plan, or absolute.
 * @example
 * sync({ name: 'events', from: sqlite('data/legacy.db'), to: sqlite('data/pipeline.db'), tables: { events: {} } })
 */
export function sqlite(file: string, options: SqliteOptions = {}): Store {
  return new SqliteStore(file, options.busyTimeoutMs ?? null);
}

class SqliteStore implements Store {
  readonly writes = 'rows';
  readonly kind = 'sqlite';
  readonly fencedBy = 'store';
  readonly hasOneWriter = true;
  readonly hasSlices = true;
  readonly spec: Json;
  readonly #file: string;
  readonly #busyTimeoutMs: number | null;

  constructor(file: string, busyTimeoutMs: number | null) {
    this.#file = file;
    this.#busyTimeoutMs = busyTimeoutMs;
    this.spec = { kind: 'sqlite', path: file, busyTimeoutMs };
  }

  identity({ root }: Pick<Context, 'root'>): string {
    return `sqlite:${path.resolve(root, this.#file)}`;
  }

  /** In WAL mode, so that readers and the one writer do not wait for each other. */
  create({ root }: Pick<Context, 'root'>): Promise<void> {
    const file = path.resolve(root, this.#file);
    return new Promise((resolve) => {
      mkdirSync(path.dirname(file), { recursive: true });
      const db = new DatabaseSync(file);
      db.exec('PRAGMA journal_mode = WAL');
      db.close();
      resolve();
    });
  }

  discard({ root }: Pick<Context, 'root'>): Promise<void> {
    const file = path.resolve(root, this.#file);
    return new Promise((resolve) => {
      for (const suffix of ['-wal', '-shm', '']) rmSync(`${file}${suffix}`, { force: true });
      resolve();
    });
  }

  open(ctx: Context, side: Side, slice?: SliceScope): Promise<OpenStore> {
    const id = createHash('sha256').update(this.identity(ctx)).digest('hex').slice(0, 16);
    const file = path.resolve(ctx.root, this.#file);
    return new Promise((resolve) => {
      const opened = { file, name: this.#file, id, busyTimeoutMs: this.#busyTimeoutMs };
      resolve(new OpenSqlite(opened, ctx, slice === undefined ? undefined : ownOf(slice, side)));
    });
  }
}
