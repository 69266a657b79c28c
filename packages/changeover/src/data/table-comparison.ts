import type { Context } from '../plan/context.ts';
import type { Key, OpenStore, Row } from '../plan/stores.ts';
import { RowComparison } from './canonical.ts';
import { allRows, chunksOf } from './chunks.ts';
import { rowsOfKeys } from './key-rows.ts';
import { hasMarks, type TableMap } from './mapping.ts';
import type { RowMapper } from './row-mapper.ts';
import { heldBySiblings, keysWithoutWhole, partRows } from './shared-rows.ts';
import { encodeKey, keyOf } from './values.ts';

export interface Difference {
  /** `extra`: in the target alone. */
  readonly kind: 'missing' | 'different' | 'extra';
  /** Null where the target's row has no key in the source. */
  readonly sourceKey: Key | null;
  readonly targetKey: Key;
  /** Columns that differ; empty for a row that is missing or extra. */
  readonly columns: readonly string[];
}

export interface Compared {
  /** Rows that were compared with a counterpart. */
  readonly rows: number;
  readonly differences: readonly Difference[];
}

/** Compares what the target should hold, computed from the source, with what it holds. */
export class TableComparison {
  readonly #source: OpenStore;
  readonly #target: OpenStore;
  readonly #mapper: RowMapper;
  readonly #chunkRows: number;
  readonly #content: (ctx: Context, map: TableMap, existing: readonly Row[]) => Promise<readonly Row[]>;

  /** @param content What a target that is replaced as a whole should hold, given what it holds. */
  constructor(
    source: OpenStore,
    target: OpenStore,
    mapper: RowMapper,
    chunkRows: number,
    content: (ctx: Context, map: TableMap, existing: readonly Row[]) => Promise<readonly Row[]>,
  ) {
    this.#source = source;
    this.#target = target;
    this.#mapper = mapper;
    this.#chunkRows = chunkRows;
    this.#content = content;
  }

