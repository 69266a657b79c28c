import jpeg from 'jpeg-js';
import { PNG } from 'pngjs';

/**
 * Pictures as plain RGB pixels: decode, cut, scale, encode.
 *
 * This folder is the only code that both architectures use: they must see the same faces in the same picture, otherwise a difference
 * between their answers would say nothing about the move.
 */
export interface Picture {
  readonly width: number;
  readonly height: number;
  /** Three bytes a pixel, row by row. */
  readonly data: Uint8Array;
}

export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** Pictures with more pixels are refused before they are decoded. */
const MAX_PICTURE_PIXELS = 24_000_000;

/** Decodes a JPEG or PNG, told apart by content. Throws an Error with a reason a person can read. */
export function decodePicture(bytes: Uint8Array): Picture {
  if (bytes[0] === 0xff && bytes[1] === 0xd8) {
    const { width, height, data } = jpeg.decode(bytes, {
      useTArray: true,
      formatAsRGBA: false,
      tolerantDecoding: true,
      maxResolutionInMP: MAX_PICTURE_PIXELS / 1e6,
      maxMemoryUsageInMB: 512,
    });
    return { width, height, data };
  }
  if (bytes[0] === 0x89 && bytes[1] === 0x50 && bytes[2] === 0x4e && bytes[3] === 0x47) return decodePng(bytes);
  throw new Error('cannot identify image file');
}

function decodePng(bytes: Uint8Array): Picture {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // Width and height stand in the first chunk; the decoder itself would inflate first and ask later.
  if (buffer.length < 33) throw new Error('image file is truncated');
  const pixels = buffer.readUInt32BE(16) * buffer.readUInt32BE(20);
  if (pixels > MAX_PICTURE_PIXELS)
    throw new Error(`image has ${pixels} pixels, at most ${MAX_PICTURE_PIXELS} are read`);
  const { width, height, data: rgba } = PNG.sync.read(buffer);
  const data = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < data.length; from += 4, to += 3) {
    data[to] = rgba[from] ?? 0;
    data[to + 1] = rgba[from + 1] ?? 0;
    data[to + 2] = rgba[from + 2] ?? 0;
  }
  return { width, height, data };
}

/** `quality` from 1 to 100. */
export function encodeJpeg(picture: Picture, quality = 85): Buffer {
  const { width, height, data } = picture;
  const rgba = Buffer.alloc(width * height * 4, 255);
  for (let from = 0, to = 0; from < data.length; from += 3, to += 4) {
    rgba[to] = data[from] ?? 0;
    rgba[to + 1] = data[from + 1] ?? 0;
    rgba[to + 2] = data[from + 2] ?? 0;
  }
  return jpeg.encode({ width, height, data: rgba }, quality).data;
}

/** The part of the picture inside `box`, clipped to its borders; at least one pixel. */
export function cut(picture: Picture, box: Box): Picture {
  const left = clamp(Math.round(box.x), 0, picture.width - 1);
  const top = clamp(Math.round(box.y), 0, picture.height - 1);
  const width = clamp(Math.round(box.x + box.width), left + 1, picture.width) - left;
  const height = clamp(Math.round(box.y + box.height), top + 1, picture.height) - top;
  const data = new Uint8Array(width * height * 3);
  for (let row = 0; row < height; row++) {
    const from = ((top + row) * picture.width + left) * 3;
    data.set(picture.data.subarray(from, from + width * 3), row * width * 3);
  }
  return { width, height, data };
}

/** Makes the longer side `maxSide` pixels if it is longer; else returns the picture itself. */
export function shrink(picture: Picture, maxSide: number): Picture {
  return scale(picture, Math.min(1, maxSide / Math.max(picture.width, picture.height)));
}

/** Scales by `factor`: the mean of the covered pixels downwards, linear between pixels upwards. */
export function scale(picture: Picture, factor: number): Picture {
  if (factor === 1) return picture;
  const width = Math.max(1, Math.round(picture.width * factor));
  const height = Math.max(1, Math.round(picture.height * factor));
  const scaled = { width, height, data: new Uint8Array(width * height * 3) };
  if (factor < 1) fillWithMeans(picture, scaled);
  else fillBetween(picture, scaled);
  return scaled;
}

function fillWithMeans(from: Picture, to: Picture): void {
  const edgesX = edges(from.width, to.width);
  const edgesY = edges(from.height, to.height);
  let at = 0;
  for (let y = 0; y < to.height; y++) {
    const top = edgesY[y] ?? 0;
    const bottom = Math.max(top + 1, edgesY[y + 1] ?? 0);
    for (let x = 0; x < to.width; x++) {
      const left = edgesX[x] ?? 0;
      const right = Math.max(left + 1, edgesX[x + 1] ?? 0);
      let red = 0;
      let green = 0;
      let blue = 0;
      for (let row = top; row < bottom; row++) {
        const end = (row * from.width + right) * 3;
        for (let pixel = (row * from.width + left) * 3; pixel < end; pixel += 3) {
          red += from.data[pixel] ?? 0;
          green += from.data[pixel + 1] ?? 0;
          blue += from.data[pixel + 2] ?? 0;
        }
      }
      const count = (bottom - top) * (right - left);
      to.data[at++] = red / count + 0.5;
      to.data[at++] = green / count + 0.5;
      to.data[at++] = blue / count + 0.5;
    }
  }
}

function edges(fromSize: number, toSize: number): Int32Array {
  return Int32Array.from({ length: toSize + 1 }, (_, index) => Math.round((index * fromSize) / toSize));
}

function fillBetween(from: Picture, to: Picture): void {
  let at = 0;
  for (let y = 0; y < to.height; y++) {
    const sourceY = clamp(((y + 0.5) * from.height) / to.height - 0.5, 0, from.height - 1);
    const top = Math.floor(sourceY);
    const bottom = Math.min(top + 1, from.height - 1);
    for (let x = 0; x < to.width; x++) {
      const sourceX = clamp(((x + 0.5) * from.width) / to.width - 0.5, 0, from.width - 1);
      const left = Math.floor(sourceX);
      const right = Math.min(left + 1, from.width - 1);
      for (let channel = 0; channel < 3; channel++) {
        const pixel = (row: number, column: number) => from.data[(row * from.width + column) * 3 + channel] ?? 0;
        const above = pixel(top, left) + (pixel(top, right) - pixel(top, left)) * (sourceX - left);
        const below = pixel(bottom, left) + (pixel(bottom, right) - pixel(bottom, left)) * (sourceX - left);
        to.data[at++] = above + (below - above) * (sourceY - top) + 0.5;
      }
    }
  }
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}
