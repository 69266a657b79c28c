import type { CopyReader } from './copy-streams.ts';

/** One side waits for the other when it is ahead by this. */
const MAX_AHEAD_BYTES = 1 << 20;

interface Side {
  /** What the other side has not got to yet. */
  readonly ahead: Buffer[];
  aheadBytes: number;
  hasEnded: boolean;
}

type SideIndex = 0 | 1;

/** Two streams of bytes, compared as they come, whichever comes first. Once they differ the rest of both is thrown away. */
export class StreamPair {
  readonly #sides: readonly [Side, Side] = [newSide(), newSide()];
  #isEqual = true;
  #failure: { readonly error: unknown } | null = null;
  #wake: () => void = () => undefined;
  #changed: Promise<unknown> = this.#next();

  /** As far as both have come. */
  get isEqual(): boolean {
    return this.#isEqual;
  }

  /** Resolves when the bytes were compared, or need not be any more. */
  async give(index: SideIndex, bytes: Buffer): Promise<void> {
    this.#push(index, bytes);
    await this.#until(() => this.#sides[index].aheadBytes === 0);
  }

  end(index: SideIndex): void {
    const [own, other] = this.#pick(index);
    own.hasEnded = true;
    if (other.aheadBytes > 0) this.#differ();
    this.#tell();
  }

  /** Takes one side from `copy`, which reads it whole. Resolves with what `copy` did. */
  async read<T>(index: SideIndex, copy: (reader: CopyReader) => Promise<T>): Promise<T> {
    try {
      const result = await copy({
        form: 'framed',
        take: (chunk, from, to) => {
          this.#push(index, chunk.subarray(from, to));
          return this.#sides[index].aheadBytes <= MAX_AHEAD_BYTES;
        },
        ready: () => this.#until(() => this.#sides[index].aheadBytes <= MAX_AHEAD_BYTES),
      });
      this.end(index);
      return result;
    } catch (error) {
      this.#failure ??= { error };
      this.#tell();
      throw error;
    }
  }

  #push(index: SideIndex, bytes: Buffer): void {
    const [own, other] = this.#pick(index);
    let from = 0;
    while (this.#isEqual && from < bytes.length) {
      const [waiting] = other.ahead;
      if (waiting === undefined) break;
      const length = Math.min(waiting.length, bytes.length - from);
      if (waiting.compare(bytes, from, from + length, 0, length) !== 0) this.#differ();
      else {
        from += length;
        other.aheadBytes -= length;
        if (length === waiting.length) other.ahead.shift();
        else other.ahead[0] = waiting.subarray(length);
      }
    }
    if (from > 0) this.#tell();
    if (!this.#isEqual || from === bytes.length) return;
    if (other.hasEnded) {
      this.#differ();
      return;
    }
    own.ahead.push(bytes.subarray(from));
    own.aheadBytes += bytes.length - from;
  }

  #differ(): void {
    this.#isEqual = false;
    for (const side of this.#sides) {
      side.ahead.length = 0;
      side.aheadBytes = 0;
    }
    this.#tell();
  }

  async #until(isReached: () => boolean): Promise<void> {
    while (!isReached()) {
      if (this.#failure !== null) throw this.#failure.error;
      await this.#changed;
    }
  }

  #tell(): void {
    this.#wake();
    this.#changed = this.#next();
  }

  #next(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #pick(index: SideIndex): readonly [own: Side, other: Side] {
    return [this.#sides[index], this.#sides[index === 0 ? 1 : 0]];
  }
}

function newSide(): Side {
  return { ahead: [], aheadBytes: 0, hasEnded: false };
}
