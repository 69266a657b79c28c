import type { Stretch } from './messages.ts';
import type { Work } from './source.ts';

/** Differing stretches are halved down to this many rows, which are then compared value by value. */
const LEAF_ROWS = 1000;

export interface Halved {
  /** Compares one stretch as a whole; `rows` are those of the source. */
  readonly compareOne: (stretch: Stretch) => Promise<{ readonly rows: number; readonly isEqual: boolean }>;
  /** The source's key at `position`, from 0, of a stretch; null where it has no more than that. */
  readonly keyAt: (stretch: Stretch, position: number) => Promise<string | null>;
}

/** Finds the small stretches of a range that differ. `rows` are those of the equal ones. */
export async function byHalves(
  range: Stretch,
  work: Work,
  { compareOne, keyAt }: Halved,
): Promise<{ rows: number; differing: readonly Stretch[] }> {
  const differing: Stretch[] = [];
  let equal = 0;
  const open: Stretch[] = [range];
  for (let stretch = open.pop(); stretch !== undefined; stretch = open.pop()) {
    await work.released();
    const { rows, isEqual } = await compareOne(stretch);
    const middle = isEqual || rows <= LEAF_ROWS ? null : await keyAt(stretch, rows >> 1);
    if (middle !== null) open.push({ after: middle, upTo: stretch.upTo }, { after: stretch.after, upTo: middle });
    else if (!isEqual) differing.push(stretch);
    else {
      equal += rows;
      work.progress(rows, 0);
    }
  }
  return { rows: equal, differing };
}
