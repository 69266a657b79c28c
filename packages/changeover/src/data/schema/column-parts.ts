import type { Value } from '../../plan/stores.ts';
import { exactInteger } from '../values.ts';
import { Unfit } from './codec.ts';
import type { ColumnDescription, ColumnType } from './description.ts';
import { literalOf, type Literal } from './expressions.ts';
import type { Parts } from './parts.ts';
import type { ColumnRule } from './rules.ts';
import { withDefaultAffinity } from './sqlite/defaults.ts';
import type { TableWay } from './table-way.ts';

/** A column in the target's words, with what gives it a value where an insert leaves it out. */
export function translatedColumn(
  way: TableWay,
  parts: Parts,
  column: ColumnDescription,
  rule: ColumnRule,
  all: readonly ColumnRule[],
): ColumnDescription {
  const made: ColumnDescription = {
    ...column,
    name: rule.column,
    type: rule.type,
    declared: rule.declared,
    collation: rule.collation,
    default: null,
    generated: null,
    identity: identityOf(way, parts, column, rule),
  };
  return {
    ...made,
    default: defaultOf(way, parts, column, made, rule),
    generated: generatedOf(way, parts, column, all),
  };
}

function identityOf(
  way: TableWay,
  parts: Parts,
  { name, identity }: ColumnDescription,
  { type, column }: ColumnRule,
): ColumnDescription['identity'] {
  // Where the plan gives the key another type, its values come from elsewhere.
  if (identity !== null && type.kind !== 'integer') return null;
  if (identity === null || way.isSameEngine) return identity;
  const { primaryKey } = way.source;
  const isOnlyKey = primaryKey.length === 1 && primaryKey[0] === name;
  if (way.translation.to.kind !== 'sqlite' || isOnlyKey) return 'default';
  const part = `${way.name}.${column}:identity`;
  if (!parts.isOmitted(part, 'a sequence'))
    parts.refuse(part, 'a sequence', 'SQLite gives numbers to a single integer key only');
  return null;
}

function defaultOf(
  way: TableWay,
  parts: Parts,
  column: ColumnDescription,
  made: ColumnDescription,
  rule: ColumnRule,
): string | null {
  if (column.default === null) return null;
  // The sequence becomes an identity elsewhere.
  if (column.identity === 'sequence' && !way.isSameEngine) return null;
  const part = `${way.name}.${made.name}:default`;
  if (parts.isOmitted(part, column.default)) return null;
  if (way.isSameEngine) return column.default;
  const default_ = defaultIn(way, column, made, rule);
  if (default_ === null) parts.refuse(part, column.default);
  else parts.accept(part, column.default, default_);
  return default_;
}

function defaultIn(way: TableWay, column: ColumnDescription, made: ColumnDescription, rule: ColumnRule): string | null {
  const { from, to } = way.translation;
  const found = literalOf(column.default ?? '', from.kind === 'sqlite' ? 'sqlite' : 'other');
  if (found === undefined) return null;
  if ('now' in found) return to.now(found.now, made);
  if (found.value === null) return 'NULL';
  const value =
    from.kind === 'sqlite' ? withDefaultAffinity(found.value, column.declared) : typedValue(found, column.type.kind);
  try {
    return to.literal(rule.codec === null ? value : rule.codec.to(value), made);
  } catch (error) {
    if (error instanceof Unfit) return null;
    throw error;
  }
}

/** A constant of an engine with types, as its store gives such a value. */
function typedValue({ value, text }: Exclude<Literal, { now: string }>, kind: ColumnType['kind']): Value {
  if (kind === 'decimal' && text !== null) return text;
  if (kind === 'real' && typeof value !== 'boolean') return Number(text ?? value);
  if (kind === 'integer' && typeof value === 'string' && /^-?\d+$/.test(value)) return exactInteger(BigInt(value));
  if (kind === 'bytes' && typeof value === 'string' && value.startsWith('\\x'))
    return new Uint8Array(Buffer.from(value.slice(2), 'hex'));
  return typeof value === 'bigint' ? exactInteger(value) : value;
}

function generatedOf(way: TableWay, parts: Parts, { name, generated }: ColumnDescription, all: readonly ColumnRule[]) {
  if (generated === null) return null;
  const expression = way.expression(generated.expression, all);
  if (expression === null) parts.refuse(`${way.name}.${way.targets.get(name) ?? name}`, `AS (${generated.expression})`);
  const isStored = generated.isStored || way.translation.to.kind === 'postgres';
  return { expression: expression ?? '', isStored };
}
