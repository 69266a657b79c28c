import type { Finding, Json } from '../plan/words.ts';
import { where } from './collect.ts';
import type { LegacyKey } from './collect.ts';
import { isSecret } from './mask.ts';
import type { Mask } from './mask.ts';
import type { Plan, PlannedRule } from './rules.ts';
import { formatPath, isEqual, isWithinPath, parsePath, setAt, toText } from './tree.ts';
import type { Tree } from './tree.ts';
import { convertUnit, numberFromText, toType } from './values.ts';

/** A value for the new settings. */
export interface Placed {
  /** Null: only in the environment. */
  readonly path: readonly string[] | null;
  readonly value: Json;
  /** The source could only hold text, and nothing has said what it is. */
  readonly isText: boolean;
  readonly isSecret: boolean;
  /** Name in a flat secrets file. */
  readonly env: string | null;
  /** Where it came from, for people. */
  readonly from: string;
  /** The rule's key; null for a constant. */
  readonly rule: string | null;
  /** The legacy keys in it. */
  readonly keys: readonly string[];
}

interface Found {
  readonly key: LegacyKey;
  /** What of the key lies below the rule's. */
  readonly below: string;
}

/** Keys that one value is made of, and where below the rule's places it goes. */
interface Part {
  readonly found: readonly Found[];
  readonly below: readonly string[];
}

export interface Moved {
  readonly placed: readonly Placed[];
  /** The rule of each legacy key; keys without one are unmapped. */
  readonly ruleOf: ReadonlyMap<LegacyKey, PlannedRule>;
  readonly findings: readonly Finding[];
  /** Places that get two values: path → the rules. */
  readonly conflicts: ReadonlySet<string>;
}

/** Applies the rules to the legacy keys. */
export function move(plan: Plan, keys: readonly LegacyKey[], mask: Mask): Moved {
  const findings: Finding[] = [];
  const ruleOf = new Map<LegacyKey, PlannedRule>();
  const matches = new Map<PlannedRule, Found[]>();
  for (const key of keys) {
    const match = bestRule(plan.rules, key);
    if (match === null) continue;
    ruleOf.set(key, match.rule);
    matches.set(match.rule, [...(matches.get(match.rule) ?? []), { key, below: match.below }]);
  }
  const placed: Placed[] = [];
  for (const rule of plan.rules) {
    const found = matches.get(rule) ?? [];
    if (rule.kind !== 'move') {
      if (found.length === 0) findings.push(unused(rule.key, keys));
      continue;
    }
    const same = found.filter(({ below }) => below === '').map(({ key }) => key.key);
    if (same.length > 1) findings.push(ambiguous(rule.key, same));
    for (const part of partsOf(plan, rule, found)) {
      const input = found.length === 0 ? absent(rule, keys, findings) : gather(rule, part, findings);
      if (input === null) continue;
      if (isSecret(rule.key, rule.rule.secret)) mask.add(input.value);
      const converted = convert(rule, input);
      if ('finding' in converted) {
        findings.push(converted.finding);
        continue;
      }
      if (rule.rule.secret === true) mask.add(converted.value);
      placed.push(...place(rule, part, converted, input, findings));
    }
  }
  for (const { path, constant } of plan.constants) {
    if (constant.secret === true) mask.add(constant.value);
    const isHidden = constant.secret === true;
    const env = isHidden && path.length === 1 ? (path[0] ?? null) : null;
    placed.push({
      path,
      value: constant.value,
      isText: false,
      isSecret: isHidden,
      env,
      from: `constant: ${constant.reason}`,
      rule: null,
      keys: [],
    });
  }
  return { placed, ruleOf, ...contradictions(placed, findings) };
}

/** The rule of the key itself, of one of its other names, or of the nearest thing above it. */
function bestRule(
  rules: readonly PlannedRule[],
  { key, aliases }: LegacyKey,
): { rule: PlannedRule; below: string } | null {
  let best: { rule: PlannedRule; below: string } | null = null;
  for (const rule of rules) {
    for (const name of [key, ...aliases]) {
      if (name !== rule.key && !name.startsWith(`${rule.key}.`)) continue;
      const below = name.slice(rule.key.length + 1);
      if (best === null || below.length < best.below.length) best = { rule, below };
    }
  }
  return best;
}

