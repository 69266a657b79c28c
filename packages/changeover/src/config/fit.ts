import type { Finding, Json } from '../plan/words.ts';
import { isHiddenIn } from './move.ts';
import type { Placed } from './move.ts';
import type { Plan } from './rules.ts';
import { isStable, jsonOf, validate, validateText } from './schema.ts';
import type { Leaf } from './source.ts';
import { formatPath, getAt, isTree, isWithinPath, leavesOf, setAt, treeOf } from './tree.ts';
import type { Tree } from './tree.ts';

export interface Outcome {
  readonly findings: readonly Finding[];
  /** What the main file must say, secrets included. */
  readonly leaves: readonly Leaf[];
  /** The new settings as a whole. */
  readonly tree: Tree;
  /** What the schema adds by itself. */
  readonly defaults: Tree;
}

/** Lays the moved values over what the file has, and lets the schema judge and complete it. */
export async function fit(
  plan: Plan,
  placed: readonly (Placed & { path: readonly string[] })[],
  present: Tree,
  presentText: readonly (readonly string[])[],
): Promise<Outcome> {
  const own: Tree = {};
  for (const { path, value } of placed) setAt(own, path, structuredClone<Json>(value));
  const tree = structuredClone(present);
  for (const { path, value } of placed) setAt(tree, path, structuredClone<Json>(value));
  const { schema } = plan.definition;
  const ownLeaves = (from: Tree): Leaf[] =>
    placed.map(({ path, value }) => ({ path, value: getAt(from, path) ?? value }));
  if (schema === undefined) return { findings: [], leaves: ownLeaves(tree), tree, defaults: {} };

  const isText = [...presentText, ...placed.filter((each) => each.isText).map(({ path }) => path)];
  const validated = await validateText(schema, tree, isText);
  if (validated.issues !== undefined) {
    const findings = validated.issues.map((issue) => issueFinding(plan, placed, issue));
    return { findings, leaves: ownLeaves(tree), tree, defaults: {} };
  }
  const { value, odd } = jsonOf(validated.value);
  const output = isTree(value) ? value : {};
  const findings: Finding[] = odd.map((path) => ({
    level: 'error',
    about: path,
    message: `${path}: the schema makes something of it that no settings file can hold`,
    remedy: 'Let the schema give plain values, or set this one by hand.',
  }));
  for (const { path, isSecret: isHidden, from } of placed) {
    if (isHidden || getAt(output, path) !== undefined) continue;
    const message = `the new settings have no ${formatPath(path)}: the schema leaves it out, so ${from} would be lost`;
    findings.push({
      level: 'error',
      about: formatPath(path),
      message,
      remedy: 'Correct the path, or drop the key with a reason.',
    });
  }
  const mayRewrite = odd.length === 0 && (await isStable(schema, output));
  if (!mayRewrite && odd.length === 0) {
    const message =
      'the schema changes values each time that it reads them: they are written as they were before it, and its defaults are not written';
    findings.push({ level: 'info', about: plan.definition.to.file, message });
  }
  const alone = await validate(schema, treeOf(ownLeaves(tree)));
  const defaults = alone.issues === undefined ? jsonOf(alone.value).value : undefined;
  const added = mayRewrite
    ? leavesOf(output).filter(
        ({ path }) =>
          !placed.some((each) => isWithinPath(path, each.path) || isWithinPath(each.path, path)) &&
          getAt(present, path) === undefined,
      )
    : [];
  return {
    findings,
    leaves: [...ownLeaves(mayRewrite ? output : tree), ...added],
    tree: mayRewrite ? output : tree,
    defaults: isTree(defaults) ? defaults : {},
  };
}

function issueFinding(
  plan: Plan,
  placed: readonly (Placed & { path: readonly string[] })[],
  issue: { readonly path: readonly string[]; readonly message: string },
): Finding {
  const about = formatPath(issue.path);
  const cause =
    placed.find(({ path }) => isWithinPath(issue.path, path)) ??
    placed.find(({ path }) => isWithinPath(path, issue.path));
  const isHidden = cause !== undefined && isHiddenIn(plan, cause);
  const message = isHidden ? 'it does not fit the schema (why is not shown, it is a secret)' : issue.message;
  const from = cause === undefined ? '' : ` (from ${cause.from})`;
  const remedy =
    cause === undefined
      ? `Add set: { '${about}': { value: …, reason: '…' } }, or a rule that moves a legacy key there.`
      : 'Correct the value, or the rule.';
  return {
    level: 'error',
    about: about === '' ? plan.definition.to.file : about,
    message: `${about === '' ? 'the new settings' : about}: ${message}${from}`,
    remedy,
  };
}
