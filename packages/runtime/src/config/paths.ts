import { z } from 'zod';

/** One setting that has a value of its own. */
export interface Leaf {
  /** Such as `frameCapture.debounceTime`. */
  readonly path: readonly string[];
  /** What the text of an environment variable or an argument is read as. */
  readonly form: 'number' | 'boolean' | 'text' | 'json';
  readonly isSecret: boolean;
  /** Takes effect only when the service starts again. */
  readonly isRestartOnly: boolean;
}

interface Mark {
  readonly secret?: boolean;
  readonly restart?: boolean;
}

/** Every setting of a schema, in its order. A mark on an object holds for all that is in it. */
export function leavesOf(schema: z.ZodType, path: readonly string[] = [], inherited: Mark = {}): Leaf[] {
  const mark = { ...inherited, ...marksOf(schema) };
  const inner = unwrapped(schema);
  if (inner instanceof z.ZodObject)
    return Object.entries(inner.shape).flatMap(([name, part]) => leavesOf(part as z.ZodType, [...path, name], mark));
  const own = { ...mark, ...marksOf(inner) };
  return [{ path, form: formOf(inner), isSecret: own.secret === true, isRestartOnly: own.restart === true }];
}

/** The schema below defaults, optionals and the like. */
function unwrapped(schema: z.ZodType): z.ZodType {
  const inner = innerOf(schema);
  return inner === null ? schema : unwrapped(inner);
}

/** Marks of the schema and of what it wraps: `.meta()` may come before or after `.default()`. */
function marksOf(schema: z.ZodType): Mark {
  const inner = schema instanceof z.ZodPipe ? null : innerOf(schema);
  return { ...(inner === null ? {} : marksOf(inner)), ...(schema.meta() as Mark | undefined) };
}

function innerOf(schema: z.ZodType): z.ZodType | null {
  if (schema instanceof z.ZodPipe) return schema.in as z.ZodType;
  const isWrapper =
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodNullable ||
    schema instanceof z.ZodReadonly ||
    schema instanceof z.ZodCatch;
  return isWrapper ? (schema.unwrap() as z.ZodType) : null;
}

function formOf(schema: z.ZodType): Leaf['form'] {
  if (schema instanceof z.ZodNumber) return 'number';
  if (schema instanceof z.ZodBoolean) return 'boolean';
  if (schema instanceof z.ZodString || schema instanceof z.ZodEnum || schema instanceof z.ZodStringFormat)
    return 'text';
  if (schema instanceof z.ZodLiteral) return typeof schema.value === 'string' ? 'text' : 'json';
  if (schema instanceof z.ZodUnion) {
    const forms = new Set(schema.options.map((option) => formOf(unwrapped(option as z.ZodType))));
    return forms.has('text') ? 'text' : ([...forms][0] ?? 'json');
  }
  return 'json';
}
