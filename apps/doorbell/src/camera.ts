import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Faces } from '../shared/faces.ts';
import { encodeJpeg } from '../shared/picture.ts';
import type { Settings } from './settings.ts';

/**
 * Plays the pictures of a folder in the order of their names, over and over, on machines without a camera; without a folder it
 * sees an empty porch.
 */
export class Camera {
  readonly #folder: string | null;
  readonly #capture: Settings['frame_capture'];
  readonly #faces: Faces;
  #played = 0;

  constructor(folder: string | null, capture: Settings['frame_capture'], faces: Faces) {
    this.#folder = folder;
    this.#capture = capture;
    this.#faces = faces;
  }

  /** A JPEG, or null when all attempts gave none. */
  async capture(): Promise<Uint8Array | null> {
    const { retry_attempts: attempts, retry_delay: pause } = this.#capture;
    for (let attempt = 1; ; attempt++) {
      const frame = await this.#frame();
      if (frame || attempt >= attempts) return frame;
      await sleep(pause * 1000);
    }
  }

  async #frame(): Promise<Uint8Array | null> {
    const { resolution, quality } = this.#capture;
    if (this.#folder === null) return emptyPorch(resolution, quality);
    try {
      const names = (await readdir(this.#folder)).filter((name) => /^[^.].*\.(?:jpe?g|png)$/i.test(name)).sort();
      const name = names[this.#played++ % names.length];
      if (name === undefined) return null;
      const bytes = await readFile(path.join(this.#folder, name));
      return bytes[0] === 0xff ? bytes : await this.#faces.normalise(bytes, { quality });
    } catch (error) {
      console.error('The camera gave no picture:', error);
      return null;
    }
  }
}

function emptyPorch([width, height]: readonly [number, number], quality: number): Uint8Array {
  const data = new Uint8Array(width * height * 3);
  for (let row = 0; row < height; row++) data.fill(60 + (row * 120) / height, row * width * 3, (row + 1) * width * 3);
  return encodeJpeg({ width, height, data }, quality);
}
