import type { Kind } from '../stores/postgres/shape.ts';
import { FIRST_OF_LENGTH, lowerHalf, NULL, REAL, RowEncoder, upperHalf } from './row-encoder.ts';
import type { RecordReader } from './sqlite-record.ts';

const TAB = 9;
const NEWLINE = 10;
const LAST_CONTROL = 13;
const BACKSLASH = 92;
/** What stands after a backslash for the bytes 8 to 13, and for itself: https://www.postgresql.org/docs/current/sql-copy.html */
const LETTERS = 'btnvfr';

/**
 * COPY's text format, in the form in which Postgres writes it back. A column may hold values of any type in SQLite, whatever it was declared
 * as; each is written as the row by row copy writes it.
 */
export class TextRows extends RowEncoder {
  readonly #kinds: readonly Kind[];

  constructor(kinds: readonly Kind[]) {
    super(kinds.length, 2);
    this.#kinds = kinds;
  }

  protected row(reader: RecordReader): void {
    const { types, starts } = reader;
    const kinds = this.#kinds;
    for (let column = 0; column < kinds.length; column++) {
      if (column > 0) this.out[this.at++] = TAB;
      const type = types[column] ?? 0;
      const start = starts[column] ?? 0;
      if (type === NULL) this.ascii('\\N');
      else if (type === REAL) this.ascii(numberText(reader.view.getFloat64(start), kinds[column] === 'real'));
      else if (type < FIRST_OF_LENGTH)
        this.#integer(upperHalf(reader.view, type, start), lowerHalf(reader.view, type, start), kinds[column]);
      else if (type % 2 === 1) this.#text(reader.bytes, start, start + ((type - FIRST_OF_LENGTH) >> 1));
      else this.#blob(reader.bytes, start, start + ((type - FIRST_OF_LENGTH) >> 1));
    }
    this.out[this.at++] = NEWLINE;
  }

  #integer(upper: number, lower: number, kind: Kind | undefined): void {
    const isFlag = kind === 'boolean' && upper === 0 && (lower === 0 || lower === 1);
    if (isFlag) this.ascii(lower === 1 ? 't' : 'f');
    else this.digits(upper, lower);
  }

  #text(bytes: Buffer, from: number, to: number): void {
    const { out } = this;
    let { at } = this;
    for (let index = from; index < to; index++) {
      const byte = bytes[index] ?? 0;
      if ((byte < 8 || byte > LAST_CONTROL) && byte !== BACKSLASH) out[at++] = byte;
      else {
        out[at++] = BACKSLASH;
        out[at++] = byte === BACKSLASH ? BACKSLASH : LETTERS.charCodeAt(byte - 8);
      }
    }
    this.at = at;
  }

  #blob(bytes: Buffer, from: number, to: number): void {
    this.ascii('\\\\x');
    this.at += this.out.write(bytes.toString('hex', from, to), this.at, 'latin1');
  }
}

function numberText(value: number, isReal: boolean): string {
  if (isReal) return realText(value);
  return Object.is(value, -0) ? '-0' : String(value);
}

/**
 * The shortest text that reads as the same double, written as Postgres writes it: an exponent, of two digits at least, below 1e-4 and from
 * 1e15 on.
 */
export function realText(value: number): string {
  if (Object.is(value, -0)) return '-0';
  const size = Math.abs(value);
  if (size === 0 || (size >= 1e-4 && size < 1e15) || !Number.isFinite(value)) return String(value);
  const [mantissa, exponent = ''] = value.toExponential().split('e');
  const sign = exponent.startsWith('-') ? '-' : '+';
  return `${mantissa}e${sign}${exponent.slice(1).padStart(2, '0')}`;
}
