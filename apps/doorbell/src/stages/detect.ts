import type { Parts } from '../parts.ts';
import type { Detected, Sighting } from './visit.ts';

/** Finds the faces, in a thread. */
export async function detect({ faces, settings }: Parts, sighting: Sighting): Promise<Detected> {
  const { frame } = sighting;
  if (frame === null) return { ...sighting, faces: null, seconds: 0 };
  const startedMs = performance.now();
  const found = settings.face_recognition.enabled ? (await faces.analyse(frame)).faces : [];
  return { ...sighting, faces: found, seconds: (performance.now() - startedMs) / 1000 };
}
