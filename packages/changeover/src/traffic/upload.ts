import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';

/**
 * The body of a request on its way upstream. A stream of its own, because undici destroys the body of a request that is answered
 * early, and destroying the message itself would cut the client off before it has read the answer.
 */
export class Upload extends Readable {
  readonly #message: IncomingMessage;

  constructor(message: IncomingMessage) {
    super({ highWaterMark: 64 * 1024 });
    this.#message = message;
    message.on('data', (chunk: Buffer) => {
      // After an early answer the rest of the upload is read and thrown away, so that the client gets to read the answer.
      if (!this.destroyed && !this.push(chunk)) message.pause();
    });
    message.on('end', () => {
      if (!this.destroyed) this.push(null);
    });
  }

  override _read(): void {
    this.#message.resume();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#message.resume();
    callback(error);
  }
}
