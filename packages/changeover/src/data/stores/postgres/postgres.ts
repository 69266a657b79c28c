import type { Context } from '../../../plan/context.ts';
import { maskAddresses } from '../../../plan/spec.ts';
import type { OpenStore, SliceScope, Store } from '../../../plan/stores.ts';
import type { Json, Side } from '../../../plan/words.ts';
import type { CaptureMethod } from './change-log.ts';
import { OpenPostgres } from './open-postgres.ts';
import { ownOf } from './own.ts';

/**
 * A Postgres database as a store of rows. Tables are named as the role's search_path finds them, or as `schema.table`.
 *
 * The role needs to own the tables that it moves (or be a member of the role that does) and CREATE on its first schema; `check` says
 * exactly what is missing.
 *
 * @param url Connection string: `postgres://user:password@host:port/database`.
 * @param options.capture How changes are noticed. `triggers` (default) works everywhere and adds to each write of the application; `log` reads
 *   the write-ahead log through a replication slot: it needs Postgres 14 or later, `wal_level = logical` and a role with REPLICATION.
 * @example
 * sync({ name: 'main', from: sqlite('data/mira.db'), to: postgres('postgres://mira@127.0.0.1/mira'), tables: { streams: {} } })
 */
export function postgres(url: string, options: PostgresOptions = {}): Store {
  return new PostgresStore(url, options.capture ?? 'triggers');
}

export interface PostgresOptions {
  readonly capture?: CaptureMethod;
}

class PostgresStore implements Store {
  readonly writes = 'rows';
  readonly kind = 'postgres';
  readonly fencedBy = 'store';
  readonly hasSlices: boolean;
  readonly spec: Json;
  readonly #url: string;
  readonly #capture: CaptureMethod;

  constructor(url: string, capture: CaptureMethod) {
    this.#url = url;
    this.#capture = capture;
    // A slot reads the changes of all slices; only a trigger knows at the time of a change whose the row is.
    this.hasSlices = capture === 'triggers';
    this.spec = { kind: 'postgres', url: maskAddresses(url), ...(capture === 'log' ? { capture } : {}) };
  }

  /** Without the password, which may change while the database stays the same. */
  identity(): string {
    const { hostname, port, pathname, searchParams } = new URL(this.#url);
    const options = searchParams.get('options');
    return `postgres:${hostname}:${port || '5432'}${pathname}${options === null ? '' : `?${options}`}`;
  }

  open(ctx: Context, side: Side, slice?: SliceScope): Promise<OpenStore> {
    const own = slice === undefined ? undefined : ownOf(slice, side);
    return Promise.resolve(new OpenPostgres(this.#url, this.identity(), ctx, this.#capture, own));
  }
}
