import { rmSync } from 'node:fs';
import path from 'node:path';
import { ChangeoverError } from '../errors.ts';
import type { Context } from '../plan/context.ts';
import type {
  CatchUp,
  DataPort,
  Lag,
  LockedData,
  Quietly,
  SchemaPort,
  TableSummary,
  TenantCount,
} from '../plan/ports.ts';
import type { Speed } from '../plan/rate.ts';
import type { OpenStore } from '../plan/stores.ts';
import type { DataDefinition, SyncDefinition } from '../plan/sync.ts';
import { DEFAULT_THROTTLE, type ThrottleLimits } from '../plan/throttle.ts';
import {
  sourceSide,
  targetSide,
  type Direction,
  type Finding,
  type Footprint,
  type Json,
  type Side,
  type Verdict,
} from '../plan/words.ts';
import { Expansions } from './expand/index.ts';
import { FilesSync } from './files/index.ts';
import { SchemaMove } from './schema/schema-move.ts';
import { checkSchemas } from './schema/check.ts';
import { Applier } from './applier.ts';
import { CopyMeter } from './copy-meter.ts';
import { gaugesOf, NamedReplicas, type Gauged } from './gauges.ts';
import { LockedStores, release, type LockedStore } from './locked-data.ts';
import { endsOf } from './mapping-columns.ts';
import { describeMapping } from './mapping-description.ts';
import { nextKeysOf } from './next-keys.ts';
import { NotReturnable } from './not-returnable.ts';
import { LogWatch } from './log-watch.ts';
import { inParts, withoutTotal } from './progress.ts';
import { checkSlice } from './slices/check.ts';
import { listSlices } from './slices/list.ts';
import { References } from './slices/references.ts';
import { dataFolder, definitionsOf, sliceId } from './slices/scope.ts';
import { checkData, checkMappings } from './plan-check.ts';
import { StoresInUse, type UsedStore } from './stores-in-use.ts';
import { Throttle } from './throttle.ts';
import { buildSyncs, type BuiltSync } from './built-sync.ts';
import { encodeKey } from './values.ts';
import { countByTenant } from './tenant-counts.ts';
import { Verification, type LiveSource } from './verification.ts';
import { turn } from './turn.ts';

export { constant, expand, expression, files, sync } from './define.ts';

/** Changes that one batch applies. */
const BATCH_CHANGES = 1000;
/** One pass gives way after this time. */
const PASS_MS = 500;
/** Locks that are let go of again because a capture was not intact: a TRUNCATE right before one gives its table other files. */
const MAX_LOCKS = 3;
/** Rounds of the last apply under the lock; a locked source has nothing new after the first. */
const MAX_LAST_ROUNDS = 1000;

/**
 * All data of a plan, as the engine drives it. Stores are opened on first use; `close` closes them.
 *
 * @param options.slice The rows of one slice only. Its context has a state folder of its own. Default: everything that belongs to no slice.
 * @param options.throttle What the work leaves to others. Default: no rate, 100 ms of the source, 10 s of replicas.
 * @example
 * const data = createDataMove([sync({ name: 'events', from: sqlite('old.db'), to: sqlite('new.db'), tables: { events: {} } })]);
 */
export function createDataMove(
  definitions: readonly DataDefinition[],
  options: { readonly slice?: string | null; readonly throttle?: ThrottleLimits } = {},
): DataPort {
  return new DataMove(definitions, options.slice ?? null, options.throttle ?? DEFAULT_THROTTLE);
}

const directly: Quietly = (act) => act();

class DataMove implements DataPort {
  readonly spec: Json;
  readonly schema: SchemaPort | null;
  readonly #made: SchemaMove | null;
  readonly #syncs: readonly SyncDefinition[];
  readonly #files: readonly FilesSync[];
  readonly #expansions: Expansions;
  readonly #stores: StoresInUse;
  readonly #logs = new LogWatch();
  /** All syncs of the plan: their tables are made and listed together, whatever slice they are of. */
  readonly #all: readonly SyncDefinition[];
  readonly #whole: StoresInUse;
  readonly #throttles: Readonly<Record<Direction, Throttle>>;
  readonly #replicas: NamedReplicas;
  #builtOf = 0;
  readonly #built = new Map<Direction, Promise<readonly BuiltSync[]>>();

  readonly #slice: string | null;

