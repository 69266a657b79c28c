import type { Side } from '../plan/words.ts';
import type { Ledger } from './ledger.ts';

/** A WebSocket or an event stream: it has no end of its own, so no drain waits for it. */
export interface LongConnection {
  readonly side: Side;
  /** Ends it in its protocol's own way (close frame 1012, `retry:`), so that the client comes back through the gateway. */
  closeForSwitch(): void;
}

/** The long connections of one worker. */
export class Streams {
  readonly #ledger: Ledger;
  readonly #open = new Set<LongConnection>();
  #keep: Side | null = null;

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** One that was asked for before a switch and opens during it is closed at once. */
  add(connection: LongConnection): void {
    this.#open.add(connection);
    if (connection.side === this.#keep) this.#count();
    else this.#close(connection);
  }

  remove(connection: LongConnection): void {
    this.#open.delete(connection);
    this.#count();
  }

  /** Closes all but those of `side`, now and until it is called again; null while the sides switch. */
  keepOnly(side: Side | null): void {
    this.#keep = side;
    for (const connection of [...this.#open]) {
      if (connection.side !== side) this.#close(connection);
    }
  }

  #close(connection: LongConnection): void {
    this.#ledger.streamsClosed += 1;
    this.remove(connection);
    connection.closeForSwitch();
  }

  #count(): void {
    this.#ledger.streams = this.#open.size;
  }
}
