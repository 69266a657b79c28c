import { affinityOf } from '../../stores/sqlite/shape.ts';
import { bytes, texts } from '../codecs.ts';
import type { ColumnDescription } from '../description.ts';
import type { TypeRules } from '../rules.ts';
import { NOT_COMPARABLE } from '../sqlite/kept.ts';
import * as codecs from './codecs.ts';
import { bytesOf, isSpatial, isWhole, kept, named, signedRange, standing, textCodec, type Form } from './forms.ts';
import { declaredType, rangeOf } from './types.ts';

/** MariaDB's columns in SQLite: what it has no type for is kept as the text that MariaDB gives. */
export const mariadbToSqlite: TypeRules = {
  standing: (column) => standing(column, inSqlite(column), null),
  named: (column, written) => {
    const own = inSqlite(column);
    if (written === own.declared) return named(column, own, null);
    const affinity = affinityOf(written);
    const text = affinity === 'text' ? (own.declared === 'TEXT' ? own.codec : textCodec(column)) : null;
    if (text !== null)
      return named(
        column,
        { ...own, declared: written, codec: text, type: isWhole(column) ? NOT_COMPARABLE : own.type },
        null,
      );
    const isSame = affinity === affinityOf(own.declared) && own.declared !== 'TEXT';
    if (isSame) return named(column, { ...own, declared: written }, null);
    const reason = `values change by the affinity of ${written}`;
    return { ...named(column, { ...own, declared: written, verdict: 'lossy', reason }, null), codec: null };
  },
};

function inSqlite(column: ColumnDescription): Form {
  const { declared: text, type } = column;
  const declared = declaredType(text);
  const { base, second } = declared;
  if (isWhole(column)) {
    const isWide = rangeOf(declared)[1] >= 2n ** 63n;
    return {
      declared: 'INTEGER',
      type: { kind: 'integer', bits: 64 },
      codec: codecs.integersWithin(signedRange(declared)),
      reason: isWide ? "integers below 2^63; greater ones are refused: 'TEXT' holds them" : 'every number of the type',
    };
  }
  switch (base) {
    case 'float':
      return {
        declared: 'REAL',
        type,
        codec: codecs.unsignedZero(codecs.floats(second, false)),
        reason: 'doubles that fit 4 bytes',
      };
    case 'double':
      return {
        declared: 'REAL',
        type,
        codec: codecs.unsignedZero(codecs.doubles(second)),
        reason: 'doubles; negative zero, which SQLite has not, is refused',
      };
    case 'decimal':
      return {
        declared: 'TEXT',
        type: NOT_COMPARABLE,
        codec: textCodec(column) ?? texts,
        reason: 'exact decimals as text: SQLite orders and adds them as such only after a CAST',
      };
    case 'enum':
      return {
        declared: 'TEXT',
        type,
        codec: codecs.enumMembers(declared.members),
        reason: 'text; a check refuses other values',
      };
    case 'set':
      return kept('TEXT', codecs.setMembers(declared.members), 'a SET is kept as its members with commas between them');
    default:
      break;
  }
  if (type.kind === 'bytes') return { declared: 'BLOB', type, codec: bytesOf(declared), reason: 'bytes' };
  if (isSpatial(base))
    return kept('BLOB', bytes, `SQLite has no ${text}: its bytes are kept, and nothing understands them`);
  const codec = textCodec(column);
  if (codec === null) return kept('TEXT', texts, `SQLite has no ${text}: its text is kept, and nothing understands it`);
  const reason =
    type.kind === 'text' ? `text; SQLite does not enforce the length of ${text}` : `text in the form of ${text}`;
  return { declared: 'TEXT', type, codec, reason };
}
