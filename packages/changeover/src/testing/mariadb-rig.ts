import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import type { Context } from '../plan/context.ts';
import type { OpenStore, Store } from '../plan/stores.ts';
import { testContext } from './context.ts';
import { connectMariadb, testMariadb, type TestDatabase } from './databases.ts';
import { startMariadb, type ThrowawayMariadb } from './mariadb.ts';
import { tempFolder, type TempFolder } from './temp.ts';

/** One throwaway MariaDB for a file of tests, and a new database with everything around it for each test. */
export class MariadbRig {
  #server: ThrowawayMariadb | null = null;
  #temp: TempFolder | null = null;
  #db: TestDatabase | null = null;
  readonly #opened: { close(): Promise<void> }[] = [];
  readonly #storeAt: (url: string) => Store;

  /** To be made inside of a `describe`. */
  constructor(storeAt: (url: string) => Store) {
    this.#storeAt = storeAt;
    beforeAll(async () => {
      this.#server = await startMariadb();
    });
    afterAll(async () => {
      await this.#server?.stop();
    });
    beforeEach(async () => {
      this.#temp = await tempFolder();
      this.#db = await testMariadb(this.#server?.url ?? '');
    });
    afterEach(async () => {
      for (const one of this.#opened.splice(0).reverse()) await one.close();
      await this.#db?.close();
      await this.#temp?.remove();
    });
  }

  /** The application's connection, with all rights. */
  get db(): TestDatabase {
    if (this.#db === null) throw new Error('no test is running');
    return this.#db;
  }

  get folder(): string {
    return this.#temp?.path ?? '';
  }

  /** The store, opened by `account` or by root. */
  async open(account?: string, overrides: Partial<Context> = {}): Promise<OpenStore> {
    const store = await this.#storeAt(this.#address(account)).open(testContext(this.folder, overrides), 'legacy');
    this.#opened.push(store);
    return store;
  }

  async prepared(): Promise<OpenStore> {
    const store = await this.open();
    await store.prepare();
    return store;
  }

  async captured(...tables: string[]): Promise<OpenStore> {
    const store = await this.prepared();
    await store.capture.install(tables);
    return store;
  }

  /** Another connection of the application. */
  async application(account?: string): Promise<TestDatabase> {
    const connection = await connectMariadb(this.#address(account));
    this.#opened.push(connection);
    return connection;
  }

  /** A new account without any right, without a password. */
  async account(): Promise<string> {
    const name = `u${Math.random().toString(36).slice(2, 12)}`;
    await this.db.exec(`CREATE USER ${name}@127.0.0.1`);
    return name;
  }

  #address(account?: string): string {
    const address = new URL(this.db.address);
    if (account !== undefined) address.username = account;
    return address.href;
  }
}

/** What is pending, as `table key` in order. */
export async function pendingIn(store: OpenStore): Promise<string[]> {
  const { changes } = await store.capture.pending(1000);
  return changes.map(({ table, key }) => `${table} ${key.map(String).join('|')}`).sort();
}

export async function forget(store: OpenStore): Promise<void> {
  await store.capture.acknowledge(await store.capture.pending(1000));
}
