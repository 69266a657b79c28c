import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import type pg from 'pg';
import type { Session } from '../stores/postgres/session.ts';

/** More than this is not left waiting in a socket: the producer waits instead. */
const MAX_WAITING_BYTES = 1 << 20;
export const COPY_DATA = 'd'.charCodeAt(0);
/** Type and length that stand before every message: https://www.postgresql.org/docs/current/protocol-message-formats.html */
export const HEADER_BYTES = 5;

/** Takes the bytes of one COPY … FROM STDIN. */
export interface CopySink {
  /** Bytes of COPY's format, cut anywhere. They must not be changed afterwards. Resolves when more may come. */
  write(bytes: Uint8Array): Promise<void>;
  /** Whole CopyData messages, cut anywhere, as another server sent them. False: wait for `drained`. */
  forward(messages: Uint8Array): boolean;
  /** Resolves when more may come; rejects when the server refuses what it got. */
  drained(): Promise<void>;
  /** Resolves when all that was written has left this process: its bytes may be changed then. */
  flushed(): Promise<void>;
}

/** One CopyData message, as a server sends it. */
export function frame(bytes: Uint8Array): Buffer {
  const message = Buffer.allocUnsafe(HEADER_BYTES + bytes.length);
  message[0] = COPY_DATA;
  message.writeUInt32BE(bytes.length + 4, 1);
  message.set(bytes, HEADER_BYTES);
  return message;
}

/** COPY … FROM STDIN. Resolves with the number of rows when the server has taken all that `feed` wrote. */
export async function copyIn(session: Session, sql: string, feed: (sink: CopySink) => Promise<void>): Promise<number> {
  return session.raw(
    (client) =>
      new Promise((resolve, reject) => {
        client.query(new CopyIn(sql, feed, resolve, reject));
      }),
  );
}

export interface CopyReader {
  /** `framed`: CopyData messages with their headers, to be forwarded. `payload`: what is in them. */
  readonly form: 'framed' | 'payload';
  /** A stretch of a buffer that nobody changes any more. False: nothing more until `ready` has resolved. */
  take(chunk: Buffer, from: number, to: number): boolean;
  ready?(): Promise<void>;
}

/**
 * COPY … TO STDOUT. Resolves with the number of rows. The bytes do not go through pg's parser, which would make an object of every row: a
 * walker in front of it takes the CopyData messages out of what the socket gives.
 */
export async function copyOut(session: Session, sql: string, reader: CopyReader): Promise<number> {
  return session.raw(
    (client) =>
      new Promise((resolve, reject) => {
        client.query(new CopyOut(sql, reader, resolve, reject));
      }),
  );
}

/** What pg's client asks of a query object: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY */
class CopyIn implements pg.Submittable, CopySink {
  readonly #sql: string;
  readonly #feed: (sink: CopySink) => Promise<void>;
  readonly #resolve: (rows: number) => void;
  readonly #reject: (error: unknown) => void;
  readonly #refused = new AbortController();
  #stream: Duplex | null = null;
  #rows = 0;
  #flushed = Promise.resolve();
  #failure: { readonly error: unknown } | null = null;

  constructor(
    sql: string,
    feed: (sink: CopySink) => Promise<void>,
    resolve: (rows: number) => void,
    reject: (error: unknown) => void,
  ) {
    this.#sql = sql;
    this.#feed = feed;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  submit(connection: pg.Connection): void {
    connection.query(this.#sql);
  }

  handleCopyInResponse(connection: pg.Connection & CopyEnds): void {
    this.#stream = connection.stream;
    this.#feed(this).then(
      () => {
        if (this.#failure === null) connection.endCopyFrom();
      },
      (error: unknown) => {
        // The server has refused already, or gets to know here that there is no more. What it answers to that is of no interest.
        if (this.#failure === null) connection.sendCopyFail('the copy was ended');
        this.#failure ??= { error };
      },
    );
  }

  async write(bytes: Uint8Array): Promise<void> {
    const header = Buffer.allocUnsafe(HEADER_BYTES);
    header[0] = COPY_DATA;
    header.writeUInt32BE(bytes.length + 4, 1);
    const stream = this.#open();
    stream.cork();
    stream.write(header);
    this.#flushed = new Promise((resolve) => {
      stream.write(bytes, () => {
        resolve();
      });
    });
    stream.uncork();
    if (stream.writableLength > MAX_WAITING_BYTES) await this.drained();
  }

  async flushed(): Promise<void> {
    await this.#flushed;
  }

  forward(messages: Uint8Array): boolean {
    const stream = this.#open();
    stream.write(messages);
    return stream.writableLength <= MAX_WAITING_BYTES;
  }

