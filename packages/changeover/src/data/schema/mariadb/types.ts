import { membersOf } from '../../stores/mariadb/values.ts';
import type { ColumnType } from '../description.ts';

/** A type as `information_schema` spells it, in its parts. */
export interface Declared {
  /** `bigint`, `datetime`, `enum`. */
  readonly base: string;
  /** The numbers in brackets: length, or precision and scale. */
  readonly first: number | null;
  readonly second: number | null;
  readonly isUnsigned: boolean;
  /** Of an ENUM or a SET. */
  readonly members: readonly string[];
}

export function declaredType(text: string): Declared {
  const base = /^\w+/.exec(text.toLowerCase())?.[0] ?? '';
  const numbers = /^\w+\s*\((\d+)(?:\s*,\s*(\d+))?\)/.exec(text);
  return {
    base,
    first: numbers === null ? null : Number(numbers[1]),
    second: numbers?.[2] === undefined ? null : Number(numbers[2]),
    isUnsigned: /\bunsigned\b/i.test(text),
    members: base === 'enum' || base === 'set' ? membersOf(text) : [],
  };
}

/** Bits of a type that holds every number of a signed one; an unsigned one needs the next. */
const BITS: Readonly<Record<string, readonly [signed: 16 | 32 | 64, unsigned: 16 | 32 | 64]>> = {
  tinyint: [16, 16],
  smallint: [16, 32],
  mediumint: [32, 32],
  int: [32, 64],
  integer: [32, 64],
  bigint: [64, 64],
  year: [16, 16],
};

/** https://mariadb.com/kb/en/data-types/. `json` is what the reader calls a LONGTEXT with MariaDB's check for it. */
export function mariadbType(text: string): ColumnType {
  const declared = declaredType(text);
  const { base, first, isUnsigned } = declared;
  // The server itself spells BOOLEAN so.
  if (base === 'tinyint' && first === 1 && !isUnsigned) return { kind: 'boolean' };
  if (base === 'bit' && (first ?? 1) === 1) return { kind: 'boolean' };
  const bits = BITS[base];
  if (bits !== undefined) return { kind: 'integer', bits: bits[isUnsigned ? 1 : 0] };
  switch (base) {
    case 'float':
      return { kind: 'real', bits: 32 };
    case 'double':
      return { kind: 'real', bits: 64 };
    case 'decimal':
      return { kind: 'decimal' };
    case 'char':
    case 'varchar':
    case 'tinytext':
    case 'text':
    case 'mediumtext':
    case 'longtext':
      return { kind: 'text', isPadded: base === 'char' };
    case 'binary':
    case 'varbinary':
    case 'tinyblob':
    case 'blob':
    case 'mediumblob':
    case 'longblob':
      return { kind: 'bytes' };
    case 'datetime':
    case 'timestamp':
      return { kind: 'timestamp', hasZone: base === 'timestamp' };
    case 'enum':
      return { kind: 'enum', values: declared.members };
    case 'date':
    case 'time':
    case 'uuid':
      return { kind: base };
    case 'json':
      return { kind: 'json', isBinary: false };
    default:
      return { kind: 'native', needs: null };
  }
}

/** Smallest and greatest value of a whole number's type. */
export function rangeOf({ base, first, isUnsigned }: Declared): readonly [lowest: bigint, highest: bigint] {
  if (base === 'year') return [0n, 2155n];
  if (base === 'bit') return [0n, 2n ** BigInt(first ?? 1) - 1n];
  const bits = { tinyint: 8n, smallint: 16n, mediumint: 24n }[base] ?? (base === 'bigint' ? 64n : 32n);
  return isUnsigned ? [0n, 2n ** bits - 1n] : [-(2n ** (bits - 1n)), 2n ** (bits - 1n) - 1n];
}
