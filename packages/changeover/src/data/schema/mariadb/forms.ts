import type { SchemaVerdict } from '../../../plan/words.ts';
import type { RawCodec } from '../codec.ts';
import { bytes, texts } from '../codecs.ts';
import type { ColumnDescription, ColumnType } from '../description.ts';
import type { TypeRule } from '../rules.ts';
import * as codecs from './codecs.ts';
import { declaredType, rangeOf, type Declared } from './types.ts';

/** A rule before the column's collation is looked at. `remedy` stands where the verdict is not `exact`. */
export interface Form {
  readonly declared: string;
  readonly type: ColumnType;
  readonly codec: RawCodec;
  readonly reason: string;
  readonly verdict?: SchemaVerdict;
  readonly remedy?: string;
}

/** What the plan names is settled: `exact` where every value comes back as it was or is refused. */
export function named(
  column: ColumnDescription,
  { declared, type, codec, reason, verdict }: Form,
  collation: string | null,
): TypeRule {
  const lost = column.collation === null ? null : `the collation ${column.collation} is not kept`;
  const isExact = verdict !== 'lossy' && lost === null;
  const why = verdict === 'lossy' ? reason : lost;
  return {
    declared,
    type,
    collation,
    codec,
    verdict: isExact ? 'exact' : 'lossy',
    reason: why === null ? 'as the plan says' : `as the plan says: ${why}`,
    remedy: null,
  };
}

export function standing(column: ColumnDescription, form: Form, byteCollation: string | null): TypeRule {
  const { declared, type, codec, reason, verdict = 'exact', remedy = null } = form;
  const isText = type.kind === 'text' || type.kind === 'enum';
  const rule = { declared, type, codec, reason, verdict, remedy, collation: isText ? byteCollation : null };
  if (column.collation === null) return rule;
  return {
    ...rule,
    verdict: 'lossy',
    reason: `MariaDB compares it by ${column.collation}; the target compares byte by byte, so values that were equal there are two here`,
    remedy: `columns: { 'COLUMN': '${declared}' } accepts that; or name a collation of the target: '${declared} COLLATE …'`,
  };
}

const UNDERSTOOD = "columns: { 'COLUMN': 'TYPE' } accepts that";

/** What the other engine has no type for. */
export function kept(declared: string, codec: RawCodec, reason: string): Form {
  const type: ColumnType =
    declared === 'bytea' || declared === 'BLOB' ? { kind: 'bytes' } : { kind: 'text', isPadded: false };
  return { declared, type, codec, reason, verdict: 'ambiguous', remedy: UNDERSTOOD.replace('TYPE', declared) };
}

export function bytesOf({ base, first }: Declared): RawCodec {
  return base === 'binary' ? codecs.fixedBytes(first ?? 1) : bytes;
}

/** As the store reads them: as bytes, where other types without a counterpart come as text. */
export function isSpatial(base: string): boolean {
  return /^(geometry|point|linestring|polygon|multi\w+|geom\w*collection)$/.test(base);
}

/** What a signed integer of 64 bits holds of it too. */
export function signedRange(declared: Declared): readonly [bigint, bigint] {
  const [lowest, highest] = rangeOf(declared);
  const most = 2n ** 63n - 1n;
  return [lowest, highest > most ? most : highest];
}

/** True where the store reads whole numbers. */
export function isWhole({ declared, type }: ColumnDescription): boolean {
  return type.kind === 'integer' || /^(tinyint|bit)\b/.test(declared);
}

/** A column's values as text from which they come back; null where they have none. */
export function textCodec(column: ColumnDescription): RawCodec | null {
  const declared = declaredType(column.declared);
  const { base, first, members } = declared;
  if (isWhole(column)) return codecs.integersAsText(rangeOf(declared));
  switch (base) {
    case 'decimal':
      return codecs.decimals(first ?? 10, declared.second ?? 0);
    case 'char':
      return codecs.unpaddedTexts;
    case 'date':
    case 'time':
    case 'datetime':
    case 'timestamp':
      return codecs.timeTexts(base, first ?? 0);
    case 'enum':
      return codecs.enumMembers(members);
    case 'set':
      return codecs.setMembers(members);
    case 'uuid':
      return codecs.uuids;
    case 'json':
      return codecs.jsonTexts;
    case 'inet4':
    case 'inet6':
      return codecs.addresses;
    default:
      return column.type.kind === 'text' ? texts : null;
  }
}
