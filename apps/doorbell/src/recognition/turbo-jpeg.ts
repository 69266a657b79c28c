import { createRequire } from 'node:module';
import type { EncodeCrop } from '../../shared/faces-worker.ts';
import { encodeJpeg } from '../../shared/picture.ts';

/** The codec writes into a buffer as large as the pixels, which a smaller picture with its tables does not fit into, and does not look. */
const MIN_PIXELS = 32 * 32;
/** Nor does noise fit, nearly without loss. */
const MAX_QUALITY = 95;

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
  return (picture, quality) => {
    const { width, height, data } = picture;
    if (width * height < MIN_PIXELS || quality > MAX_QUALITY) return encodeJpeg(picture, quality);
    encoder.setQuality(quality);
    encoder.getDecodedBuffer({ width, height, bitsPerSample: 8, componentCount: 3, isSigned: false }).set(data);
    encoder.encode();
    return Uint8Array.from(encoder.getEncodedBuffer());
  };
}