/** A rule for a whole branch moves each key in it by itself, unless it changes the branch as a whole. */
function partsOf(plan: Plan, { rule }: PlannedRule & { kind: 'move' }, found: readonly Found[]): readonly Part[] {
  const isWhole =
    rule.convert !== undefined ||
    rule.type !== undefined ||
    rule.unit !== undefined ||
    rule.spread === true ||
    (rule.secret === true && isFlat(plan));
  if (isWhole || found.every(({ below }) => below === '')) return [{ found, below: [] }];
  return found.map((each) => ({ found: [each], below: stepsBelow(each) }));
}

function stepsBelow({ below }: Found): readonly string[] {
  return below === '' ? [] : (parsePath(below) ?? [below]);
}

function ambiguous(key: string, names: readonly string[]): Finding {
  const message = `${key} stands for several legacy keys: ${names.join(', ')}`;
  return { level: 'error', about: `map.${key}`, message, remedy: 'Give each of them a rule of its own.' };
}

interface Input {
  readonly value: Json;
  readonly isText: boolean;
  readonly from: string;
  readonly at: string;
}

function absent(rule: PlannedRule & { kind: 'move' }, keys: readonly LegacyKey[], findings: Finding[]): Input | null {
  if (rule.fallback !== undefined) {
    return {
      value: rule.fallback,
      isText: false,
      from: `legacy default of ${rule.key}`,
      at: `legacyDefaults.${rule.key}`,
    };
  }
  findings.push(unused(rule.key, keys));
  return null;
}

/** A rule that nothing matches is a misspelt key, or a setting whose legacy default would silently become the new one. */
function unused(key: string, keys: readonly LegacyKey[]): Finding {
  const near = keys
    .map((legacy) => legacy.key)
    .find((name) => name.toLowerCase().replaceAll(/[^a-z0-9]/g, '') === key.toLowerCase().replaceAll(/[^a-z0-9]/g, ''));
  const message = `no source has ${key}${near === undefined ? '' : ` (there is ${near})`}; the new system's own default will hold`;
  return {
    level: 'warning',
    about: `map.${key}`,
    message,
    remedy: `Add legacyDefaults: { ${quoteKey(key)}: … } with what the legacy does without it, or remove the rule.`,
  };
}

function gather(rule: PlannedRule & { kind: 'move' }, { found, below }: Part, findings: Finding[]): Input | null {
  const [first] = found;
  if (first === undefined) return null;
  const unreadable = found.filter(
    ({ key: { entry } }) => entry.value === undefined || (entry.isBigInteger === true && rule.rule.type !== 'string'),
  );
  if (unreadable.length > 0) {
    if (rule.fallback !== undefined && found.every(({ key }) => key.entry.value === undefined))
      return absent(rule, [], findings);
    for (const { key } of unreadable) {
      const { entry } = key;
      const message =
        entry.value === undefined
          ? `its value cannot be read: ${entry.unread ?? 'it is no literal'}`
          : 'it is an integer beyond 2^53, which a number cannot hold exactly';
      const remedy =
        entry.value === undefined
          ? `Say what it is: ${quoteKey(rule.key)}: { …, default: … }`
          : `Move it as text: ${quoteKey(rule.key)}: { …, type: 'string' }`;
      findings.push({
        level: 'error',
        about: `${entry.source}:${key.key}`,
        message: `${where(entry)}: ${key.key}: ${message}`,
        remedy,
      });
    }
    return null;
  }
  const { entry, isDefault } = first.key;
  const from = isDefault
    ? `legacy default of ${first.key.key} (${where(entry)})`
    : `${where(entry)} ${found.length === 1 ? first.key.key : rule.key}`;
  const input = { from, at: `${where(entry)}: ${first.key.key}` };
  if (first.below === '' || below.length > 0) return { value: entry.value ?? null, isText: entry.isText, ...input };
  const tree: Tree = {};
  for (const each of found) setAt(tree, stepsBelow(each), each.key.entry.value ?? null);
  return { value: tree, isText: false, ...input };
}

type Converted = { readonly value: Json; readonly isText: boolean } | { readonly finding: Finding };

