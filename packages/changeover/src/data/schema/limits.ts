import { Unfit, type RawCodec } from './codec.ts';
import type { ColumnType } from './description.ts';

/**
 * A codec for a type with a length, precision or scale: `varchar(5)`, `numeric(10,2)`, `timestamptz(0)`. An engine cuts, pads or rounds by it, some
 * of them without a word, so that a value which does not fit is refused here.
 */
export function limited(raw: RawCodec, type: ColumnType, written: string): RawCodec {
  const [first, second = 0] =
    /\((\d+)(?:\s*,\s*(-?\d+))?\)/
      .exec(written)
      ?.slice(1)
      .map((text) => Number(text || 0)) ?? [];
  const isPadded = type.kind === 'text' && type.isPadded;
  // CHAR alone is CHAR(1).
  const length = first ?? (isPadded ? 1 : undefined);
  if (length === undefined) return raw;
  const fit = fitterOf(type, length, second);
  return fit === null ? raw : { ...raw, to: (value) => fit(String(raw.to(value))) };
}

/** The text as the type gives it back; throws where it would be cut, padded or rounded. */
function fitterOf(type: ColumnType, length: number, scale: number): ((text: string) => string) | null {
  switch (type.kind) {
    case 'text':
      return (text) => {
        if (Array.from(text).length > length) throw new Unfit(`it is longer than ${length} characters`);
        if (type.isPadded && text.endsWith(' ')) throw new Unfit('blanks at its end would be lost');
        return text;
      };
    case 'decimal':
      return (text) => {
        const [whole = '', fraction = ''] = text.split('.');
        if (fraction.length > scale) throw new Unfit(`it has more than ${scale} digits behind the point`);
        const digits = whole.replace('-', '');
        if (digits !== '0' && digits.length > length - scale)
          throw new Unfit(`it has more than ${length - scale} digits before the point`);
        return scale > 0 ? `${whole}.${fraction.padEnd(scale, '0')}` : text;
      };
    case 'timestamp':
      return (text) => {
        const fraction = /\.(\d+)/.exec(text)?.[1] ?? '';
        if (fraction.length > length) throw new Unfit(`it has more than ${length} digits of a second`);
        return text;
      };
    default:
      return null;
  }
}
