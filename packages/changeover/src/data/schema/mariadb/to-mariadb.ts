import type { RawCodec } from '../codec.ts';
import { booleans, swapped, texts } from '../codecs.ts';
import type { ColumnDescription, ColumnType } from '../description.ts';
import { Unfit } from '../codec.ts';
import { postgresEngine } from '../postgres/rules.ts';
import type { TypeRule, TypeRules } from '../rules.ts';
import { isByteOrder } from '../sqlite/kept.ts';
import { sqliteTo } from '../sqlite/rules.ts';
import { inPostgres } from './to-postgres.ts';
import { declaredType, mariadbType } from './types.ts';

/**
 * MariaDB as the target: the ways of its columns into Postgres, the other way round. SQLite's columns go by what they would be in Postgres, whose
 * forms of values stand between the two.
 */

/** Compares the numbers of the characters, and blanks at the end count. MySQL has no collation of that name. */
const BYTE_COLLATION = 'utf8mb4_nopad_bin';
/** A TIMESTAMP ends with the 32 bits of its seconds. */
const LAST_TIMESTAMP = '2038-01-19 03:14:07.999999';
const FIRST_TIMESTAMP = '1970-01-01 00:00:01';

/** The type of MariaDB for a type of Postgres; null where it has none. */
function declaredFor(type: ColumnType, written: string): string | null {
  const brackets = /\(([\d,\s]+)\)/.exec(written)?.[1]?.replaceAll(' ', '');
  switch (type.kind) {
    case 'integer':
      return { 16: 'smallint', 32: 'int', 64: 'bigint' }[type.bits];
    case 'real':
      return type.bits === 64 ? 'double' : 'float';
    case 'decimal':
      return `decimal(${brackets ?? '65,30'})`;
    case 'boolean':
      return 'tinyint(1)';
    case 'text':
      return brackets === undefined ? 'longtext' : `varchar(${brackets})`;
    case 'bytes':
      return 'longblob';
    case 'uuid':
    case 'json':
    case 'date':
      return type.kind;
    case 'time':
      return /with time zone|timetz/.test(written) ? null : `time(${brackets ?? 6})`;
    case 'timestamp':
      return `${type.hasZone ? 'timestamp' : 'datetime'}(${brackets ?? 6})`;
    case 'enum':
      return `enum(${type.values.map((value) => `'${value.replaceAll("'", "''")}'`).join(',')})`;
    default:
      return null;
  }
}

/** From the form of Postgres into a column of this type, and what it is in Postgres. */
function wayInto(declared: string): { readonly codec: RawCodec; readonly neutral: string } {
  const type = mariadbType(declared);
  const column: ColumnDescription = {
    name: '',
    type,
    declared,
    isNullable: true,
    collation: null,
    default: null,
    generated: null,
    identity: null,
  };
  if (type.kind === 'boolean') return { codec: swapped(booleans), neutral: 'boolean' };
  const { codec, declared: neutral } = inPostgres(column);
  return { codec: swapped(type.kind === 'timestamp' && type.hasZone ? within(codec) : codec), neutral };
}

function within(codec: RawCodec): RawCodec {
  return {
    ...codec,
    back: (value) => {
      const made = String(codec.back(value));
      if (made < FIRST_TIMESTAMP || made > LAST_TIMESTAMP)
        throw new Unfit('a TIMESTAMP holds the years 1970 to 2038 only');
      return made;
    },
  };
}

function collationOf(declared: string): string | null {
  return mariadbType(declared).kind === 'text' && !/\bcollate\b/i.test(declared) ? BYTE_COLLATION : null;
}

function chained(first: RawCodec | null, second: RawCodec): RawCodec {
  if (first === null) return second;
  return { to: (value) => second.to(first.to(value)), back: (value) => first.back(second.back(value)) };
}

const toPostgres = sqliteTo(postgresEngine);

export const sqliteToMariadb: TypeRules = {
  standing: (column) => {
    const rule = toPostgres.standing(column);
    return settled(
      rule,
      declaredFor(rule.type, /char/i.test(column.declared) ? column.declared : rule.declared) ?? 'longtext',
    );
  },
  named: (column, written, form) => {
    const rule = toPostgres.named(column, wayInto(written).neutral, form);
    return rule === null ? null : settled(rule, written);
  },
};

