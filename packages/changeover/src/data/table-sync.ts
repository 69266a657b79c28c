import { ChangeoverError } from '../errors.ts';
import type { Context } from '../plan/context.ts';
import type { Key, LedgerEntry, OpenStore, Row, WriteBatch } from '../plan/stores.ts';
import type { Direction } from '../plan/words.ts';
import type { ChangedKeys } from './changed-keys.ts';
import { chunksOf, nextChunk } from './chunks.ts';
import type { TableSize } from './copy-meter.ts';
import { UniqueConflict } from './conflict.ts';
import type { Lookups } from './lookups.ts';
import type { TableMap } from './mapping.ts';
import { RowMapper, type Fate } from './row-mapper.ts';
import { Bulk } from './fast/bulk.ts';
import { boundariesIn, keysOf, type Range } from './fast/ranges.ts';
import { heldBySiblings, partRows } from './shared-rows.ts';
import { TableComparison, type Compared } from './table-comparison.ts';
import { bytesOf, decodeKey, encodeKey, hashRows, keyOf } from './values.ts';
import { turn } from './turn.ts';
import { keysIn, withSiblings, type Wanted } from './wanted.ts';

/** Each round takes in the rows that hold a unique value of the former one; a chain of moved values longer than this is not believed. */
const MAX_WIDENINGS = 1000;

/**
 * What a row costs besides its bytes, in bytes. Copies of rows of 20 and of 4000 bytes into Postgres gave 206 (from SQLite) and 220 (from Postgres)
 * in bulk, 880 and 700 row by row. `npm run bench -- progress` shows what the time left makes of it.
 */
const BULK_ROW_COST = 210;
const SINGLE_ROW_COST = 800;

export interface TableSyncParts {
  readonly name: string;
  readonly direction: Direction;
  readonly source: OpenStore;
  readonly target: OpenStore;
  readonly maps: readonly TableMap[];
  readonly chunkRows: number;
  readonly changed: ChangedKeys;
  readonly lookups: Lookups;
}

export interface Applied {
  /** Changed keys that this sync took. */
  readonly applied: number;
  /** What became of each changed row that has no plain way back; only in reverse. */
  readonly fates: readonly Fate[];
}

type Changes = { table: string; deletes: readonly Key[]; upserts: readonly Row[] }[];

/**
 * One sync in one direction: copy, apply, rescan and verify. The reverse sync is this class with the maps inverted.
 *
 * Nothing here relies on the order of changes: a changed key is read again from the source as it is now, and the target is made equal. A
 * change that happens between the reading and the writing is still pending, so the row is applied once more.
 */
export class TableSync {
  readonly name: string;
  readonly direction: Direction;
  readonly source: OpenStore;
  readonly target: OpenStore;
  readonly maps: readonly TableMap[];
  readonly comparison: TableComparison;
  readonly changed: ChangedKeys;
  readonly chunkRows: number;
  readonly #mapper: RowMapper;
  readonly #lookups: Lookups;
  readonly #bulk: Bulk;

  constructor(parts: TableSyncParts) {
    this.name = parts.name;
    this.direction = parts.direction;
    this.source = parts.source;
    this.target = parts.target;
    this.maps = parts.maps;
    this.changed = parts.changed;
    this.chunkRows = parts.chunkRows;
    this.#lookups = parts.lookups;
    this.#mapper = new RowMapper(parts.name, parts.source, parts.target, parts.lookups);
    this.#bulk = new Bulk(parts.name, parts.source, parts.target);
    this.comparison = new TableComparison(
      parts.source,
      parts.target,
      this.#mapper,
      parts.chunkRows,
      async (ctx, map, existing) => (await this.content(ctx, map, existing)).rows,
    );
  }

  /** True when every table of this run was copied to its end. */
  async isCopied(ctx: Context): Promise<boolean> {
    const ledger = await this.target.ledger(ctx.runId, this.name);
    return this.maps.every(({ name }) => ledger.some((entry) => entry.table === name && entry.complete));
  }

  /**
   * Copies what the ledger of this run does not have yet. The target's tables are empty when the run begins.
   *
   * @param tables The size of each table, and the context under which it tells its progress.
   */
  async copy(
    ctx: Context,
    tables: ReadonlyMap<TableMap, { readonly size: TableSize; readonly context: () => Context }>,
  ): Promise<void> {
    const ledger = await this.target.ledger(ctx.runId, this.name);
    for (const [map, { size, context }] of tables) {
      const own = context();
      const entries = ledger.filter((entry) => entry.table === map.name);
      if (!entries.some((entry) => entry.complete)) await this.#copyTable(own, map, entries, size);
    }
  }

