import type { Json } from '../plan/words.ts';
import type { Plan, PlannedRule } from './rules.ts';
import { getAt } from './tree.ts';
import { convertUnit } from './values.ts';

/** New settings as the legacy would have said them. */
export interface Inverted {
  /** Legacy key → value, typed as in the new settings. */
  readonly values: Readonly<Record<string, Json>>;
  /** Keys that cannot be told back, with the reason. */
  readonly lost: readonly { readonly key: string; readonly reason: string }[];
}

/** Runs the rules backwards over a tree of new settings. */
export function invert(plan: Plan, tree: Json): Inverted {
  const values: Record<string, Json> = {};
  const lost: { key: string; reason: string }[] = [];
  for (const rule of plan.rules) {
    if (rule.kind !== 'move') {
      lost.push({ key: rule.key, reason: rule.kind === 'keep' ? 'it stays where it is' : rule.reason });
      continue;
    }
    const result = invertOne(rule, tree);
    if ('reason' in result) lost.push({ key: rule.key, reason: result.reason });
    else values[rule.key] = result.value;
  }
  return { values, lost };
}

function invertOne(
  { to, rule }: PlannedRule & { kind: 'move' },
  tree: Json,
): { readonly value: Json } | { readonly reason: string } {
  if (to.length === 0) return { reason: 'it is only in the environment' };
  const parts = to.map((path) => getAt(tree, path));
  const missing = parts.indexOf(undefined);
  if (missing !== -1) return { reason: `the new settings have no ${(to[missing] ?? []).join('.')}` };
  let value: Json = rule.spread === true ? parts.map((part) => part ?? null) : (parts[0] ?? null);
  if (rule.convert !== undefined) {
    if (rule.back === undefined) return { reason: 'its rule has convert and no back' };
    value = rule.back(value);
  }
  if (rule.unit !== undefined) {
    if (typeof value !== 'number') return { reason: `it is no number of ${rule.unit.to}` };
    value = convertUnit(value, rule.unit.to, rule.unit.from);
  }
  return { value };
}
