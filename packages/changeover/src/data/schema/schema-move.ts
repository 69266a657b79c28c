import { ChangeoverError } from '../../errors.ts';
import type { Context } from '../../plan/context.ts';
import type { SchemaPort } from '../../plan/ports.ts';
import type { OpenStore, SchemaAccess } from '../../plan/stores.ts';
import type { SyncDefinition } from '../../plan/sync.ts';
import type { Footprint, Json, SchemaRule } from '../../plan/words.ts';
import type { StoresInUse, UsedStore } from '../stores-in-use.ts';
import { designSync } from './designs.ts';
import { dialectOf } from './dialects.ts';
import type { Dialect, Made, TableStatements } from './dialect.ts';
import { differences } from './differences.ts';
import type { TableDesign } from './translate.ts';

/** What a store of the target lacked before anything was made. */
interface Lacking {
  /** True where the store itself was not there. */
  readonly isNew: boolean;
  /** `table events`, `type mood`: what was not there, by kind and name. */
  readonly names: readonly string[];
}

type Missing = Readonly<Record<string, Lacking>>;

/** One store of the target, with all that is to be made in it. */
interface Site {
  readonly used: UsedStore;
  readonly dialect: Dialect;
  readonly tables: readonly { readonly design: TableDesign; readonly statements: TableStatements }[];
}

/**
 * Makes the tables of the new side. What was missing is written to the journal before anything is made, so that a killed run knows what is its
 * own: it goes on with what is not there yet, and takes away exactly that.
 */
export class SchemaMove implements SchemaPort {
  readonly #syncs: readonly SyncDefinition[];
  readonly #stores: StoresInUse;

  constructor(syncs: readonly SyncDefinition[], stores: StoresInUse) {
    this.#syncs = syncs;
    this.#stores = stores;
  }