  /** How much there is to copy of each table. */
  async sizes(): Promise<Map<TableMap, TableSize>> {
    const sizes = new Map<TableMap, TableSize>();
    for (const map of this.maps) {
      const rows = await this.source.count(map.source.name);
      const isBulk = await this.#bulk.canCopy(map, [], rows);
      const bytes = (await this.source.estimatedBytes?.(map.source.name, rows, isBulk ? 'copy' : 'values')) ?? null;
      sizes.set(map, { rows, bytes, rowCost: isBulk ? BULK_ROW_COST : SINGLE_ROW_COST });
    }
    return sizes;
  }

  /** What rows of the source are in the target. */
  async mapped(ctx: Context, map: TableMap, rows: readonly Row[]): Promise<readonly Row[]> {
    return (await this.#mapper.map(ctx, map, rows)).rows;
  }

  /**
   * Compares a table whole, in both directions: in bulk where that is possible, and row by row what differs there.
   *
   * @param rows Of the source, where they were counted already.
   */
  async *compare(ctx: Context, map: TableMap, rows?: number): AsyncGenerator<Compared> {
    const ranges = await this.#bulk.compare(ctx, map, rows ?? (await this.source.count(map.source.name)));
    if (ranges === null) {
      yield* this.comparison.all(ctx, map);
      return;
    }
    for await (const { rows: equal, differing } of ranges) {
      yield { rows: equal, differences: [] };
      for (const stretch of differing) yield* this.comparison.range(ctx, map, keysOf(stretch));
    }
  }

  async #copyTable(ctx: Context, map: TableMap, entries: readonly LedgerEntry[], size: TableSize): Promise<void> {
    if (await this.#bulk.canCopy(map, entries, size.rows))
      await this.#bulk.copy(ctx, map, entries, size, (range) => this.#copyRange(ctx, map, range));
    else await this.#copyRows(ctx, map, entries, size);
  }

  /** One range row by row. Its entry of the ledger goes with its last rows; until then a rerun writes the same rows again. */
  async #copyRange(ctx: Context, map: TableMap, range: Range): Promise<number> {
    const { after, ...given } = keysOf(range);
    const upTo = given.upTo ?? (await this.source.lastKey?.(map.source.name)) ?? null;
    let copied = 0;
    for (let from = after, isLast = false; !isLast;) {
      const rows = await nextChunk(ctx, this.source, map.source, this.chunkRows, { after: from, upTo });
      isLast = rows.length < this.chunkRows;
      copied += rows.length;
      const last = rows.at(-1);
      if (last !== undefined) from = keyOf(last, map.source.key);
      const wanted = wantedOf(map, rows);
      const batch = await this.#read(ctx, [wanted], rows);
      const entry: LedgerEntry = {
        run: ctx.runId,
        sync: this.name,
        table: map.name,
        seq: range.seq,
        lastKey: range.upTo,
        rows: copied,
        hash: hashRows(batch.mapped),
        complete: false,
      };
      await this.#write(ctx, [wanted], { wanted, batch, entry: isLast ? entry : null });
    }
    return copied;
  }

