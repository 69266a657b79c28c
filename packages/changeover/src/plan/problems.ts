import { z } from 'zod';
import { isSecretName, maskAddresses } from './spec.ts';

/** One thing that is wrong with a plan. */
export interface PlanProblem {
  /** Where, as one would write it: `legacy.units[0].url`. */
  readonly path: string;
  readonly expected: string;
  /** What stands there now, shortened, secrets masked. */
  readonly received: string;
  readonly remedy: string;
}

type Path = readonly PropertyKey[];

/** Every way in which `input` is not what `schema` says. */
export function problemsOf(schema: z.ZodType, input: unknown): PlanProblem[] {
  const result = schema.safeParse(input);
  return result.success ? [] : result.error.issues.flatMap((issue) => problemsOfIssue(schema, input, issue));
}

function problemsOfIssue(schema: z.ZodType, input: unknown, issue: z.core.$ZodIssue): PlanProblem[] {
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownName(schema, input, issue.path, key));
  if (issue.code === 'invalid_union') {
    const inner = unionBranchMeant(issue.errors);
    if (inner !== null) {
      const branch = schemaAt(schema, issue.path);
      return inner.flatMap((nested) =>
        problemsOfIssue(schema, input, { ...nested, path: [...issue.path, ...nested.path] }).map((problem) =>
          branch === null ? problem : { ...problem, remedy: remedyOf(branch, issue.path) ?? problem.remedy },
        ),
      );
    }
  }
  const received = valueAt(input, issue.path);
  const remedy =
    remedyOf(schemaAt(schema, issue.path), issue.path) ??
    (received === undefined ? `add ${lastName(issue.path)}` : `change ${lastName(issue.path)}`);
  return [{ path: showPath(issue.path), expected: issue.message, received: show(received, issue.path), remedy }];
}

// An object given to "a text, or an object of this shape" meant the object: its own mistakes say more than the union's.
function unionBranchMeant(branches: readonly (readonly z.core.$ZodIssue[])[]): readonly z.core.$ZodIssue[] | null {
  return (
    branches.find((issues) => issues.some((issue) => issue.path.length > 0 || issue.code === 'unrecognized_keys')) ??
    null
  );
}

function unknownName(schema: z.ZodType, input: unknown, path: Path, key: string): PlanProblem {
  const known = knownNames(schemaAt(schema, path));
  const meant = nearest(key, known);
  const at = [...path, key];
  return {
    path: showPath(at),
    expected: known.length > 0 ? `one of ${known.join(', ')}` : 'a known name',
    received: show(valueAt(input, at), at),
    remedy: meant === null ? `remove ${key}` : `rename ${key} to ${meant}`,
  };
}

/** The schema of the value at `path`, through optional values, lists and unions with one object; null where it cannot be said. */
function schemaAt(schema: z.ZodType, path: Path): z.ZodType | null {
  let at: z.core.$ZodType | undefined = schema;
  for (const step of path) {
    at = unwrap(at);
    if (at instanceof z.ZodObject) at = (at.shape as Record<PropertyKey, z.ZodType>)[step];
    else if (at instanceof z.ZodArray) at = at.element;
    else return null;
  }
  return (at as z.ZodType | undefined) ?? null;
}

function unwrap(schema: z.core.$ZodType | undefined): z.core.$ZodType | undefined {
  if (schema instanceof z.ZodOptional) return unwrap(schema.unwrap());
  if (schema instanceof z.ZodUnion) return schema.options.find((option) => option instanceof z.ZodObject);
  return schema;
}

function knownNames(schema: z.ZodType | null): string[] {
  const section = unwrap(schema ?? undefined);
  return section instanceof z.ZodObject ? Object.keys(section.shape) : [];
}

function remedyOf(schema: z.ZodType | null, path: Path): string | null {
  const examples = schema === null ? undefined : metaOf(schema)?.examples;
  if (!Array.isArray(examples) || examples.length === 0) return null;
  const [example] = examples as unknown[];
  const isSource = typeof example === 'string' && /^\w+\(/.test(example);
  const written = isSource ? example : JSON.stringify(example).replaceAll('"', "'");
  return typeof path.at(-1) === 'number' ? `write ${written}` : `write ${lastName(path)}: ${written}`;
}

function metaOf(schema: z.ZodType): z.GlobalMeta | undefined {
  return schema.meta() ?? (schema instanceof z.ZodOptional ? metaOf(schema.unwrap() as z.ZodType) : undefined);
}

function valueAt(input: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (value, step) =>
      typeof value === 'object' && value !== null ? (value as Record<PropertyKey, unknown>)[step] : undefined,
    input,
  );
}

/** `['legacy', 'units', 0]` as `legacy.units[0]`. */
export function showPath(path: Path): string {
  const shown = path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${String(step)}`)).join('');
  return shown === '' ? '(plan)' : shown.replace(/^\./, '');
}

function lastName(path: Path): string {
  const name = path.findLast((step) => typeof step === 'string');
  return name ?? 'the plan';
}

const SHOWN_CHARACTERS = 60;

/** A received value in one short line. Values under secret names and environments are never shown. */
export function show(value: unknown, path: Path): string {
  if (value === undefined) return 'nothing';
  if (path.some((step) => typeof step === 'string' && (step === 'env' || isSecretName(step)))) return '(hidden)';
  if (typeof value === 'string') return shorten(JSON.stringify(maskAddresses(value)));
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'object' && value !== null) return describe(value);
  if (typeof value === 'symbol' || typeof value === 'bigint') return shorten(value.toString());
  return shorten(`${value as null | boolean | number}`);
}

// An object's content is not shown: it may hold secrets under names that do not sound like it.
function describe(value: object): string {
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : `a list of ${value.length}`;
  const names = Object.keys(value);
  return names.length === 0 ? 'an empty object' : shorten(`an object with ${names.join(', ')}`);
}

function shorten(shown: string): string {
  return shown.length <= SHOWN_CHARACTERS ? shown : `${shown.slice(0, SHOWN_CHARACTERS - 1)}…`;
}

/** The known name that `name` probably means, or null: at most a third of its letters may differ. */
export function nearest(name: string, known: readonly string[]): string | null {
  const ranked = known
    .map((candidate) => ({ candidate, distance: distance(name.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  const best = ranked[0];
  return best !== undefined &&
    best.distance <= Math.max(1, Math.floor(Math.max(name.length, best.candidate.length) / 3))
    ? best.candidate
    : null;
}

// Levenshtein's distance where two swapped letters count once, three rows at a time; long hostile names are cut.
function distance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let line = 1; line <= Math.min(a.length, 64); line++) {
    const next = [line];
    for (let column = 1; column <= b.length; column++) {
      const replaced = (row[column - 1] ?? 0) + (a[line - 1] === b[column - 1] ? 0 : 1);
      const isSwap = line > 1 && column > 1 && a[line - 1] === b[column - 2] && a[line - 2] === b[column - 1];
      const swapped = isSwap ? (before[column - 2] ?? 0) + 1 : Infinity;
      next.push(Math.min(replaced, swapped, (row[column] ?? 0) + 1, (next[column - 1] ?? 0) + 1));
    }
    before = row;
    row = next;
  }
  return row[b.length] ?? 0;
}
