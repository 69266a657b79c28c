import type { Context } from '../../plan/context.ts';
import type { OpenStore } from '../../plan/stores.ts';
import type { SyncDefinition, TableMapping } from '../../plan/sync.ts';
import type { Finding, Verdict } from '../../plan/words.ts';
import type { ForeignKeyDescription } from '../schema/description.ts';
import type { Dialect } from '../schema/dialect.ts';
import { dialectOf } from '../schema/dialects.ts';
import { literal as postgresLiteral } from '../stores/postgres/text.ts';
import { literal as sqliteLiteral } from '../stores/sqlite/text.ts';
import type { StoresInUse, UsedStore } from '../stores-in-use.ts';
import { Belonging } from './belonging.ts';
import { scopeOf, tableOn } from './scope.ts';

const SHOWN_KEYS = 3;
/** How long the rows of shared tables are waited for: whoever follows them is at most this late. */
const MAX_ROUNDS = 40;
const ROUND_MS = 50;

/** A reference that should not be. */
interface Stray {
  readonly table: string;
  readonly rows: number;
  readonly keys: readonly string[];
  readonly message: string;
  readonly remedy: string;
}

/**
 * The references of a slice's rows. One to a row that is neither of the slice nor shared, or from another's row to one of the slice, would lead
 * nowhere as soon as the two are on different sides.
 */
export class References {
  readonly #slice: string;
  /** All syncs of the plan, with the shared tables. */
  readonly #all: readonly SyncDefinition[];
  readonly #stores: StoresInUse;

  constructor(slice: string, all: readonly SyncDefinition[], stores: StoresInUse) {
    this.#slice = slice;
    this.#all = all;
    this.#stores = stores;
  }

  async check(ctx: Context): Promise<Finding[]> {
    const { strays } = await this.#strays(ctx);
    return strays.map(({ table, rows, keys, message, remedy }) => ({
      level: 'error',
      about: `slice ${this.#slice}: ${table}`,
      message: `${rows} rows ${message}: ${keys.join('; ')}${rows > keys.length ? '; …' : ''}`,
      remedy,
    }));
  }

  /** What `check` finds, as it is now, and whether the shared rows that the slice points at are on the new side. */
  async verify(ctx: Context): Promise<Verdict[]> {
    const { strays, looked } = await this.#strays(ctx);
    const stays = `references of slice ${this.#slice} stay in it`;
    const found = strays.map(
      ({ table, rows, keys, message }) => `${rows} rows of ${table} ${message}: ${keys.join('; ')}`,
    );
    const verdicts: Verdict[] = [];
    if (looked > 0)
      verdicts.push({
        check: stays,
        outcome: strays.length > 0 ? 'FAIL' : 'PASS',
        evidence: strays.length > 0 ? found.join('; ') : `${looked} foreign keys looked at`,
        measured: looked,
      });
    for (let round = 1; ; round++) {
      const { missing, shared } = await this.#missingShared(ctx);
      if (shared === 0) break;
      const isLast = missing.length === 0 || round === MAX_ROUNDS;
      if (isLast) {
        verdicts.push({
          check: `shared rows of slice ${this.#slice} are there`,
          outcome: missing.length === 0 ? 'PASS' : 'FAIL',
          evidence: missing.length === 0 ? `${shared} foreign keys looked at` : missing.join('; '),
          measured: shared,
        });
        break;
      }
      await ctx.clock.sleep(ROUND_MS, ctx.signal);
    }
    return verdicts;
  }

