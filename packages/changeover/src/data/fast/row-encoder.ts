import { COPY_DATA, HEADER_BYTES } from './copy-streams.ts';
import type { RecordReader } from './sqlite-record.ts';

/** Room for a value that is not text or bytes, with what stands around it. */
const VALUE_BYTES = 32;
const ROW_BYTES = 16;
const FIRST_BYTES = 64 << 10;
/** Shorter texts than this are copied here: a call of the engine costs more. */
const SHORT_TEXT = 200;
/** 2 ** 32: what the upper half of an integer counts. */
const UPPER = 4_294_967_296;

/** A value that the chosen form of COPY cannot carry, though another may. */
export class NotEncodable extends Error {}

/**
 * Rows of SQLite in one of COPY's formats, each a CopyData message of its own or one after the other, in a buffer that the next batch takes
 * again.
 *
 * Written for speed, as the reader is: it runs once for every value of a table.
 */
export abstract class RowEncoder {
  protected out: Buffer = Buffer.allocUnsafeSlow(FIRST_BYTES);
  protected view: DataView = viewOf(this.out);
  protected at = 0;
  readonly #columns: number;
  /** How often more a value may take than it does in SQLite. */
  readonly #growth: number;

  constructor(columns: number, growth: number) {
    this.#columns = columns;
    this.#growth = growth;
  }

  /**
   * All rows of the reader. The bytes are good until the next call.
   *
   * @param isFramed Each row with the header of a message of its own, as a server sends it.
   * @throws NotEncodable
   */
  encode(reader: RecordReader, isFramed: boolean): { bytes: Buffer; rows: number } {
    this.at = 0;
    let rows = 0;
    while (reader.next()) {
      this.#reserve(ROW_BYTES + this.#columns * VALUE_BYTES + reader.size * this.#growth);
      const start = this.at;
      if (isFramed) this.at += HEADER_BYTES;
      this.row(reader);
      if (isFramed) {
        this.out[start] = COPY_DATA;
        this.view.setUint32(start + 1, this.at - start - 1);
      }
      rows += 1;
    }
    return { bytes: this.out.subarray(0, this.at), rows };
  }

  /** Writes the current row at `at`, where there is room for it. */
  protected abstract row(reader: RecordReader): void;

  /** Bytes as they are. */
  protected put(bytes: Buffer, from: number, length: number): void {
    const { out, at } = this;
    if (length < SHORT_TEXT) for (let index = 0; index < length; index++) out[at + index] = bytes[from + index] ?? 0;
    else out.set(bytes.subarray(from, from + length), at);
    this.at = at + length;
  }

  /** Text of which every character is one byte. */
  protected ascii(text: string): void {
    const { out, at } = this;
    for (let index = 0; index < text.length; index++) out[at + index] = text.charCodeAt(index);
    this.at = at + text.length;
  }

  protected digits(upper: number, lower: number): void {
    // One of 32 bits is nearly every integer there is.
    if (upper === lower >> 31) this.#small(lower);
    else {
      const value = upper * UPPER + (lower >>> 0);
      this.ascii(Number.isSafeInteger(value) ? String(value) : String(wide(upper, lower)));
    }
  }

  #small(value: number): void {
    const { out } = this;
    if (value < 0) {
      out[this.at++] = MINUS;
      value = -value;
    }
    let length = 1;
    for (let power = 10; power <= value; power *= 10) length += 1;
    for (let at = this.at + length - 1; at >= this.at; at--) {
      const rest = Math.floor(value / 10);
      out[at] = ZERO + value - rest * 10;
      value = rest;
    }
    this.at += length;
  }

  #reserve(bytes: number): void {
    if (this.at + bytes <= this.out.length) return;
    const wider = Buffer.allocUnsafeSlow(Math.max(this.out.length * 2, this.at + bytes));
    this.out.copy(wider, 0, 0, this.at);
    this.out = wider;
    this.view = viewOf(wider);
  }
}

const MINUS = '-'.charCodeAt(0);
const ZERO = '0'.charCodeAt(0);

/** The halves of an integer of the serial types 1 to 6, 8 and 9; the lower one with a sign that says nothing. */
export function upperHalf(view: DataView, type: number, start: number): number {
  if (type === 6) return view.getInt32(start);
  if (type === 5) return view.getInt16(start);
  return lowerHalf(view, type, start) >> 31;
}

export function lowerHalf(view: DataView, type: number, start: number): number {
  switch (type) {
    case 1:
      return view.getInt8(start);
    case 2:
      return view.getInt16(start);
    case 3:
      return (view.getInt8(start) << 16) | view.getUint16(start + 1);
    case 4:
      return view.getInt32(start);
    case 5:
      return view.getInt32(start + 2);
    case 6:
      return view.getInt32(start + 4);
    case 9:
      return 1;
    default:
      return 0;
  }
}

/** An integer as a double, rounded where it has to be. */
export function asNumber(upper: number, lower: number): number {
  // Below 2 ** 53 nothing is rounded twice.
  const value = upper * UPPER + (lower >>> 0);
  return Number.isSafeInteger(value) ? value : Number(wide(upper, lower));
}

function wide(upper: number, lower: number): bigint {
  return BigInt(upper) * BigInt(UPPER) + BigInt(lower >>> 0);
}

/** Serial types from 12 on: https://www.sqlite.org/fileformat2.html#record_format */
export const NULL = 0;
export const REAL = 7;
export const FIRST_OF_LENGTH = 12;

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
