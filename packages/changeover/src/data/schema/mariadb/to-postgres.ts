import type { ColumnForm } from '../../../plan/sync.ts';
import type { RawCodec } from '../codec.ts';
import { booleans, bytes, texts } from '../codecs.ts';
import type { ColumnDescription, ColumnType } from '../description.ts';
import { limited } from '../limits.ts';
import { writtenPostgresType } from '../postgres/types.ts';
import type { TypeRules } from '../rules.ts';
import { formCodec } from '../sqlite/rules.ts';
import * as codecs from './codecs.ts';
import { bytesOf, isSpatial, isWhole, kept, named, signedRange, standing, textCodec, type Form } from './forms.ts';
import { declaredType, rangeOf } from './types.ts';

/** MariaDB's columns in Postgres. */
export const mariadbToPostgres: TypeRules = {
  standing: (column) => standing(column, inPostgres(column), '"C"'),
  named: (column, written, form) => {
    const type = writtenPostgresType(written);
    const own = inPostgres(column);
    const isOwn = writtenPostgresType(own.declared).kind === type.kind && own.verdict === undefined;
    if (form === null && isOwn && own.declared === written && column.collation === null)
      return standing(column, own, '"C"');
    const found = form === null ? namedForm(column, type, own) : shapedForm(column, form, type);
    if (found === null) return null;
    const collation = type.kind === 'text' && !/\bcollate\b/i.test(written) ? '"C"' : null;
    return named(column, { ...found, declared: written, type, codec: limited(found.codec, type, written) }, collation);
  },
};

/** What a column becomes, and the way of its values, before its collation is looked at. */
export function inPostgres({ declared: text, type }: ColumnDescription): Form {
  const declared = declaredType(text);
  const { base, first, second } = declared;
  const scale = second ?? 0;
  switch (base) {
    case 'tinyint':
      if (type.kind !== 'boolean') break;
      return {
        declared: 'smallint',
        type: { kind: 'integer', bits: 16 },
        codec: codecs.integersWithin(rangeOf(declared)),
        verdict: 'ambiguous',
        reason: 'MariaDB spells BOOLEAN so, and it holds any number from -128 to 127',
        remedy: "columns: { 'COLUMN': 'boolean' }, or 'smallint'",
      };
    case 'bit':
      if (first === 1) return { declared: 'boolean', type, codec: booleans, reason: 'one bit' };
      return { declared: `bit(${first ?? 1})`, type, codec: codecs.bits(first ?? 1), reason: 'the same bits' };
    case 'float':
      return { declared: 'real', type, codec: codecs.floats(second, true), reason: 'reals of 4 bytes' };
    case 'double':
      return { declared: 'double precision', type, codec: codecs.doubles(second), reason: 'doubles of 8 bytes' };
    case 'decimal': {
      const precision = first ?? 10;
      return {
        declared: `numeric(${precision},${scale})`,
        type,
        codec: codecs.decimals(precision, scale),
        reason: 'exact decimals',
      };
    }
    case 'char':
      return varchar(first ?? 1, codecs.unpaddedTexts, 'text without the blanks at its end, as MariaDB gives it');
    case 'varchar':
      return varchar(first ?? 1, texts, 'text, compared byte by byte; blanks at its end count');
    case 'date':
      return {
        declared: 'date',
        type,
        codec: codecs.days,
        reason: 'days; zero dates and days that never were are refused',
      };
    case 'datetime':
    case 'timestamp': {
      const isInstant = base === 'timestamp';
      const zone = isInstant ? 'with' : 'without';
      return {
        declared: `timestamp(${first ?? 0}) ${zone} time zone`,
        type,
        codec: codecs.instants(first ?? 0, isInstant ? '+00' : ''),
        reason: isInstant ? 'points in time' : 'what the clock showed, without its zone; zero dates are refused',
      };
    }
    case 'time':
      return {
        declared: `time(${first ?? 0}) without time zone`,
        type,
        codec: codecs.dayTimes(first ?? 0),
        reason: "times of day; others are refused: 'interval' holds them",
      };
    case 'enum':
      return {
        declared: 'text',
        type,
        codec: codecs.enumMembers(declared.members),
        reason: 'text; a check refuses other values, and it sorts by the text, not by the place in the list',
      };
    case 'set':
      return kept('text', codecs.setMembers(declared.members), 'a SET is kept as its members with commas between them');
    case 'json':
      return { declared: 'json', type, codec: codecs.jsonTexts, reason: 'the text of the document is kept as it is' };
    case 'uuid':
      return { declared: 'uuid', type, codec: codecs.uuids, reason: 'UUIDs' };
    case 'inet4':
    case 'inet6':
      return { declared: 'inet', type, codec: codecs.addresses, reason: 'addresses, without a mask' };
    default:
      break;
  }
  if (type.kind === 'integer') {
    const isWide = base === 'bigint' && declared.isUnsigned;
    return {
      declared: { 16: 'smallint', 32: 'integer', 64: 'bigint' }[type.bits],
      type,
      codec: codecs.integersWithin(signedRange(declared)),
      reason: isWide
        ? "integers below 2^63; greater ones are refused: 'numeric(20,0)' holds them"
        : 'every number of the type',
    };
  }
  if (type.kind === 'text')
    return { declared: 'text', type, codec: texts, reason: 'text, compared byte by byte; blanks at its end count' };
  if (type.kind === 'bytes') return { declared: 'bytea', type, codec: bytesOf(declared), reason: 'bytes' };
  return isSpatial(base)
    ? kept('bytea', bytes, `Postgres has no ${text}: its bytes are kept, and nothing understands them`)
    : kept('text', texts, `Postgres has no ${text}: its text is kept, and nothing understands it`);
}