  constructor(definitions: readonly DataDefinition[], slice: string | null, throttle: ThrottleLimits) {
    this.spec = definitions.map(({ spec }) => spec);
    this.#slice = slice;
    const all = definitions.filter((definition) => definition.kind === 'sync');
    this.#syncs = definitionsOf(all, slice);
    const folders = slice === null ? definitions.filter((definition) => definition.kind === 'files') : [];
    this.#files = folders.map((one) => new FilesSync(one));
    this.#stores = new StoresInUse(this.#syncs, slice);
    const expanding = slice === null ? definitions.filter((definition) => definition.kind === 'expand') : [];
    this.#expansions = new Expansions(expanding, this.#stores);
    // A foreign key may lead from one part of a plan to another, so the tables of all slices are made at once.
    const making = slice === null ? all.filter(({ schema }) => schema !== null) : [];
    this.#all = all;
    this.#whole = slice === null && all.some(({ slices }) => slices !== null) ? new StoresInUse(all) : this.#stores;
    this.#made = making.length === 0 ? null : new SchemaMove(making, this.#whole);
    this.schema = this.#made;
    this.#throttles = { forward: new Throttle(throttle), reverse: new Throttle(throttle) };
    this.#replicas = new NamedReplicas(throttle.replicas);
  }

  limitRate(speed: Speed): void {
    for (const throttle of Object.values(this.#throttles)) throttle.limitRate(speed);
  }

  async check(ctx: Context): Promise<Finding[]> {
    const parts = { all: this.#all, own: this.#syncs, stores: this.#stores };
    const ofSlice = this.#slice === null ? [] : await checkSlice(ctx, this.#slice, parts);
    // What is asked of the rows of a slice can be asked only when it is known which they are.
    if (ofSlice.some(({ level }) => level === 'error')) return ofSlice;
    const findings = [...ofSlice, ...(await checkData(ctx, this.#syncs, this.#stores))];
    if (this.#slice === null) findings.push(...(await checkSchemas(ctx, this.#all, this.#whole)));
    for (const files of this.#files) findings.push(...(await files.check(ctx)));
    findings.push(...(await this.#expansions.check(ctx)));
    return findings;
  }

  async footprint(ctx: Context): Promise<Footprint[]> {
    const footprint: Footprint[] = [...((await this.#made?.footprint(ctx)) ?? [])];
    for (const used of this.#allStores(ctx)) {
      const store = await this.#stores.openIfPresent(ctx, used);
      // Both sides are sources: the legacy before the cutover, the new side after it.
      if (store !== null) footprint.push(...(await store.footprint(await existing(store, used.tables), 'source')));
    }
    for (const files of this.#files) footprint.push(...(await files.footprint(ctx)));
    footprint.push(...(await this.#expansions.footprint(ctx)));
    return footprint;
  }

  async describe(ctx: Context): Promise<TableSummary[]> {
    const summaries: TableSummary[] = [];
    for (const { from, tables } of this.#syncs) {
      const store = await this.#stores.open(ctx, { identity: from.identity(ctx), store: from, side: 'legacy' });
      for (const [name, mapping] of Object.entries(tables)) {
        const rows = await store.count(endsOf(name, mapping).from);
        summaries.push({ name, rows, unit: 'rows', bytes: null, ...describeMapping(name, mapping) });
      }
    }
    for (const files of this.#files) summaries.push(await files.describe(ctx));
    summaries.push(...(await this.#expansions.describe(ctx)));
    return summaries;
  }

  fencedBy(side: Side): 'store' | 'unit' {
    if (this.#files.length > 0) return 'unit';
    const stores = this.#syncs.map(({ from, to }) => (side === 'legacy' ? from : to));
    return stores.every(({ fencedBy }) => fencedBy === 'store') ? 'store' : 'unit';
  }

  async installEpoch(ctx: Context): Promise<void> {
    for (const used of this.#allStores(ctx)) {
      const store = await this.#stores.openIfPresent(ctx, used);
      await store?.installEpoch(ctx.epoch, { isLive: ctx.liveSide === used.side });
    }
    for (const files of this.#files) await files.installEpoch(ctx);
    await this.#expansions.installEpoch(ctx);
  }

  /** The legacy's capture comes first: a row that the copy reads later is then either read as it is or captured when it changes. */
  async prepare(ctx: Context, quietly: Quietly = directly): Promise<void> {
    this.#built.clear();
    const hasBegun = await this.#hasBegun(ctx);
    for (const used of this.#stores.of(ctx, 'legacy')) {
      const store = await this.#stores.open(ctx, used);
      await this.#onLive(ctx, used, quietly, async () => {
        await store.prepare();
        // Before anything was copied nothing can have been missed.
        if (hasBegun) await this.#capture(ctx, used, store);
        else await store.capture.install(used.tables);
      });
    }
    for (const used of this.#stores.of(ctx, 'next')) {
      const store = await this.#stores.open(ctx, used);
      await store.prepare();
      await store.fence(used.tables);
    }
    for (const files of this.#files) await files.prepare(ctx);
    await this.#expansions.prepare(ctx);
  }

  /** Files come first, so that no row names one that is not there yet. */
  async copy(given: Context): Promise<void> {
    const built = await this.#build(given, 'forward');
    const ctx = await this.#paced(given, 'forward');
    // All tables together are one part, of which each has its share by its size.
    const before = this.#files.length + 1;
    const parts = before + this.#expansions.tableCount;
    const next = inParts(ctx, parts);
    for (const files of this.#files) await files.copy(next());
    for (const used of this.#stores.of(ctx, 'next')) {
      const store = await this.#stores.open(ctx, used);
      if (store.replace !== undefined) await (await this.#applier(ctx, 'forward')).replaceContent(ctx, used);
      else if (!(await this.#hasLedger(ctx, used, store))) await store.empty(used.tables, ctx.epoch);
    }
    const rows = built.flatMap(({ sync }) => (sync.target.replace === undefined ? [sync] : []));
    const sizes = await Promise.all(rows.map(async (sync) => ({ sync, tables: await sync.sizes() })));
    const part = { start: this.#files.length / parts, share: 1 / parts };
    const meter = new CopyMeter(
      ctx,
      sizes.flatMap(({ tables }) => [...tables.values()]),
      part,
    );
    const sources: { used: UsedStore; store: OpenStore }[] = [];
    for (const used of this.#stores.of(ctx, 'legacy'))
      sources.push({ used, store: await this.#stores.open(ctx, used) });
    await this.#logs.during(ctx, sources, async () => {
      for (const { sync, tables } of sizes)
        await sync.copy(
          ctx,
          new Map(Array.from(tables, ([map, size]) => [map, { size, context: () => meter.table(size) }])),
        );
    });
    const summary = meter.summary();
    if (summary !== null) ctx.report.log(summary);
    await this.#expansions.copy(ctx, inParts(ctx, parts, before));
  }

  async prepareReverse(ctx: Context): Promise<void> {
    for (const used of this.#stores.of(ctx, 'next')) {
      const store = await this.#stores.open(ctx, used);
      // What was never there is not lost: until the switch nobody but us writes to this side.
      if ((await store.capture.isInstalled?.()) === false) await store.capture.install(used.tables);
      else await this.#capture(ctx, used, store);
    }
  }

  /** Held back, a pass ends with what is still pending: whoever follows the data must be able to give way. */
  async catchUp(given: Context, direction: Direction): Promise<CatchUp> {
    const ctx = await this.#paced(given, direction, PASS_MS);
    const untilMs = ctx.clock.monotonicMs() + PASS_MS;
    let applied = 0;
    let pending = 0;
    for (const files of this.#files) {
      const pass = await files.catchUp(withoutTotal(ctx), direction);
      applied += pass.applied;
      pending += pass.pending;
    }
    const isReady = await this.#isReady(ctx, direction);
    for (const used of this.#stores.of(ctx, sourceSide(direction))) {
      const store = await this.#stores.open(ctx, used);
      if (isReady && (await damagesOf(store)).length > 0) await this.#capture(ctx, used, store);
      for (;;) {
        await turn(ctx);
        const batch = await store.capture.pending(BATCH_CHANGES);
        const size = batch.changes.length + batch.rescan.length;
        pending += isReady ? batch.remaining : size + batch.remaining;
        if (size === 0 || !isReady) break;
        if ((await ctx.pace?.ready()) === false) {
          pending += size;
          break;
        }
        applied += await (await this.#applier(ctx, direction)).apply(ctx, used, batch);
        if (batch.remaining === 0 || ctx.clock.monotonicMs() >= untilMs) break;
        pending -= batch.remaining;
      }
    }
    for (const used of this.#allStores(ctx)) {
      const store = await this.#stores.openIfPresent(ctx, used);
      if (store !== null) await this.#logs.look(ctx, used, store);
    }
    return { applied, pending };
  }

  async verify(ctx: Context, direction: Direction, scope: 'full' | 'changed'): Promise<Verdict[]> {
    const paced = await this.#paced(ctx, direction);
    return this.#verify(paced, direction, scope, (used) => this.#liveSource(ctx, direction, used));
  }

  async countByTenant(ctx: Context, direction: Direction, column: string): Promise<TenantCount[]> {
    const sources = this.#stores.of(ctx, sourceSide(direction));
    const counted = (await this.#build(ctx, 'forward')).map(({ sync, sourceIdentity, targetIdentity }) => {
      const identity = direction === 'forward' ? sourceIdentity : targetIdentity;
      const used = sources.find((source) => source.identity === identity);
      return { sync, live: used === undefined ? null : this.#liveSource(ctx, direction, used) };
    });
    const lost = this.#notReturnable(ctx);
    return countByTenant(ctx, counted, direction, column, (table) => lost.keys(table));
  }

  async notReturnable(ctx: Context): Promise<{ table: string; rows: number; reason: string }[]> {
    return [...this.#notReturnable(ctx).summary(), ...(await this.#expansions.notReturnable(ctx))];
  }

  async lags(ctx: Context): Promise<Lag[]> {
    const lags: Lag[] = [];
    for (const used of this.#allStores(ctx)) {
      const store = await this.#stores.openIfPresent(ctx, used);
      const lag = (await store?.capture.lag?.()) ?? null;
      if (lag !== null) lags.push({ store: used.identity, side: used.side, ...lag });
    }
    return lags;
  }

  slices(ctx: Context): Promise<string[]> {
    return listSlices(ctx, this.#all, this.#whole);
  }

  async lock(ctx: Context, direction: Direction): Promise<LockedData> {
    // Every gate is raised before the first lock, so that no raise has to wait inside one.
    for (const each of this.#allStores(ctx)) await this.#stores.open(ctx, each);
    let locked = await this.#lockStores(ctx, direction);
    for (let locks = 1; locks < MAX_LOCKS && !(await areIntact(locked)); locks++) {
      await release(locked, null);
      await this.catchUp(ctx, direction);
      locked = await this.#lockStores(ctx, direction);
    }
    ctx.faults.at('data.lock.locked');
    return new LockedStores(ctx, direction, locked, {
      applyToEmpty: (given, way) => this.#applyToEmpty(given, way),
      verify: (given, way, scope) => this.#verify(given, way, scope, () => null),
      sequences: (given, way) => this.#sequences(given, way),
    });
  }

  async #lockStores(ctx: Context, direction: Direction): Promise<LockedStore[]> {
    const used = this.#stores.of(ctx, sourceSide(direction));
    const locked: LockedStore[] = [];
    try {
      for (const each of used) {
        const store = await this.#stores.open(ctx, each);
        locked.push({ store, lock: await store.lock(each.tables) });
      }
    } catch (error) {
      await release(locked, error);
      throw error;
    }
    return locked;
  }

  async unfence(ctx: Context, side: Side): Promise<void> {
    for (const used of this.#stores.of(ctx, side)) {
      const store = await this.#stores.openIfPresent(ctx, used);
      await store?.unfence();
    }
  }

  async isFenced(ctx: Context, side: Side): Promise<boolean> {
    for (const used of this.#stores.of(ctx, side)) {
      const store = await this.#stores.openIfPresent(ctx, used);
      if (store !== null && (await store.isFenced())) return true;
    }
    return false;
  }

  async uninstall(
    ctx: Context,
    { emptyTarget }: { readonly emptyTarget: boolean },
    quietly: Quietly = directly,
  ): Promise<Footprint[]> {
    if (emptyTarget)
      for (const used of this.#stores.of(ctx, 'next')) {
        const store = await this.#stores.openIfPresent(ctx, used);
        // Without an entry of this run nothing of it is there, and what is there is not ours.
        if (store !== null && (await this.#hasLedger(ctx, used, store))) await store.empty(used.tables, ctx.epoch);
      }
    for (const files of this.#files) await files.uninstall(ctx, { emptyTarget });
    ctx.faults.at('data.uninstall.emptied');
    const removed = await this.#expansions.uninstall(ctx, { emptyTarget });
    for (const used of this.#allStores(ctx)) {
      const store = await this.#stores.openIfPresent(ctx, used);
      if (store === null) continue;
      const footprint = await store.footprint(await existing(store, used.tables), 'source');
      await this.#onLive(ctx, used, quietly, async () => {
        if (await store.uninstall()) removed.push(...footprint);
      });
    }
    this.#built.clear();
    rmSync(this.#folder(ctx), { recursive: true, force: true });
    ctx.faults.at('data.uninstall.removed');
    return removed;
  }

  async close(): Promise<void> {
    this.#built.clear();
    await this.#replicas.close();
    await this.#stores.close();
    await this.#whole.close();
    for (const files of this.#files) await files.close();
  }

  /** Each table and each folder is one part of the progress. */
  #partCount(built: readonly BuiltSync[]): number {
    return (
      this.#expansions.tableCount + this.#files.length + built.reduce((sum, { sync }) => sum + sync.maps.length, 0)
    );
  }

  #folder({ stateDir }: Context): string {
    return this.#slice === null ? path.join(stateDir, 'data') : dataFolder(stateDir, sliceId(this.#slice));
  }

  /** For work while others use the stores. Never for what is done under their locks. */
  async #paced(ctx: Context, direction: Direction, maxWaitMs?: number): Promise<Context> {
    const opened = async (side: Side): Promise<Gauged[]> => {
      const gauged: Gauged[] = [];
      for (const used of this.#stores.of(ctx, side)) {
        const store = await this.#stores.openIfPresent(ctx, used);
        if (store !== null) gauged.push({ identity: used.identity, table: used.tables[0], store });
      }
      return gauged;
    };
    const stores = { sources: await opened(sourceSide(direction)), targets: await opened(targetSide(direction)) };
    const gauges = gaugesOf(ctx, stores, this.#replicas);
    return this.#throttles[direction].under(ctx, gauges, maxWaitMs === undefined ? {} : { maxWaitMs });
  }

  #onLive(ctx: Context, { side, store }: UsedStore, quietly: Quietly, act: () => Promise<void>): Promise<void> {
    return store.hasOneWriter === true && ctx.liveSide === side ? quietly(act) : act();
  }

  #allStores(ctx: Context): UsedStore[] {
    return [...this.#stores.of(ctx, 'legacy'), ...this.#stores.of(ctx, 'next')];
  }

  async #build(ctx: Context, direction: Direction): Promise<readonly BuiltSync[]> {
    for (const used of this.#allStores(ctx)) await this.#stores.openIfPresent(ctx, used);
    if (this.#stores.generation !== this.#builtOf) this.#built.clear();
    this.#builtOf = this.#stores.generation;
    let built = this.#built.get(direction);
    if (built === undefined) {
      built = buildSyncs(ctx, this.#syncs, this.#stores, direction, this.#folder(ctx));
      this.#built.set(direction, built);
      built.catch(() => this.#built.delete(direction));
    }
    return built;
  }

  async #hasBegun(ctx: Context): Promise<boolean> {
    for (const used of this.#stores.of(ctx, 'next')) {
      const store = await this.#stores.openIfPresent(ctx, used);
      if (store !== null && (await this.#hasLedger(ctx, used, store))) return true;
    }
    return false;
  }

  async #hasLedger(ctx: Context, used: UsedStore, store: OpenStore): Promise<boolean> {
    for (const { name } of used.syncs) if ((await store.ledger(ctx.runId, name)).length > 0) return true;
    return false;
  }

  /** Forward, changes are applied only after the last chunk: a chunk that is still on its way would undo them. */
  async #isReady(ctx: Context, direction: Direction): Promise<boolean> {
    if (direction === 'reverse') return true;
    for (const { sync } of await this.#build(ctx, direction))
      if (sync.target.replace === undefined && !(await sync.isCopied(ctx))) return false;
    return true;
  }

  /** Where something of ours was taken away, it is put back, and the tables concerned are compared whole. */
  async #capture(ctx: Context, used: UsedStore, store: OpenStore): Promise<void> {
    const damages = await damagesOf(store);
    const isLost = damages.length > 0;
    if (isLost) {
      this.#built.clear();
      // A column that came meanwhile would otherwise be left behind, and no comparison of the columns that move would show it.
      const errors = (await checkMappings(ctx, used.syncs, this.#stores)).filter(({ level }) => level === 'error');
      if (errors.length > 0) {
        const what = errors.map(({ about, message }) => `${about}: ${message}`).join('; ');
        throw new ChangeoverError('CHG_DATA_SCHEMA_CHANGED', { store: used.identity, what });
      }
      ctx.report.warn(`${used.identity}: captured anew and compared whole, since ${damages.join('; ')}`);
    }
    await store.capture.install(used.tables, { isLost });
  }

  async #applier(ctx: Context, direction: Direction): Promise<Applier> {
    const syncs = await this.#build(ctx, direction);
    return new Applier({ direction, stores: this.#stores, syncs, lost: this.#notReturnable(ctx) });
  }

  #notReturnable(ctx: Context): NotReturnable {
    return new NotReturnable(path.join(this.#folder(ctx), `not-returnable-${encodeURIComponent(ctx.runId)}.log`));
  }

  async #applyToEmpty(ctx: Context, direction: Direction): Promise<CatchUp> {
    let applied = 0;
    for (const used of this.#stores.of(ctx, sourceSide(direction))) {
      const store = await this.#stores.open(ctx, used);
      for (let round = 0; round < MAX_LAST_ROUNDS; round++) {
        await turn(ctx);
        const batch = await store.capture.pending(BATCH_CHANGES);
        if (batch.changes.length + batch.rescan.length === 0) break;
        applied += await (await this.#applier(ctx, direction)).apply(ctx, used, batch);
      }
      const damages = await damagesOf(store);
      if (damages.length > 0)
        throw new ChangeoverError('CHG_DATA_CAPTURE_BROKEN', { store: used.identity, what: damages.join('; ') });
    }
    for (const files of this.#files) applied += (await files.applyToEmpty(ctx, direction)).applied;
    return { applied, pending: 0 };
  }

  async #verify(
    ctx: Context,
    direction: Direction,
    scope: 'full' | 'changed',
    live: (used: UsedStore) => LiveSource | null,
  ): Promise<Verdict[]> {
    const verdicts: Verdict[] = [];
    const sources = this.#stores.of(ctx, sourceSide(direction));
    const lost = this.#notReturnable(ctx);
    const built = await this.#build(ctx, direction);
    const next = inParts(ctx, this.#partCount(built));
    for (const { sync, sourceIdentity, countsMatch } of built) {
      const used = sources.find(({ identity }) => identity === sourceIdentity);
      const excused = (table: string) => (direction === 'reverse' ? lost.keys(table) : new Set<string>());
      const verification = new Verification({
        sync,
        live: used === undefined ? null : live(used),
        countsMatch,
        excused,
      });
      verdicts.push(...(await verification.run(ctx, scope, next)));
    }
    for (const files of this.#files) verdicts.push(...(await files.verify(next(), direction, scope)));
    verdicts.push(...(await this.#expansions.verify(ctx, next, direction, scope)));
    if (this.#slice !== null && direction === 'forward')
      verdicts.push(...(await new References(this.#slice, this.#all, this.#stores).verify(ctx)));
    return verdicts;
  }

  #liveSource(ctx: Context, direction: Direction, used: UsedStore): LiveSource {
    return {
      // Only an owner has an epoch; a verb that just reads leaves the applying to the process that owns the run.
      catchUp: async () => {
        if (ctx.epoch > 0) await this.catchUp(ctx, direction);
      },
      pending: async (table) => {
        const store = await this.#stores.open(ctx, used);
        const { changes, rescan, remaining } = await store.capture.pending(BATCH_CHANGES);
        if (remaining > 0 || rescan.includes(table)) return null;
        return new Set(changes.filter((change) => change.table === table).map(({ key }) => encodeKey(key)));
      },
    };
  }

  async #sequences(ctx: Context, direction: Direction): Promise<void> {
    for (const used of this.#stores.of(ctx, targetSide(direction))) {
      const store = await this.#stores.open(ctx, used);
      await store.sequences(used.tables, await nextKeysOf(ctx, this.#stores, used, direction));
    }
  }
}

/** What is wrong with a capture that was made before. Where all of it was taken away, nothing is left that could be found damaged. */
async function damagesOf({ capture }: OpenStore): Promise<readonly string[]> {
  return (await capture.isInstalled?.()) === false ? ['nothing of the capture is there'] : capture.intact();
}

async function areIntact(locked: readonly LockedStore[]): Promise<boolean> {
  try {
    for (const { store } of locked) if ((await damagesOf(store)).length > 0) return false;
    return true;
  } catch (error) {
    await release(locked, error);
    throw error;
  }
}

/** A new side whose tables are still to be made has nothing in them to touch. */
async function existing(store: OpenStore, tables: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const table of tables) {
    try {
      await store.shape(table);
      found.push(table);
    } catch (error) {
      if (!(error instanceof ChangeoverError && error.code === 'CHG_DATA_TABLE_MISSING')) throw error;
    }
  }
  return found;
}