function convert({ key, rule }: PlannedRule & { kind: 'move' }, input: Input): Converted {
  let { value, isText } = input;
  const failed = (message: string): Converted => ({
    finding: {
      level: 'error',
      about: `map.${key}`,
      message: `${input.at}: ${message}`,
      remedy: 'Correct the value, or the rule.',
    },
  });
  if (rule.type !== undefined) {
    const typed = toType(value, rule.type);
    if (typed === undefined) return failed(`it is no ${rule.type}`);
    [value, isText] = [typed, false];
  }
  if (rule.unit !== undefined) {
    const number = typeof value === 'number' ? value : numberFromText(toText(value));
    if (number === undefined) return failed(`it is no number of ${rule.unit.from}`);
    [value, isText] = [convertUnit(number, rule.unit.from, rule.unit.to), false];
  }
  if (rule.convert === undefined) return { value, isText };
  try {
    return { value: rule.convert(value), isText: false };
  } catch (error) {
    const reason = isSecret(key, rule.secret)
      ? 'its reason is not shown, the key is a secret'
      : error instanceof Error
        ? error.message
        : 'it threw no error';
    return failed(`convert failed: ${reason}`);
  }
}

function place(
  rule: PlannedRule & { kind: 'move' },
  { found, below }: Part,
  { value, isText }: { value: Json; isText: boolean },
  input: Input,
  findings: Finding[],
): Placed[] {
  const common = {
    isText,
    isSecret: rule.rule.secret ?? false,
    env: rule.env,
    from: input.from,
    rule: rule.key,
    keys: found.map(({ key }) => key.key),
  };
  if (rule.to.length === 0) return [{ path: null, value, ...common }];
  if (rule.rule.spread !== true) return rule.to.map((path) => ({ path: [...path, ...below], value, ...common }));
  if (!Array.isArray(value) || value.length !== rule.to.length) {
    const message = `${input.at}: it is no list of ${rule.to.length} items to spread`;
    findings.push({
      level: 'error',
      about: `map.${rule.key}`,
      message,
      remedy: 'Correct the value, or the places in `to`.',
    });
    return [];
  }
  const items: readonly Json[] = value;
  return rule.to.map((path, index) => ({ path, value: items[index] ?? null, ...common }));
}

function contradictions(
  placed: readonly Placed[],
  before: readonly Finding[],
): { readonly findings: Finding[]; readonly conflicts: ReadonlySet<string> } {
  const conflicts = new Set<string>();
  const findings = [...before];
  for (const [index, one] of placed.entries()) {
    for (const other of placed.slice(index + 1)) {
      if (one.path === null || other.path === null) continue;
      const isSame = one.path.length === other.path.length;
      if (!isWithinPath(one.path, other.path) && !isWithinPath(other.path, one.path)) continue;
      if (isSame && isEqual(one.value, other.value)) continue;
      for (const { rule } of [one, other]) if (rule !== null) conflicts.add(rule);
      const names = `${one.from} and ${other.from}`;
      const message = isSame
        ? `${formatPath(one.path)} would get two values: ${names}`
        : `${formatPath(one.path)} and ${formatPath(other.path)} exclude each other: ${names}`;
      findings.push({
        level: 'error',
        about: formatPath(one.path),
        message,
        remedy: 'Keep one of the two rules, or drop the other key with a reason.',
      });
    }
  }
  return { findings, conflicts };
}

export function quoteKey(key: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(key) ? key : `'${key}'`;
}

/** What the plan says about a key being a secret. */
export function saidOf(plan: Plan, key: string): boolean | undefined {
  return plan.rules.find((rule) => rule.key === key)?.rule.secret;
}

/** True where secrets are written as names of an environment. */
export function isFlat({ definition }: Plan): boolean {
  return definition.secrets?.format.isFlat === true;
}

/** True when the value must not be shown: it is declared a secret, or named like one. */
export function isHiddenIn(plan: Plan, { rule, path, isSecret: isDeclared, env }: Placed): boolean {
  const said = rule === null ? undefined : saidOf(plan, rule);
  return isDeclared || [rule ?? '', formatPath(path ?? []), env ?? ''].some((name) => isSecret(name, said));
}
