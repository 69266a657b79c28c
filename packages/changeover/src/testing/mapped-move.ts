import type { Context } from '../plan/context.ts';
import type { DataPort } from '../plan/ports.ts';
import type { Store } from '../plan/stores.ts';
import type { SyncDefinition, TableMapping } from '../plan/sync.ts';
import type { Direction } from '../plan/words.ts';
import { testContext } from './context.ts';
import { testMariadb, testPostgres, testSqlite, type TestDatabase } from './databases.ts';
import { tempFolder, type TempFolder } from './temp.ts';

type Kind = TestDatabase['kind'];

/** What a test of mappings is made with; the tests' folder gives it, since nothing here knows the move. */
export interface MappedMoveParts {
  readonly servers: Partial<Record<Kind, { readonly url: string }>>;
  readonly kinds?: readonly [from: Kind, to: Kind];
  readonly storeOf: (database: TestDatabase) => Store;
  readonly createDataMove: (definitions: readonly SyncDefinition[]) => DataPort;
  readonly sync: (options: {
    readonly name: string;
    readonly from: Store;
    readonly to: Store;
    readonly tables: Readonly<Record<string, TableMapping>>;
    readonly chunkRows: number;
  }) => SyncDefinition;
}

/** Two databases and a move between them, by the steps that the engine takes. */
export class MappedMove implements AsyncDisposable {
  readonly legacy: TestDatabase;
  readonly next: TestDatabase;
  readonly ctx: Context;
  readonly #temp: TempFolder;
  readonly #parts: MappedMoveParts;
  #data: DataPort | null = null;

  private constructor(temp: TempFolder, parts: MappedMoveParts, legacy: TestDatabase, next: TestDatabase) {
    this.#temp = temp;
    this.#parts = parts;
    this.legacy = legacy;
    this.next = next;
    this.ctx = testContext(temp.path);
  }

  static async begin(parts: MappedMoveParts): Promise<MappedMove> {
    const temp = await tempFolder();
    const [from, to] = parts.kinds ?? ['sqlite', 'sqlite'];
    const make = (kind: Kind, name: string) => {
      const url = parts.servers[kind]?.url ?? '';
      if (kind === 'sqlite') return testSqlite(temp.path, `${name}.db`);
      return kind === 'postgres' ? testPostgres(url) : testMariadb(url);
    };
    return new MappedMove(temp, parts, await make(from, 'legacy'), await make(to, 'next'));
  }

  get data(): DataPort {
    if (this.#data === null) throw new Error('there is no plan yet');
    return this.#data;
  }

  plan(tables: Readonly<Record<string, TableMapping>>, chunkRows = 3): void {
    const { storeOf, createDataMove, sync } = this.#parts;
    const [from, to] = [storeOf(this.legacy), storeOf(this.next)];
    this.#data = createDataMove([sync({ name: 'main', from, to, tables, chunkRows })]);
  }

  async copy(): Promise<void> {
    await this.data.prepare(this.ctx);
    await this.data.copy(this.ctx);
  }

  /** Copies if that was not done, follows, and lets the new side write. Gives what the last verification said. */
  async switchOver(): Promise<string[]> {
    await this.data.prepareReverse(this.ctx);
    const verdicts = await this.#switch('forward');
    await this.data.unfence(this.ctx, 'next');
    return verdicts;
  }

  /** Back to the legacy. Gives what the last verification said. */
  async switchBack(): Promise<string[]> {
    const verdicts = await this.#switch('reverse');
    await this.data.unfence(this.ctx, 'legacy');
    return verdicts;
  }

  async follow(direction: Direction): Promise<void> {
    for (let pending = 1; pending > 0;) ({ pending } = await this.data.catchUp(this.ctx, direction));
  }

  /** Outcomes with the evidence of what does not pass. */
  async verify(direction: Direction, scope: 'full' | 'changed' = 'full'): Promise<string[]> {
    return shown(await this.data.verify(this.ctx, direction, scope));
  }

  /** Messages of `check` that stand in the way. */
  async errors(): Promise<string[]> {
    const findings = await this.data.check(this.ctx);
    return findings.filter(({ level }) => level === 'error').map(({ message }) => message);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#data?.close();
    await this.legacy.close();
    await this.next.close();
    await this.#temp.remove();
  }

  async #switch(direction: Direction): Promise<string[]> {
    const locked = await this.data.lock(this.ctx, direction);
    await locked.applyToEmpty();
    const verdicts = await locked.verify('full');
    await locked.sequences();
    await locked.fence();
    return shown(verdicts);
  }
}

function shown(verdicts: readonly { readonly outcome: string; readonly evidence: string }[]): string[] {
  return verdicts.map(({ outcome, evidence }) => (outcome === 'PASS' ? outcome : `${outcome}: ${evidence}`));
}
