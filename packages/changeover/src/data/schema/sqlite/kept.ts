import type { RawCodec } from '../codec.ts';
import * as codecs from '../codecs.ts';
import type { ColumnType } from '../description.ts';
import type { TypeRule, TypeRules } from '../rules.ts';
import type { SchemaVerdict } from '../../../plan/words.ts';
import { affinityOf } from '../../stores/sqlite/shape.ts';

/** Columns of an engine with types, kept in SQLite: what it has no type for becomes text, in the form that the engine gives and takes. */
export const keptInSqlite: TypeRules = {
  standing: (column) => {
    const { type } = column;
    const rule = keptType(type, column.declared);
    if (isByteOrder(column.collation)) return rule;
    const reason = `SQLite compares it byte by byte, not by ${column.collation}`;
    return { ...rule, verdict: 'lossy', reason, remedy: `columns: { 'COLUMN': '${rule.declared}' } accepts that` };
  },
  named: (column, written) => {
    const rule = keptType(column.type, column.declared);
    const affinity = affinityOf(written);
    const isText = rule.declared === 'TEXT' && affinity === 'text';
    if (isText || written === rule.declared) {
      const isExact = rule.verdict === 'exact' && isByteOrder(column.collation);
      return {
        ...rule,
        declared: written,
        remedy: null,
        reason: isExact ? rule.reason : `as the plan says: ${rule.reason}`,
      };
    }
    return {
      ...rule,
      declared: written,
      verdict: 'lossy',
      reason: `${column.declared} becomes ${written}, as the plan says: values change by the affinity of that type`,
      remedy: null,
      codec: null,
    };
  },
};

/** What is kept as text that does not compare as what it says: no check or generated column may use it. */
export const NOT_COMPARABLE: ColumnType = { kind: 'native', needs: null };

/** True for a collation of Postgres that is SQLite's own order. */
export function isByteOrder(collation: string | null): boolean {
  return collation === null || /^"?(C|POSIX|ucs_basic)"?$/.test(collation);
}

function keptType(type: ColumnType, declared: string): TypeRule {
  const rule = (
    words: string,
    codec: RawCodec,
    reason: string,
    verdict: SchemaVerdict = 'exact',
    remedy: string | null = null,
  ): TypeRule => ({ declared: words, type, collation: null, verdict, reason, remedy, codec: codecs.swapped(codec) });
  switch (type.kind) {
    case 'integer':
      return rule('INTEGER', codecs.integers(type.bits), 'integers of up to 64 bits');
    case 'real':
      return rule(
        'REAL',
        type.bits === 64 ? codecs.reals : codecs.swapped(codecs.singles),
        'doubles; NaN and negative zero, which SQLite has not, are refused',
      );
    case 'boolean':
      return rule('BOOLEAN', codecs.booleans, 'kept as 0 and 1');
    case 'bytes':
      return rule('BLOB', codecs.bytes, 'bytes');
    case 'text':
      return rule('TEXT', codecs.texts, `text; SQLite does not enforce the length of ${declared}`);
    case 'decimal':
      return {
        ...rule('TEXT', codecs.texts, 'exact decimals as text: SQLite orders and adds them as such only after a CAST'),
        type: NOT_COMPARABLE,
      };
    case 'uuid':
    case 'date':
    case 'time':
    case 'timestamp':
    case 'interval':
    case 'json':
      return rule('TEXT', codecs.texts, `text in the form of ${declared}`);
    case 'enum':
      return rule('TEXT', codecs.texts, 'text; a check refuses other values');
    case 'domain': {
      const base = keptType(type.base, declared);
      return {
        ...base,
        verdict: 'lossy',
        reason: `the checks of the domain ${declared} are not made`,
        remedy: `columns: { 'COLUMN': '${base.declared}' } accepts that`,
      };
    }
    default:
      return rule(
        'TEXT',
        codecs.texts,
        `SQLite has no ${declared}: its text is kept, and nothing in SQLite understands it`,
        'ambiguous',
        "columns: { 'COLUMN': 'TEXT' } accepts that",
      );
  }
}