function settled(rule: TypeRule, declared: string): TypeRule {
  const codec = chained(rule.codec, limitedTo(declared));
  return { ...rule, declared, type: mariadbType(declared), collation: collationOf(declared), codec };
}

/** Length of a text is looked at beforehand; what the server alone limits, it refuses when it is written. */
function limitedTo(declared: string): RawCodec {
  const { codec } = wayInto(declared);
  const { base, first } = declaredType(declared);
  if ((base !== 'varchar' && base !== 'char') || first === null) return codec;
  return {
    ...codec,
    to: (value) => {
      const made = codec.to(value);
      if (Array.from(String(made)).length > first) throw new Unfit(`it is longer than ${first} characters`);
      return made;
    },
  };
}

export const postgresToMariadb: TypeRules = {
  standing: (column) => {
    const declared = declaredFor(column.type, column.declared);
    const base = column.type.kind === 'domain' ? column.type.base : null;
    const own = declared ?? (base === null ? null : declaredFor(base, ''));
    const rule = fromPostgres(column, own ?? 'longtext');
    if (base !== null && own !== null)
      return {
        ...rule,
        verdict: 'lossy',
        reason: `the checks of the domain ${column.declared} are not made`,
        remedy: `columns: { 'COLUMN': '${own}' } accepts that`,
      };
    if (isUnscaled(column)) return { ...rule, verdict: 'lossy', reason: ZEROS, remedy: ACCEPT_ZEROS };
    if (own !== null) return collated(column, rule);
    return {
      ...rule,
      verdict: 'ambiguous',
      reason: `MariaDB has no ${column.declared}: its text is kept, and nothing in MariaDB understands it`,
      remedy: "columns: { 'COLUMN': 'longtext' } accepts that",
    };
  },
  named: (column, written) => {
    const isText = mariadbType(written).kind === 'text';
    const isSameKind =
      wayInto(written).neutral.replace(/\(.*\)/, '') ===
      wayInto(declaredFor(column.type, '') ?? 'longtext').neutral.replace(/\(.*\)/, '');
    if (!isText && !isSameKind && !isWider(column.type, mariadbType(written))) return null;
    const rule = fromPostgres(column, written);
    const collation = isByteOrder(column.collation) ? null : `the collation ${column.collation ?? ''} is not kept`;
    const lost = isUnscaled(column) && !isText ? ZEROS : collation;
    if (lost === null) return { ...rule, reason: 'as the plan says' };
    return { ...rule, verdict: 'lossy', reason: `as the plan says: ${lost}` };
  },
};

const ZEROS = 'a number has as many zeros at its end as it was written with; here all have the same number of digits';
const ACCEPT_ZEROS =
  "columns: { 'COLUMN': 'decimal(65,30)' }, or another number of digits, accepts that; 'longtext' keeps them";

function isUnscaled({ type, declared }: ColumnDescription): boolean {
  return type.kind === 'decimal' && !declared.includes('(');
}

/** Kinds whose values have the same form in Postgres. */
function isWider(from: ColumnType, to: ColumnType): boolean {
  return from.kind === to.kind || (from.kind === 'domain' && isWider(from.base, to));
}

function fromPostgres(column: ColumnDescription, declared: string): TypeRule {
  const isKeptAsText = mariadbType(declared).kind === 'text' && column.type.kind !== 'text';
  return {
    declared,
    type: mariadbType(declared),
    collation: collationOf(declared),
    verdict: 'exact',
    reason: 'every value comes back as it was, or is refused',
    remedy: null,
    codec: isKeptAsText ? swapped(texts) : limitedTo(declared),
  };
}

function collated(column: ColumnDescription, rule: TypeRule): TypeRule {
  if (isByteOrder(column.collation)) return rule;
  const reason = `MariaDB compares it byte by byte, not by ${column.collation ?? ''}`;
  return { ...rule, verdict: 'lossy', reason, remedy: `columns: { 'COLUMN': '${rule.declared}' } accepts that` };
}