  async #strays(ctx: Context): Promise<{ strays: Stray[]; looked: number }> {
    const strays: Stray[] = [];
    let looked = 0;
    for (const used of this.#stores.of(ctx, 'legacy')) {
      const site = await this.#site(ctx, used);
      if (site === null) continue;
      for (const table of [...site.shared, ...site.own])
        for (const foreignKey of await site.foreignKeys(table)) {
          if (site.shared.has(foreignKey.parent) || (site.shared.has(table) && !site.own.has(foreignKey.parent)))
            continue;
          looked += 1;
          strays.push(...(await this.#look(site, table, foreignKey)));
        }
    }
    return { strays, looked };
  }

  async #look(site: Site, table: string, foreignKey: ForeignKeyDescription): Promise<Stray[]> {
    const { parent } = foreignKey;
    const key = (await site.store.shape(table)).key.map((column) => `c.${site.dialect.quoted(column)}`);
    const isSet = foreignKey.columns.map((column) => `c.${site.dialect.quoted(column)} IS NOT NULL`).join(' AND ');
    const from = `FROM ${await site.name(table)} AS c`;
    const join = `${from} JOIN ${await site.name(parent)} AS p ON ${await site.joined(table, foreignKey)}`;
    const mine = site.belonging.belongs(table, 'c.');
    const others = site.belonging.elsewhere(table, 'c.') ?? 'true';
    const parentIsOurs = site.belonging.belongs(parent, 'p.');
    const ways = [
      ...(mine === null
        ? []
        : parentIsOurs === null
          ? [
              {
                rows: `${from} WHERE ${isSet} AND ${mine}`,
                message: `point at ${parent}, which the plan does not move`,
              },
            ]
          : [
              {
                rows: `${join} WHERE ${mine} AND (${parentIsOurs}) IS NOT TRUE`,
                message: `point at rows of ${parent} that are not of the slice`,
              },
            ]),
      ...(parentIsOurs === null
        ? []
        : [
            {
              rows: `${join} WHERE ${others} AND ${parentIsOurs}`,
              message: `of others point at rows of ${parent} that are of the slice`,
            },
          ]),
    ];
    const strays: Stray[] = [];
    for (const { rows, message } of ways) {
      const [counted] = await site.query(`SELECT count(*) ${rows}`);
      if (Number(counted?.[0]) === 0) continue;
      const shown = await site.query(`SELECT ${key.join(', ')} ${rows} ORDER BY ${key.join(', ')} LIMIT ${SHOWN_KEYS}`);
      strays.push({
        table,
        rows: Number(counted?.[0]),
        keys: shown.map((values) => `(${values.map(String).join(', ')})`),
        message,
        remedy: `move ${parent} with its rows' slice, name it in \`shared\`, or correct them: SELECT c.* ${rows}`,
      });
    }
    return strays;
  }

  /** On the new side, by the foreign keys that the legacy has: ours may still have to be made. */
  async #missingShared(ctx: Context): Promise<{ missing: string[]; shared: number }> {
    const missing: string[] = [];
    let shared = 0;
    for (const definition of this.#all.filter(({ slices }) => (slices?.shared ?? []).length > 0)) {
      const [legacy, next] = [
        await this.#siteOf(ctx, definition, 'legacy'),
        await this.#siteOf(ctx, definition, 'next'),
      ];
      if (legacy === null || next === null) continue;
      const isShared = (name: string) => definition.slices?.shared?.includes(name) === true;
      const entries = Object.entries(definition.tables);
      for (const [name, mapping] of entries.filter(([own]) => !isShared(own))) {
        const table = tableOn('next', name, mapping);
        for (const foreignKey of await legacy.foreignKeys(tableOn('legacy', name, mapping))) {
          const found = entries.find(
            ([other, its]) => isShared(other) && tableOn('legacy', other, its) === foreignKey.parent,
          );
          if (found === undefined) continue;
          const [parentName, parentMapping] = found;
          const parent = tableOn('next', parentName, parentMapping);
          const columnOf =
            ({ columns = {} }: TableMapping) =>
            (column: string) =>
              Object.entries(columns).find(([, source]) => source === column)?.[0] ?? column;
          const moved = {
            ...foreignKey,
            parent,
            columns: foreignKey.columns.map(columnOf(mapping)),
            parentColumns: (await legacy.parentColumns(foreignKey)).map(columnOf(parentMapping)),
          };
          const { columns } = await next.store.shape(table);
          if (!moved.columns.every((column) => columns.some((one) => one.name === column))) continue;
          shared += 1;
          const isSet = moved.columns.map((column) => `c.${next.dialect.quoted(column)} IS NOT NULL`).join(' AND ');
          const mine = next.belonging.belongs(table, 'c.') ?? 'true';
          const [counted] = await next.query(
            `SELECT count(*) FROM ${await next.name(table)} AS c WHERE ${mine} AND ${isSet}
             AND NOT EXISTS (SELECT 1 FROM ${await next.name(parent)} AS p WHERE ${await next.joined(table, moved)})`,
          );
          if (Number(counted?.[0]) > 0)
            missing.push(`${String(counted?.[0])} rows of ${table} point at rows of ${parent} that are not there yet`);
        }
      }
    }
    return { missing, shared };
  }

  async #siteOf(ctx: Context, definition: SyncDefinition, side: 'legacy' | 'next'): Promise<Site | null> {
    const store = side === 'legacy' ? definition.from : definition.to;
    const used = this.#stores.of(ctx, side).find(({ identity }) => identity === store.identity(ctx));
    return used === undefined ? null : this.#site(ctx, used);
  }

  async #site(ctx: Context, used: UsedStore): Promise<Site | null> {
    const store = await this.#stores.openIfPresent(ctx, used);
    const dialect = dialectOf(used.store.kind);
    if (store?.schema === undefined || dialect === null) return null;
    const here = this.#all.filter(
      ({ from, to }) => (used.side === 'legacy' ? from : to).identity(ctx) === used.identity,
    );
    const shared = here.flatMap(({ slices, tables }) =>
      (slices?.shared ?? []).map((name) => tableOn(used.side, name, tables[name])),
    );
    return new Site(store, dialect, new Set(used.tables), new Set(shared), scopeNames(used, this.#slice));
  }
}

