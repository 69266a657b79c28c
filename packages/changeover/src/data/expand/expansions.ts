import { ChangeoverError } from '../../errors.ts';
import type { Context } from '../../plan/context.ts';
import type { ExpandDefinition, TableExpansion } from '../../plan/expand.ts';
import type { TableSummary } from '../../plan/ports.ts';
import type { OpenStore } from '../../plan/stores.ts';
import type { Direction, Finding, Footprint, Side, Verdict } from '../../plan/words.ts';
import type { StoresInUse } from '../stores-in-use.ts';
import { checkExpansion } from './check.ts';
import { footprintOf } from './footprint.ts';
import { Filling } from './filling.ts';
import { build, change } from './build.ts';
import { TableSteps, type Made, type MadeKind, type Place } from './statements.ts';
import { accessOf, findTable, isTrue, isUnusable } from './table.ts';
import { IS_INTACT } from './trigger.ts';
import { differing, verifyTable } from './verification.ts';

/** One table of a definition, in its opened store. */
export interface ExpandedTable {
  readonly definition: ExpandDefinition;
  readonly store: OpenStore;
  readonly identity: string;
  readonly steps: TableSteps;
}

/**
 * Columns added beside the old ones, kept in step by a trigger in both directions, filled in batches, and either taken away again or left alone
 * while the old ones go. Both sides work on the same database, so there is nothing to fence and nothing to catch up with.
 */
export class Expansions {
  readonly #definitions: readonly ExpandDefinition[];
  readonly #stores: StoresInUse;
  /** Rows that the last full verification of this process has compared, by definition and table. */
  readonly #verified = new Map<string, number>();

  constructor(definitions: readonly ExpandDefinition[], stores: StoresInUse) {
    this.#definitions = definitions;
    this.#stores = stores;
  }

  /** Each table is one part of the progress. */
  get tableCount(): number {
    return this.#definitions.reduce((sum, { tables }) => sum + Object.keys(tables).length, 0);
  }

  async check(ctx: Context): Promise<Finding[]> {
    const findings: Finding[] = [];
    for (const definition of this.#definitions) {
      try {
        const store = await this.#open(ctx, definition);
        findings.push(...(await store.check(Object.keys(definition.tables), 'source')));
        const made = (table: string) => this.#madeOf(store, definition, table);
        findings.push(...(await checkExpansion(definition, store, made)));
      } catch (error) {
        if (!(error instanceof ChangeoverError)) throw error;
        const about = `data.${definition.name}`;
        findings.push({ level: 'error', about, message: error.message, remedy: error.hint });
      }
    }
    return findings;
  }

