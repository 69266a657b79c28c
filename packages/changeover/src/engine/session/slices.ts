import { ChangeoverError } from '../../errors.ts';
import type { RunStatus, SliceStatus } from '../../plan/api.ts';
import type { Context } from '../../plan/context.ts';
import type { Parts } from './parts.ts';

/** A run that has begun and not ended, and whose slice is still to be switched. */
const MOVING: readonly RunStatus[] = ['running', 'ready', 'paused'];
const SHOWN_NAMES = 10;

/**
 * A slice is moved when what belongs to none is there and followed, and no other one is on its way: two that both go forward could write one row
 * late over each other.
 */
export function assertMayMove(parts: Parts, verb: string, rest: RunStatus | null): void {
  if (parts.slice === null) return;
  if (rest !== 'ready' && rest !== 'live')
    throw refusal(verb, 'the run of what belongs to no slice to be READY', `\`changeover run\` comes first`);
  const other = parts.slices().find(({ name, status }) => name !== parts.slice && MOVING.includes(status));
  if (other !== undefined)
    throw refusal(
      verb,
      'no other slice on its way',
      `slice ${other.name} is ${other.status}: cut it over or roll it back`,
    );
}

/** Before anything is written down: a name that was mistyped must not become a slice that the gateway follows. */
export async function assertKnown(ctx: Context, parts: Parts): Promise<void> {
  const { slice } = parts;
  if (slice === null || parts.journal.currentRun() !== null) return;
  const known = await parts.data.slices(ctx);
  if (known.includes(slice)) return;
  const reason = `the legacy has no row of it; it has rows of ${known.slice(0, SHOWN_NAMES).join(', ')}`;
  throw new ChangeoverError('CHG_DATA_SLICE_UNKNOWN', { slice, reason });
}

/** What belongs to no slice is switched last. */
export async function assertAllMoved(ctx: Context, parts: Parts, verb: string): Promise<void> {
  if (parts.slice !== null) return;
  const moved = new Set(parts.slices().flatMap(({ name, side }) => (side === 'next' ? [name] : [])));
  const left = (await parts.data.slices(ctx)).filter((name) => !moved.has(name));
  if (left.length > 0) throw refusal(verb, 'all slices on the new side', `not there yet: ${left.join(', ')}`);
}

/** What the slices rest on is not taken away under them. */
export function assertNoneLeft(
  parts: Parts,
  verb: string,
  isLeft: (slice: SliceStatus) => boolean,
  what: string,
): void {
  if (parts.slice !== null) return;
  const left = parts.slices().filter(isLeft);
  if (left.length > 0)
    throw refusal(
      verb,
      what,
      left.map(({ name, status }) => `slice ${name} is ${status.replace('_', ' ')}`).join(', '),
    );
}

function refusal(verb: string, expected: string, state: string): ChangeoverError<'CHG_ENGINE_NOT_READY'> {
  return new ChangeoverError('CHG_ENGINE_NOT_READY', { verb, expected, state });
}
