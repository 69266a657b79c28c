import { randomInt } from 'node:crypto';
import { connectPostgres, type TestDatabase } from '../../testing/databases.ts';

interface Name {
  readonly first: string;
  readonly last: string;
}

/** A writer that waited longer than this for a lock would fail with 55P03, and the test with it. */
const MAX_WAIT_MS = 2000;
const ROWS_A_TRANSACTION = 3;

/**
 * Applications of both sides that write the same rows, several rows a transaction, until they are stopped. Old ones write `first` and `last`,
 * new ones `full_name`. Each write raises the row's version, so that it is known which one was last.
 */
export class Writers {
  /** Row → its last write, by version. */
  readonly #last = new Map<number, { readonly version: number; readonly name: Name }>();
  readonly #over = new AbortController();
  readonly #running: Promise<void>[] = [];
  readonly #address: string;
  readonly #rows: number;
  writes = 0;

  constructor(address: string, rows: number) {
    this.#address = address;
    this.#rows = rows;
  }

  start(side: 'old' | 'new', count: number): void {
    for (let index = 0; index < count; index++) this.#running.push(this.#write(side));
  }

  /** Rejects with the first error that any of them met. */
  async stop(): Promise<void> {
    this.#over.abort();
    await Promise.all(this.#running);
  }

  /** Every row as its last writer left it: on both sides, or on the one whose columns are there. */
  expected(id: number): Name {
    return this.#last.get(id)?.name ?? { first: `f${id}`, last: `l${id}` };
  }

  async #write(side: 'old' | 'new'): Promise<void> {
    const db = await connectPostgres(this.#address);
    try {
      await db.exec(`SET lock_timeout = ${MAX_WAIT_MS}`);
      while (!this.#over.signal.aborted) await this.#transaction(db, side);
    } finally {
      await db.close();
    }
  }

  async #transaction(db: TestDatabase, side: 'old' | 'new'): Promise<void> {
    // In the order of the key, or they would lock each other out.
    const ids = new Set(Array.from({ length: ROWS_A_TRANSACTION }, () => randomInt(1, this.#rows + 1)));
    const written: { id: number; version: number; name: Name }[] = [];
    await db.exec('BEGIN');
    for (const id of [...ids].sort((a, b) => a - b)) {
      const name = { first: `${side}${randomInt(1e6)}`, last: `x${randomInt(1e6)}` };
      const set =
        side === 'old' ? `first = '${name.first}', last = '${name.last}'` : `full_name = '${name.first} ${name.last}'`;
      const [row] = await db.all(
        `INSERT INTO people (id, ${side === 'old' ? 'first, last' : 'full_name'}, version)
         VALUES (${id}, ${side === 'old' ? `'${name.first}', '${name.last}'` : `'${name.first} ${name.last}'`}, 1)
         ON CONFLICT (id) DO UPDATE SET ${set}, version = people.version + 1 RETURNING version`,
      );
      written.push({ id, version: Number(row?.['version']), name });
    }
    await db.exec('COMMIT');
    this.writes += written.length;
    for (const { id, version, name } of written)
      if (version > (this.#last.get(id)?.version ?? 0)) this.#last.set(id, { version, name });
  }
}
