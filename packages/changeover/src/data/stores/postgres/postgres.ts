import type { Context } from '../../../plan/context.ts';
import { maskAddresses } from '../../../plan/spec.ts';
import type { OpenStore, Store } from '../../../plan/stores.ts';
import type { Json } from '../../../plan/words.ts';
import { OpenPostgres } from './open-postgres.ts';

/**
 * A Postgres database as a store of rows. Tables are named as the role's search_path finds them, or as `schema.table`.
 *
 * The role needs to own the tables that it moves (or be a member of the role that does) and CREATE on its first schema; `check` says
 * exactly what is missing.
 *
 * @param url Connection string: `postgres://user:password@host:port/database`.
 * @example
 * sync({ name: 'main', from: sqlite('data/mira.db'), to: postgres('postgres://mira@127.0.0.1/mira'), tables: { streams: {} } })
 */
export function postgres(url: string): Store {
  return new PostgresStore(url);
}

class PostgresStore implements Store {
  readonly writes = 'rows';
  readonly kind = 'postgres';
  readonly fencedBy = 'store';
  readonly spec: Json;
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
    this.spec = { kind: 'postgres', url: maskAddresses(url) };
  }

  /** Without the password, which may change while the database stays the same. */
  identity(): string {
    const { hostname, port, pathname, searchParams } = new URL(this.#url);
    const options = searchParams.get('options');
    return `postgres:${hostname}:${port || '5432'}${pathname}${options === null ? '' : `?${options}`}`;
  }

  open(ctx: Context): Promise<OpenStore> {
    return Promise.resolve(new OpenPostgres(this.#url, this.identity(), ctx));
  }
}
