import type { Context } from '../plan/context.ts';
import type { Key } from '../plan/stores.ts';
import { passesButForChanging, type Outcome, type Verdict } from '../plan/words.ts';
import type { FullVerification } from './changed-keys.ts';
import type { TableMap } from './mapping.ts';
import type { Difference } from './table-comparison.ts';
import type { TableSync } from './table-sync.ts';
import { decodeKey, encodeKey } from './values.ts';
import { turn } from './turn.ts';

/** A key that differs this often without a change pending differs for good. */
const CERTAIN_AFTER = 3;
/** Keys that still change after so many rounds make the verdict INCONCLUSIVE. */
const MAX_ROUNDS = 40;
const ROUND_MS = 50;
/** Or after this time: on a busy machine a round takes long, and what changes all the time is compared under the lock. */
const MAX_SETTLE_MS = 5_000;
/** Differing keys that the evidence names. */
const NAMED_KEYS = 5;
const KEYS_AT_ONCE = 1000;

/** How a verification deals with rows that change meanwhile. Absent under the lock, where nothing changes. */
export interface LiveSource {
  /** Applies what is pending; does nothing where this process may not write. */
  catchUp(): Promise<void>;
  /** Encoded keys of `table` whose change is not applied yet; null where there are too many to tell. */
  pending(table: string): Promise<ReadonlySet<string> | null>;
}

/** Compares the source, mapped, with the target, for every table of a sync. */
export class Verification {
  readonly #sync: TableSync;
  readonly #live: LiveSource | null;
  /** True for a table whose row count is the same on both sides by the plan. */
  readonly #countsMatch: (map: TableMap) => boolean;
  /** Encoded source keys of a table that are known not to fit the target, and are reported as such. */
  readonly #excused: (table: string) => ReadonlySet<string>;

  constructor(parts: {
    readonly sync: TableSync;
    readonly live: LiveSource | null;
    readonly countsMatch: (map: TableMap) => boolean;
    readonly excused: (table: string) => ReadonlySet<string>;
  }) {
    this.#sync = parts.sync;
    this.#live = parts.live;
    this.#countsMatch = parts.countsMatch;
    this.#excused = parts.excused;
  }

