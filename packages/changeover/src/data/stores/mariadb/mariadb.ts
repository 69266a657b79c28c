import type { Context } from '../../../plan/context.ts';
import { maskAddresses } from '../../../plan/spec.ts';
import type { OpenStore, Store } from '../../../plan/stores.ts';
import type { Json } from '../../../plan/words.ts';

/**
 * A MariaDB or MySQL database as a store of rows. Tables are InnoDB tables of that one database.
 *
 * The account needs SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, TRIGGER on the database and PROCESS; `check` says exactly what is missing.
 *
 * @param url Connection string: `mariadb://user:password@host:port/database`, or `mysql://…`.
 * @example
 * sync({ name: 'main', from: mariadb('mysql://app@127.0.0.1/shop'), to: postgres('postgres://app@127.0.0.1/shop'), tables: { orders: {} } })
 */
export function mariadb(url: string): Store {
  return new MariadbStore(url);
}

class MariadbStore implements Store {
  readonly writes = 'rows';
  readonly kind = 'mariadb';
  readonly fencedBy = 'store';
  readonly spec: Json;
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
    this.spec = { kind: 'mariadb', url: maskAddresses(url) };
  }

  /** Without the account, which may change while the database stays the same. */
  identity(): string {
    const { hostname, port, pathname } = new URL(this.#url);
    return `mariadb:${hostname}:${port || '3306'}${pathname}`;
  }

  async open(ctx: Context): Promise<OpenStore> {
    // A plan without MariaDB does not load its driver.
    const { OpenMariadb } = await import('./open-mariadb.ts');
    return new OpenMariadb(this.#url, this.identity(), ctx);
  }
}