  async #copyRows(ctx: Context, map: TableMap, entries: readonly LedgerEntry[], size: TableSize): Promise<void> {
    const last = entries.reduce<LedgerEntry | null>((a, b) => (a === null || b.seq > a.seq ? b : a), null);
    let seq = last === null ? 0 : last.seq + 1;
    let done = entries.reduce((sum, entry) => sum + entry.rows, 0);
    let bytes = ((size.bytes ?? 0) / Math.max(1, size.rows)) * done;
    const tell = (rows: number, ofBytes: number) => {
      const told = { done: Math.round(ofBytes), total: null };
      const total = Math.max(size.rows, rows);
      ctx.report.progress({ what: map.name, done: rows, total, unit: 'rows', bytes: told });
    };
    // What was begun in ranges has no one key up to which it is there; rows that are written again stay as they are.
    const begun = boundariesIn(entries) === null ? (last?.lastKey ?? null) : null;
    // Rows that come behind this one are captured; without an end, a copy that is slower than the writers would never have one.
    const upTo = (await this.source.lastKey?.(map.source.name)) ?? null;
    const isEmpty = this.source.lastKey !== undefined && upTo === null;
    let ahead = this.#chunkAfter(ctx, map, begun, { seq, done, bytes, tell, upTo, isEmpty });
    ahead.catch(() => undefined);
    for (let isComplete = false; !isComplete;) {
      await turn(ctx);
      ctx.faults.at('data.copy.before_chunk');
      const chunk = await ahead;
      isComplete = chunk.entry.complete;
      seq += 1;
      done += chunk.entry.rows;
      bytes += chunk.bytes;
      if (!isComplete) {
        // Read and mapped while this one is written. Its failure is met in the next round.
        ahead = this.#chunkAfter(ctx, map, chunk.entry.lastKey, { seq, done, bytes, tell, upTo, isEmpty });
        ahead.catch(() => undefined);
      }
      // A unique value may have come from a row of another source table, which is then read again too.
      await this.#write(
        ctx,
        [chunk.wanted, ...map.siblings.map((sibling) => ({ map: sibling, keys: new Map() }))],
        chunk,
      );
      ctx.faults.at('data.copy.after_chunk');
      tell(done, bytes);
    }
  }

  async #chunkAfter(
    ctx: Context,
    map: TableMap,
    lastKey: string | null,
    at: {
      readonly seq: number;
      readonly done: number;
      readonly bytes: number;
      readonly tell: (rows: number, bytes: number) => void;
      readonly upTo: Key | null;
      /** Nothing was there when the copy began. */
      readonly isEmpty: boolean;
    },
  ): Promise<Chunk> {
    const after = lastKey === null ? null : decodeKey(lastKey);
    const rows = await nextChunk(ctx, this.source, map.source, this.chunkRows, { after, upTo: at.upTo });
    const bytes = bytesOf(rows);
    const wanted = wantedOf(map, rows);
    const batch = await this.#read(ctx, [wanted], rows, (mapped) => {
      at.tell(at.done + mapped, at.bytes + (bytes * mapped) / Math.max(1, rows.length));
    });
    const last = rows.at(-1);
    const entry: LedgerEntry = {
      run: ctx.runId,
      sync: this.name,
      table: map.name,
      seq: at.seq,
      lastKey: last === undefined ? null : encodeKey(keyOf(last, map.source.key)),
      rows: rows.length,
      hash: hashRows(batch.mapped),
      complete: at.isEmpty || rows.length < this.chunkRows,
    };
    return { wanted, batch, entry, bytes };
  }

  /** Makes the target equal to the source for these keys of the source. */
  async apply(
    ctx: Context,
    changes: readonly { readonly table: string; readonly key: Key }[],
    rescan: readonly string[],
  ): Promise<Applied> {
    const wanted = withSiblings(this.maps.map((map) => ({ map, keys: keysIn(map, changes) })));
    const fates = await this.#write(ctx, wanted);
    const touched = new Set(changes.map(({ table }) => table));
    for (const map of this.maps) {
      const dependsOn = this.#lookups.of(map.name);
      const own = [map, ...map.parts].map(({ source }) => source.name);
      if (
        own.some((table) => rescan.includes(table)) ||
        dependsOn.some((table) => touched.has(table) || rescan.includes(table))
      )
        fates.push(...(await this.rescan(ctx, map)));
    }
    return { applied: wanted.reduce((sum, { keys }) => sum + keys.size, 0), fates };
  }

  /** Compares a table whole, in both directions, and writes what differs. */
  async rescan(ctx: Context, map: TableMap): Promise<Fate[]> {
    const fates: Fate[] = [];
    for await (const { differences } of this.compare(ctx, map)) {
      const keys = differences.flatMap(({ sourceKey }) => (sourceKey === null ? [] : [sourceKey]));
      fates.push(...(await this.#write(ctx, [{ map, keys: new Map(keys.map((key) => [encodeKey(key), key])) }])));
      const deletes = differences.flatMap(({ kind, targetKey }) => (kind === 'extra' ? [targetKey] : []));
      if (deletes.length > 0) await this.#writeChanges(ctx, [{ table: map.target.name, deletes, upserts: [] }]);
    }
    return fates;
  }

  /** The rows that a store which is replaced as a whole should hold in `map`'s target, given those that it holds. */
  async content(ctx: Context, map: TableMap, existing: readonly Row[]): Promise<{ rows: Row[]; fates: Fate[] }> {
    const made = new Map<string, Row>();
    const stays = new Set<string>();
    const fates: Fate[] = [];
    for await (const rows of chunksOf(ctx, this.source, map.source, this.chunkRows)) {
      const mapped = await this.#mapper.map(ctx, map, rows);
      for (const row of mapped.rows) made.set(encodeKey(keyOf(row, map.target.key)), row);
      for (const fate of mapped.fates) {
        fates.push(fate);
        const key = map.keyTo(fate.key);
        if (fate.reason !== null && key !== null) stays.add(encodeKey(key));
      }
    }
    const result: Row[] = [];
    for (const row of existing) {
      const id = encodeKey(keyOf(row, map.target.key));
      const now = made.get(id);
      made.delete(id);
      if (now !== undefined) result.push({ ...row, ...now });
      else if (stays.has(id) || !(await this.#mapper.isOurs(ctx, map, row))) result.push(row);
    }
    // A new row says nothing about the columns that do not move; the old ones keep theirs.
    const blank = Object.fromEntries(map.target.columns.map(({ name }) => [name, null]));
    const rows = [...result, ...Array.from(made.values(), (row) => ({ ...blank, ...row }))];
    return { rows: [...(this.target.arrange?.(map.target.name, rows) ?? rows)], fates };
  }

  /**
   * Writes the wanted keys in one transaction, with the ledger's entry. A unique value that moved between rows, of which only one is wanted,
   * widens the batch by the other; then all rows are read again, so that they are of one moment.
   */
  async #write(ctx: Context, wanted: readonly Wanted[], chunk?: ReadyRows): Promise<Fate[]> {
    if (chunk === undefined && wanted.every(({ keys }) => keys.size === 0)) return [];
    for (const { map, keys } of wanted) if (chunk === undefined) this.changed.add(map.source.name, keys.keys());
    let batch = chunk?.batch ?? (await this.#read(ctx, wanted));
    for (let round = 0; ; round++) {
      if (chunk === undefined) ctx.faults.at('data.apply.read');
      const ledger =
        chunk === undefined || chunk.entry === null
          ? undefined
          : { ...chunk.entry, hash: round === 0 ? chunk.entry.hash : hashRows(batch.mapped) };
      try {
        return overruled(batch.fates, await this.#writeChanges(ctx, batch.changes, ledger));
      } catch (error) {
        if (!(error instanceof UniqueConflict)) throw error;
        if (round < MAX_WIDENINGS && widen(wanted, error)) batch = await this.#read(ctx, wanted);
        else if (this.direction === 'reverse')
          return overruled(batch.fates, await this.#writeOneByOne(ctx, batch.changes));
        else throw this.#unresolved(error);
      }
    }
  }

  /** The wanted keys as they are now, mapped; `given` are rows that were just read. */
  async #read(
    ctx: Context,
    wanted: readonly Wanted[],
    given?: readonly Row[],
    onProgress?: (rows: number) => void,
  ): Promise<Batch> {
    const changes: Changes = [];
    const fates: Fate[] = [];
    const all: Row[] = [];
    for (const { map, keys } of wanted) {
      if (keys.size === 0) continue;
      const rows = given ?? (await this.source.rows(map.source.name, [...keys.values()], map.source.computed));
      if (given === undefined) ctx.pace?.spent(rows.length, bytesOf(rows));
      const mapped = await this.#mapper.map(ctx, map, rows, onProgress);
      const present = new Set(rows.map((row) => encodeKey(keyOf(row, map.source.key))));
      const deletes = [...mapped.deletes];
      const gone: Key[] = [];
      for (const [id, key] of keys) {
        if (present.has(id)) continue;
        this.#assertKey(map, key);
        const target = map.keyTo(key);
        if (target === null) continue;
        gone.push(target);
        fates.push({ table: map.source.name, key, reason: null });
      }
      fates.push(...mapped.fates);
      for (const { part, key, isThere } of await partRows(this.source, map, gone))
        fates.push({ table: part.source.name, key, reason: isThere ? `${map.source.name} has no row for it` : null });
      const held = await heldBySiblings(this.source, map, [...deletes, ...gone]);
      const left = [...deletes, ...gone].filter((key) => !held.has(encodeKey(key)));
      changes.push({ table: map.target.name, deletes: left, upserts: mapped.rows });
      all.push(...mapped.rows);
    }
    return { changes: byTable(changes), fates, mapped: all };
  }

  /** A row whose key contains NULL cannot be found again, so it must not pass for one that was deleted. */
  #assertKey(map: TableMap, key: Key): void {
    if (!key.includes(null)) return;
    const condition = map.source.key.map((column) => `${column} IS NULL`).join(' OR ');
    throw new ChangeoverError('CHG_DATA_KEY_NULL', { store: `data.${this.name}`, table: map.source.name, condition });
  }

  async #writeChanges(ctx: Context, changes: Changes, ledger?: LedgerEntry): Promise<Fate[]> {
    const batch: WriteBatch = { epoch: ctx.epoch, changes, ...(ledger === undefined ? {} : { ledger }) };
    try {
      await this.target.write(batch);
      return [];
    } catch (error) {
      if (this.direction === 'reverse' && isRefusal(error)) return this.#writeOneByOne(ctx, changes);
      throw error;
    }
  }

  /**
   * In reverse, a row that the legacy refuses must not hold up all others: the batch is halved until it stands alone, and it is reported as
   * one that a rollback cannot return.
   */
  async #writeOneByOne(ctx: Context, changes: Changes): Promise<Fate[]> {
    const units = changes.flatMap(({ table, deletes, upserts }) => [
      ...deletes.map((key) => ({ table, deletes: [key], upserts: [] as Row[] })),
      ...upserts.map((row) => ({ table, deletes: [] as Key[], upserts: [row] })),
    ]);
    const [unit] = units;
    if (unit === undefined) return [];
    const middle = Math.ceil(units.length / 2);
    const halves = units.length === 1 ? [units] : [units.slice(0, middle), units.slice(middle)];
    const fates: Fate[] = [];
    for (const half of halves) {
      try {
        await this.target.write({ epoch: ctx.epoch, changes: half });
      } catch (error) {
        if (!isRefusal(error) && !(error instanceof UniqueConflict)) throw error;
        fates.push(...(half.length > 1 ? await this.#writeOneByOne(ctx, half) : this.#fateOf(half[0], error.message)));
      }
    }
    return fates;
  }

  #fateOf(unit: Changes[number] | undefined, reason: string): Fate[] {
    const map = this.maps.find(({ target }) => target.name === unit?.table);
    const [row] = unit?.upserts ?? [];
    const [deleted] = unit?.deletes ?? [];
    if (map === undefined) return [];
    const target = row === undefined ? deleted : keyOf(row, map.target.key);
    const key = target === undefined ? null : map.keyBack(target);
    return key === null ? [] : [{ table: map.source.name, key, reason }];
  }

  #unresolved(conflict: UniqueConflict): ChangeoverError<'CHG_DATA_ROW_REFUSED'> {
    const [key] = conflict.keys;
    const fields = {
      store: this.target.kind,
      table: conflict.table,
      key: key === undefined ? '' : encodeKey(key),
      reason: 'it holds a unique value that another row of the source has too',
    };
    return new ChangeoverError('CHG_DATA_ROW_REFUSED', fields, { cause: conflict });
  }
}

interface Batch {
  readonly changes: Changes;
  readonly fates: readonly Fate[];
  /** All rows for the target, in order. */
  readonly mapped: readonly Row[];
}

/** Rows of the copy, read and mapped. */
interface ReadyRows {
  readonly wanted: Wanted;
  readonly batch: Batch;
  /** Null where more rows of the same chunk follow. */
  readonly entry: LedgerEntry | null;
}

interface Chunk extends ReadyRows {
  readonly entry: LedgerEntry;
  readonly bytes: number;
}

function wantedOf(map: TableMap, rows: readonly Row[]): Wanted {
  const keys = rows.map((row) => keyOf(row, map.source.key));
  return { map, keys: new Map(keys.map((key) => [encodeKey(key), key])) };
}

/** A table once: its unique values may move between rows of several ways. */
function byTable(changes: Changes): Changes {
  return [...Map.groupBy(changes, ({ table }) => table)].map(([table, own]) => ({
    table,
    deletes: own.flatMap(({ deletes }) => deletes),
    upserts: own.flatMap(({ upserts }) => upserts),
  }));
}

/** Adds the source keys of the conflicting rows. False where none is new, so that another round would end the same. */
function widen(wanted: readonly Wanted[], conflict: UniqueConflict): boolean {
  let isWider = false;
  for (const { map, keys } of wanted) {
    if (map.target.name !== conflict.table) continue;
    for (const targetKey of conflict.keys) {
      const key = map.keyBack(targetKey);
      if (key === null || keys.has(encodeKey(key))) continue;
      keys.set(encodeKey(key), key);
      isWider = true;
    }
  }
  return isWider;
}

/** A row that the mapping carried may still be refused by the store. */
function overruled(fates: readonly Fate[], refused: readonly Fate[]): Fate[] {
  const id = ({ table, key }: Fate) => `${table} ${encodeKey(key)}`;
  const stopped = new Set(refused.map(id));
  return [...fates.filter((fate) => !stopped.has(id(fate))), ...refused];
}

function isRefusal(error: unknown): error is ChangeoverError {
  return error instanceof ChangeoverError && error.code === 'CHG_DATA_ROW_REFUSED';
}
