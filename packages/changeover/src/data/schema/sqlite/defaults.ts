import type { Value } from '../../../plan/stores.ts';
import { affinityOf } from '../../stores/sqlite/shape.ts';
import { numericTexts } from '../codecs.ts';

/** A default as SQLite would store it in a column of this declared type. */
export function withDefaultAffinity(value: Value, declared: string): Value {
  switch (affinityOf(declared)) {
    case 'text':
      return typeof value === 'number' || typeof value === 'bigint' ? String(value) : value;
    case 'integer':
    case 'numeric':
      if (typeof value === 'boolean') return value ? 1 : 0;
      return typeof value === 'string' ? numericTexts.back(value) : value;
    case 'real':
      return typeof value === 'bigint' || typeof value === 'boolean' ? Number(value) : value;
    case 'blob':
      return value;
  }
}
