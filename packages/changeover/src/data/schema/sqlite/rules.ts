import type { ColumnForm } from '../../../plan/sync.ts';
import { affinityOf } from '../../stores/sqlite/shape.ts';
import type { RawCodec } from '../codec.ts';
import * as codecs from '../codecs.ts';
import type { ColumnDescription, ColumnType } from '../description.ts';
import { limited } from '../limits.ts';
import type { TypeRule, TypeRules } from '../rules.ts';
import { times } from '../times.ts';

/** What an engine with types has to say for SQLite's columns to become its own. */
export interface TypedEngine {
  /** The type in its words, or null where it has none of that kind. */
  declare(type: ColumnType): string | null;
  parse(written: string): ColumnType;
  /** The collation that compares byte by byte. */
  readonly byteCollation: string | null;
}

const FORMS = "'timestamptz', from: 'unix-seconds' } (or unix-milliseconds, js-text, sql-text with its zone)";

/** SQLite's columns, which may hold anything, in an engine whose columns hold one type. */
export function sqliteTo(engine: TypedEngine): TypeRules {
  const rule = (column: ColumnDescription, type: ColumnType, codec: RawCodec, reason: string): TypeRule => ({
    declared: engine.declare(type) ?? column.declared,
    type,
    collation: type.kind === 'text' ? engine.byteCollation : null,
    verdict: 'exact',
    reason,
    remedy: null,
    codec,
  });
  const standing = (column: ColumnDescription): TypeRule => {
    const { type } = column;
    const isNumeric = hasNumericAffinity(column);
    switch (type.kind) {
      case 'integer':
        return rule(column, type, codecs.integers(64), 'integers of 64 bits');
      case 'real':
        return rule(column, type, codecs.reals, 'doubles of 8 bytes');
      case 'boolean':
        return rule(column, type, codecs.booleans, 'stored as 0 and 1');
      case 'bytes':
        return rule(column, type, codecs.bytes, 'bytes');
      case 'json':
        return rule(column, type, codecs.jsons(isNumeric), 'the text of the document is kept as it is');
      case 'uuid':
        return rule(column, type, codecs.dashedUuids, 'UUIDs in lower case with dashes');
      case 'number':
        return rule(
          column,
          { kind: 'decimal' },
          codecs.decimals,
          'integers and doubles as exact decimals, without the precision that SQLite does not enforce',
        );
      case 'text':
        return collated(column, rule(column, type, codecs.texts, 'text, compared byte by byte as in SQLite'));
      default:
        return undeclared(column, type, rule);
    }
  };
  return {
    standing,
    named: (column, written, form) => {
      const type = engine.parse(written);
      const codec = form === null ? namedCodec(column, type) : formCodec(form, type);
      if (codec === null) return null;
      const own = standing(column);
      const isOwn = own.verdict === 'exact' && engine.declare(own.type) === written;
      if (isOwn) return own;
      const isExact = codec.isExact && column.collation === null;
      const howRead = form === null ? '' : `, read as ${form.from}${form.zone === undefined ? '' : ` in ${form.zone}`}`;
      const lost = column.collation === null ? codec.lost : `the collation ${column.collation} is not kept`;
      return {
        declared: written,
        type,
        collation: type.kind === 'text' && !/\bcollate\b/i.test(written) ? engine.byteCollation : null,
        verdict: isExact ? 'exact' : 'lossy',
        reason: `as the plan says${howRead}${isExact ? '' : `: ${lost}`}`,
        remedy: null,
        codec: limited(codec.raw, type, written),
      };
    },
  };
}

function hasNumericAffinity({ declared }: ColumnDescription): boolean {
  return ['integer', 'numeric', 'real'].includes(affinityOf(declared));
}