  async footprint(ctx: Context): Promise<Footprint[]> {
    const footprint: Footprint[] = [];
    for (const definition of this.#definitions) {
      const store = await this.#open(ctx, definition);
      const { home } = await placeOf(store);
      const where = definition.in.identity(ctx);
      for (const name of ['changeover_gate', 'changeover_ledger', 'changeover_expanded']) {
        const removal = `DROP TABLE ${home}.${name}`;
        footprint.push({ where, adds: `table ${home}.${name}`, right: `CREATE on schema ${home}`, removal });
      }
      for (const steps of await this.#presentTables(store, definition))
        footprint.push(...footprintOf(steps, where, definition.chunkRows));
    }
    return footprint;
  }

  async describe(ctx: Context): Promise<TableSummary[]> {
    const summaries: TableSummary[] = [];
    for (const { definition, store, steps } of await this.#tables(ctx)) {
      const { name } = steps.table;
      const { add = {} } = definition.tables[name] ?? {};
      const givenUp = Object.entries(add)
        .filter(([, { down }]) => down === undefined)
        .map(([column]) => column);
      summaries.push({ name, rows: await store.count(name), unit: 'rows', bytes: null, givenUp });
    }
    return summaries;
  }

  async installEpoch(ctx: Context): Promise<void> {
    for (const definition of this.#definitions) await this.#open(ctx, definition);
  }

  /** The new columns and what keeps them in step, one table a transaction. What was damaged is made anew. */
  async prepare(ctx: Context): Promise<void> {
    for (const definition of this.#definitions) {
      const store = await this.#open(ctx, definition);
      await store.prepare();
      const { home } = await placeOf(store);
      if (await hasRecords(store, home)) continue;
      await change({ store, identity: definition.in.identity(ctx) }, 'changeover_expanded', [
        `CREATE TABLE IF NOT EXISTS ${home}.changeover_expanded (
          name text, tbl text, kind text, what text, PRIMARY KEY (name, tbl, kind, what))`,
        `REVOKE ALL ON ${home}.changeover_expanded FROM PUBLIC`,
      ]);
    }
    for (const table of await this.#tables(ctx)) {
      const { definition, store, steps } = table;
      const made = await this.#madeOf(store, definition, steps.table.name);
      if (made.has('begun') && (await isIntact(store, steps))) continue;
      ctx.faults.at('data.capture.installing');
      await change(table, steps.table.name, made.has('begun') ? steps.keepInStep() : steps.begin(steps.missing));
      ctx.faults.at('data.capture.installed');
    }
  }

  /** Fills the new columns, and when all rows have their values makes the constraints and the indexes. */
  async copy(ctx: Context, next: () => Context): Promise<void> {
    for (const table of await this.#tables(ctx)) {
      const made = await this.#madeOf(table.store, table.definition, table.steps.table.name);
      await new Filling(table, made).run(next());
    }
    for (const table of await this.#tables(ctx)) {
      const made = await this.#madeOf(table.store, table.definition, table.steps.table.name);
      await build(ctx, table, made);
    }
  }

  /** Nothing changes without the trigger: after a verification of every row, what is left to look at is the trigger. */
  async verify(ctx: Context, next: () => Context, direction: Direction, scope: 'full' | 'changed'): Promise<Verdict[]> {
    const verdicts: Verdict[] = [];
    for (const table of await this.#tables(ctx)) {
      const own = next();
      const name = `${table.definition.name}.${table.steps.table.name}`;
      const compared = scope === 'changed' ? this.#verified.get(`${direction} ${name}`) : undefined;
      const found = await verifyTable(own, table, direction, await isIntact(table.store, table.steps), compared);
      verdicts.push(...found);
      const [verdict] = found;
      if (scope === 'full' && verdict?.outcome === 'PASS') this.#verified.set(`${direction} ${name}`, verdict.measured);
    }
    return verdicts;
  }

  /** Values of the new side that came down as something else. */
  async notReturnable(ctx: Context): Promise<{ table: string; rows: number; reason: string }[]> {
    const lost: { table: string; rows: number; reason: string }[] = [];
    for (const { definition, store, steps } of await this.#tables(ctx)) {
      // Before the run the new columns are not there, and after the contraction the old ones.
      if (!(await this.#madeOf(store, definition, steps.table.name)).has('begun')) continue;
      for (const column of steps.paired) {
        const rows = await differing(store, steps, column);
        const reason =
          column.down.length === 0
            ? `${column.name} has no \`down\``
            : `${column.name} is not what \`up\` makes of its \`down\``;
        if (rows > 0) lost.push({ table: steps.table.name, rows, reason });
      }
    }
    return lost;
  }

  /**
   * While the new side serves and the move ends: the old columns go. Otherwise all that was made goes: what nobody uses yet is as much ours as
   * the trigger.
   */
  async uninstall(ctx: Context, { emptyTarget }: { readonly emptyTarget: boolean }): Promise<Footprint[]> {
    const isContraction = !emptyTarget && ctx.liveSide === 'next';
    const removed: Footprint[] = [];
    for (const definition of this.#definitions) {
      const store = await this.#open(ctx, definition);
      for (const steps of await this.#presentTables(store, definition)) {
        const made = await this.#madeOf(store, definition, steps.table.name);
        if (!made.has('begun')) continue;
        const identity = definition.in.identity(ctx);
        await change({ store, identity }, steps.table.name, isContraction ? steps.contract() : steps.remove(made));
        const where = `${identity}: ${steps.table.name}`;
        const adds = isContraction ? 'the trigger and the old columns' : 'the trigger and what was added';
        removed.push({ where, adds, right: `owner of ${steps.table.qualified}`, removal: 'done' });
      }
    }
    await this.#removeRecords(ctx);
    return removed;
  }

  /** The gate goes last, and only where no other part of the plan still needs it. */
  async #removeRecords(ctx: Context): Promise<void> {
    const shared = (['legacy', 'next'] as Side[]).flatMap((side) => this.#stores.of(ctx, side));
    for (const definition of this.#definitions) {
      const store = await this.#open(ctx, definition);
      const { home } = await placeOf(store);
      const identity = definition.in.identity(ctx);
      if (await hasRecords(store, home))
        await change({ store, identity }, 'changeover_expanded', [`DROP TABLE ${home}.changeover_expanded`]);
      if (!shared.some((used) => used.identity === identity)) await store.uninstall();
    }
  }

  #open(ctx: Context, { in: store }: ExpandDefinition): Promise<OpenStore> {
    // Requests of both sides are at it all the time.
    return this.#stores.open(ctx, { identity: store.identity(ctx), store, side: 'legacy' });
  }

  async #tables(ctx: Context): Promise<ExpandedTable[]> {
    const tables: ExpandedTable[] = [];
    for (const definition of this.#definitions) {
      const store = await this.#open(ctx, definition);
      const place = await placeOf(store);
      const identity = definition.in.identity(ctx);
      for (const [name, expansion] of Object.entries(definition.tables))
        tables.push({
          definition,
          store,
          identity,
          steps: new TableSteps(definition, place, await findTable(store, name), expansion),
        });
    }
    return tables;
  }

  /** Without the tables that are not there, which `check` names. */
  async #presentTables(store: OpenStore, definition: ExpandDefinition): Promise<TableSteps[]> {
    const place = await placeOf(store);
    const present = async ([name, expansion]: [string, TableExpansion]): Promise<TableSteps[]> => {
      try {
        return [new TableSteps(definition, place, await findTable(store, name), expansion)];
      } catch (error) {
        if (isUnusable(error)) return [];
        throw error;
      }
    };
    const tables: TableSteps[] = [];
    for (const entry of Object.entries(definition.tables)) tables.push(...(await present(entry)));
    return tables;
  }

  async #madeOf(store: OpenStore, { name }: ExpandDefinition, table: string): Promise<Made> {
    const { home } = await placeOf(store);
    const made = new Map<MadeKind, string[]>();
    if (!(await hasRecords(store, home))) return made;
    const rows = await accessOf(store).query(
      `SELECT kind, what FROM ${home}.changeover_expanded WHERE name = $1 AND tbl = $2 ORDER BY kind, what`,
      [name, table],
    );
    for (const [kind, what] of rows) {
      const known = kind as MadeKind;
      made.set(known, [...(made.get(known) ?? []), String(what)]);
    }
    return made;
  }
}

async function placeOf(store: OpenStore): Promise<Place> {
  const [row] = await accessOf(store).query(
    "SELECT quote_ident(current_schema()), (SELECT string_agg(quote_ident(name), ', ') FROM unnest(current_schemas(false)) AS name)",
  );
  const [home, path] = row ?? [];
  return { home: String(home), path: `${String(path)}, pg_temp` };
}

async function hasRecords(store: OpenStore, home: string): Promise<boolean> {
  const [row] = await accessOf(store).query(`SELECT to_regclass('${home}.changeover_expanded') IS NOT NULL`);
  return isTrue(row?.[0]);
}

async function isIntact(store: OpenStore, { table, paired, body }: TableSteps): Promise<boolean> {
  if (paired.length === 0) return true;
  return (await accessOf(store).query(IS_INTACT, [table.oid, body])).length > 0;
}
