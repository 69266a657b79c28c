import { ChangeoverError } from '../errors.ts';
import type { Context } from '../plan/context.ts';
import type { Key, OpenStore, Row } from '../plan/stores.ts';
import type { MapTools } from '../plan/sync.ts';
import type { Lookups } from './lookups.ts';
import { looseText, rowsOfKeys } from './key-rows.ts';
import { hasMarks, type TableMap } from './mapping.ts';
import { Unfit } from './schema/codec.ts';
import { encodeKey, keyOf } from './values.ts';

/** A slow row function tells how far it is at least this often. */
const PROGRESS_MS = 250;

/** What became of a row of the source. */
export interface Fate {
  /** Table of the source. */
  readonly table: string;
  readonly key: Key;
  /** Why it has no counterpart in the target; null where it has, or where it was deleted with its counterpart. */
  readonly reason: string | null;
}

export interface Mapped {
  /** Rows for the target. */
  readonly rows: readonly Row[];
  /**
   * Keys of the target whose source row has no counterpart there. In reverse only those of rows that another table of the legacy takes: what
   * cannot go back stays as it is.
   */
  readonly deletes: readonly Key[];
  readonly fates: readonly Fate[];
}

/** Turns rows of the source into rows of the target, through columns or the plan's own functions. */
export class RowMapper {
  readonly #sync: string;
  readonly #source: OpenStore;
  readonly #target: OpenStore;
  readonly #lookups: Lookups;

  constructor(sync: string, source: OpenStore, target: OpenStore, lookups: Lookups) {
    this.#sync = sync;
    this.#source = source;
    this.#target = target;
    this.#lookups = lookups;
  }

  async map(
    ctx: Context,
    map: TableMap,
    rows: readonly Row[],
    onProgress: (rows: number) => void = () => undefined,
  ): Promise<Mapped> {
    const made: Row[] = [];
    const deletes: Key[] = [];
    const fates: Fate[] = [];
    const tools = this.#tools(ctx, map, this.#source);
    let toldAt = ctx.clock.monotonicMs();
    for (const [index, row] of rows.entries()) {
      const key = keyOf(row, map.source.key);
      if (!hasMarks(row, map.marks.source)) {
        const taken = map.rivals.some((rival) => hasMarks(row, rival.marks.source)) ? map.keyTo(key) : null;
        if (taken !== null) deletes.push(taken);
        else fates.push({ table: map.source.name, key, reason: unmarked(map, row) });
        continue;
      }
      const target = this.#keyOf(map, key);
      if (target === null) {
        const reason = map.refusal(key);
        if (reason !== null) fates.push({ table: map.source.name, key, reason });
        continue;
      }
      // Columns never wait and, unless they are converted, never fail; awaiting them anyway would cost more than they do.
      const outcome = map.isCustom
        ? await this.#mapOne(map, row, key, tools)
        : map.isConverting
          ? this.#convert(map, row, key, tools)
          : (map.map(row, tools) as Row);
      if (typeof outcome === 'string') fates.push({ table: map.source.name, key, reason: outcome });
      else if (outcome === null) deletes.push(target);
      else {
        if (map.isCustom) this.#assertKey(map, key, target, outcome);
        this.#assertInverse(map, key, target);
        made.push(outcome);
        fates.push({ table: map.source.name, key, reason: null });
      }
      if (map.isCustom && ctx.clock.monotonicMs() - toldAt >= PROGRESS_MS) {
        ctx.signal.throwIfAborted();
        onProgress(index + 1);
        toldAt = ctx.clock.monotonicMs();
      }
    }
    let whole = made;
    for (const part of map.parts) whole = await this.#withPart(map, part, whole, tools, fates);
    if (map.partColumns !== null) whole = await this.#withoutEmpty(map, map.partColumns, whole);
    return { rows: whole, deletes, fates: map.direction === 'reverse' ? fates : [] };
  }

