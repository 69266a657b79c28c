import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Faces } from '../../shared/faces.ts';
import { encodeJpeg } from '../../shared/picture.ts';
import type { Settings } from '../settings.ts';
import type { StillSource } from './source.ts';

/**
 * Plays the pictures of a folder in the order of their names, over and over, on machines without a camera; without a folder it
 * sees an empty porch.
 */
export function folderSource(folder: string | null, capture: Settings['frame_capture'], faces: Faces): StillSource {
  const { resolution, quality } = capture;
  let played = 0;
  return {
    kind: 'still',
    take: async () => {
      if (folder === null) return emptyPorch(resolution, quality);
      const names = (await readdir(folder)).filter((name) => /^[^.].*\.(?:jpe?g|png)$/i.test(name)).sort();
      const name = names[played++ % names.length];
      if (name === undefined) return null;
      const bytes = await readFile(path.join(folder, name));
      return bytes[0] === 0xff ? bytes : await faces.normalise(bytes, { quality });
    },
  };
}

function emptyPorch([width, height]: readonly [number, number], quality: number): Uint8Array {
  const data = new Uint8Array(width * height * 3);
  for (let row = 0; row < height; row++) data.fill(60 + (row * 120) / height, row * width * 3, (row + 1) * width * 3);
  return encodeJpeg({ width, height, data }, quality);
}