  /** @param forTable The context under which each table tells its progress. */
  async run(ctx: Context, scope: 'full' | 'changed', forTable: () => Context = () => ctx): Promise<Verdict[]> {
    const bootId = ctx.clock.bootId();
    const since = scope === 'changed' ? this.#sync.changed.since(ctx.runId, bootId) : null;
    const verdicts: Verdict[] = [];
    if (since !== null) {
      for (const map of this.#sync.maps)
        verdicts.push(await this.#changed(forTable(), map, since.keys.get(map.source.name) ?? new Set(), since.full));
      return verdicts;
    }
    const mark = this.#sync.changed.mark();
    const rows: Record<string, number> = {};
    for (const map of this.#sync.maps) {
      const { verdict, changing } = await this.#full(forTable(), map);
      rows[map.name] = verdict.measured;
      verdicts.push(verdict);
      // A process that only reads must not add to what the owner verifies.
      if (ctx.epoch > 0) this.#sync.changed.add(map.source.name, changing);
    }
    // Nor must it move the mark: the owner's next verification would skip what it applied since.
    if (ctx.epoch > 0 && verdicts.every(passesButForChanging))
      this.#sync.changed.verified(mark, { runId: ctx.runId, bootId, rows });
    return verdicts;
  }

  /** With the encoded source keys that were changed too often to be compared. */
  async #full(ctx: Context, map: TableMap): Promise<{ verdict: Verdict; changing: readonly string[] }> {
    const total = await this.#sync.source.count(map.source.name);
    let compared = 0;
    const suspects: Difference[] = [];
    for await (const { rows, differences } of this.#sync.compare(ctx, map, total)) {
      compared += rows;
      suspects.push(...differences);
      ctx.report.progress({
        what: `verify ${map.name}`,
        done: compared,
        total: Math.max(total, compared),
        unit: 'rows',
      });
    }
    const { certain, changing } = await this.#settle(ctx, map, suspects);
    // Both sides were read to their ends: where no row was compared, nothing that this table moves is on either.
    const evidence = compared === 0 ? 'both sides are empty' : `${compared} rows compared, 0 differ`;
    if (certain.length > 0)
      return { verdict: this.#verdict(map, 'FAIL', describe(certain, compared), compared), changing };
    if (changing.length > 0)
      return { verdict: this.#stillChanging(map, evidence, changing.length, compared), changing };
    return { verdict: this.#verdict(map, 'PASS', evidence, compared), changing };
  }

  async #changed(ctx: Context, map: TableMap, keys: ReadonlySet<string>, full: FullVerification): Promise<Verdict> {
    const suspects: Difference[] = [];
    const all = [...keys].map(decodeKey);
    for (let start = 0; start < all.length; start += KEYS_AT_ONCE) {
      await turn(ctx);
      const { differences } = await this.#sync.comparison.keys(ctx, map, all.slice(start, start + KEYS_AT_ONCE));
      suspects.push(...differences);
    }
    const { certain, changing } = await this.#settle(ctx, map, suspects);
    const before = full.rows[map.name] ?? 0;
    const evidence = `${keys.size} changed since ${before} rows were compared`;
    const measured = before + keys.size;
    if (certain.length > 0) return this.#verdict(map, 'FAIL', describe(certain, keys.size), measured);
    if (changing.length > 0) return this.#stillChanging(map, evidence, changing.length, measured);
    return this.#withCounts(ctx, map, `${evidence}, 0 differ`, measured);
  }

  async #withCounts(ctx: Context, map: TableMap, evidence: string, measured: number): Promise<Verdict> {
    if (!this.#countsMatch(map) || this.#excused(map.source.name).size > 0)
      return this.#verdict(map, 'PASS', evidence, measured);
    for (let round = 1; ; round++) {
      let source = 0;
      for (const way of [map, ...map.siblings]) source += await this.#sync.source.count(way.source.name);
      const target = await this.#sync.target.count(map.target.name);
      const counted = `${evidence}; ${source} rows in the source, ${target} in the target`;
      if (source === target) return this.#verdict(map, 'PASS', counted, measured);
      if (this.#live === null) return this.#verdict(map, 'FAIL', counted, measured);
      if (round === MAX_ROUNDS) return this.#verdict(map, 'INCONCLUSIVE', `${counted}, still changing`, measured);
      await this.#pause(ctx);
    }
  }

  /**
   * Looks at differing keys again until they are equal, or differ though no change of theirs is pending. A difference is certain only when
   * it stays over several rounds, since another process may be the one that applies.
   */
  async #settle(
    ctx: Context,
    map: TableMap,
    found: readonly Difference[],
  ): Promise<{ certain: readonly Difference[]; changing: readonly string[] }> {
    const excused = this.#excused(map.source.name);
    const isOpen = ({ sourceKey }: Difference) => sourceKey === null || !excused.has(encodeKey(sourceKey));
    const suspects = found.filter(isOpen);
    if (this.#live === null) return { certain: suspects, changing: [] };
    const keyless = suspects.filter(({ sourceKey }) => sourceKey === null);
    let open = new Map(suspects.flatMap(({ sourceKey }) => (sourceKey === null ? [] : [[encodeKey(sourceKey), 0]])));
    const untilMs = ctx.clock.monotonicMs() + MAX_SETTLE_MS;
    const isOver = (round: number) =>
      round === MAX_ROUNDS || (round > CERTAIN_AFTER && ctx.clock.monotonicMs() > untilMs);
    for (let round = 0; open.size > 0 && !isOver(round); round++) {
      await this.#pause(ctx);
      const differing = await this.#compareKeys(ctx, map, [...open.keys()].map(decodeKey));
      const pending = await this.#pending(this.#live, map);
      const still = new Map<string, number>();
      for (const { sourceKey } of differing) {
        if (sourceKey === null) continue;
        const id = encodeKey(sourceKey);
        const rounds = open.get(id);
        // A target that is compared as a whole tells of others too, which were equal once and have changed since.
        if (rounds !== undefined) still.set(id, pending === null || pending.has(id) ? 0 : rounds + 1);
      }
      open = still;
      const certain = differing.filter(
        ({ sourceKey }) => sourceKey !== null && (open.get(encodeKey(sourceKey)) ?? 0) >= CERTAIN_AFTER,
      );
      if (certain.length > 0) return { certain: [...keyless, ...certain], changing: [...open.keys()] };
    }
    return { certain: keyless, changing: [...open.keys()] };
  }

  /** Keys of which a change waits, in any of the tables that their rows are made of. */
  async #pending(live: LiveSource, map: TableMap): Promise<ReadonlySet<string> | null> {
    const keys = new Set<string>();
    for (const way of [map, ...map.parts, ...map.siblings]) {
      const pending = await live.pending(way.source.name);
      if (pending === null) return null;
      for (const key of pending) {
        const target = way === map ? null : way.keyTo(decodeKey(key));
        const own = target === null ? null : map.keyBack(target);
        if (way === map) keys.add(key);
        else if (own !== null) keys.add(encodeKey(own));
      }
    }
    return keys;
  }

  async #compareKeys(ctx: Context, map: TableMap, keys: readonly Key[]): Promise<Difference[]> {
    const found: Difference[] = [];
    for (let start = 0; start < keys.length; start += KEYS_AT_ONCE) {
      await turn(ctx);
      found.push(...(await this.#sync.comparison.keys(ctx, map, keys.slice(start, start + KEYS_AT_ONCE))).differences);
    }
    return found;
  }

  async #pause(ctx: Context): Promise<void> {
    ctx.signal.throwIfAborted();
    await ctx.clock.sleep(ROUND_MS, ctx.signal);
    await this.#live?.catchUp();
  }

  #stillChanging(map: TableMap, evidence: string, changing: number, measured: number): Verdict {
    return { ...this.#verdict(map, 'INCONCLUSIVE', `${evidence}; ${changing} still changing`, measured), changing };
  }

  #verdict(map: TableMap, outcome: Outcome, evidence: string, measured: number): Verdict {
    return { check: `${this.#sync.name}.${map.name}: rows equal`, outcome, evidence, measured };
  }
}

function describe(differences: readonly Difference[], compared: number): string {
  const named = differences.slice(0, NAMED_KEYS).map(({ kind, targetKey, columns }) => {
    const key = targetKey.map(String).join(', ');
    return kind === 'different' ? `(${key}) differs in ${columns.join(', ')}` : `(${key}) is ${kind}`;
  });
  const more = differences.length > NAMED_KEYS ? ` and ${differences.length - NAMED_KEYS} more` : '';
  return `${compared} rows compared, ${differences.length} differ: ${named.join('; ')}${more}`;
}