  /** False for a row of the target that never had a row of the source: it is not this sync's to delete. */
  async isOurs(ctx: Context, map: TableMap, row: Row): Promise<boolean> {
    if (!hasMarks(row, map.marks.target)) return false;
    if (map.keyBack(keyOf(row, map.target.key)) === null) return false;
    if (map.opposite === null) return true;
    return (await map.opposite(row, this.#tools(ctx, map, this.#target))) !== null;
  }

  /** Rows of the target with the columns of a part; NULL where the part has no row. */
  async #withPart(map: TableMap, part: TableMap, rows: readonly Row[], tools: MapTools, fates: Fate[]): Promise<Row[]> {
    const columns = part.partColumns ?? [];
    const keys = rows.map((row) => part.keyBack(keyOf(row, map.target.key)));
    const asked = keys.filter((key) => key !== null);
    const found = await rowsOfKeys(this.#source, part.source, asked);
    const byKey = new Map(asked.map((key, index) => [key, found[index] ?? null]));
    const whole: Row[] = [];
    for (const [index, row] of rows.entries()) {
      const key = keys[index] ?? null;
      const own = key === null ? null : (byKey.get(key) ?? null);
      const made = own === null ? null : await part.map(own, tools);
      whole.push({ ...row, ...Object.fromEntries(columns.map((column) => [column, made?.[column] ?? null])) });
      if (key !== null) fates.push({ table: part.source.name, key, reason: null });
    }
    return whole;
  }

  /** A part without values needs no row. Where the target has one, it stays, without values too. */
  async #withoutEmpty(map: TableMap, columns: readonly string[], rows: readonly Row[]): Promise<Row[]> {
    const isEmpty = (row: Row) => columns.every((column) => (row[column] ?? null) === null);
    const empty = rows.filter(isEmpty);
    if (empty.length === 0) return [...rows];
    const held = await rowsOfKeys(
      this.#target,
      map.target,
      empty.map((row) => keyOf(row, map.target.key)),
    );
    const absent = new Set(empty.filter((_, index) => held[index] === null));
    return rows.filter((row) => !absent.has(row));
  }

  /** The row of the target, null where there is none, or the reason why there cannot be one (in reverse). */
  async #mapOne(map: TableMap, row: Row, key: Key, tools: MapTools): Promise<Row | null | string> {
    let made: Row | null;
    try {
      const result = map.map(row, tools);
      made = result instanceof Promise ? await result : result;
    } catch (cause) {
      if (cause instanceof ChangeoverError) throw cause;
      const reason = cause instanceof Error ? cause.message : String(cause);
      if (map.direction === 'reverse') return `the row function failed: ${reason}`;
      const fields = { sync: this.#sync, table: map.target.name, key: encodeKey(key), reason };
      throw new ChangeoverError('CHG_DATA_MAPPING_FAILED', fields, { cause });
    }
    if (made === null && map.direction === 'reverse') return 'the row function gives no row for it';
    return made;
  }

  #keyOf(map: TableMap, key: Key): Key | null {
    try {
      return map.keyTo(key);
    } catch (error) {
      throw error instanceof Unfit ? this.#unfit(map, key, error) : error;
    }
  }

  /** The row of the target, or the reason why there cannot be one (in reverse). */
  #convert(map: TableMap, row: Row, key: Key, tools: MapTools): Row | string {
    try {
      return map.map(row, tools) as Row;
    } catch (error) {
      if (!(error instanceof Unfit)) throw error;
      if (map.direction === 'reverse') return error.message;
      throw this.#unfit(map, key, error);
    }
  }

  #unfit(map: TableMap, key: Key, cause: Unfit): ChangeoverError<'CHG_DATA_VALUE_UNFIT'> {
    const fields = { sync: this.#sync, table: map.target.name, key: encodeKey(key), reason: cause.message };
    return new ChangeoverError('CHG_DATA_VALUE_UNFIT', fields, { cause });
  }

  #assertKey(map: TableMap, key: Key, target: Key, made: Row): void {
    const own = keyOf(made, map.target.key);
    if (own.every((value, index) => looseText(value) === looseText(target[index]))) return;
    throw new ChangeoverError('CHG_DATA_KEY_MISMATCH', {
      sync: this.#sync,
      table: map.target.name,
      made: encodeKey(own),
      source: encodeKey(key),
      expected: encodeKey(target),
    });
  }

  /** Otherwise a row would be looked for, and deleted, under another key than it was written. */
  #assertInverse(map: TableMap, key: Key, target: Key): void {
    const back = map.keyBack(target);
    if (back?.every((value, index) => looseText(value) === looseText(key[index])) === true) return;
    throw new ChangeoverError('CHG_DATA_KEY_NOT_INVERSE', {
      sync: this.#sync,
      table: map.target.name,
      source: encodeKey(key),
      target: encodeKey(target),
      back: back === null ? 'null' : encodeKey(back),
    });
  }

  #tools(ctx: Context, map: TableMap, store: OpenStore): MapTools {
    return {
      ctx,
      lookup: async (table, key) => {
        if (store === this.#source) this.#lookups.note(map.name, table);
        const [row] = await store.rows(table, [key]);
        return row ?? null;
      },
    };
  }
}

/** Why no table takes a row: none has its constants. */
function unmarked(map: TableMap, row: Row): string {
  const marks = [map, ...map.rivals].flatMap((one) => one.marks.source);
  const columns = [...new Set(marks.map(([column]) => column))];
  return `${columns.map((column) => `${column} is ${JSON.stringify(looseText(row[column] ?? null))}`).join(', ')}: no mapping has this constant`;
}
