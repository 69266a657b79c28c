import type { Store } from '../../plan/stores.ts';
import type { ColumnForm } from '../../plan/sync.ts';
import type { SchemaVerdict } from '../../plan/words.ts';
import { checked, type Codec, type RawCodec } from './codec.ts';
import type { ColumnDescription, ColumnType } from './description.ts';

type Kind = Store['kind'];

/** What a rule makes of a column's type and values. */
export interface TypeRule {
  /** In the target's own words. */
  readonly declared: string;
  readonly type: ColumnType;
  readonly collation: string | null;
  readonly verdict: SchemaVerdict;
  readonly reason: string;
  /** What to write in the plan, where the verdict is not `exact`. */
  readonly remedy: string | null;
  /** Null: values travel as they are. */
  readonly codec: RawCodec | null;
}

/** How one engine's columns become another's, as far as the plan does not say it. */
export interface TypeRules {
  /** Without a word of the plan. */
  standing(column: ColumnDescription): TypeRule;
  /** With a type that the plan names; null where values of the column cannot become it without saying how they are read. */
  named(column: ColumnDescription, type: string, form: ColumnForm | null): TypeRule | null;
}

/** The rule of one column, with what the plan says of it. */
export interface ColumnRule extends Omit<TypeRule, 'codec'> {
  readonly table: string;
  /** Column of the target. */
  readonly column: string;
  /** Column of the source. */
  readonly source: string;
  /** Type of the source, in its own words. */
  readonly from: string;
  /** True where the plan names the column and so accepts what is lost. */
  readonly isNamed: boolean;
  readonly codec: Codec | null;
}

export function columnRule(
  rules: TypeRules,
  table: string,
  target: string,
  column: ColumnDescription,
  option: string | ColumnForm | undefined,
): ColumnRule {
  const form = typeof option === 'object' ? option : null;
  const written = typeof option === 'object' ? option.type : option;
  const standing = rules.standing(column);
  const named = written === undefined ? null : rules.named(column, written, form);
  const base = { table, column: target, source: column.name, from: column.declared || 'no type' };
  if (written !== undefined && named === null) {
    const reason = `how ${column.declared || 'what it holds'} becomes ${written} is not said`;
    const remedy = `columns: { '${table}.${target}': { type: '${written}', from: 'unix-seconds' } }, or another form`;
    return {
      ...base,
      ...standing,
      declared: written,
      verdict: 'ambiguous',
      reason,
      remedy,
      isNamed: false,
      codec: null,
    };
  }
  const rule = named ?? standing;
  // What the plan accepts as lossy goes through without the proof that it comes back.
  const isAccepted = named !== null && rule.verdict !== 'exact';
  const codec = rule.codec === null || isAccepted ? rule.codec : checked(rule.codec);
  const remedy = rule.remedy?.replaceAll('COLUMN', `${table}.${target}`) ?? null;
  return { ...base, ...rule, remedy, codec, isNamed: named !== null };
}

/** Between two stores of one engine every type is itself. */
export function sameEngine(parse: (written: string) => ColumnType): TypeRules {
  const itself = (column: ColumnDescription): TypeRule => ({
    declared: column.declared,
    type: column.type,
    collation: column.collation,
    verdict: 'exact',
    reason: 'the same type',
    remedy: null,
    codec: null,
  });
  return {
    standing: (column) => {
      if (column.type.kind !== 'native' || column.type.needs === null) return itself(column);
      const [what = '', name = ''] = column.type.needs.split(' ');
      const first =
        what === 'extension' ? `CREATE EXTENSION ${name} on the target` : `CREATE TYPE ${name} on the target`;
      return {
        ...itself(column),
        verdict: 'ambiguous',
        reason: `the type belongs to ${column.type.needs}, which is not made for you`,
        remedy: `${first}, then columns: { 'COLUMN': '${column.declared}' }`,
      };
    },
    named: (column, written) =>
      written === column.declared
        ? itself(column)
        : {
            ...itself(column),
            declared: written,
            type: parse(written),
            verdict: 'lossy',
            reason: `${column.declared} becomes ${written}, as the plan says`,
          },
  };
}

/** The rules between two kinds of stores; null where there are none. */
export type RuleBook = Partial<Record<`${Kind} ${Kind}`, TypeRules>>;
