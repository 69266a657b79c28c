import type { Cell } from '../session.ts';

/** A value that Postgres did not send, because it is stored out of line and did not change. */
export const UNSENT = Symbol('unsent');

export type Tuple = readonly (Cell | typeof UNSENT)[];

export interface Relation {
  readonly schema: string;
  readonly name: string;
  /** Names of the columns of every tuple, in order. */
  readonly columns: readonly string[];
}

/** One message of the plugin `pgoutput`, as far as it matters here. */
export type Decoded =
  | { readonly kind: 'begin' }
  /** A message that was written with `pg_logical_emit_message` in the transaction. */
  | { readonly kind: 'message'; readonly prefix: string }
  /** The row as it was, where its key changed or it is gone, and as it is. */
  | { readonly kind: 'row'; readonly relation: Relation; readonly before: Tuple | null; readonly after: Tuple | null }
  | { readonly kind: 'truncate'; readonly relations: readonly Relation[] }
  /** Where the log goes on behind the commit, as Postgres writes it: `0/16B3748`. */
  | { readonly kind: 'commit'; readonly endLsn: string };

/**
 * Reads what `pgoutput` writes (protocol version 1, values as text), message by message. A relation is described before its first change, so
 * one decoder reads one answer from its beginning. Throws on what is no such output.
 * https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
 */
export class Decoder {
  readonly #relations = new Map<number, Relation>();

  /** Null for a message that says nothing about rows. */
  decode(message: Buffer): Decoded | null {
    const reader = new Reader(message);
    const kind = reader.character();
    switch (kind) {
      case 'B':
        return { kind: 'begin' };
      case 'M':
        reader.skip(1 + 8);
        return { kind: 'message', prefix: reader.text() };
      case 'R':
        this.#relations.set(reader.int32(), relation(reader));
        return null;
      case 'I':
      case 'U':
      case 'D':
        return this.#row(reader);
      case 'T': {
        const count = reader.int32();
        reader.skip(1);
        return { kind: 'truncate', relations: Array.from({ length: count }, () => this.#known(reader.int32())) };
      }
      case 'C':
        reader.skip(1 + 8);
        return { kind: 'commit', endLsn: reader.lsn() };
      case 'O':
      case 'Y':
        return null;
      default:
        throw new Error(`pgoutput: a message of the unknown kind ${JSON.stringify(kind)}`);
    }
  }

  #row(reader: Reader): Decoded {
    const relation = this.#known(reader.int32());
    let before: Tuple | null = null;
    let after: Tuple | null = null;
    while (!reader.isAtEnd) {
      const which = reader.character();
      if (which === 'N') after = tuple(reader);
      else if (which === 'K' || which === 'O') before = tuple(reader);
      else throw new Error(`pgoutput: a tuple of the unknown kind ${JSON.stringify(which)}`);
    }
    return { kind: 'row', relation, before, after };
  }

  #known(oid: number): Relation {
    const found = this.#relations.get(oid);
    if (found === undefined) throw new Error(`pgoutput: a change of relation ${oid}, which was not described`);
    return found;
  }
}

function relation(reader: Reader): Relation {
  const schema = reader.text();
  const name = reader.text();
  reader.skip(1);
  const columns = Array.from({ length: reader.int16() }, () => {
    reader.skip(1);
    const column = reader.text();
    reader.skip(4 + 4);
    return column;
  });
  // The catalogue's own schema is sent as nothing.
  return { schema: schema === '' ? 'pg_catalog' : schema, name, columns };
}

function tuple(reader: Reader): Tuple {
  return Array.from({ length: reader.int16() }, () => {
    const kind = reader.character();
    if (kind === 'n') return null;
    if (kind === 'u') return UNSENT;
    if (kind === 't') return reader.bytes(reader.int32()).toString('utf8');
    throw new Error(`pgoutput: a value of the unknown kind ${JSON.stringify(kind)}`);
  });
}

/** Numbers in network order; texts end with a zero byte. Throws a `RangeError` where the message is shorter than it says. */
class Reader {
  readonly #buffer: Buffer;
  #at = 0;

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#buffer.length;
  }

  skip(count: number): void {
    this.bytes(count);
  }

  bytes(count: number): Buffer {
    const end = this.#at + count;
    if (count < 0 || end > this.#buffer.length) throw new RangeError('pgoutput: a message is cut off');
    const bytes = this.#buffer.subarray(this.#at, end);
    this.#at = end;
    return bytes;
  }

  character(): string {
    return this.bytes(1).toString('latin1');
  }

  int16(): number {
    return this.bytes(2).readUInt16BE();
  }

  int32(): number {
    return this.bytes(4).readInt32BE();
  }

  lsn(): string {
    const bytes = this.bytes(8);
    return `${bytes.readUInt32BE(0).toString(16)}/${bytes.readUInt32BE(4).toString(16)}`.toUpperCase();
  }

  text(): string {
    const end = this.#buffer.indexOf(0, this.#at);
    if (end === -1) throw new RangeError('pgoutput: a message is cut off');
    const text = this.bytes(end - this.#at).toString('utf8');
    this.skip(1);
    return text;
  }
}
