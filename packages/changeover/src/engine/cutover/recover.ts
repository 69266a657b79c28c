import type { Context } from '../../plan/context.ts';
import { ChangeoverError } from '../../errors.ts';
import { withoutCancel } from './machine.ts';
import { openLegacy, openNext } from './open.ts';
import { revertToLegacy, revertToNext } from './revert.ts';
import type { CutoverParts } from './parts.ts';

/**
 * Finishes or reverts whatever state a dead runner left, from the journal alone: before the decision it goes back, after it forward.
 * The caller owns the journal. Idempotent, and itself killable at any instruction.
 */
export async function recover(given: Context, parts: CutoverParts): Promise<void> {
  const ctx = withoutCancel(given);
  // A late transaction of the dead owner must fail at the store's gate before anything is undone or repeated.
  await parts.data.installEpoch(ctx);
  const { state } = parts.journal.authority();
  switch (state) {
    case 'LIVE_OLD':
    case 'LIVE_NEW':
      return;
    case 'HOLD':
    case 'QUIESCE':
    case 'LOCK':
    case 'FENCE':
    case 'COMMIT_NEW':
      await revertToLegacy(ctx, parts, null, new ChangeoverError('CHG_CUTOVER_RUNNER_LOST', { state }));
      return;
    case 'OPEN':
    case 'RELEASE':
      await openNext(ctx, parts);
      return;
    case 'RB_REHEARSE':
    case 'RB_HOLD':
    case 'RB_LOCK':
    case 'RB_FENCE':
    case 'COMMIT_OLD':
      await revertToNext(ctx, parts, null, new ChangeoverError('CHG_CUTOVER_RUNNER_LOST', { state }));
      return;
    case 'RB_OPEN':
    case 'RB_RELEASE':
      await openLegacy(ctx, parts);
      return;
    default:
      state satisfies never;
  }
}
