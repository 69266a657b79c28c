import type { Duplex } from 'node:stream';
import type { Session } from '../stores/mariadb/session.ts';
import type { WireColumn } from './mariadb-cells.ts';
import { Transfer, type Cell } from './mariadb-transfer.ts';

/** A row as the driver found it in what the socket gave. */
interface WirePacket {
  readonly buffer: Buffer;
  /** Where its header begins, of four bytes. */
  readonly start: number;
}
const HEADER_BYTES = 4;

/** What of the driver is used here beyond its interface; the pinned version has it. */
interface Driver {
  readonly stream: Duplex;
  execute(options: { readonly sql: string }, done: (error: Error | null) => void): PreparedQuery;
  unprepare(options: { readonly sql: string }): void;
}
/** It asks for the maker of its rows before the first one. */
interface PreparedQuery {
  buildParserFromFields: (columns: readonly WireColumn[]) => new () => { next(packet: WirePacket): void };
}

/**
 * The rows of `sql` as Postgres's binary COPY, and their number. The statement is a prepared one: its rows come in binary, which costs the
 * server half of what their text does, and the driver makes no object of any of them.
 *
 * @param write Takes a piece of whole rows; until it resolves nothing more is read from the socket.
 */
export async function readRows(
  session: Session,
  sql: string,
  cellsOf: (columns: readonly WireColumn[]) => Cell[],
  form: 'plain' | 'framed',
  write: (bytes: Buffer) => Promise<void>,
): Promise<number> {
  return session.raw((connection) => {
    const { connection: driver } = connection as unknown as { readonly connection: Driver };
    return new RowReading(driver, (columns, give) => new Transfer(cellsOf(columns), form, give), write).run(sql);
  });
}

type TransferOf = (columns: readonly WireColumn[], give: (bytes: Buffer) => void) => Transfer;

class RowReading {
  readonly #driver: Driver;
  readonly #transferOf: TransferOf;
  readonly #write: (bytes: Buffer) => Promise<void>;
  #transfer: Transfer | null = null;
  #writing = 0;
  #written: Promise<void> = Promise.resolve();
  /** What was thrown here; then the rest is read and thrown away, so that the connection stays usable. */
  #failure: { readonly error: unknown } | null = null;

  constructor(driver: Driver, transferOf: TransferOf, write: (bytes: Buffer) => Promise<void>) {
    this.#driver = driver;
    this.#transferOf = transferOf;
    this.#write = write;
  }

  async run(sql: string): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      const query = this.#driver.execute({ sql }, (error) => {
        if (error === null) resolve();
        else reject(error);
      });
      query.buildParserFromFields = (columns) => {
        this.#guard(() => (this.#transfer = this.#transferOf(columns, this.#give)));
        const next = (packet: WirePacket) => {
          this.#take(packet);
        };
        return class {
          readonly next = next;
        };
      };
    });
    this.#driver.unprepare({ sql });
    this.#guard(() => this.#transfer?.end());
    await this.#written;
    if (this.#failure !== null) throw this.#failure.error;
    if (this.#transfer === null) throw new TypeError('the driver kept the rows to itself');
    return this.#transfer.rows;
  }

  /** Called for each row, so it makes nothing that would have to be collected. */
  #take({ buffer, start }: WirePacket): void {
    if (this.#failure !== null) return;
    try {
      this.#transfer?.row(buffer, start + HEADER_BYTES);
    } catch (error) {
      this.#failure = { error };
    }
  }

  readonly #give = (bytes: Buffer): void => {
    const { stream } = this.#driver;
    this.#writing++;
    stream.pause();
    const written = this.#write(bytes)
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => {
        if (--this.#writing === 0) stream.resume();
      });
    this.#written = this.#written.then(() => written);
  };

  #guard(act: () => unknown): void {
    if (this.#failure !== null) return;
    try {
      act();
    } catch (error) {
      this.#failure = { error };
    }
  }
}