function varchar(length: number, codec: RawCodec, reason: string): Form {
  return { declared: `character varying(${length})`, type: { kind: 'text', isPadded: false }, codec, reason };
}

/** For a type of Postgres that the plan names; null where it would be a guess. */
function namedForm(column: ColumnDescription, type: ColumnType, own: Form): Omit<Form, 'declared' | 'type'> | null {
  const declared = declaredType(column.declared);
  const { base, first, members } = declared;
  const exact = (codec: RawCodec) => ({ codec, reason: '' });
  const lossy = (codec: RawCodec, reason: string) => ({ codec, reason, verdict: 'lossy' as const });
  switch (type.kind) {
    case 'boolean':
      return isWhole(column) ? exact(booleans) : null;
    case 'integer': {
      const most = 2n ** BigInt(type.bits - 1);
      const [lowest, highest] = rangeOf(declared);
      if (!isWhole(column)) return null;
      return exact(codecs.integersWithin([lowest < -most ? -most : lowest, highest >= most ? most - 1n : highest]));
    }
    case 'decimal':
      if (isWhole(column)) return exact(codecs.integersAsText(rangeOf(declared)));
      return base === 'decimal' ? exact(own.codec) : null;
    case 'real':
      if (base === 'float') return type.bits === 32 ? exact(own.codec) : exact(codecs.floats(declared.second, false));
      if (base !== 'double') return null;
      return type.bits === 64 ? exact(own.codec) : lossy(own.codec, 'reals of 8 bytes become reals of 4');
    case 'text': {
      const text = textCodec(column);
      return text === null ? null : exact(text);
    }
    case 'bytes':
      return own.type.kind === 'bytes' ? exact(own.codec) : null;
    case 'uuid':
      return base === 'uuid' || column.type.kind === 'text' ? exact(codecs.uuids) : null;
    case 'json':
      if (column.type.kind !== 'text' && base !== 'json') return null;
      return type.isBinary ? lossy(codecs.jsonTexts, 'blanks, doubled names and their order') : exact(codecs.jsonTexts);
    case 'date':
      return base === 'date' ? exact(own.codec) : null;
    case 'time':
      return base === 'time' ? exact(own.codec) : null;
    case 'interval':
      return base === 'time' ? exact(codecs.durations(first ?? 0)) : null;
    case 'timestamp':
      if (base !== 'datetime' && base !== 'timestamp') return null;
      if (type.hasZone && base === 'datetime') return null;
      return exact(codecs.instants(first ?? 0, type.hasZone ? '+00' : ''));
    default:
      if (base === 'enum') return exact(codecs.enumMembers(members));
      // Only the same bits, or the same addresses, are the same type.
      if (own.verdict === undefined && own.type.kind === 'native') return exact(own.codec);
      return column.type.kind === 'text' ? lossy(texts, `what ${column.declared} holds besides`) : null;
  }
}

/** Values that are read in a form which the plan names. */
function shapedForm(
  column: ColumnDescription,
  form: ColumnForm,
  type: ColumnType,
): Omit<Form, 'declared' | 'type'> | null {
  const found = formCodec(form, type);
  if (found === null) return null;
  const { base, first } = declaredType(column.declared);
  const codec = base === 'datetime' ? codecs.trimmed(found.raw, first ?? 0) : found.raw;
  return { codec, reason: '' };
}