  async rules(ctx: Context): Promise<SchemaRule[]> {
    const rules: SchemaRule[] = [];
    for (const sync of this.#syncs) {
      const design = await designSync(ctx, sync, this.#stores);
      rules.push(...(design?.tables ?? []).flatMap((table) => table.rules));
    }
    return rules;
  }

  async missing(ctx: Context): Promise<Json> {
    const missing: Record<string, Json> = {};
    for (const site of await this.#sites(ctx)) {
      const store = await this.#stores.openIfPresent(ctx, site.used);
      const names: string[] = [];
      for (const made of firstOf(site))
        if (store === null || !(await site.dialect.exists(accessOf(store), made))) names.push(nameOf(made));
      missing[site.used.identity] = { isNew: store === null, names: [...new Set(names)] };
    }
    return missing;
  }

  async create(ctx: Context, before: Json): Promise<void> {
    const missing = before as unknown as Missing;
    for (const site of await this.#sites(ctx)) {
      const lacking = lackingIn(missing, site);
      if (lacking.isNew) await site.used.store.create?.(ctx);
      const store = await this.#stores.open(ctx, site.used);
      const access = accessOf(store);
      // The gate is there before the first statement, so that a dead owner's statement cannot come late.
      await store.prepare();
      for (const made of firstOf(site)) {
        if (await site.dialect.exists(access, made)) await this.#assertSame(site, access, made);
        else if (lacking.names.includes(nameOf(made))) await change(site, access, [made]);
      }
      await tryLater(site, access, lacking);
    }
  }

  async complete(ctx: Context, before: Json): Promise<void> {
    const missing = before as unknown as Missing;
    for (const site of await this.#sites(ctx)) {
      const access = accessOf(await this.#stores.open(ctx, site.used));
      const wanted = laterOf(site, lackingIn(missing, site));
      for (const [index, made] of wanted.entries()) {
        ctx.signal.throwIfAborted();
        if (!(await site.dialect.exists(access, made))) await change(site, access, [made]);
        ctx.report.progress({ what: made.name, done: index + 1, total: wanted.length, unit: 'steps' });
      }
    }
  }

  async remove(ctx: Context, before: Json): Promise<void> {
    const missing = before as unknown as Missing;
    for (const site of (await this.#sites(ctx)).toReversed()) {
      const lacking = lackingIn(missing, site);
      const store = await this.#stores.openIfPresent(ctx, site.used);
      if (store === null) continue;
      const access = accessOf(store);
      await store.prepare();
      const own = firstOf(site).filter((made) => lacking.names.includes(nameOf(made)));
      for (const made of [...own, ...laterOf(site, lacking)].toReversed()) {
        if (made.removal === null || !(await site.dialect.exists(access, made))) continue;
        await execute(site, access, made.removal);
      }
      await store.uninstall();
      if (lacking.isNew && site.used.store.discard !== undefined && (await isEmpty(access)))
        await site.used.store.discard(ctx);
    }
  }

  async footprint(ctx: Context): Promise<Footprint[]> {
    const footprint: Footprint[] = [];
    for (const site of await this.#sites(ctx)) {
      const store = await this.#stores.openIfPresent(ctx, site.used);
      const all = [
        ...firstOf(site),
        ...site.tables.flatMap(({ statements }) => [...statements.later, ...statements.last]),
      ];
      for (const { table, kind, name, sql, removal } of all) {
        const isFound =
          store !== null && (await site.dialect.exists(accessOf(store), { kind, table, name, sql, removal }));
        if (isFound) continue;
        const where = `${site.used.identity}: ${table}`;
        const right = `to create tables in ${site.used.identity}`;
        footprint.push({ where, adds: sql, right, removal: removal ?? `goes with ${name}` });
      }
    }
    return footprint;
  }

  /** Stores in their fixed order, each with the tables of all syncs that make any in it. */
  async #sites(ctx: Context): Promise<Site[]> {
    const sites: Site[] = [];
    for (const used of this.#stores.of(ctx, 'next')) {
      const dialect = dialectOf(used.store.kind);
      if (dialect === null) continue;
      const tables: Site['tables'][number][] = [];
      for (const sync of used.syncs) {
        const design = await designSync(ctx, sync, this.#stores);
        for (const table of design?.tables ?? [])
          tables.push({ design: table, statements: dialect.statements(table.table) });
      }
      if (tables.length > 0) sites.push({ used, dialect, tables });
    }
    return sites;
  }

  async #assertSame({ used, dialect, tables }: Site, access: SchemaAccess, made: Made): Promise<void> {
    const wanted = tables.find(({ design }) => design.table.name === made.name);
    if (made.kind !== 'table' || wanted === undefined) return;
    const found = await differences(access, dialect, used.identity, wanted.design.table);
    if (found.length === 0) return;
    const fields = { store: used.identity, table: made.name, difference: found.join('; ') };
    throw new ChangeoverError('CHG_DATA_SCHEMA_DIFFERS', fields);
  }
}

function accessOf(store: OpenStore): SchemaAccess {
  if (store.schema === undefined) throw new TypeError(`${store.kind} has no schema`);
  return store.schema;
}

function nameOf({ kind, name }: Made): string {
  return `${kind} ${name}`;
}

function lackingIn(missing: Missing, { used }: Site): Lacking {
  return missing[used.identity] ?? { isNew: false, names: [] };
}

/** Types that several tables share are made once. */
function firstOf({ tables }: Site): Made[] {
  const made = new Map<string, Made>();
  for (const { statements } of tables)
    for (const one of statements.first) if (!made.has(nameOf(one))) made.set(nameOf(one), one);
  return [...made.values()];
}

/** What follows the rows, for the tables that are ours: one that was found stays as it is. */
function laterOf({ tables }: Site, { names }: Lacking): Made[] {
  const own = tables.filter(({ design }) => names.includes(`table ${design.table.name}`));
  return [...own.flatMap(({ statements }) => statements.later), ...own.flatMap(({ statements }) => statements.last)];
}

/** A statement that the engine refuses is found before hours of copying, not after them. The tables are empty still. */
async function tryLater(site: Site, access: SchemaAccess, lacking: Lacking): Promise<void> {
  const wanted: Made[] = [];
  for (const made of laterOf(site, lacking)) if (!(await site.dialect.exists(access, made))) wanted.push(made);
  if (site.dialect.supportsTransactionalDdl) {
    await change(site, access, wanted, true);
    return;
  }
  for (const made of wanted) await change(site, access, [made]);
  for (const { removal } of wanted.toReversed()) if (removal !== null) await execute(site, access, removal);
}

async function change(site: Site, access: SchemaAccess, made: readonly Made[], isTrial = false): Promise<void> {
  const statements = made.map(({ sql }) => sql);
  try {
    await access.change(statements, { isTrial });
  } catch (cause) {
    throw cause instanceof ChangeoverError ? cause : refused(site, statements.join('; '), cause);
  }
}

async function execute(site: Site, access: SchemaAccess, sql: string): Promise<void> {
  try {
    await access.change([sql]);
  } catch (cause) {
    throw cause instanceof ChangeoverError ? cause : refused(site, sql, cause);
  }
}

function refused({ used }: Site, statement: string, cause: unknown): ChangeoverError<'CHG_DATA_SCHEMA_REFUSED'> {
  const detail =
    cause instanceof Error && 'detail' in cause && typeof cause.detail === 'string' ? ` (${cause.detail})` : '';
  const reason = `${cause instanceof Error ? cause.message : String(cause)}${detail}`;
  return new ChangeoverError('CHG_DATA_SCHEMA_REFUSED', { store: used.identity, statement, reason }, { cause });
}

/** Only asked of a store that is a file of its own. */
async function isEmpty(access: SchemaAccess): Promise<boolean> {
  return (await access.query("SELECT 1 FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")).length === 0;
}
