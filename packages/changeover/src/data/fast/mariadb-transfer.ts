/** Rows go on in pieces of about this size. */
const PIECE_BYTES = 256 << 10;
/** Room for a value of fixed length with its own length. */
const CELL_BYTES = 20;
/** Up to here a loop is faster than a call. */
const SHORT_BYTES = 64;
/** What stands before a message, and its first byte: https://www.postgresql.org/docs/current/protocol-message-formats.html (CopyData) */
const FRAME_BYTES = 5;
const COPY_DATA = 'd'.charCodeAt(0);
/** https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS: signature, no flags, no extension. */
const HEADER = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1');
const EMPTY = Buffer.alloc(0);

/** Moves one value, which is not NULL, with its length in front. Throws `Unfit` where the target's type has no such value. */
export type Cell = (row: Transfer) => void;

/**
 * Rows of MariaDB's binary protocol on their way into Postgres's binary COPY: numbers change the order of their bytes, and texts and bytes
 * stay as they are. The cells of the columns read the input and write the output, each from where the one before has ended.
 *
 * `framed`: each row is one message, as Postgres itself sends them, so that the two can be compared as bytes.
 */
export class Transfer {
  readonly #cells: readonly Cell[];
  readonly #give: (bytes: Buffer) => void;
  readonly #isFramed: boolean;
  readonly #rowBytes: number;
  #input: Buffer = EMPTY;
  #at = 0;
  #output = EMPTY;
  #to = 0;
  /** Where the current row begins in the output. */
  #start = 0;
  rows = 0;
  /** The integer that was read last: 32 bits each; `high` is negative for a negative one only. */
  low = 0;
  high = 0;

  /** @param give Takes whole rows; nobody changes these bytes any more. */
  constructor(cells: readonly Cell[], form: 'plain' | 'framed', give: (bytes: Buffer) => void) {
    this.#cells = cells;
    this.#isFramed = form === 'framed';
    this.#give = give;
    this.#rowBytes = FRAME_BYTES + 2 + cells.length * CELL_BYTES;
    this.#begin();
    this.#to += HEADER.copy(this.#output, this.#to);
  }

  /** One row, without the header of its packet. */
  row(input: Buffer, start: number): void {
    const cells = this.#cells;
    const nulls = start + 1;
    this.#input = input;
    this.#at = nulls + ((cells.length + 9) >> 3);
    // The first row is in one message with the format's header.
    if (this.rows > 0) this.#begin();
    this.int16(cells.length);
    for (let index = 0; index < cells.length; index++) {
      const isNull = ((input[nulls + ((index + 2) >> 3)] ?? 0) >> ((index + 2) & 7)) & 1;
      if (isNull === 1) this.int32(-1);
      else cells[index]?.(this);
    }
    this.rows++;
    this.#end();
  }

  end(): void {
    if (this.rows > 0) this.#begin();
    this.int16(-1);
    this.#end();
    this.#start = this.#to;
    this.#flush(0);
  }