  async drained(): Promise<void> {
    const stream = this.#open();
    if (!stream.writableNeedDrain) return;
    try {
      await once(stream, 'drain', { signal: this.#refused.signal });
    } catch (error) {
      throw this.#failure?.error ?? error;
    }
  }

  handleCommandComplete(message: { readonly text: string }): void {
    this.#rows = rowsOf(message);
  }

  handleError(error: Error): void {
    this.#failure ??= { error };
    this.#refused.abort();
    this.#reject(this.#failure.error);
  }

  handleReadyForQuery(): void {
    this.#resolve(this.#rows);
  }

  #open(): Duplex {
    if (this.#failure !== null) throw this.#failure.error;
    if (this.#stream === null) throw new TypeError('the server does not take data yet');
    return this.#stream;
  }
}

interface CopyEnds {
  endCopyFrom(): void;
  sendCopyFail(reason: string): void;
}

type Listener = (chunk: Buffer) => void;

class CopyOut implements pg.Submittable {
  readonly #sql: string;
  readonly #reader: CopyReader;
  readonly #resolve: (rows: number) => void;
  readonly #reject: (error: unknown) => void;
  /** A header that came in two pieces. */
  #tail: Buffer = Buffer.alloc(0);
  /** Bytes of the current message that are still to come. */
  #left = 0;
  #isData = false;
  #stream: Duplex | null = null;
  #parsers: readonly Listener[] = [];
  #rows = 0;
  /** What the reader threw; then the rest is read and thrown away, so that the connection stays usable. */
  #failure: { readonly error: unknown } | null = null;

  constructor(sql: string, reader: CopyReader, resolve: (rows: number) => void, reject: (error: unknown) => void) {
    this.#sql = sql;
    this.#reader = reader;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  submit(connection: pg.Connection): void {
    this.#stream = connection.stream;
    this.#parsers = connection.stream.listeners('data') as Listener[];
    for (const parser of this.#parsers) connection.stream.off('data', parser);
    connection.stream.on('data', this.#walk);
    connection.query(this.#sql);
  }

  handleCommandComplete(message: { readonly text: string }): void {
    this.#rows = rowsOf(message);
  }

  handleError(error: Error): void {
    this.#leave();
    this.#reject(this.#failure?.error ?? error);
  }

  handleReadyForQuery(): void {
    this.#leave();
    if (this.#failure === null) this.#resolve(this.#rows);
    else this.#reject(this.#failure.error);
  }

  readonly #walk = (received: Buffer): void => {
    const chunk = this.#tail.length === 0 ? received : Buffer.concat([this.#tail, received]);
    const isFramed = this.#reader.form === 'framed';
    let at = 0;
    // Messages of one kind go on together; payloads go on one by one, as a header stands between any two.
    let start = 0;
    while (at < chunk.length) {
      if (this.#left === 0) {
        if (chunk.length - at < HEADER_BYTES) break;
        const isData = chunk[at] === COPY_DATA;
        if (isData !== this.#isData) {
          this.#pass(chunk, start, at);
          start = at;
          this.#isData = isData;
        }
        this.#left = chunk.readUInt32BE(at + 1) - 4;
        at += HEADER_BYTES;
        if (isData && !isFramed) start = at;
      }
      const bytes = Math.min(this.#left, chunk.length - at);
      this.#left -= bytes;
      at += bytes;
      if (this.#isData && !isFramed) {
        this.#pass(chunk, start, at);
        start = at;
      }
    }
    this.#tail = chunk.subarray(at);
    this.#pass(chunk, start, at);
  };

  #pass(chunk: Buffer, from: number, to: number): void {
    if (to === from) return;
    if (this.#isData) this.#give(chunk, from, to);
    else for (const parser of this.#parsers) parser(chunk.subarray(from, to));
  }

  #give(chunk: Buffer, from: number, to: number): void {
    if (this.#failure !== null) return;
    try {
      if (this.#reader.take(chunk, from, to)) return;
    } catch (error) {
      this.#failure = { error };
      return;
    }
    const stream = this.#stream;
    stream?.pause();
    this.#reader.ready?.().then(
      () => stream?.resume(),
      (error: unknown) => {
        this.#failure ??= { error };
        stream?.resume();
      },
    );
  }

  /** What follows belongs to the next query. */
  #leave(): void {
    const stream = this.#stream;
    if (stream === null) return;
    this.#stream = null;
    stream.off('data', this.#walk);
    for (const parser of this.#parsers) {
      stream.on('data', parser);
      if (this.#tail.length > 0) parser(this.#tail);
    }
  }
}

/** `COPY 42` */
function rowsOf({ text }: { readonly text: string }): number {
  return Number(text.split(' ').at(-1));
}
