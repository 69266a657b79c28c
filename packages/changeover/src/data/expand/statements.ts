import { createHash } from 'node:crypto';
import type { ExpandDefinition, TableExpansion } from '../../plan/expand.ts';
import { literal, quoted } from '../stores/postgres/text.ts';
import { isInStep, pairedColumns, type PairedColumn } from './in-step.ts';
import { keyColumns, keyJson, within, type KeyTexts, type TableFound } from './table.ts';
import { STEP_TRIGGER, stepBody, stepFunction, stepFunctionSql, stepTriggerSql } from './trigger.ts';

/** Where our own tables are, quoted, and the search_path that expressions are read with. */
export interface Place {
  readonly home: string;
  readonly path: string;
}

/** What was made for a table, as `changeover_expanded` keeps it. */
export type MadeKind = 'begun' | 'bound' | 'column' | 'constraint' | 'index' | 'not null';
export type Made = ReadonlyMap<MadeKind, readonly string[]>;

/** The SQL of one table of the plan. */
export class TableSteps {
  readonly table: TableFound;
  readonly expansion: TableExpansion;
  readonly paired: readonly PairedColumn[];
  readonly body: string;
  readonly #definition: ExpandDefinition;
  readonly #place: Place;

  constructor(definition: ExpandDefinition, place: Place, table: TableFound, expansion: TableExpansion) {
    this.#definition = definition;
    this.#place = place;
    this.table = table;
    this.expansion = expansion;
    this.paired = pairedColumns(table, expansion);
    this.body = this.paired.length === 0 ? '' : stepBody(table, this.paired);
  }

  /** Columns that are not there yet. */
  get missing(): readonly string[] {
    const names = this.table.columns.map(({ name }) => name);
    return Object.keys(this.expansion.add ?? {}).filter((name) => !names.includes(name));
  }

  /** The new columns, nullable so that no row is rewritten, and what keeps them in step: one transaction. */
  begin(missing: readonly string[]): string[] {
    const { table } = this;
    const added = missing.map((name) => `ADD COLUMN ${quoted(name)} ${this.#columnType(name)}`);
    return [
      this.record('begun', table.qualified),
      ...missing.map((name) => this.record('column', name)),
      ...this.keepInStep(added.length === 0 ? [] : [`ALTER TABLE ${table.qualified} ${added.join(', ')}`]),
    ];
  }

  /** The trigger, after `changes` of the table; the function comes before them, since it needs no lock. */
  keepInStep(changes: readonly string[] = []): string[] {
    if (this.paired.length === 0) return [...changes];
    const { home, path } = this.#place;
    // Planned and not run: a type that does not fit is found here, before the first write meets the trigger.
    const trial = `EXPLAIN ${this.update('true')}`;
    const made = stepFunctionSql(home, path, this.table, this.body);
    return [made, ...changes, ...stepTriggerSql(home, this.table), trial];
  }