function scopeNames(used: UsedStore, slice: string) {
  return scopeOf(used.syncs, used.side, slice);
}

/** One store with what has to be known of it to ask about references. */
class Site {
  readonly store: OpenStore;
  readonly dialect: Dialect;
  readonly own: ReadonlySet<string>;
  readonly shared: ReadonlySet<string>;
  readonly belonging: Belonging;

  constructor(
    store: OpenStore,
    dialect: Dialect,
    own: ReadonlySet<string>,
    shared: ReadonlySet<string>,
    scope: ReturnType<typeof scopeOf>,
  ) {
    this.store = store;
    this.dialect = dialect;
    this.own = own;
    this.shared = shared;
    this.belonging = new Belonging(scope, {
      quoted: (name) => dialect.quoted(name),
      literal: dialect.kind === 'postgres' ? postgresLiteral : sqliteLiteral,
      table: (name) => this.#named(name),
      ...(dialect.kind === 'sqlite' ? { exactly: ' COLLATE BINARY' } : {}),
    });
  }

  query(sql: string) {
    return this.store.schema?.query(sql) ?? Promise.resolve([]);
  }

  async foreignKeys(table: string): Promise<readonly ForeignKeyDescription[]> {
    return (await this.#read(table)).foreignKeys;
  }

  async parentColumns({ parent, parentColumns }: ForeignKeyDescription): Promise<readonly string[]> {
    return parentColumns.length > 0 ? parentColumns : (await this.#read(parent)).primaryKey;
  }

  /** The condition on `c` and its parent `p`. */
  async joined(table: string, foreignKey: ForeignKeyDescription): Promise<string> {
    const columns = await this.parentColumns(foreignKey);
    return foreignKey.columns
      .map((column, at) => `p.${this.dialect.quoted(columns[at] ?? '')} = c.${this.dialect.quoted(column)}`)
      .join(' AND ');
  }

  name(table: string): Promise<string> {
    return Promise.resolve(this.#named(table));
  }

  /** A table of Postgres may be named with its schema. */
  #named(table: string): string {
    const parts = this.dialect.kind === 'postgres' ? table.split('.') : [table];
    return parts.map((part) => this.dialect.quoted(part)).join('.');
  }

  #read(table: string) {
    const { schema } = this.store;
    if (schema === undefined) throw new TypeError(`${this.dialect.kind} has no schema`);
    return this.dialect.read(schema, this.dialect.kind, table);
  }
}
