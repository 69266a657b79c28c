import { ChangeoverError } from '../../errors.ts';
import type { Context } from '../../plan/context.ts';
import type { Key, OpenStore, Row, Value } from '../../plan/stores.ts';
import type { Finding } from '../../plan/words.ts';
import type { StoresInUse } from '../stores-in-use.ts';
import { turn } from '../turn.ts';
import { decodeKey, encodeKey, keyOf } from '../values.ts';
import { shown, storageClass, Unfit } from './codec.ts';
import type { SyncDesign } from './designs.ts';
import { dialectOf } from './dialects.ts';
import { CollectedValues, doubtfulIndexes } from './duplicates.ts';
import type { ColumnRule } from './rules.ts';
import type { TableDesign } from './translate.ts';

/** Time for the rows of one table. What is not looked at here is refused by the copy, row by row. */
const TABLE_MS = 10_000;
const CHUNK_ROWS = 1000;
const SHOWN_KEYS = 3;
/** Rows with text that is not UTF-8 that are looked for one by one. */
const MAX_INVALID = 20;

/** Values of a column that its new type cannot hold. */
interface Misfit {
  rows: number;
  readonly examples: string[];
}

/** Reads the rows once and tries every value on its new column: what the copy would refuse is known beforehand, with its keys. */
export async function inspectValues(
  ctx: Context,
  { sync, tables }: SyncDesign,
  stores: StoresInUse,
): Promise<Finding[]> {
  const { from, to, name } = sync;
  const store = await stores.open(ctx, { identity: from.identity(ctx), store: from, side: 'legacy' });
  const used = stores.of(ctx, 'next').find(({ identity }) => identity === to.identity(ctx));
  const target = used === undefined ? null : await stores.openIfPresent(ctx, used);
  const dialect = dialectOf(to.kind);
  // A target that is not there yet cannot be asked; its indexes then refuse what is equal.
  const ask: Ask = async (types, rows) =>
    target?.schema === undefined || dialect === null ? [] : dialect.duplicates(target.schema, types, rows);
  const findings: Finding[] = [];
  for (const design of tables) {
    if (design.columns.some(({ codec }) => codec !== null) || doubtfulIndexes(design).length > 0)
      findings.push(...(await new Inspection(store, design, `data.${name}: ${design.table.name}`, ask).run(ctx)));
  }
  return findings;
}

type Ask = (types: readonly string[], rows: string) => Promise<readonly (readonly string[])[]>;

class Inspection {
  readonly #store: OpenStore;
  readonly #design: TableDesign;
  readonly #about: string;
  readonly #misfits = new Map<ColumnRule, Misfit>();
  readonly #classes = new Map<ColumnRule, Map<string, number>>();
  readonly #ask: Ask;
  readonly #collected: readonly CollectedValues[];
  #invalid: string[] = [];
  #rows = 0;

  constructor(store: OpenStore, design: TableDesign, about: string, ask: Ask) {
    this.#ask = ask;
    this.#collected = doubtfulIndexes(design).map((index) => new CollectedValues(index));
    this.#store = store;
    this.#design = design;
    this.#about = about;
  }

  async run(ctx: Context): Promise<Finding[]> {
    const { name } = this.#design.source;
    const { key } = await this.#store.shape(name);
    const untilMs = ctx.clock.monotonicMs() + TABLE_MS;
    let isWhole = false;
    for (let after: Key | null = null; !isWhole && ctx.clock.monotonicMs() < untilMs;) {
      await turn(ctx);
      const rows = await this.#chunk(name, after, key);
      for (const row of rows) this.#look(row, key);
      isWhole = rows.length === 0;
      const last = rows.at(-1);
      if (last !== undefined) after = keyOf(last, key);
    }
    const duplicates = await this.#duplicates();
    return [...duplicates, ...this.#findings(isWhole, isWhole ? this.#rows : await this.#store.count(name))];
  }

  /** A row whose text is not UTF-8 is noted and passed over; the store names its key and gives nothing. */
  async #chunk(table: string, after: Key | null, key: readonly string[]): Promise<readonly Row[]> {
    try {
      return await this.#store.chunk(table, after, CHUNK_ROWS);
    } catch (error) {
      if (!(error instanceof ChangeoverError) || error.code !== 'CHG_DATA_TEXT_INVALID') throw error;
      const { fields } = error as ChangeoverError<'CHG_DATA_TEXT_INVALID'>;
      this.#invalid.push(`${fields.column} in the row ${fields.key}`);
      if (this.#invalid.length >= MAX_INVALID) return [];
      const bad = decodeKey(String(fields.key));
      const before = await this.#upTo(table, after, bad, key);
      // The bad row's own key goes on from behind it.
      return [...before, Object.fromEntries(key.map((column, index) => [column, bad[index] ?? null]))];
    }
  }

  async #upTo(table: string, after: Key | null, bad: Key, key: readonly string[]): Promise<Row[]> {
    const rows: Row[] = [];
    for (let place = after; rows.length < CHUNK_ROWS;) {
      let row: Row | undefined;
      try {
        [row] = await this.#store.chunk(table, place, 1);
      } catch (error) {
        if (error instanceof ChangeoverError && error.code === 'CHG_DATA_TEXT_INVALID') return rows;
        throw error;
      }
      if (row === undefined || encodeKey(keyOf(row, key)) === encodeKey(bad)) return rows;
      rows.push(row);
      place = keyOf(row, key);
    }
    return rows;
  }

