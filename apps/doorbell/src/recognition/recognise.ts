import { distance } from '../../shared/faces.ts';
import type { RecognisedFace } from '../events.ts';
import type { StoredEncoding } from '../storage/storage.ts';

export interface Tolerances {
  readonly face: number;
  readonly blacklist: number;
}

export interface Recognition extends RecognisedFace {
  readonly personId: string | null;
}

/** Who a face belongs to. The blacklist is asked first: a person on both lists is unwanted. */
export function recognise(
  encoding: ArrayLike<number>,
  gallery: readonly StoredEncoding[],
  tolerances: Tolerances,
): Recognition {
  const unwanted = nearest(encoding, gallery, true, tolerances.blacklist);
  if (unwanted) return { status: 'blacklisted', ...unwanted };
  const known = nearest(encoding, gallery, false, tolerances.face);
  if (known) return { status: 'known', ...known };
  return { status: 'unknown', personId: null, name: null, confidence: 0, distance: null };
}

function nearest(
  encoding: ArrayLike<number>,
  gallery: readonly StoredEncoding[],
  isBlacklisted: boolean,
  tolerance: number,
) {
  let best: StoredEncoding | null = null;
  let least = Infinity;
  for (const entry of gallery) {
    if (entry.isBlacklisted !== isBlacklisted) continue;
    const away = distance(entry.encoding, encoding);
    if (away <= tolerance && away < least) {
      best = entry;
      least = away;
    }
  }
  return best && { personId: best.personId, name: best.name, confidence: 1 - least, distance: least };
}
