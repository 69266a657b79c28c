import type { ColumnType } from '../description.ts';

/** https://www.postgresql.org/docs/current/datatype.html, by the names of `pg_type`. */
const TYPES: Readonly<Record<string, ColumnType>> = {
  int2: { kind: 'integer', bits: 16 },
  int4: { kind: 'integer', bits: 32 },
  int8: { kind: 'integer', bits: 64 },
  float4: { kind: 'real', bits: 32 },
  float8: { kind: 'real', bits: 64 },
  numeric: { kind: 'decimal' },
  bool: { kind: 'boolean' },
  text: { kind: 'text', isPadded: false },
  varchar: { kind: 'text', isPadded: false },
  bpchar: { kind: 'text', isPadded: true },
  bytea: { kind: 'bytes' },
  uuid: { kind: 'uuid' },
  json: { kind: 'json', isBinary: false },
  jsonb: { kind: 'json', isBinary: true },
  date: { kind: 'date' },
  time: { kind: 'time' },
  timetz: { kind: 'time' },
  timestamp: { kind: 'timestamp', hasZone: false },
  timestamptz: { kind: 'timestamp', hasZone: true },
  interval: { kind: 'interval' },
};

/** Other words for the same types, as one writes them. */
const WORDS: readonly (readonly [RegExp, string])[] = [
  [/^(smallint|int2)$/, 'int2'],
  [/^(integer|int|int4)$/, 'int4'],
  [/^(bigint|int8)$/, 'int8'],
  [/^(real|float4)$/, 'float4'],
  [/^(double precision|float8|float)$/, 'float8'],
  [/^(numeric|decimal)\b/, 'numeric'],
  [/^bool(ean)?$/, 'bool'],
  [/^text\b/, 'text'],
  [/^(character varying|varchar)\b/, 'varchar'],
  [/^(character|char|bpchar)\b/, 'bpchar'],
  [/^(timestamp\b.* with time zone|timestamptz\b.*)/, 'timestamptz'],
  [/^timestamp\b/, 'timestamp'],
  [/^(time\b.* with time zone|timetz\b.*)/, 'timetz'],
  [/^time\b/, 'time'],
  [/^interval\b/, 'interval'],
];

/** By the name in `pg_type`. */
export function postgresType(name: string): ColumnType {
  return TYPES[name] ?? { kind: 'native', needs: null };
}

/** By what a person writes in a plan. */
export function writtenPostgresType(written: string): ColumnType {
  const text = written.trim().toLowerCase().replace(/\s+/g, ' ');
  if (text.endsWith(']')) return { kind: 'array' };
  return postgresType(WORDS.find(([pattern]) => pattern.test(text))?.[1] ?? text);
}
