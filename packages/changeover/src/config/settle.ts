import type { Context } from '../plan/context.ts';
import type { SettingsReport } from '../plan/ports.ts';
import type { Finding } from '../plan/words.ts';
import { collect, where } from './collect.ts';
import type { Collected, LegacyKey } from './collect.ts';
import { fit } from './fit.ts';
import { isSecret, Mask } from './mask.ts';
import { isFlat, isHiddenIn, move, quoteKey, saidOf } from './move.ts';
import type { Moved, Placed } from './move.ts';
import { legacyRows, nextRows } from './report.ts';
import type { Plan } from './rules.ts';
import { finish, openTarget } from './target.ts';
import type { Target } from './target.ts';
import { formatPath, isWithinPath, leavesOf } from './tree.ts';

/** Everything that a reading of the settings leads to. No finding and no row holds a secret. */
export interface Settled {
  readonly findings: readonly Finding[];
  readonly report: SettingsReport;
  readonly targets: readonly Target[];
  readonly sources: Collected['loaded'];
}

/** Reads the sources and the new files as they are, and works out what the new files must be. Changes nothing. */
export async function settle(ctx: Pick<Context, 'root'>, plan: Plan): Promise<Settled> {
  const mask = new Mask();
  const collected = await collect(ctx, plan.definition.from);
  for (const { key, entry, overridden } of collected.keys) {
    if (isSecret(key, saidOf(plan, key))) for (const { value } of [entry, ...overridden]) mask.add(value);
  }
  const moved = move(plan, collected.keys, mask);
  const present = await openTarget(ctx, plan.definition.to, false);
  const secrets = plan.definition.secrets === undefined ? null : await openTarget(ctx, plan.definition.secrets, true);
  for (const { value } of leavesOf(secrets?.tree ?? {})) mask.add(value);

  const inTree = moved.placed.filter((each): each is Placed & { path: readonly string[] } => each.path !== null);
  const outcome = await fit(plan, inTree, present.tree, present.isText);
  const written = outcome.leaves.filter(
    ({ path }) => !inTree.some((each) => each.isSecret && isWithinPath(path, each.path)),
  );
  const hidden = moved.placed.filter((each) => each.isSecret);
  const secretLeaves = hidden.map(({ path, env, value }) => ({
    path: isFlat(plan) ? [env ?? ''] : (path ?? [env ?? '']),
    value,
  }));

  const main = finish(present, written);
  const side = secrets === null || secretLeaves.length === 0 ? null : finish(secrets, secretLeaves);
  const findings = [
    ...collected.findings,
    ...moved.findings,
    ...unmapped(collected.keys, moved),
    ...secretNames(plan, moved),
    ...present.findings,
    ...(secrets?.findings ?? []),
    ...outcome.findings,
    ...main.findings,
    ...(side?.findings ?? []),
  ].map((finding) => ({
    ...finding,
    message: mask.text(finding.message),
    ...(finding.remedy === undefined ? {} : { remedy: mask.text(finding.remedy) }),
  }));
  return {
    findings,
    report: {
      legacy: legacyRows(plan, collected.keys, moved, mask),
      next: nextRows(plan, inTree, outcome, present, hidden, mask),
    },
    targets: [...(side === null ? [] : [side.target]), main.target],
    sources: collected.loaded,
  };
}

/** No key may be lost by silence. */
function unmapped(keys: readonly LegacyKey[], { ruleOf }: Moved): Finding[] {
  return keys
    .filter((key) => !ruleOf.has(key))
    .map(({ key, entry, isDefault }) => ({
      level: 'error',
      about: `${entry.source}:${key}`,
      message: `${where(entry)}: ${key} has no rule${isDefault ? ' (the legacy has a default for it)' : ''}: it would be lost`,
      remedy: `Add to map: ${quoteKey(key)}: 'path.in.new', or ${quoteKey(key)}: { keep: true }, or ${quoteKey(key)}: { drop: 'why it is not needed' }`,
    }));
}

/** What is named like a secret and moves into a file that everybody may read. */
function secretNames(plan: Plan, { placed }: Moved): Finding[] {
  return placed
    .filter((each) => !each.isSecret && isHiddenIn(plan, each))
    .map(({ path, from, rule }) => ({
      level: 'warning',
      about: formatPath(path ?? []),
      message: `${from} is named like a secret, and ${plan.definition.to.file} is no place for secrets`,
      remedy:
        rule === null
          ? 'Say secret: true in set.'
          : `Say ${quoteKey(rule)}: { …, secret: true } and secrets: dotenv('…'), or secret: false.`,
    }));
}