  /** Room for so many bytes and for the numbers of the rest of the row. */
  reserve(bytes: number): void {
    const needed = bytes + this.#rowBytes;
    if (this.#to + needed > this.#output.length) this.#flush(needed);
  }

  uint8(): number {
    return this.#input[this.#at++] ?? 0;
  }

  uint16(): number {
    return this.uint8() | (this.uint8() << 8);
  }

  uint32(): number {
    return (this.uint16() | (this.uint16() << 16)) >>> 0;
  }

  signed(bytes: 1 | 2 | 4 | 8): void {
    const value =
      bytes === 1 ? (this.uint8() << 24) >> 24 : bytes === 2 ? (this.uint16() << 16) >> 16 : this.uint32() | 0;
    this.low = value >>> 0;
    this.high = bytes === 8 ? this.uint32() | 0 : value >> 31;
  }

  unsigned(bytes: 1 | 2 | 4 | 8): void {
    this.low = bytes === 1 ? this.uint8() : bytes === 2 ? this.uint16() : this.uint32();
    this.high = bytes === 8 ? this.uint32() : 0;
  }

  setInteger(value: bigint): void {
    this.low = Number(value & 0xffffffffn);
    this.high = Number(value >> 32n);
  }

  integer(): bigint {
    return (BigInt(this.high) << 32n) | BigInt(this.low);
  }

  readSingle(): number {
    const value = this.#input.readFloatLE(this.#at);
    this.#at += 4;
    return value;
  }

  /** Text or bytes of variable length. */
  slice(): Buffer {
    const length = this.#length();
    const from = this.#at;
    this.#at += length;
    return this.#input.subarray(from, this.#at);
  }

  latin1(): string {
    const length = this.#length();
    const from = this.#at;
    this.#at += length;
    return this.#input.toString('latin1', from, this.#at);
  }

  byte(value: number): void {
    this.#output[this.#to++] = value;
  }

  int16(value: number): void {
    this.#output[this.#to++] = value >> 8;
    this.#output[this.#to++] = value;
  }

  int32(value: number): void {
    const output = this.#output;
    output[this.#to++] = value >> 24;
    output[this.#to++] = value >> 16;
    output[this.#to++] = value >> 8;
    output[this.#to++] = value;
  }

  double(value: number): void {
    this.#to = this.#output.writeDoubleBE(value, this.#to);
  }

  hex(digits: string): void {
    this.#to += this.#output.write(digits, this.#to, 'hex');
  }

  /** Seconds and microseconds as microseconds of 64 bits. */
  micros(seconds: number, micros: number): void {
    // 1e6 is 15625 · 2⁶, so that no number in between is above 2⁵³.
    const units = seconds * 15_625;
    const high = Math.floor(units / 2 ** 26);
    const low = (units - high * 2 ** 26) * 64 + micros;
    const carry = Math.floor(low / 2 ** 32);
    this.int32(high + carry);
    this.int32(low - carry * 2 ** 32);
  }

  /** A number of so many bytes, whose order is reversed. */
  reverse(bytes: 4 | 8): void {
    this.int32(bytes);
    const [input, output] = [this.#input, this.#output];
    for (let index = bytes - 1; index >= 0; index--) output[this.#to++] = input[this.#at + index] ?? 0;
    this.#at += bytes;
  }

  /** Text or bytes as they came. */
  bytes(): void {
    const length = this.#length();
    this.reserve(length);
    this.int32(length);
    this.#copy(length);
  }

  /** The same after a first byte. */
  bytesAfter(first: number): void {
    const length = this.#length();
    this.reserve(length + 1);
    this.int32(length + 1);
    this.byte(first);
    this.#copy(length);
  }

  #copy(length: number): void {
    const [input, output, from, to] = [this.#input, this.#output, this.#at, this.#to];
    if (length > SHORT_BYTES) input.copy(output, to, from, from + length);
    else for (let index = 0; index < length; index++) output[to + index] = input[from + index] ?? 0;
    this.#at += length;
    this.#to += length;
  }

  #length(): number {
    const first = this.uint8();
    if (first < 0xfb) return first;
    if (first === 0xfc) return this.uint16();
    if (first === 0xfd) return this.uint16() | (this.uint8() << 16);
    const low = this.uint32();
    return low + this.uint32() * 2 ** 32;
  }

  #begin(): void {
    this.#start = this.#to;
    this.reserve(0);
    if (this.#isFramed) this.#to += FRAME_BYTES;
  }

  #end(): void {
    if (!this.#isFramed) return;
    this.#output[this.#start] = COPY_DATA;
    this.#output.writeUInt32BE(this.#to - this.#start - 1, this.#start + 1);
  }

  /** Gives the rows that are finished away; what there is of the current one goes on in a new buffer. */
  #flush(needed: number): void {
    const [output, start, to] = [this.#output, this.#start, this.#to];
    this.#output = needed === 0 ? EMPTY : Buffer.allocUnsafeSlow(Math.max(PIECE_BYTES, to - start + needed));
    this.#to = output.copy(this.#output, 0, start, to);
    this.#start = 0;
    if (start > 0) this.#give(output.subarray(0, start));
  }
}