  /** Every row of the source, then every row of the target that no row of the source accounts for. Chunk by chunk. */
  async *all(ctx: Context, map: TableMap): AsyncGenerator<Compared> {
    if (this.#target.arrange !== undefined) {
      yield await this.#whole(ctx, map);
      return;
    }
    let found = 0;
    for await (const rows of chunksOf(ctx, this.#source, map.source, this.#chunkRows)) {
      const compared = await this.#compare(ctx, map, rows, []);
      found += compared.rows - compared.differences.filter(({ kind }) => kind === 'missing').length;
      yield compared;
    }
    // In reverse they were counted as not returnable when they were written.
    if (map.direction === 'forward') yield* this.#orphans(ctx, map);
    // Columns give different rows different keys, so as many rows as were found leave none over.
    if (!map.isCustom && found === (await this.#target.count(map.target.name))) return;
    for await (const rows of chunksOf(ctx, this.#target, map.target, this.#chunkRows)) {
      const differences = await this.#extras(ctx, map, rows);
      if (differences.length > 0) yield { rows: 0, differences };
    }
  }

  /**
   * The rows of one range of the source's keys, then those of the same range of the target's that no row of the source accounts for. Only for
   * tables of which nothing but columns moves.
   */
  async *range(
    ctx: Context,
    map: TableMap,
    range: { readonly after: Key | null; readonly upTo: Key | null },
  ): AsyncGenerator<Compared> {
    for await (const rows of chunksOf(ctx, this.#source, map.source, this.#chunkRows, range))
      yield await this.#compare(ctx, map, rows, []);
    const own = (key: Key | null) => (key === null ? null : map.keyTo(key));
    const ownRange = { after: own(range.after), upTo: own(range.upTo) };
    for await (const rows of chunksOf(ctx, this.#target, map.target, this.#chunkRows, ownRange))
      yield { rows: 0, differences: await this.#extras(ctx, map, rows) };
  }

  /**
   * The given keys of the source. The target is read before the source: a difference that is not pending afterwards is then not due to a
   * change in between.
   */
  async keys(ctx: Context, map: TableMap, keys: readonly Key[]): Promise<Compared> {
    if (this.#target.arrange !== undefined) return this.#whole(ctx, map);
    const wanted = keys.filter((key) => map.keyTo(key) !== null);
    const targetKeys = wanted.flatMap((key) => {
      const target = map.keyTo(key);
      return target === null ? [] : [target];
    });
    const held = await this.#target.rows(map.target.name, targetKeys);
    const rows = await this.#source.rows(map.source.name, wanted, map.source.computed);
    const present = new Set(rows.map((row) => encodeKey(keyOf(row, map.source.key))));
    const gone = wanted.filter((key) => !present.has(encodeKey(key)));
    const compared = await this.#compare(ctx, map, rows, gone, held);
    if (map.direction === 'reverse' || map.parts.length === 0) return compared;
    return { ...compared, differences: [...compared.differences, ...(await this.#orphaned(map, gone))] };
  }

  /** The key of a row may be its place among all rows, so one row alone cannot be compared. Such stores are small. */
  async #whole(ctx: Context, map: TableMap): Promise<Compared> {
    const existing = await allRows(ctx, this.#target, map.target, this.#chunkRows);
    const comparison = new RowComparison(this.#target, map.target);
    const expected = await comparison.withKeys(await this.#content(ctx, map, existing));
    const actual = new Map(existing.map((row) => [idOf(comparison, map, row), row]));
    const differences = await this.#match(comparison, map, expected, actual);
    const wanted = new Set(expected.map((row) => idOf(comparison, map, row)));
    for (const [id, row] of actual) if (!wanted.has(id)) differences.push(difference(map, 'extra', row, []));
    return { rows: expected.length, differences };
  }

  async #compare(
    ctx: Context,
    map: TableMap,
    rows: readonly Row[],
    gone: readonly Key[],
    held?: readonly Row[],
  ): Promise<Compared> {
    const comparison = new RowComparison(this.#target, map.target);
    const mapped = await this.#mapper.map(ctx, map, rows);
    const expected = await comparison.withKeys(mapped.rows);
    const without = [...mapped.deletes];
    for (const key of gone) {
      const target = map.keyTo(key);
      if (target !== null) without.push(target);
    }
    const others = await heldBySiblings(this.#source, map, without);
    const absent = without.filter((key) => !others.has(encodeKey(key)));
    const absentRows = await comparison.withKeys(absent.map((key) => rowOfKey(map.target.key, key)));
    const wanted = [...expected, ...absentRows].map((row) => keyOf(row, map.target.key));
    const actual = new Map<string, Row>();
    for (const row of held ?? (await this.#target.rows(map.target.name, wanted)))
      actual.set(idOf(comparison, map, row), row);

    const differences = await this.#match(comparison, map, expected, actual);
    for (const row of absentRows)
      if (actual.has(idOf(comparison, map, row))) differences.push(difference(map, 'extra', row, []));
    return { rows: expected.length, differences };
  }

  /** Rows that are missing or different; the order is that of `expected`, the missing first. */
  async #match(
    comparison: RowComparison,
    map: TableMap,
    expected: readonly Row[],
    actual: ReadonlyMap<string, Row>,
  ): Promise<Difference[]> {
    const differences: Difference[] = [];
    const pairs: (readonly [Row, Row])[] = [];
    for (const row of expected) {
      const found = actual.get(idOf(comparison, map, row));
      if (found === undefined) differences.push(difference(map, 'missing', row, []));
      else pairs.push([row, found]);
    }
    const columns = await comparison.differences(pairs);
    pairs.forEach(([row], index) => {
      const differing = columns[index] ?? [];
      if (differing.length > 0) differences.push(difference(map, 'different', row, differing));
    });
    return differences;
  }

  async #extras(ctx: Context, map: TableMap, rows: readonly Row[]): Promise<Difference[]> {
    const comparison = new RowComparison(this.#source, map.source);
    const nobodys: Key[] = [];
    const candidates: { row: Row; sourceKey: Key }[] = [];
    for (const row of rows) {
      const key = keyOf(row, map.target.key);
      const isOf = (way: TableMap) => way.keyBack(key) !== null && hasMarks(row, way.marks.target);
      const sourceKey = map.keyBack(key);
      if (sourceKey !== null && hasMarks(row, map.marks.target)) candidates.push({ row, sourceKey });
      else if (map.takesStrangers && !isOf(map) && !map.siblings.some(isOf)) nobodys.push(key);
    }
    const keyRows = await comparison.withKeys(candidates.map(({ sourceKey }) => rowOfKey(map.source.key, sourceKey)));
    const id = (row: Row) =>
      encodeKey(map.source.key.map((column) => comparison.keyValue(column, row[column] ?? null)));
    const found = await this.#source.rows(
      map.source.name,
      keyRows.map((row) => keyOf(row, map.source.key)),
    );
    const present = new Set(found.map(id));
    const alone = candidates.filter((_, index) => {
      const keyRow = keyRows[index];
      return keyRow !== undefined && !present.has(id(keyRow));
    });
    const others = await heldBySiblings(
      this.#source,
      map,
      alone.map(({ row }) => keyOf(row, map.target.key)),
    );
    const differences: Difference[] = [];
    for (const { row, sourceKey } of alone) {
      const targetKey = keyOf(row, map.target.key);
      if (others.has(encodeKey(targetKey)) || !(await this.#mapper.isOurs(ctx, map, row))) continue;
      differences.push({ kind: 'extra', sourceKey, targetKey, columns: [] });
    }
    return [...differences, ...(await this.#strangers(map, nobodys))];
  }

  /** Rows that no way of the plan makes, unless a source has their key: those differ, and are found as such. */
  async #strangers(map: TableMap, targetKeys: readonly Key[]): Promise<Difference[]> {
    const open = new Map(targetKeys.map((key) => [encodeKey(key), key]));
    for (const way of [map, ...map.siblings]) {
      const asked = [...open.values()].flatMap((key) => {
        const own = way.keyBack(key);
        return own === null ? [] : [{ key, own }];
      });
      const rows = await rowsOfKeys(
        this.#source,
        way.source,
        asked.map(({ own }) => own),
      );
      asked.forEach(({ key }, index) => {
        if (rows[index] !== null) open.delete(encodeKey(key));
      });
    }
    return [...open.values()].map((targetKey) => ({ kind: 'extra', sourceKey: null, targetKey, columns: [] }));
  }

  /** Rows of parts that have no whole row in the source: they would be left behind. */
  async *#orphans(ctx: Context, map: TableMap): AsyncGenerator<Compared> {
    for (const part of map.parts)
      for await (const rows of chunksOf(ctx, this.#source, part.source, this.#chunkRows)) {
        const keys = await keysWithoutWhole(this.#source, map, part, rows);
        yield { rows: 0, differences: await this.#orphaned(map, keys) };
      }
  }

  /** @param gone Keys without a row in the source of `map`. */
  async #orphaned(map: TableMap, gone: readonly Key[]): Promise<Difference[]> {
    const targets = gone.map((key) => map.keyTo(key)).filter((key) => key !== null);
    const orphans = (await partRows(this.#source, map, targets)).filter(({ isThere }) => isThere);
    return orphans.map(({ targetKey }) => ({
      kind: 'missing',
      sourceKey: map.keyBack(targetKey),
      targetKey,
      columns: [],
    }));
  }
}

function difference(map: TableMap, kind: Difference['kind'], row: Row, columns: readonly string[]): Difference {
  const targetKey = keyOf(row, map.target.key);
  return { kind, sourceKey: map.keyBack(targetKey), targetKey, columns };
}

function idOf(comparison: RowComparison, map: TableMap, row: Row): string {
  return encodeKey(map.target.key.map((column) => comparison.keyValue(column, row[column] ?? null)));
}

function rowOfKey(columns: readonly string[], key: Key): Row {
  return Object.fromEntries(columns.map((column, index) => [column, key[index] ?? null]));
}
