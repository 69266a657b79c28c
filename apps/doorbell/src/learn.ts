import { unlink } from 'node:fs/promises';
import path from 'node:path';
import { slugOf } from '../shared/names.ts';
import { now } from './events.ts';
import { addPicture } from './files.ts';
import { HttpError } from './http.ts';
import type { Parts } from './parts.ts';

/** Adds the first face of a JPEG to a person. The picture is on disk before its encoding is stored, and both before the answer. */
export async function learn({ storage, faces, places }: Parts, name: string, jpeg: Uint8Array) {
  const [face] = (await faces.analyse(jpeg)).faces;
  if (!face) throw new HttpError(400, 'No face found in image');
  await storage.assertWritable();
  const filename = await addPicture(places, places.known, (stamp) => `${slugOf(name)}_${stamp}.jpg`, jpeg);
  try {
    const person = { personId: `known:${name}`, name, isBlacklisted: false };
    await storage.addEncoding(person, face.encoding, now().timestamp);
  } catch (error) {
    await unlink(path.join(places.known, filename));
    throw error;
  }
  return { status: 'success', name, filename };
}

/** A JPEG of what a client sent; 400 where it is no picture. */
export async function jpegOf(
  { faces }: Parts,
  image: Uint8Array,
  options: { quality: number; enlarge?: boolean },
): Promise<Uint8Array> {
  return faces.normalise(image, options).catch((error: unknown) => {
    throw new HttpError(400, `Failed to process image: ${error instanceof Error ? error.message : String(error)}`);
  });
}