function collated(column: ColumnDescription, rule: TypeRule): TypeRule {
  if (column.collation === null) return rule;
  return {
    ...rule,
    verdict: 'lossy',
    reason: `SQLite compares it by ${column.collation}; the target compares byte by byte, so values that were equal there are two here`,
    remedy: "columns: { 'COLUMN': 'text' } accepts that; or name a collation of the target: 'text COLLATE \"…\"'",
  };
}

function undeclared(
  column: ColumnDescription,
  type: ColumnType,
  rule: (column: ColumnDescription, type: ColumnType, codec: RawCodec, reason: string) => TypeRule,
): TypeRule {
  const isTime = type.kind === 'undeclared' && type.isTime;
  const asText = rule(column, { kind: 'text', isPadded: false }, textCodec(column), '');
  return {
    ...asText,
    verdict: 'ambiguous',
    reason: isTime
      ? 'SQLite has no times: text or numbers may be stored, in any zone'
      : 'it has no type: SQLite stores each value as it comes',
    remedy: isTime
      ? `columns: { 'COLUMN': { type: ${FORMS}, or 'COLUMN': 'text' to keep them as they are`
      : "columns: { 'COLUMN': 'text' }, or the type of what is stored",
  };
}

/** `isExact`: every value comes back as it was, or is refused. */
interface NamedCodec {
  readonly raw: RawCodec;
  readonly isExact: boolean;
  readonly lost: string;
}

const exact = (raw: RawCodec): NamedCodec => ({ raw, isExact: true, lost: '' });

function textCodec(column: ColumnDescription): RawCodec {
  return hasNumericAffinity(column) ? codecs.numericTexts : codecs.texts;
}

/** For a type that the plan names without a form; null where it would be a guess. */
function namedCodec(column: ColumnDescription, type: ColumnType): NamedCodec | null {
  const isUntyped = affinityOf(column.declared) === 'blob';
  switch (type.kind) {
    case 'integer':
      return exact(isUntyped ? codecs.untypedIntegers(type.bits) : codecs.integers(type.bits));
    case 'real':
      if (isUntyped && type.bits === 64) return exact(codecs.untypedReals);
      return type.bits === 64
        ? exact(codecs.reals)
        : { raw: codecs.reals, isExact: false, lost: 'reals of 8 bytes become reals of 4' };
    case 'decimal':
      return exact(codecs.decimals);
    case 'boolean':
      return exact(codecs.booleans);
    case 'text':
      return exact(textCodec(column));
    case 'bytes':
      return exact(codecs.bytes);
    case 'uuid':
      return exact(codecs.dashedUuids);
    case 'json':
      return type.isBinary
        ? {
            raw: codecs.jsons(hasNumericAffinity(column)),
            isExact: false,
            lost: 'blanks, doubled names and their order',
          }
        : exact(codecs.jsons(hasNumericAffinity(column)));
    case 'date':
      return exact(codecs.dates);
    case 'timestamp':
      return type.hasZone ? null : formCodec({ type: '', from: 'sql-text', zone: 'UTC' }, type);
    default:
      return {
        raw: textCodec(column),
        isExact: false,
        lost: `what ${column.declared || 'an untyped column'} holds besides`,
      };
  }
}

/** For values in a form that the plan names; null where they cannot become a value of this type. */
export function formCodec(form: ColumnForm, type: ColumnType): NamedCodec | null {
  if (form.from === 'uuid-bytes') return type.kind === 'uuid' ? exact(codecs.byteUuids) : null;
  if (form.from === 'uuid-hex') return type.kind === 'uuid' ? exact(codecs.hexUuids) : null;
  const raw = times(form);
  if (raw === null || type.kind !== 'timestamp') return null;
  return exact(type.hasZone ? raw : withoutZone(raw));
}

/** The target's type does not name the zone; it is UTC there. */
function withoutZone(raw: RawCodec): RawCodec {
  return {
    to: (value) => String(raw.to(value)).replace(/\+00$/, ''),
    back: (value) => raw.back(`${String(value)}+00`),
  };
}
