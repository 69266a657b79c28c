const SOI = Buffer.from([0xff, 0xd8]);
const EOI = 0xd9;
const SOS = 0xda;
/** No camera's picture is larger; without a bound a stream that never ends a picture would fill the memory. */
const MAX_FRAME_BYTES = 16 * 1024 * 1024;

/**
 * Cuts a stream of bytes into the JPEGs that it holds. Segments are skipped by their lengths (ITU-T T.81, B.1), so that the end of a thumbnail
 * inside one is not taken for the end of the picture; what is no JPEG is passed over.
 */
export class JpegSplitter {
  #held: Buffer = Buffer.alloc(0);
  /** Up to here what is held has been looked at; 0 before a picture has begun. */
  #at = 0;
  #isInScan = false;

  /** The pictures that are complete with this chunk. @throws Error where one is larger than 16 MiB. */
  push(chunk: Uint8Array): Uint8Array[] {
    this.#held = Buffer.concat([this.#held, chunk]);
    const frames: Uint8Array[] = [];
    for (let end = this.#end(); end !== null; end = this.#end()) {
      frames.push(this.#held.subarray(0, end));
      this.#drop(end);
    }
    if (this.#held.length > MAX_FRAME_BYTES) throw new Error(`a picture has more than ${MAX_FRAME_BYTES} bytes`);
    return frames;
  }

  /** Where the picture ends at which `#held` begins; null where more bytes are needed. */
  #end(): number | null {
    for (;;) {
      if (this.#at === 0 && !this.#begin()) return null;
      if (this.#isInScan && !this.#passScan()) return null;
      if (this.#at + 1 >= this.#held.length) return null;
      const marker = this.#held[this.#at + 1] ?? 0;
      if (this.#held[this.#at] !== 0xff || marker === 0) {
        // A broken picture: the next one may begin right behind its beginning.
        this.#drop(SOI.length);
      } else if (marker === 0xff) this.#at += 1;
      else if (marker === EOI) return this.#at + 2;
      else {
        if (this.#at + 3 >= this.#held.length) return null;
        this.#isInScan = marker === SOS;
        this.#at += 2 + this.#held.readUInt16BE(this.#at + 2);
      }
    }
  }

  /** Passes over what comes before a picture; false where none begins. */
  #begin(): boolean {
    const start = this.#held.indexOf(SOI);
    // The last byte may be the first half of a beginning.
    this.#drop(start < 0 ? Math.max(0, this.#held.length - 1) : start);
    if (start < 0) return false;
    this.#at = SOI.length;
    return true;
  }

  /** Passes over coded data, in which 0xff is followed by 0 or by a restart marker; false where it goes on. */
  #passScan(): boolean {
    for (;;) {
      const found = this.#held.indexOf(0xff, this.#at);
      const next = found < 0 ? undefined : this.#held[found + 1];
      this.#at = found < 0 ? Math.max(this.#at, this.#held.length) : found;
      if (next === undefined) return false;
      if (next !== 0 && !(next >= 0xd0 && next <= 0xd7)) break;
      this.#at += 2;
    }
    this.#isInScan = false;
    return true;
  }

  #drop(bytes: number): void {
    this.#held = this.#held.subarray(bytes);
    this.#at = 0;
    this.#isInScan = false;
  }
}
