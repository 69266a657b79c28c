import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Faces } from '../shared/faces.ts';
import { encodeJpeg } from '../shared/picture.ts';

/** Both are settings of the original too, which it never reads. */
const CAPTURE_ATTEMPTS = 3;
const CAPTURE_RETRY_MS = 500;

/**
 * The camera of a machine without one: plays the pictures of a folder in the order of their names, over and over, or an empty
 * porch where no folder is given.
 */
export class Camera {
  readonly #folder: string | null;
  readonly #resolution: readonly [number, number];
  readonly #faces: Faces;
  #next = 0;

  constructor(folder: string | null, resolution: readonly [number, number], faces: Faces) {
    this.#folder = folder;
    this.#resolution = resolution;
    this.#faces = faces;
  }

  /** A JPEG, or null when the camera gives nothing three times. */
  async capture(): Promise<Uint8Array | null> {
    for (let attempt = 1; ; attempt++) {
      const frame = await this.#frame();
      if (frame || attempt === CAPTURE_ATTEMPTS) return frame;
      await sleep(CAPTURE_RETRY_MS);
    }
  }

  async #frame(): Promise<Uint8Array | null> {
    if (this.#folder === null) return emptyPorch(this.#resolution);
    try {
      const names = (await readdir(this.#folder)).filter((name) => /^[^.].*\.(jpe?g|png)$/i.test(name)).sort();
      const name = names[this.#next++ % names.length];
      if (name === undefined) return null;
      const bytes = await readFile(path.join(this.#folder, name));
      return bytes[0] === 0xff ? bytes : await this.#faces.normalise(bytes, { quality: 85 });
    } catch (error) {
      console.error('Camera:', error);
      return null;
    }
  }
}

function emptyPorch([width, height]: readonly [number, number]): Uint8Array {
  const data = new Uint8Array(width * height * 3);
  for (let row = 0; row < height; row++) data.fill(60 + (row * 120) / height, row * width * 3, (row + 1) * width * 3);
  return encodeJpeg({ width, height, data });
}