  #columnType(name: string): string {
    const { type = 'text', up, default: standard } = this.expansion.add?.[name] ?? {};
    // While the trigger has to tell who writes, a default would look like a word of the new side.
    return up === undefined && standard !== undefined ? `${type} DEFAULT ${standard}` : type;
  }

  /** The last key that is there: what comes later goes through the trigger. */
  lastKey(): string {
    const { table } = this;
    return `SELECT ${keyJson(table)} FROM ${table.qualified} ORDER BY ${keyColumns(table, ' DESC')} LIMIT 1`;
  }

  /** How many rows a chunk has, its last key, how many are not in step, and the keys of some of those. */
  chunk(after: KeyTexts | null, upTo: KeyTexts | null, limit: number, isRight: string): string {
    const { table } = this;
    return `WITH chunk AS MATERIALIZED (
      SELECT ${keyColumns(table)}, ${isRight} AS changeover_is_right FROM ${table.qualified} AS ${table.alias}
      WHERE ${within(table, after, upTo)} ORDER BY ${keyColumns(table)} LIMIT ${limit})
    SELECT count(*), (SELECT ${keyJson(table)} FROM chunk ORDER BY ${keyColumns(table, ' DESC')} LIMIT 1),
      count(*) FILTER (WHERE NOT changeover_is_right),
      (SELECT json_agg(wrong) FROM (
        SELECT ${keyJson(table)} AS wrong FROM chunk WHERE NOT changeover_is_right ORDER BY ${keyColumns(table)} LIMIT 5) AS listed)
    FROM chunk`;
  }

  isInStep(columns: readonly PairedColumn[] = this.paired): string {
    return columns.length === 0 ? 'true' : `(${columns.map(isInStep).join(' AND ')})`;
  }

  /** Rows that are right are not touched; those that somebody writes meanwhile are looked at again as they are then. */
  fill(run: string, seq: number, after: KeyTexts | null, upTo: KeyTexts): string {
    return `WITH filled AS (${this.update(within(this.table, after, upTo))} RETURNING 1)
      INSERT INTO ${this.#place.home}.changeover_ledger
      SELECT ${literal(run)}, ${literal(this.#definition.name)}, ${literal(this.table.name)}, ${seq}, ${literal(JSON.stringify(upTo))}, count(*), '', false
      FROM filled`;
  }

  end(run: string, seq: number): string {
    return `INSERT INTO ${this.#place.home}.changeover_ledger VALUES
      (${literal(run)}, ${literal(this.#definition.name)}, ${literal(this.table.name)}, ${seq}, NULL, 0, '', true)`;
  }

  update(range: string): string {
    const { table, paired } = this;
    const [only] = paired;
    // A row of which one column is right keeps that one: it may be the new side's word.
    const sets = paired.map((column) => {
      const own = quoted(column.name);
      return column === only && paired.length === 1
        ? `${own} = ${column.up}`
        : `${own} = CASE WHEN ${isInStep(column)} THEN ${table.alias}.${own} ELSE ${column.up} END`;
    });
    return `UPDATE ${table.qualified} AS ${table.alias} SET ${sets.join(', ')} WHERE ${range} AND NOT ${this.isInStep()}`;
  }

  index(name: string): string {
    const { on, unique = false } = this.expansion.indexes?.[name] ?? { on: '' };
    return `CREATE ${unique ? 'UNIQUE ' : ''}INDEX CONCURRENTLY IF NOT EXISTS ${quoted(name)} ON ${this.table.qualified} ${on}`;
  }

  /** With its schema: an index lives in its table's. */
  indexName(name: string): string {
    return `${this.table.schema}.${quoted(name)}`;
  }

  dropIndex(name: string): string {
    return `DROP INDEX CONCURRENTLY IF EXISTS ${this.indexName(name)}`;
  }

  /** The constraints of the plan, and a check of ours for each column that is to be NOT NULL: it spares SET NOT NULL its scan under the lock. */
  get constraints(): readonly { readonly name: string; readonly sql: string; readonly column: string | null }[] {
    const { constraints = {}, add = {} } = this.expansion;
    return [
      ...Object.entries(constraints).map(([name, text]) => ({ name, sql: text.trim(), column: null })),
      ...Object.entries(add).flatMap(([name, { notNull = false }]) =>
        notNull
          ? [{ name: helperName(this.table, name), sql: `CHECK (${quoted(name)} IS NOT NULL)`, column: name }]
          : [],
      ),
    ];
  }

  addConstraint(name: string, sql: string): string {
    return `ALTER TABLE ${this.table.qualified} ADD CONSTRAINT ${quoted(name)} ${sql} NOT VALID`;
  }

  validate(name: string): string {
    return `ALTER TABLE ${this.table.qualified} VALIDATE CONSTRAINT ${quoted(name)}`;
  }

  dropConstraint(name: string): string {
    return `ALTER TABLE ${this.table.qualified} DROP CONSTRAINT IF EXISTS ${quoted(name)}`;
  }

  setNotNull(column: string): string {
    return `ALTER TABLE ${this.table.qualified} ALTER COLUMN ${quoted(column)} SET NOT NULL`;
  }

  /** What `finish` does: the old columns go, and a new one gets its default. */
  contract(): string[] {
    const { table, expansion } = this;
    const present = table.columns.map(({ name }) => name);
    const dropped = (expansion.drop ?? [])
      .filter((name) => present.includes(name))
      .map((name) => `DROP COLUMN ${quoted(name)}`);
    const defaults = Object.entries(expansion.add ?? {})
      .filter(([name, { up }]) => up !== undefined && present.includes(name))
      .flatMap(([name, { default: standard }]) =>
        standard === undefined ? [] : [`ALTER COLUMN ${quoted(name)} SET DEFAULT ${standard}`],
      );
    const changes = [...dropped, ...defaults];
    const changed = changes.length === 0 ? [] : [`ALTER TABLE ${table.qualified} ${changes.join(', ')}`];
    return [...this.#release(), ...changed, this.#forget()];
  }

  /** What a rollback does: all that was made goes, and nothing that was found. */
  remove(made: Made): string[] {
    const { table } = this;
    const of = (kind: MadeKind) => made.get(kind) ?? [];
    const columns = of('column').map((name) => `DROP COLUMN IF EXISTS ${quoted(name)}`);
    const isStanding = (name: string) =>
      table.columns.some((column) => column.name === name) && !of('column').includes(name);
    return [
      ...this.#release(),
      ...of('index').map((name) => `DROP INDEX IF EXISTS ${this.indexName(name)}`),
      ...of('constraint').map((name) => this.dropConstraint(name)),
      ...of('not null')
        .filter(isStanding)
        .map((name) => `ALTER TABLE ${table.qualified} ALTER COLUMN ${quoted(name)} DROP NOT NULL`),
      ...(columns.length === 0 ? [] : [`ALTER TABLE ${table.qualified} ${columns.join(', ')}`]),
      this.#forget(),
    ];
  }

  #release(): string[] {
    return [
      `DROP TRIGGER IF EXISTS ${STEP_TRIGGER} ON ${this.table.qualified}`,
      `DROP FUNCTION IF EXISTS ${stepFunction(this.#place.home, this.table)}()`,
    ];
  }

  record(kind: MadeKind, what: string): string {
    return `INSERT INTO ${this.#place.home}.changeover_expanded
      VALUES (${literal(this.#definition.name)}, ${literal(this.table.name)}, ${literal(kind)}, ${literal(what)}) ON CONFLICT DO NOTHING`;
  }

  #forget(): string {
    return `DELETE FROM ${this.#place.home}.changeover_expanded WHERE name = ${literal(this.#definition.name)} AND tbl = ${literal(this.table.name)}`;
  }
}

function helperName({ qualified }: TableFound, column: string): string {
  const id = createHash('sha256').update(`${qualified}.${column}`).digest('hex').slice(0, 16);
  return `changeover_not_null_${id}`;
}
