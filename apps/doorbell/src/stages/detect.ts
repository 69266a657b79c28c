import type { Analysis } from '../../shared/faces.ts';
import { replacePicture } from '../files.ts';
import type { Parts } from '../parts.ts';
import type { Detected, Sighting } from './visit.ts';

/** So many pictures of one press are searched for a face: somebody waits for the answer. */
export const MAX_SEARCHED = 3;

/** Finds the faces, in a thread that is ended when it has had its time: those of the sharpest picture that shows any, which is then the picture that is kept. */
export async function detect(parts: Parts, sighting: Sighting): Promise<Detected> {
  const { frame, others, capture, ...rung } = sighting;
  if (frame === null) return { ...rung, capture, faces: null, seconds: 0 };
  const timeoutMs = parts.settings.face_detection.job_timeout * 1000;
  const startedMs = performance.now();
  let found: Analysis['faces'] = [];
  if (parts.settings.face_recognition.enabled) {
    for (const picture of [frame, ...others].slice(0, MAX_SEARCHED)) {
      found = (await parts.faces.analyse(picture, timeoutMs)).faces;
      if (found.length === 0) continue;
      if (picture !== frame && capture !== null)
        await replacePicture(parts.places, parts.places.captures, capture, picture);
      break;
    }
  }
  return { ...rung, capture, faces: found, seconds: (performance.now() - startedMs) / 1000 };
}
