/**
 * Follows the frame boundaries of one direction of a WebSocket (RFC 6455, section 5.2) without touching the payload, so that a close
 * frame can be put between two frames of a connection that is otherwise copied byte by byte.
 */
export class FrameBoundary {
  readonly #header = Buffer.alloc(14);
  #headerBytes = 0;
  #payloadLeft = 0;
  #sawClose = false;

  get isBetweenFrames(): boolean {
    return this.#headerBytes === 0 && this.#payloadLeft === 0;
  }

  /** The peer has sent its own close frame; nothing may follow it. */
  get sawClose(): boolean {
    return this.#sawClose;
  }

  /** Reads on; with `stopBetweenFrames` no further than to the end of the frame under way. Returns the bytes read. */
  follow(chunk: Buffer, stopBetweenFrames = false): number {
    let at = 0;
    while (at < chunk.length && !(stopBetweenFrames && this.isBetweenFrames)) {
      if (this.#payloadLeft > 0) {
        const step = Math.min(this.#payloadLeft, chunk.length - at);
        this.#payloadLeft -= step;
        at += step;
      } else {
        this.#header[this.#headerBytes] = chunk[at] ?? 0;
        this.#headerBytes += 1;
        at += 1;
        this.#endHeader();
      }
    }
    return at;
  }

  #endHeader(): void {
    if (this.#headerBytes < 2) return;
    const second = this.#header[1] ?? 0;
    const short = second & 0x7f;
    const extended = short === 126 ? 2 : short === 127 ? 8 : 0;
    if (this.#headerBytes < 2 + extended + (second & 0x80 ? 4 : 0)) return;
    this.#payloadLeft =
      extended === 2 ? this.#header.readUInt16BE(2) : extended === 8 ? Number(this.#header.readBigUInt64BE(2)) : short;
    this.#sawClose ||= ((this.#header[0] ?? 0) & 0x0f) === 0x8;
    this.#headerBytes = 0;
  }
}
