import { ChangeoverError } from '../../errors.ts';
import type { Context } from '../../plan/context.ts';
import { passesButForChanging, type Direction, type Verdict } from '../../plan/words.ts';
import type { CutoverParts } from './parts.ts';

/** Below this many changes left, another pass before the hold would not make the hold shorter. */
const CLOSE_ENOUGH_CHANGES = 200;
/** A source that is written faster than it can be followed never gets close; the hold's deadline then decides. */
const MAX_PASSES = 50;

/** Shortens the hold: what is applied now need not be applied while requests wait. */
export async function catchUpUntilClose(
  ctx: Context,
  parts: Pick<CutoverParts, 'data'>,
  direction: Direction,
): Promise<void> {
  for (let pass = 0; pass < MAX_PASSES; pass++) {
    const { pending } = await parts.data.catchUp(ctx, direction);
    if (pending <= CLOSE_ENOUGH_CHANGES) return;
  }
}

/**
 * Before a hold. A row that is changed many times a second is never seen at rest there; under the lock it is, and `assertProven` then
 * asks for a PASS that counts it.
 */
export function assertProvenButForChanging(verdicts: readonly Verdict[], direction: Direction): void {
  assertProven(
    verdicts.filter((verdict) => !passesButForChanging(verdict)),
    direction,
  );
}

/** A switch rests on proof: FAIL stops it, and so does a verdict that rests on nothing. */
export function assertProven(verdicts: readonly Verdict[], direction: Direction): void {
  const unproven = verdicts.filter((verdict) => verdict.outcome !== 'PASS');
  const [first] = unproven;
  if (first === undefined) return;
  throw new ChangeoverError('CHG_CUTOVER_UNPROVEN', {
    direction,
    count: unproven.length,
    check: first.check,
    outcome: first.outcome,
    evidence: first.evidence,
  });
}
