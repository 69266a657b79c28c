/** A picture in memory that all threads share: handing it on copies nothing. */
export interface Frame {
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  /** Milliseconds since the Unix epoch. */
  readonly at: number;
}

/** Copies bytes once, into memory that all threads share. */
export function sharedFrame(bytes: Uint8Array, at: number): Frame {
  const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
  shared.set(bytes);
  return { bytes: shared, at };
}

/** The last pictures, the oldest given up for the newest. */
export class FrameRing {
  readonly #capacity: number;
  #frames: Frame[] = [];
  #seen = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Frames that ever came. */
  get seen(): number {
    return this.#seen;
  }

  get size(): number {
    return this.#frames.length;
  }

  add(frame: Frame): void {
    this.#seen += 1;
    this.#frames.push(frame);
    if (this.#frames.length > this.#capacity) this.#frames.shift();
  }

  /** The last one that is not older than `maxAgeMs`, or null. */
  latest(maxAgeMs: number, now: number): Frame | null {
    const frame = this.#frames.at(-1);
    return frame !== undefined && now - frame.at <= maxAgeMs ? frame : null;
  }

  /** All that came in the span, the oldest first. */
  between(from: number, to: number): readonly Frame[] {
    return this.#frames.filter(({ at }) => at >= from && at <= to);
  }
}
