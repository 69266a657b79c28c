import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';

import type { Side } from '../plan/words.ts';
import { FrameBoundary } from './frames.ts';
import type { LongConnection } from './streams.ts';

/** "Service restart": clients reconnect at once (RFC 6455 registry). */
const CLOSE_CODE = 1012;
/** A peer that does not finish its frame, or does not close, is cut off after this. */
const CLOSE_GRACE_MS = 500;
/** A WebSocket has no use for one open direction: when one side has ended, the other gets this long to say its last words. */
const HALF_CLOSED_MS = 2_000;

interface Direction {
  readonly from: Socket;
  readonly to: Socket;
  /** Null where the protocol is unknown and only bytes are copied. */
  readonly boundary: FrameBoundary | null;
  readonly isToServer: boolean;
  isClosed: boolean;
}

/** Two sockets joined after an upgrade. */
export class Splice implements LongConnection {
  readonly side: Side;
  readonly #directions: readonly [Direction, Direction];
  readonly #onEnd: () => void;
  #isClosing = false;
  #hasEnded = false;

  constructor(side: Side, client: Socket, upstream: Socket, isWebSocket: boolean, onEnd: () => void) {
    this.side = side;
    this.#onEnd = onEnd;
    const boundary = (): FrameBoundary | null => (isWebSocket ? new FrameBoundary() : null);
    this.#directions = [
      { from: client, to: upstream, boundary: boundary(), isToServer: true, isClosed: false },
      { from: upstream, to: client, boundary: boundary(), isToServer: false, isClosed: false },
    ];
    for (const direction of this.#directions) this.#join(direction);
  }

  closeForSwitch(): void {
    this.#isClosing = true;
    for (const direction of this.#directions) {
      if (direction.boundary === null) this.#finish(direction);
      else if (direction.boundary.isBetweenFrames) this.#sendClose(direction);
    }
    this.#cutOffAfter(CLOSE_GRACE_MS);
  }

  #cutOffAfter(delayMs: number): void {
    setTimeout(() => {
      for (const { from } of this.#directions) from.destroy();
    }, delayMs).unref();
  }

  #join(direction: Direction): void {
    const { from, to } = direction;
    from.setTimeout(0);
    from.setNoDelay(true);
    from.on('data', (chunk: Buffer) => {
      this.#forward(direction, chunk);
    });
    from.on('end', () => {
      to.end();
      this.#cutOffAfter(HALF_CLOSED_MS);
    });
    from.on('error', () => {
      to.destroy();
    });
    from.on('close', () => {
      to.destroySoon();
      if (this.#hasEnded) return;
      this.#hasEnded = true;
      this.#onEnd();
    });
    to.on('drain', () => {
      from.resume();
    });
  }

  #forward(direction: Direction, chunk: Buffer): void {
    // What comes after our close frame is read and thrown away: unread bytes would turn the closing into a reset.
    if (direction.isClosed) return;
    const { boundary, from, to } = direction;
    const taken = boundary === null ? chunk.length : boundary.follow(chunk, this.#isClosing);
    if (!to.write(taken === chunk.length ? chunk : chunk.subarray(0, taken))) from.pause();
    if (this.#isClosing && boundary?.isBetweenFrames === true) this.#sendClose(direction);
  }

  #sendClose(direction: Direction): void {
    if (direction.boundary?.sawClose === false) direction.to.write(closeFrame(direction.isToServer));
    this.#finish(direction);
  }

  #finish(direction: Direction): void {
    direction.isClosed = true;
    direction.to.end();
    direction.from.resume();
  }
}

/** A client's frames are masked, a server's are not. */
function closeFrame(isToServer: boolean): Buffer {
  const code = Buffer.from([CLOSE_CODE >> 8, CLOSE_CODE & 0xff]);
  if (!isToServer) return Buffer.from([0x88, 2, ...code]);
  const mask = randomBytes(4);
  return Buffer.from([0x88, 0x82, ...mask, ...code.map((byte, index) => byte ^ (mask[index] ?? 0))]);
}
