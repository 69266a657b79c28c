import { ChangeoverError } from '../errors.ts';
import type { Json } from '../plan/words.ts';
import type { SettingsFile, SettingsSource } from './source.ts';
import type { PathsOf, SchemaInput, StandardSchema } from './schema.ts';
import { formatPath, parsePath } from './tree.ts';
import { VALUE_TYPES, whyNotConvertible } from './values.ts';
import type { Unit, ValueType } from './values.ts';

/** A legacy key that gets a new place. */
export interface MoveRule<Path extends string = string> {
  /** Where it goes; several places get the same value, or one item of a list each with `spread`. */
  readonly to?: Path | readonly Path[];
  /** Its name in the `secrets` file, where that is an environment file. Default: `to` if it is one name. */
  readonly env?: string;
  /** What the value becomes. Default: what the schema asks for. */
  readonly type?: ValueType;
  readonly unit?: { readonly from: Unit; readonly to: Unit };
  /** What the legacy does where the key is absent. */
  readonly default?: Json;
  /** True: written to the `secrets` file only, and never shown. False: no secret in spite of its name. */
  readonly secret?: boolean;
  /** The items of a list go to the places of `to`, one each. */
  readonly spread?: true;
  /** Changes the value, after `type` and `unit`. */
  convert?(value: Json): Json;
  /** The opposite of `convert`. */
  back?(value: Json): Json;
  readonly keep?: never;
  readonly drop?: never;
}

/** A legacy key that stays where it is, because something goes on reading it there. */
export interface KeepRule {
  readonly keep: true;
  readonly reason?: string;
  readonly secret?: boolean;
  readonly to?: never;
  readonly drop?: never;
}

/** A legacy key that has no meaning any more. */
export interface DropRule {
  readonly drop: string;
  readonly secret?: boolean;
  readonly to?: never;
  readonly keep?: never;
}

export type Rule<Path extends string = string> = Path | MoveRule<Path> | KeepRule | DropRule;

export interface Constant {
  readonly value: Json;
  readonly reason: string;
  readonly secret?: boolean;
}

export interface SettingsDefinition<Schema extends StandardSchema = StandardSchema> {
  /** Later sources override earlier ones; every value that is overridden is in the report. */
  readonly from: readonly SettingsSource[];
  /** The new settings file. What is in it and not set by this plan stays. */
  readonly to: SettingsFile;
  /** Where secrets go: a file of mode 0600 of its own. */
  readonly secrets?: SettingsFile;
  /** Any Standard Schema (zod, valibot, arktype …) of the new settings. */
  readonly schema?: Schema;
  /** What becomes of every legacy key. A key also stands for everything below it (`server` for `server.port`). */
  readonly map: Readonly<Record<string, Rule<PathsOf<SchemaInput<Schema>>>>>;
  /** New settings that no legacy key gives. */
  readonly set?: { readonly [Path in PathsOf<SchemaInput<Schema>>]?: Constant };
  /** What the legacy does where a key is absent, so that the new default does not change how the system behaves. */
  readonly legacyDefaults?: Readonly<Record<string, Json>>;
}

export type PlannedRule =
  | {
      readonly kind: 'move';
      readonly key: string;
      readonly to: readonly (readonly string[])[];
      /** Name in a flat secrets file. */
      readonly env: string | null;
      readonly rule: MoveRule;
      readonly fallback: Json | undefined;
    }
  | {
      readonly kind: 'keep' | 'drop';
      readonly key: string;
      readonly reason: string;
      readonly rule: KeepRule | DropRule;
    };

export interface Plan {
  readonly definition: SettingsDefinition;
  readonly rules: readonly PlannedRule[];
  readonly constants: readonly { readonly path: readonly string[]; readonly constant: Constant }[];
}

/** Checks what can be checked without reading a file. Throws `CHG_CONFIG_DEFINITION` with everything that is wrong. */
export function planRules(definition: SettingsDefinition): Plan {
  const wrong: string[] = [];
  const pathOf = (text: string, about: string): string[] => {
    const path = parsePath(text);
    if (path === null) wrong.push(`${about}: ${JSON.stringify(text)} is no path like a.b`);
    return path ?? [];
  };
  const rules = Object.entries(definition.map).map(([key, rule]) => planRule(key, rule, definition, wrong, pathOf));
  for (const key of Object.keys(definition.legacyDefaults ?? {})) {
    if (!Object.hasOwn(definition.map, key)) wrong.push(`legacyDefaults.${key}: map has no rule for it`);
  }
  const constants = Object.entries((definition.set ?? {}) as Readonly<Record<string, Constant>>).map(
    ([text, constant]) => {
      if (constant.secret === true && definition.secrets === undefined)
        wrong.push(`set.${text}: it is secret; add secrets: dotenv('…')`);
      return { path: pathOf(text, 'set'), constant };
    },
  );
  const files = [definition.to, ...(definition.secrets === undefined ? [] : [definition.secrets])].map(
    ({ file }) => file,
  );
  if (new Set(files).size < files.length) wrong.push('secrets: secrets need a file of their own, not the one of `to`');
  for (const { name } of definition.from) {
    if (files.includes(name)) wrong.push(`from: ${name} is also written; then the sources would change under the run`);
  }
  if (wrong.length > 0) throw new ChangeoverError('CHG_CONFIG_DEFINITION', { what: wrong.join('; ') });
  return { definition, rules, constants };
}

function planRule(
  key: string,
  rule: Rule,
  definition: SettingsDefinition,
  wrong: string[],
  pathOf: (text: string, about: string) => string[],
): PlannedRule {
  const about = `map.${key}`;
  if (typeof rule === 'object' && rule.keep === true) {
    return { kind: 'keep', key, reason: rule.reason ?? 'stays where it is', rule };
  }
  if (typeof rule === 'object' && rule.drop !== undefined) {
    if (rule.drop.trim() === '') wrong.push(`${about}: drop needs a reason`);
    return { kind: 'drop', key, reason: rule.drop, rule };
  }
  const move: MoveRule = typeof rule === 'string' ? { to: rule } : rule;
  const to = (move.to === undefined ? [] : typeof move.to === 'string' ? [move.to] : move.to).map((text) =>
    pathOf(text, about),
  );
  const fallback = move.default ?? definition.legacyDefaults?.[key];
  if (to.length === 0 && (move.env === undefined || move.secret !== true))
    wrong.push(`${about}: it goes nowhere; say to, keep or drop`);
  if (move.env !== undefined && move.secret !== true) wrong.push(`${about}: env names a secret; say secret: true`);
  if (move.secret === true && definition.secrets === undefined)
    wrong.push(`${about}: it is secret; add secrets: dotenv('…')`);
  if (move.spread === true && to.length < 2) wrong.push(`${about}: spread needs several places`);
  if (move.type !== undefined && !VALUE_TYPES.includes(move.type))
    wrong.push(`${about}: ${move.type as string} is no type; there are ${VALUE_TYPES.join(', ')}`);
  const unit = move.unit === undefined ? null : whyNotConvertible(move.unit.from, move.unit.to);
  if (unit !== null) wrong.push(`${about}: ${unit}`);
  const [only] = to;
  const isName = to.length === 1 && only?.length === 1;
  const env = move.secret === true ? (move.env ?? (isName ? (only[0] ?? null) : null)) : null;
  if (move.secret === true && definition.secrets?.format.isFlat === true && env === null) {
    wrong.push(
      `${about}: ${definition.secrets.file} holds names without nesting; say env: 'NAME' beside to: '${to.map(formatPath).join(', ')}'`,
    );
  }
  return { kind: 'move', key, to, env, rule: move, fallback };
}
