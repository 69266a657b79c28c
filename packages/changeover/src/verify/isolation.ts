import type { Check, TenantCount } from '../plan/ports.ts';
import type { Verdict } from '../plan/words.ts';
import type { ReadingOptions } from './rows.ts';
import { attempt, inconclusive } from './verdict.ts';

export interface IsolationOptions extends ReadingOptions {
  /** The column that names the tenant, as the new side calls it. */
  readonly tenant: string;
  /** Only these tables. Default: every table that has the column. */
  readonly tables?: readonly string[];
}

const SHOWN = 3;

/**
 * Compares the rows of each tenant on both sides, table by table: a row that came under another tenant, or under none, is one too few
 * here and one too many there. Together with `rows()`, which compares every value, no row can have changed hands unseen.
 * INCONCLUSIVE where no table has the column, where there are no rows, and where counts differ only while rows are written.
 *
 * @example
 * ```ts
 * const checks = [rows(), isolation({ tenant: 'network_id' })];
 * ```
 */
export function isolation({ tenant, tables, timeout }: IsolationOptions): Check {
  const name = `isolation by ${tenant}`;
  return {
    name,
    spec: { check: 'isolation', tenant, tables: tables ?? null, timeout: timeout ?? null },
    run: (ctx, { data, direction }) =>
      attempt(name, ctx, timeout, async (limited) => {
        const counted = await data.countByTenant(limited, direction, tenant);
        const byTable = Map.groupBy(counted, ({ table }) => table);
        const wanted = tables ?? [...byTable.keys()];
        if (wanted.length === 0) return [inconclusive(name, `no table has a column ${tenant}`)];
        return wanted.map((table) => judge(`${table}: ${name}`, byTable.get(table) ?? []));
      }),
  };
}

function judge(check: string, counted: readonly TenantCount[]): Verdict {
  const measured = counted.reduce((sum, { source, target }) => sum + Math.max(source, target), 0);
  if (measured === 0) return inconclusive(check, 'no rows on either side');
  const moved = counted.filter(({ source, target }) => source !== target);
  if (moved.length === 0) {
    return {
      check,
      outcome: 'PASS',
      evidence: `${measured} rows of ${counted.length} tenants on both sides`,
      measured,
    };
  }
  const certain = moved.filter(({ isChanging }) => isChanging !== true);
  if (certain.length === 0) return inconclusive(check, `${moved.length} tenants are still changing`);
  const told = certain
    .slice(0, SHOWN)
    .map(({ tenant, source, target }) => `${tenant ?? 'no tenant'}: ${source} rows, ${target} on the other side`);
  const more = certain.length > SHOWN ? `; and ${certain.length - SHOWN} more tenants` : '';
  return { check, outcome: 'FAIL', evidence: `${told.join('; ')}${more}`, measured };
}
