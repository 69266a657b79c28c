import type { Affinity } from '../stores/sqlite/shape.ts';
import {
  asNumber,
  FIRST_OF_LENGTH,
  lowerHalf,
  NotEncodable,
  NULL,
  REAL,
  RowEncoder,
  upperHalf,
} from './row-encoder.ts';
import type { RecordReader } from './sqlite-record.ts';

/** Types of Postgres by what their binary form is: https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-FORMAT-CODES */
type Form = 'int2' | 'int4' | 'int8' | 'float8' | 'bool' | 'text' | 'bytes';

const FORM_OF: Readonly<Record<string, Form>> = {
  int2: 'int2',
  int4: 'int4',
  int8: 'int8',
  float8: 'float8',
  bool: 'bool',
  text: 'text',
  varchar: 'text',
  bpchar: 'text',
  json: 'text',
  bytea: 'bytes',
};
/** What a column holds for the most part, by its affinity. Where the target holds something else, a server that reads text knows better. */
const NATURAL: Readonly<Record<Form, readonly Affinity[]>> = {
  int2: ['integer', 'numeric'],
  int4: ['integer', 'numeric'],
  int8: ['integer', 'numeric'],
  float8: ['real', 'integer', 'numeric'],
  bool: ['integer', 'numeric'],
  text: ['text', 'blob', 'integer', 'real', 'numeric'],
  bytes: ['blob'],
};

/** Before the first row: signature, flags, and the length of an extension that there is none of. */
export const BINARY_HEADER = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1');
/** After the last row. */
export const BINARY_TRAILER = Buffer.from([0xff, 0xff]);

const BACKSLASH = 92;
const HEX = '0123456789abcdef';

/** The form in which `type`, one that every Postgres has, takes values of a column of `affinity`; null where it has to read text. */
export function binaryForm(affinity: Affinity, type: string | null): Form | null {
  const form = FORM_OF[type ?? ''];
  return form !== undefined && NATURAL[form].includes(affinity) ? form : null;
}

/**
 * COPY's binary format: https://www.postgresql.org/docs/current/sql-copy.html. Integers and reals have in it the bytes that they have in
 * SQLite, and text needs no escapes.
 */
export class BinaryRows extends RowEncoder {
  readonly #forms: readonly Form[];

  constructor(forms: readonly Form[]) {
    super(forms.length, 2);
    this.#forms = forms;
  }

  protected row(reader: RecordReader): void {
    const forms = this.#forms;
    this.view.setInt16(this.at, forms.length);
    this.at += 2;
    const { types, starts } = reader;
    for (let column = 0; column < forms.length; column++) {
      const type = types[column] ?? 0;
      const start = starts[column] ?? 0;
      const form = forms[column] ?? 'text';
      if (type === NULL) {
        this.view.setInt32(this.at, -1);
        this.at += 4;
        continue;
      }
      const size = this.at;
      this.at += 4;
      if (type >= FIRST_OF_LENGTH) this.#long(reader, type, start, form);
      else if (type === REAL) this.#real(reader.view.getFloat64(start), reader, start, form);
      else this.#integer(upperHalf(reader.view, type, start), lowerHalf(reader.view, type, start), form);
      this.view.setInt32(size, this.at - size - 4);
    }
  }

  #integer(upper: number, lower: number, form: Form): void {
    const { view, at } = this;
    switch (form) {
      case 'int8':
        view.setInt32(at, upper);
        view.setInt32(at + 4, lower);
        this.at = at + 8;
        return;
      case 'text':
      case 'bytes':
        this.digits(upper, lower);
        return;
      case 'float8':
        view.setFloat64(at, asNumber(upper, lower));
        this.at = at + 8;
        return;
      case 'int4':
        if (upper !== lower >> 31) throw new NotEncodable();
        view.setInt32(at, lower);
        this.at = at + 4;
        return;
      case 'int2':
        if (upper !== lower >> 31 || (lower << 16) >> 16 !== lower) throw new NotEncodable();
        view.setInt16(at, lower);
        this.at = at + 2;
        return;
      case 'bool':
        if (upper !== 0 || (lower !== 0 && lower !== 1)) throw new NotEncodable();
        this.out[at] = lower;
        this.at = at + 1;
    }
  }

  #real(value: number, reader: RecordReader, start: number, form: Form): void {
    if (form === 'float8') this.put(reader.bytes, start, 8);
    else if (form === 'text' || form === 'bytes') this.ascii(Object.is(value, -0) ? '-0' : String(value));
    else throw new NotEncodable();
  }

  #long({ bytes }: RecordReader, type: number, start: number, form: Form): void {
    const length = (type - FIRST_OF_LENGTH) >> 1;
    const isText = type % 2 === 1;
    if (form === 'text' && !isText) this.#hex(bytes, start, length);
    else if (form === 'text' || form === 'bytes') {
      // In text, the server would see escapes.
      if (isText && form === 'bytes' && bytes.subarray(start, start + length).includes(BACKSLASH))
        throw new NotEncodable();
      this.put(bytes, start, length);
    } else throw new NotEncodable();
  }

  #hex(bytes: Buffer, start: number, length: number): void {
    this.ascii('\\x');
    for (let index = start; index < start + length; index++) {
      const byte = bytes[index] ?? 0;
      this.out[this.at++] = HEX.charCodeAt(byte >> 4);
      this.out[this.at++] = HEX.charCodeAt(byte & 15);
    }
  }
}
