import { setImmediate } from 'node:timers/promises';
import type { Context } from '../plan/context.ts';

/**
 * Between two pieces of work: a store that answers at once (SQLite) would otherwise keep timers and signals from their turn, so that no
 * deadline and no Ctrl-C would ever be noticed. Throws when the work was cancelled.
 */
export async function turn(ctx: Context): Promise<void> {
  await setImmediate();
  ctx.signal.throwIfAborted();
}

/** The same before a piece of work that others may have to be spared from. Without a pace of its own (under a lock) it just goes on. */
export async function pacedTurn(ctx: Context): Promise<void> {
  await turn(ctx);
  await ctx.pace?.ready();
}
