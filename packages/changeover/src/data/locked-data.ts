import type { Context } from '../plan/context.ts';
import type { CatchUp, LockedData } from '../plan/ports.ts';
import type { OpenStore, StoreLock } from '../plan/stores.ts';
import type { Direction, Verdict } from '../plan/words.ts';

/** One locked store with the name that errors call it by. */
export interface LockedStore {
  readonly store: OpenStore;
  readonly lock: StoreLock;
}

/** What the lock leaves to the move that made it. */
export interface LockedWork {
  applyToEmpty(ctx: Context, direction: Direction): Promise<CatchUp>;
  verify(ctx: Context, direction: Direction, scope: 'full' | 'changed'): Promise<Verdict[]>;
  sequences(ctx: Context, direction: Direction): Promise<void>;
}

/**
 * The stores of a side under lock. All are locked, then everything is applied, then all are fenced: no transaction spans two stores, and a
 * death in between leaves some stores fenced, which the recovery unfences.
 */
export class LockedStores implements LockedData {
  readonly #ctx: Context;
  readonly #direction: Direction;
  readonly #stores: readonly LockedStore[];
  readonly #work: LockedWork;

  constructor(ctx: Context, direction: Direction, stores: readonly LockedStore[], work: LockedWork) {
    this.#ctx = ctx;
    this.#direction = direction;
    this.#stores = stores;
    this.#work = work;
  }

  async applyToEmpty(): Promise<CatchUp> {
    const result = await this.#work.applyToEmpty(this.#ctx, this.#direction);
    this.#ctx.faults.at('data.lock.applied');
    return result;
  }

  async verify(scope: 'full' | 'changed'): Promise<Verdict[]> {
    const verdicts = await this.#work.verify(this.#ctx, this.#direction, scope);
    this.#ctx.faults.at('data.lock.verified');
    return verdicts;
  }

  async sequences(): Promise<void> {
    await this.#work.sequences(this.#ctx, this.#direction);
    this.#ctx.faults.at('data.lock.sequences');
  }

  async fence(): Promise<void> {
    for (const [index, { lock }] of this.#stores.entries()) {
      try {
        await lock.fence();
      } catch (error) {
        await release(this.#stores.slice(index), error);
        throw error;
      }
    }
  }

  async release(): Promise<void> {
    await release(this.#stores, null);
  }
}

/** Releases every lock, even where one release fails. */
export async function release(stores: readonly LockedStore[], cause: unknown): Promise<void> {
  const errors: unknown[] = [];
  for (const { lock } of stores) {
    try {
      await lock.release();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0)
    throw new AggregateError(cause === null ? errors : [cause, ...errors], 'a lock was not released');
}