  /** Values that are two in the source and one in the target, by its collation. */
  async #duplicates(): Promise<Finding[]> {
    const findings: Finding[] = [];
    for (const collected of this.#collected) {
      const { name, rules } = collected.index;
      const groups = await this.#ask(
        rules.map(({ declared }) => declared),
        collected.json(),
      );
      if (groups.length === 0) continue;
      const columns = rules.map(({ column }) => column).join(', ');
      findings.push({
        level: 'error',
        about: this.#about,
        message: `${name} (${columns}): rows that are equal by ${rules.map(({ declared }) => declared).join(', ')}: ${groups.map((keys) => keys.join(' and ')).join('; ')}`,
        remedy: 'correct these rows, or name a type that tells them apart',
      });
    }
    return findings;
  }

  #collect(row: Row, key: string): void {
    for (const collected of this.#collected)
      collected.add(
        key,
        collected.index.rules.map(({ source }) => row[source] ?? null),
      );
  }

  #look(row: Row, key: readonly string[]): void {
    this.#rows += 1;
    if (this.#collected.length > 0) this.#collect(row, encodeKey(keyOf(row, key)));
    for (const rule of this.#design.columns) {
      const value = row[rule.source];
      if (value === undefined || value === null) continue;
      this.#count(rule, value);
      if (rule.codec === null) continue;
      try {
        rule.codec.to(value);
      } catch (error) {
        if (!(error instanceof Unfit)) throw error;
        this.#note(rule, `${shown(value)} in the row ${encodeKey(keyOf(row, key))} (${error.message})`);
      }
    }
  }

  #count(rule: ColumnRule, value: Value): void {
    let classes = this.#classes.get(rule);
    if (classes === undefined) {
      classes = new Map<string, number>();
      this.#classes.set(rule, classes);
    }
    const own = storageClass(value);
    classes.set(own, (classes.get(own) ?? 0) + 1);
  }

  #note(rule: ColumnRule, example: string): void {
    let misfit = this.#misfits.get(rule);
    if (misfit === undefined) this.#misfits.set(rule, (misfit = { rows: 0, examples: [] }));
    misfit.rows += 1;
    if (misfit.examples.length < SHOWN_KEYS) misfit.examples.push(example);
  }

  #findings(isWhole: boolean, total: number): Finding[] {
    const findings: Finding[] = [];
    const about = this.#about;
    for (const [rule, { rows, examples }] of this.#misfits) {
      const stored = [...(this.#classes.get(rule) ?? [])].map(([name, count]) => `${count} ${name}`).join(', ');
      findings.push({
        level: 'error',
        about,
        message: `${rule.source}: ${rows} values do not fit ${rule.declared}: ${examples.join('; ')}${rows > examples.length ? '; …' : ''}. Stored are ${stored}`,
        remedy: `correct them, or name a type that holds them all: schema: { columns: { '${rule.table}.${rule.column}': 'text' } }`,
      });
    }
    if (this.#invalid.length > 0)
      findings.push({
        level: 'error',
        about,
        message: `text that is not valid UTF-8: ${this.#invalid.join('; ')}${this.#invalid.length >= MAX_INVALID ? '; …' : ''}`,
        remedy: 'correct these rows, or store the values as blobs',
      });
    if (!isWhole && this.#invalid.length < MAX_INVALID)
      findings.push({
        level: 'warning',
        about,
        message: `${this.#rows} of ${total} rows were looked at in ${TABLE_MS / 1000} s; a value among the others that does not fit stops the copy`,
      });
    return findings;
  }
}
