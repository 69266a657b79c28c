import type { RecognisedFace } from '../events.ts';
import type { Gallery } from './gallery.ts';

export interface Tolerances {
  readonly face: number;
  readonly blacklist: number;
}

export interface Recognition extends RecognisedFace {
  readonly personId: string | null;
}

/** Who a face belongs to. The blacklist is asked first: a person on both lists is unwanted. */
export function recognise(encoding: ArrayLike<number>, gallery: Gallery, tolerances: Tolerances): Recognition {
  const unwanted = nearest(encoding, gallery, true, tolerances.blacklist);
  if (unwanted) return { status: 'blacklisted', ...unwanted };
  const known = nearest(encoding, gallery, false, tolerances.face);
  if (known) return { status: 'known', ...known };
  return { status: 'unknown', personId: null, name: null, confidence: 0, distance: null };
}

function nearest(encoding: ArrayLike<number>, gallery: Gallery, isBlacklisted: boolean, tolerance: number) {
  const { people, encodings, begins } = gallery;
  let best = null;
  let least = Infinity;
  for (const [index, person] of people.entries()) {
    const begin = begins[index] ?? 0;
    if (person.isBlacklisted !== isBlacklisted || (begins[index + 1] ?? 0) - begin !== encoding.length) continue;
    const away = distanceAt(encodings, begin, encoding);
    if (away <= tolerance && away < least) {
      best = person;
      least = away;
    }
  }
  return best && { personId: best.personId, name: best.name, confidence: 1 - least, distance: least };
}

function distanceAt(encodings: Float64Array, begin: number, encoding: ArrayLike<number>): number {
  let sum = 0;
  for (let index = 0; index < encoding.length; index++) {
    const difference = (encodings[begin + index] ?? 0) - (encoding[index] ?? 0);
    sum += difference * difference;
  }
  return Math.sqrt(sum);
}
