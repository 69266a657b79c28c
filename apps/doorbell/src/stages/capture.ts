import { addPicture } from '../files.ts';
import type { Parts } from '../parts.ts';
import type { Rung, Sighting } from './visit.ts';

const MS_PER_SECOND = 1000;

/** Takes the pictures and keeps the sharpest. A camera without one is no reason to forget the press. */
export async function capture({ camera, places }: Parts, rung: Rung): Promise<Sighting> {
  const [frame = null, ...others] = await camera.burst(rung.timestamp * MS_PER_SECOND);
  if (frame === null) return { ...rung, frame, others, capture: null };
  return {
    ...rung,
    frame,
    others,
    capture: await addPicture(places, places.captures, (stamp) => `visitor_${stamp}.jpg`, frame),
  };
}
