import { createRequire } from 'node:module';
import type { EncodeCrop } from '../../shared/faces-worker.ts';
import { encodeJpeg } from '../../shared/picture.ts';

/** The most that libjpeg-turbo may write for a picture without subsampled colours, in bytes (its `tjBufSize`). */
const bound = (width: number, height: number) => Math.ceil(width / 8) * Math.ceil(height / 8) * 384 + 2048;

interface Encoder {
  /** Where the pixels go, three bytes each. */
  getDecodedBuffer(form: {
    readonly width: number;
    readonly height: number;
    readonly bitsPerSample: 8;
    readonly componentCount: 3;
    readonly isSigned: false;
  }): Uint8Array;
  setQuality(quality: number): void;
  setProgressive(isProgressive: boolean): void;
  encode(): void;
  /** Holds until the next `encode`. */
  getEncodedBuffer(): Uint8Array;
}

type Codec = () => Promise<{ readonly JPEGEncoder: new () => Encoder }>;

/** Encodes JPEG with libjpeg-turbo as WebAssembly, in a tenth of the time of an encoder in JavaScript, and without its garbage. */
export async function turboJpeg(): Promise<EncodeCrop> {
  const require = createRequire(import.meta.url);
  const codec = require('@cornerstonejs/codec-libjpeg-turbo-8bit/wasmjs') as Codec;
  const { JPEGEncoder } = await codec();
  const encoder = new JPEGEncoder();
  encoder.setProgressive(false);

  const write = (width: number, height: number, pixels: Uint8Array) => {
    encoder.getDecodedBuffer({ width, height, bitsPerSample: 8, componentCount: 3, isSigned: false }).set(pixels);
    encoder.encode();
  };

  // The codec gives the result as many bytes as the picture has, writes up to `bound` of them unasked, and keeps what it once took.
  // So whatever may need more than it has taken so far is preceded by a black picture of that many bytes.
  let taken = 0;
  const take = (bytes: number) => {
    const side = Math.ceil(Math.sqrt(bytes / 3));
    taken = side * side * 3;
    write(side, side, new Uint8Array(taken));
  };

  return (picture, quality) => {
    const { width, height, data } = picture;
    encoder.setQuality(quality);
    const needed = bound(width, height);
    if (needed > taken) take(needed);
    write(width, height, data);
    const jpeg = encoder.getEncodedBuffer();
    // What a result has beyond the bytes of its picture, as of noise or of a few pixels, comes out as zeros.
    return jpeg.length > data.length ? encodeJpeg(picture, quality) : Uint8Array.from(jpeg);
  };
}
