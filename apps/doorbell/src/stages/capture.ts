import { addPicture } from '../files.ts';
import type { Parts } from '../parts.ts';
import type { Rung, Sighting } from './visit.ts';

/** Takes the picture and keeps it. A camera without one is no reason to forget the press. */
export async function capture({ camera, places }: Parts, rung: Rung): Promise<Sighting> {
  const frame = await camera.capture();
  if (frame === null) return { ...rung, frame, capture: null };
  return {
    ...rung,
    frame,
    capture: await addPicture(places, places.captures, (stamp) => `visitor_${stamp}.jpg`, frame),
  };
}
