import type { Face } from '../../shared/faces.ts';
import { addPicture } from '../files.ts';
import type { Parts } from '../parts.ts';
import { galleryOf } from '../recognition/gallery.ts';
import { recognise, type Recognition } from '../recognition/recognise.ts';
import { typeOf, type Detected, type Visit } from './visit.ts';

const EMPTY = galleryOf([]);

/** Whom each face belongs to; keeps a crop of each. */
export async function identify(parts: Parts, detected: Detected): Promise<Visit> {
  const { eventId, timestamp, local, capture, faces } = detected;
  const rung = { eventId, timestamp, local, capture };
  if (faces === null) return { ...rung, people: [], type: 'COMPONENT_ERROR', recognition: null };
  const { settings } = parts;
  const startedMs = performance.now();
  const gallery = faces.length > 0 ? await parts.gallery.current() : EMPTY;
  const { tolerance: face, blacklist_tolerance: blacklist } = settings.face_recognition;
  const people = faces.map(({ encoding }) => recognise(encoding, gallery, { face, blacklist }));
  for (const [index, one] of faces.entries()) await keepCrop(parts, one, people[index], index + 1);
  const seconds = detected.seconds + (performance.now() - startedMs) / 1000;
  const data = JSON.stringify(faces.map(({ box, score }) => ({ box, score })));
  return { ...rung, people, type: typeOf(people), recognition: { seconds, data } };
}

/** The crops of unwanted people lie with the unknown, as they always did. */
async function keepCrop({ places }: Parts, { crop }: Face, person: Recognition | undefined, number: number) {
  const folder = person?.status === 'known' ? places.croppedKnown : places.croppedUnknown;
  const who = (person?.name ?? 'unknown').toLowerCase().replaceAll(/[ /\\]/g, '_');
  await addPicture(places, folder, (stamp) => `${who}_${stamp}_${number}.jpg`, crop);
}
