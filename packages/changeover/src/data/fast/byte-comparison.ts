import type { CopyReader } from './copy-streams.ts';

/** A side that is ahead of the other by more than this waits for it. */
const MAX_AHEAD_BYTES = 1 << 20;

/** Two streams of messages that should be the same: one is written here, the other one is that of a COPY. Neither is ever held whole. */
export class ByteComparison implements CopyReader {
  readonly form = 'framed';
  /** What one side has given and the other one has not; one of the two is empty. */
  readonly #written: Queue = new Queue();
  readonly #taken: Queue = new Queue();
  #isOver = false;
  #isEqual = true;
  #changed = Promise.withResolvers<null>();

  /** Resolves when more may come. */
  async write(bytes: Uint8Array): Promise<void> {
    this.#add(this.#written, bytes);
    await this.#waitFor(this.#written);
  }

  take(chunk: Buffer, from: number, to: number): boolean {
    this.#add(this.#taken, chunk.subarray(from, to));
    return !this.#isAhead(this.#taken);
  }

  async ready(): Promise<void> {
    await this.#waitFor(this.#taken);
  }

  /** Nothing more comes from one side, which has ended or failed: the other one has nothing to wait for. */
  end(): void {
    this.#isOver = true;
    this.#wake();
  }

  /** After the end of both sides. */
  get isEqual(): boolean {
    return this.#isEqual && this.#written.bytes === 0 && this.#taken.bytes === 0;
  }

  #add(queue: Queue, bytes: Uint8Array): void {
    if (!this.#isEqual) return;
    queue.push(bytes);
    const [written, taken] = [this.#written, this.#taken];
    while (this.#isEqual && written.bytes > 0 && taken.bytes > 0) {
      const length = Math.min(written.head.length, taken.head.length);
      this.#isEqual = Buffer.compare(written.shift(length), taken.shift(length)) === 0;
    }
    this.#wake();
  }

  #isAhead(queue: Queue): boolean {
    return this.#isEqual && !this.#isOver && queue.bytes > MAX_AHEAD_BYTES;
  }

  async #waitFor(queue: Queue): Promise<void> {
    while (this.#isAhead(queue)) await this.#changed.promise;
  }

  #wake(): void {
    this.#changed.resolve(null);
    this.#changed = Promise.withResolvers();
  }
}

class Queue {
  readonly #chunks: Uint8Array[] = [];
  bytes = 0;

  get head(): Uint8Array {
    return this.#chunks[0] ?? new Uint8Array(0);
  }

  push(bytes: Uint8Array): void {
    if (bytes.length > 0) this.#chunks.push(bytes);
    this.bytes += bytes.length;
  }

  /** The first `length` bytes, which the head has. */
  shift(length: number): Uint8Array {
    const head = this.head;
    if (length === head.length) this.#chunks.shift();
    else this.#chunks[0] = head.subarray(length);
    this.bytes -= length;
    return head.subarray(0, length);
  }
}
