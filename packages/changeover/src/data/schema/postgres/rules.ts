import type { ColumnType } from '../description.ts';
import type { TypedEngine } from '../sqlite/rules.ts';
import { writtenPostgresType } from './types.ts';

const INTEGERS = { 16: 'smallint', 32: 'integer', 64: 'bigint' } as const;

/** Postgres as the target of columns of another engine. */
export const postgresEngine: TypedEngine = {
  declare,
  parse: writtenPostgresType,
  byteCollation: '"C"',
};

function declare(type: ColumnType): string | null {
  switch (type.kind) {
    case 'integer':
      return INTEGERS[type.bits];
    case 'real':
      return type.bits === 64 ? 'double precision' : 'real';
    case 'decimal':
      return 'numeric';
    case 'json':
      return type.isBinary ? 'jsonb' : 'json';
    case 'bytes':
      return 'bytea';
    case 'timestamp':
      return type.hasZone ? 'timestamp with time zone' : 'timestamp without time zone';
    case 'boolean':
    case 'text':
    case 'uuid':
    case 'date':
    case 'time':
    case 'interval':
      return type.kind;
    default:
      return null;
  }
}
