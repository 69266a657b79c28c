import type { Progress } from '../../plan/context.ts';
import type { Journal } from '../journal.ts';
import type { Owner } from '../ownership.ts';

/** Name under which the owner leaves why its work waits. */
const HELD_BACK = 'data.heldBack';

/** Writes down why work waits, for `status` in other processes; only what changes, as each write is synced to the disk. */
export function holdRecorder(owner: Pick<Owner, 'put' | 'journal'>): (progress: Progress) => void {
  let last: string | null = null;
  // A killed owner has left it as it was.
  if (heldBack(owner.journal) !== null) owner.put(HELD_BACK, null);
  return ({ held = null }) => {
    // The figures in it change all the time.
    const isSame = held?.replace(/\(.*/, '') === last?.replace(/\(.*/, '');
    if (!isSame) owner.put(HELD_BACK, held);
    last = held;
  };
}

/** Why the owner's work waits; null where it does not. Without an owner it says nothing. */
export function heldBack(journal: Pick<Journal, 'get'>): string | null {
  const held = journal.get(HELD_BACK);
  return typeof held === 'string' ? held : null;
}
