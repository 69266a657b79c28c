import { z } from 'zod';
import type { Json } from '../plan/words.ts';
import { formatPath, getAt, isEqual, setAt } from './tree.ts';
import type { Tree } from './tree.ts';
import { booleanFromText, numberFromText } from './values.ts';

/** The part of the Standard Schema interface (standardschema.dev) that is needed here. */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
    readonly validate: (value: unknown) => StandardResult<Output> | Promise<StandardResult<Output>>;
  };
}

type StandardResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | {
      readonly issues: readonly {
        readonly message: string;
        readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
      }[];
    };

export type SchemaInput<Schema extends StandardSchema> = NonNullable<Schema['~standard']['types']>['input'];

/** Every dotted path into a type, so that a misspelt one does not compile. Plain text where the type is not known. */
export type PathsOf<T, Depth extends readonly 0[] = []> = unknown extends T
  ? string
  : Depth['length'] extends 7
    ? string
    : T extends readonly unknown[] | Date
      ? never
      : T extends object
        ? { [Key in keyof T & string]: Key | `${Key}.${PathsOf<NonNullable<T[Key]>, [...Depth, 0]>}` }[keyof T & string]
        : never;

export interface Issue {
  readonly path: readonly string[];
  readonly message: string;
}

export type Validated =
  { readonly value: unknown; readonly issues?: never } | { readonly value?: never; readonly issues: readonly Issue[] };

export async function validate(schema: StandardSchema, tree: Tree): Promise<Validated> {
  const result = await schema['~standard'].validate(structuredClone(tree));
  if (result.issues === undefined) return { value: result.value };
  return {
    issues: result.issues.map(({ message, path = [] }) => ({
      message,
      path: path.map((step) => String(typeof step === 'object' ? step.key : step)),
    })),
  };
}

/**
 * Validates, and gives values that a source could only hold as text the type that the schema asks for: a number first, then a boolean.
 * What fits as text stays text. `tree` is changed.
 */
export async function validateText(
  schema: StandardSchema,
  tree: Tree,
  textPaths: readonly (readonly string[])[],
): Promise<Validated> {
  const isText = new Set(textPaths.map(formatPath));
  let result = await validate(schema, tree);
  for (const read of [numberFromText, booleanFromText]) {
    const tried: { readonly path: readonly string[]; readonly text: string }[] = [];
    for (const { path } of result.issues ?? []) {
      const text = getAt(tree, path);
      const value = typeof text === 'string' && isText.has(formatPath(path)) ? read(text) : undefined;
      if (value === undefined) continue;
      tried.push({ path, text: text as string });
      setAt(tree, path, value);
    }
    if (tried.length === 0) continue;
    const complaints = result;
    result = await validate(schema, tree);
    // when only the value is complained about, and not the type any more, the type is right
    const before = new Map((complaints.issues ?? []).map((issue) => [formatPath(issue.path), kindOfComplaint(issue)]));
    const failing = tried.filter(({ path }) =>
      result.issues?.some(
        (issue) =>
          formatPath(issue.path) === formatPath(path) && before.get(formatPath(path)) === kindOfComplaint(issue),
      ),
    );
    for (const { path, text } of failing) setAt(tree, path, text);
    if (failing.length > 0) result = await validate(schema, tree);
  }
  return result;
}

function kindOfComplaint({ message }: Issue): string {
  return message.replace(/received.*$/is, '');
}

/** True when validating the output again gives the same: then it may be written in place of the input. */
export async function isStable(schema: StandardSchema, output: Tree): Promise<boolean> {
  const again = await validate(schema, output);
  return again.issues === undefined && isEqual(jsonOf(again.value).value, output);
}

/** A value without what JSON cannot hold; `odd` says where that was. */
export function jsonOf(
  value: unknown,
  path: readonly string[] = [],
): { readonly value: Json | undefined; readonly odd: readonly string[] } {
  if (value === undefined) return { value: undefined, odd: [] };
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return { value, odd: [] };
  if (typeof value === 'number' && Number.isFinite(value)) return { value, odd: [] };
  if (Array.isArray(value)) {
    const items = value.map((item: unknown, index) => jsonOf(item, [...path, String(index)]));
    return { value: items.map((item) => item.value ?? null), odd: items.flatMap(({ odd }) => odd) };
  }
  const isPlain =
    typeof value === 'object' && [Object.prototype, null].includes(Object.getPrototypeOf(value) as object | null);
  if (!isPlain) return { value: undefined, odd: [formatPath(path)] };
  const members = Object.entries(value).map(([name, inner]) => [name, jsonOf(inner, [...path, name])] as const);
  const tree: Tree = {};
  for (const [name, inner] of members) if (inner.value !== undefined) setAt(tree, [name], inner.value);
  return { value: tree, odd: members.flatMap(([, { odd }]) => odd) };
}

/** What stands for the schema in the plan's hash: its JSON Schema where it is zod's. */
export function specOfSchema(schema: StandardSchema | undefined): Json {
  if (schema === undefined) return null;
  const { vendor } = schema['~standard'];
  if (!(schema instanceof z.ZodType)) return { vendor };
  try {
    const json = jsonOf(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })).value ?? null;
    return { vendor, schema: json };
  } catch {
    return { vendor }; // a schema that JSON Schema cannot say: the plan's hash then does not see changes of it
  }
}
