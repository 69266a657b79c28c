import { ChangeoverError } from '../errors.ts';
import type { Context } from '../plan/context.ts';
import type { OpenStore, Store } from '../plan/stores.ts';
import type { SyncDefinition } from '../plan/sync.ts';
import type { Side } from '../plan/words.ts';
import { endsOf } from './mapping-columns.ts';
import { scopeOf } from './slices/scope.ts';

/** One physical store of a side, with the tables that all syncs together move there. */
export interface UsedStore {
  readonly identity: string;
  readonly side: Side;
  readonly store: Store;
  readonly tables: readonly string[];
  readonly syncs: readonly SyncDefinition[];
}

/** The physical stores of a plan, each opened once. */
export class StoresInUse {
  readonly #definitions: readonly SyncDefinition[];
  readonly #opened = new Map<string, { open: Promise<OpenStore>; epoch: number }>();

  #generation = 0;

  readonly #slice: string | null;

  constructor(definitions: readonly SyncDefinition[], slice: string | null = null) {
    this.#definitions = definitions;
    this.#slice = slice;
  }

  /** Increases when a store had to be opened anew: what was built on the old one is of no use. */
  get generation(): number {
    return this.#generation;
  }

  /** Stores of a side in a fixed order, which is the order of locks and fences. */
  of(ctx: Pick<Context, 'root'>, side: Side): UsedStore[] {
    const used = new Map<string, { store: Store; tables: Set<string>; syncs: SyncDefinition[] }>();
    for (const definition of this.#definitions) {
      const store = side === 'legacy' ? definition.from : definition.to;
      const identity = store.identity(ctx);
      const entry = used.get(identity) ?? { store, tables: new Set(), syncs: [] };
      used.set(identity, entry);
      entry.syncs.push(definition);
      for (const [name, mapping] of Object.entries(definition.tables)) {
        const { from, to } = endsOf(name, mapping);
        entry.tables.add(side === 'legacy' ? from : to);
      }
    }
    return [...used]
      .map(([identity, { store, tables, syncs }]) => ({ identity, side, store, tables: [...tables].sort(), syncs }))
      .sort((a, b) => (a.identity < b.identity ? -1 : 1));
  }

  /** Opens a store, or gives it back opened. Work of an owner raises the gate first, where the owner's epoch has grown. */
  async open(
    ctx: Context,
    { identity, store, side }: Pick<UsedStore, 'identity' | 'store' | 'side'>,
  ): Promise<OpenStore> {
    let entry = this.#opened.get(identity);
    const known = await entry?.open;
    // A process may live for weeks, and a restore or an operator may put another file in place meanwhile.
    if (known?.isReplaced?.() === true) {
      this.#opened.delete(identity);
      this.#generation += 1;
      entry = undefined;
      await known.close();
    }
    if (entry === undefined) {
      entry = { open: this.#open(ctx, { identity, store, side }), epoch: 0 };
      this.#opened.set(identity, entry);
      entry.open.catch(() => this.#opened.delete(identity));
    }
    const opened = await entry.open;
    const { epoch } = ctx;
    if (epoch > entry.epoch) {
      await opened.installEpoch(epoch, { isLive: ctx.liveSide === side });
      entry.epoch = epoch;
    }
    return opened;
  }

  #open(ctx: Context, { identity, store, side }: Pick<UsedStore, 'identity' | 'store' | 'side'>): Promise<OpenStore> {
    if (this.#slice === null) return store.open(ctx, side);
    if (store.hasSlices !== true) throw new ChangeoverError('CHG_DATA_SLICE_UNSUPPORTED', { store: identity });
    const own = this.#definitions.filter(({ from, to }) => (side === 'legacy' ? from : to).identity(ctx) === identity);
    return store.open(ctx, side, scopeOf(own, side, this.#slice));
  }

  /** Null where the store does not exist yet, or not any more. */
  async openIfPresent(ctx: Context, used: UsedStore): Promise<OpenStore | null> {
    try {
      return await this.open(ctx, used);
    } catch (error) {
      if (error instanceof ChangeoverError && error.code === 'CHG_DATA_STORE_MISSING') return null;
      throw error;
    }
  }

  async close(): Promise<void> {
    const opened = [...this.#opened.values()];
    this.#opened.clear();
    for (const { open } of opened) await (await open).close();
  }
}
