import type { Context } from '../plan/context.ts';
import type { ChangeBatch, Row } from '../plan/stores.ts';
import { targetSide, type Direction } from '../plan/words.ts';
import type { BuiltSync } from './built-sync.ts';
import { allRows } from './chunks.ts';
import { endsOf } from './mapping-columns.ts';
import type { NotReturnable } from './not-returnable.ts';
import type { Fate } from './row-mapper.ts';
import type { StoresInUse, UsedStore } from './stores-in-use.ts';
import { encodeKey } from './values.ts';

const CHUNK_ROWS = 1000;

export interface ApplierParts {
  readonly direction: Direction;
  readonly stores: StoresInUse;
  readonly syncs: readonly BuiltSync[];
  readonly lost: NotReturnable;
}

/** Applies what the captures of one direction have logged: one batch of one store at a time, through all syncs that begin there. */
export class Applier {
  readonly #direction: Direction;
  readonly #stores: StoresInUse;
  readonly #syncs: readonly BuiltSync[];
  readonly #lost: NotReturnable;

  constructor(parts: ApplierParts) {
    this.#direction = parts.direction;
    this.#stores = parts.stores;
    this.#syncs = parts.syncs;
    this.#lost = parts.lost;
  }

  /** Resolves with the number of changes. The batch is acknowledged last: until then a kill leaves it pending. */
  async apply(ctx: Context, used: UsedStore, batch: ChangeBatch): Promise<number> {
    const fates: Fate[] = [];
    let applied = 0;
    for (const { sync, sourceIdentity } of this.#syncs) {
      if (sourceIdentity !== used.identity || sync.target.replace !== undefined) continue;
      const result = await sync.apply(ctx, batch.changes, batch.rescan);
      applied += result.applied;
      fates.push(...result.fates);
    }
    for (const target of this.#stores.of(ctx, targetSide(this.#direction)))
      if (this.#syncs.some((one) => one.targetIdentity === target.identity && one.sourceIdentity === used.identity))
        fates.push(...(await this.replaceContent(ctx, target)));
    ctx.faults.at('data.apply.written');
    if (this.#direction === 'reverse') this.#record(used, batch, fates);
    const store = await this.#stores.open(ctx, used);
    await store.capture.acknowledge(batch);
    ctx.faults.at('data.apply.acknowledged');
    return Math.max(applied, batch.changes.length);
  }

  /** A store that is replaced as a whole gets its content from all syncs that end in it. Nothing to do for other stores. */
  async replaceContent(ctx: Context, used: UsedStore): Promise<Fate[]> {
    const store = await this.#stores.open(ctx, used);
    if (store.replace === undefined) return [];
    const content: Record<string, Row[]> = {};
    const fates: Fate[] = [];
    for (const { sync, targetIdentity } of this.#syncs) {
      if (targetIdentity !== used.identity) continue;
      for (const map of sync.maps) {
        const { name } = map.target;
        const existing = content[name] ?? (await allRows(ctx, store, map.target, CHUNK_ROWS));
        const made = await sync.content(ctx, map, existing);
        content[name] = made.rows;
        fates.push(...made.fates);
      }
    }
    await store.replace(content, ctx.epoch);
    ctx.faults.at('data.replace.done');
    return fates;
  }

  /** A row of the new side goes back through any of the syncs that name its table; one that none takes is lost to a rollback. */
  #record(used: UsedStore, batch: ChangeBatch, fates: readonly Fate[]): void {
    const outcome = new Map<string, { table: string; key: string; reason: string | null }>();
    for (const { table, key } of batch.changes) {
      const reason = reasonNotTaken(this.#syncs, used, table);
      if (reason !== null) outcome.set(`${table} ${encodeKey(key)}`, { table, key: encodeKey(key), reason });
    }
    for (const { table, key, reason } of [...fates].sort(
      (a, b) => Number(a.reason === null) - Number(b.reason === null),
    ))
      outcome.set(`${table} ${encodeKey(key)}`, { table, key: encodeKey(key), reason });
    this.#lost.record([...outcome.values()]);
  }
}

/** Why a changed row of the new side has no way back at all; null where a sync carries its table back or nothing is lost with it. */
function reasonNotTaken(built: readonly BuiltSync[], used: UsedStore, table: string): string | null {
  const own = built.filter(({ sourceIdentity }) => sourceIdentity === used.identity);
  const mappings = own.flatMap(({ definition }) =>
    Object.entries(definition.tables).flatMap(([name, one]) => (endsOf(name, one).to === table ? [one] : [])),
  );
  const given = mappings.filter(({ reverse }) => reverse === 'none');
  if (given.length > 0) return `given up by the plan: ${given.flatMap(({ givesUp }) => givesUp ?? []).join('; ')}`;
  const carriers = own.filter(({ sync }) =>
    sync.maps.some((map) => [map, ...map.parts].some(({ source }) => source.name === table)),
  );
  // A store that is written as a whole takes a deleted row back by not holding it any more.
  const isWhole = carriers.some(({ sync }) => sync.target.replace !== undefined);
  return carriers.length > 0 && !isWhole ? 'no table of the legacy takes it' : null;
}
