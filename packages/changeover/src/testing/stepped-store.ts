import { setImmediate } from 'node:timers/promises';
import type { OpenStore, Store, StoreLock } from '../plan/stores.ts';

/** Thrown into whoever waits at a step of an actor that has died. */
class Died extends Error {
  override readonly name = 'Died';
}

/** Turns of the event loop after which an actor that has no call under way is taken to be waiting. */
const QUIET_TURNS = 6;

const STORE_STEPS = new Set([
  'chunk',
  'rows',
  'write',
  'empty',
  'prepare',
  'installEpoch',
  'sequences',
  'lock',
  'fence',
  'unfence',
]);
const CAPTURE_STEPS = new Set(['install', 'pending', 'acknowledge']);
const LOCK_STEPS = new Set(['fence', 'release']);

/**
 * One actor whose every call to a store waits until the test lets it pass, so that a test decides what happens between two calls. The calls
 * themselves are real. An actor that died makes no further call, and its stores are closed, as its process's end would do.
 */
export class Steps {
  #free = 0;
  readonly #waiting: { readonly name: string; pass(): void; die(): void }[] = [];
  readonly #opened: OpenStore[] = [];
  #active = 0;
  #locks = 0;
  #isDead = false;

  /** True while a store is locked by this actor. */
  get isLocking(): boolean {
    return this.#locks > 0;
  }

  /** What the actor waits for, in the order of its calls. */
  get waiting(): readonly string[] {
    return this.#waiting.map(({ name }) => name);
  }

  store(store: Store): Store {
    const { writes, kind, spec, fencedBy, hasOneWriter } = store;
    return {
      writes,
      kind,
      spec,
      fencedBy,
      ...(hasOneWriter === undefined ? {} : { hasOneWriter }),
      identity: (ctx) => store.identity(ctx),
      open: async (ctx, side) => {
        const opened = await store.open(ctx, side);
        this.#opened.push(opened);
        const capture = this.#stepped(opened.capture, CAPTURE_STEPS, 'capture.');
        return this.#stepped(opened, STORE_STEPS, '', { capture, lock: (tables) => this.#lock(opened, tables) });
      },
    };
  }

  /** Calls of `work` pass without waiting. */
  async freely<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#free += 1;
    try {
      return await work();
    } finally {
      this.#free -= 1;
    }
  }

  /** Lets the first call that waits pass, or the last, and resolves when the actor waits again or `work` has come to its end. */
  async pass(work: Promise<unknown>, which: 'first' | 'last' = 'first'): Promise<void> {
    const call = which === 'first' ? this.#waiting.shift() : this.#waiting.pop();
    call?.pass();
    await this.settled(work);
  }

  /** Resolves when the actor waits, or `work` has come to its end. */
  async settled(work: Promise<unknown>): Promise<void> {
    const ended = new AbortController();
    const end = () => ended.abort();
    work.then(end, end);
    for (let quiet = 0; quiet < QUIET_TURNS && !ended.signal.aborted;) {
      await setImmediate();
      quiet = this.#active > 0 || this.#waiting.length === 0 ? 0 : quiet + 1;
    }
  }

  /** Ends the actor where it stands: nothing that it began and did not commit is ever committed. */
  async die(work: Promise<unknown>): Promise<void> {
    this.#isDead = true;
    for (const call of this.#waiting.splice(0)) call.die();
    await Promise.allSettled([work]);
    for (const store of this.#opened) await store.close();
    this.#locks = 0;
  }

  async #lock(store: OpenStore, tables: readonly string[]): Promise<StoreLock> {
    const lock = await this.step('lock', () => store.lock(tables));
    this.#locks += 1;
    const ended = async (how: () => Promise<void>) => {
      await how();
      this.#locks -= 1;
    };
    return this.#stepped(
      { fence: () => ended(() => lock.fence()), release: () => ended(() => lock.release()) },
      LOCK_STEPS,
      'lock.',
    );
  }

  #stepped<Port extends object>(
    port: Port,
    steps: ReadonlySet<string>,
    prefix: string,
    given: Partial<Port> = {},
  ): Port {
    return new Proxy(port, {
      get: (target, name: string) => {
        if (name in given) return given[name as keyof Port];
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== 'function') return value;
        const call = (...args: unknown[]): unknown => Reflect.apply(value, target, args);
        return steps.has(name)
          ? (...args: unknown[]) => this.step(`${prefix}${name}`, () => call(...args) as Promise<unknown>)
          : call;
      },
    });
  }

  /** One call that waits for its turn; what is not a call to a store (a commit in the journal) can be made one. */
  async step<Result>(name: string, act: () => Promise<Result>): Promise<Result> {
    if (this.#isDead) throw new Died(name);
    if (this.#free === 0)
      await new Promise<void>((resolve, reject) => {
        this.#waiting.push({ name, pass: resolve, die: () => reject(new Died(name)) });
      });
    this.#active += 1;
    try {
      return await act();
    } finally {
      this.#active -= 1;
    }
  }
}
