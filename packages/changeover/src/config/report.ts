import type { SettingsReport } from '../plan/ports.ts';
import { where } from './collect.ts';
import type { LegacyKey } from './collect.ts';
import { isSecret } from './mask.ts';
import type { Mask } from './mask.ts';
import { isFlat, isHiddenIn } from './move.ts';
import type { Moved, Placed } from './move.ts';
import type { Plan } from './rules.ts';
import type { Outcome } from './fit.ts';
import type { OpenedTarget } from './target.ts';
import { deleteAt, formatPath, getAt, isEqual, isWithinPath, leavesOf, setAt } from './tree.ts';

/** Every legacy key with its fate, the overridden values too. */
export function legacyRows(plan: Plan, keys: readonly LegacyKey[], moved: Moved, mask: Mask): SettingsReport['legacy'] {
  return keys.flatMap((key) => {
    const rule = moved.ruleOf.get(key);
    const isHidden = isSecret(key.key, rule?.rule.secret);
    const row = (
      entry: LegacyKey['entry'],
      fate: 'moved' | 'kept' | 'dropped' | 'conflict',
      detail: string,
    ): SettingsReport['legacy'][number] => ({
      source: where(entry),
      key: key.key,
      fate,
      detail: mask.text(detail),
      shown: entry.value === undefined ? (entry.unread ?? '?') : mask.show(entry.value, isHidden),
    });
    const overridden = key.overridden.map((entry) =>
      row(
        entry,
        'dropped',
        `${entry.defaultOf === undefined ? '' : 'legacy default, '}overridden by ${where(key.entry)}`,
      ),
    );
    if (rule === undefined) return [...overridden, row(key.entry, 'conflict', 'no rule in the plan')];
    if (rule.kind !== 'move')
      return [...overridden, row(key.entry, rule.kind === 'keep' ? 'kept' : 'dropped', rule.reason)];
    const places = moved.placed.filter((each) => each.rule === rule.key && each.keys.includes(key.key));
    if (moved.conflicts.has(rule.key))
      return [...overridden, row(key.entry, 'conflict', 'its place gets another value too')];
    if (places.length === 0) return [...overridden, row(key.entry, 'conflict', 'its value cannot be moved; see check')];
    const detail = places.map(({ path, env, isSecret: isDeclared }) =>
      isDeclared
        ? `${plan.definition.secrets?.file ?? ''}:${isFlat(plan) ? (env ?? '') : formatPath(path ?? [env ?? ''])}`
        : formatPath(path ?? []),
    );
    return [...overridden, row(key.entry, 'moved', `${detail.join(', ')}${key.isDefault ? ' (legacy default)' : ''}`)];
  });
}

/** Every new setting with where its value came from. */
export function nextRows(
  plan: Plan,
  placed: readonly (Placed & { path: readonly string[] })[],
  { tree, defaults, leaves }: Outcome,
  present: OpenedTarget,
  hidden: readonly Placed[],
  mask: Mask,
): SettingsReport['next'] {
  const open = structuredClone(tree);
  for (const { path, isSecret: isDeclared } of placed) if (isDeclared) deleteAt(open, path);
  for (const { path, value } of leaves) if (getAt(tree, path) === undefined) setAt(open, path, value);
  const rows = leavesOf(open).map(({ path, value }) => {
    const source = placed.find((each) => isWithinPath(path, each.path));
    const isDefault = isEqual(getAt(defaults, path), value) || getAt(present.tree, path) === undefined;
    const from = source?.from ?? (isDefault ? 'schema default' : `already in ${present.file.file}`);
    // a default of the schema stands in the program's text for everybody
    const isHidden =
      source === undefined ? !isDefault && isSecret(formatPath(path), undefined) : isHiddenIn(plan, source);
    return { path: formatPath(path), from: mask.text(from), shown: mask.show(value, isHidden) };
  });
  const secret = hidden.map(({ path, env, from, value }) => {
    const name = isFlat(plan) ? (env ?? '') : formatPath(path ?? [env ?? '']);
    return {
      path: `${plan.definition.secrets?.file ?? ''}:${name}`,
      from: mask.text(from),
      shown: mask.show(value, true),
    };
  });
  return [...rows, ...secret];
}
