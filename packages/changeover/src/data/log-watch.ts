import type { Context } from '../plan/context.ts';
import type { CaptureLag, OpenStore } from '../plan/stores.ts';
import type { UsedStore } from './stores-in-use.ts';

const LOOK_EVERY_MS = 1_000;
/** More than this is told, and then each time that it has doubled. */
const FIRST_WARNING_BYTES = 64 * 1024 * 1024;

/**
 * Looks after the captures that read a server's log. The server keeps log for each, also while a long copy runs and on the side that nobody
 * follows at the moment; so from time to time all of them take over what is there, and it is told when one falls behind.
 */
export class LogWatch {
  readonly #nextLookMs = new Map<string, number>();
  readonly #limits = new Map<string, number>();
  readonly #told = new Map<string, string>();

  async look(ctx: Context, { identity }: UsedStore, { capture }: OpenStore): Promise<void> {
    if (capture.lag === undefined || ctx.clock.monotonicMs() < (this.#nextLookMs.get(identity) ?? 0)) return;
    const before = await capture.lag();
    // What the server has removed cannot be drained any more; to say so comes first.
    if (before !== null) this.#tell(ctx, identity, before);
    await capture.drain?.();
    this.#nextLookMs.set(identity, ctx.clock.monotonicMs() + LOOK_EVERY_MS);
  }

  /** The same again and again, for as long as `work` lasts. */
  async during<T>(
    ctx: Context,
    stores: readonly { readonly used: UsedStore; readonly store: OpenStore }[],
    work: () => Promise<T>,
  ): Promise<T> {
    const ended = new AbortController();
    const watched = stores.filter(({ store }) => store.capture.lag !== undefined);
    const looking = watched.length === 0 ? Promise.resolve() : this.#lookUntil(ctx, watched, ended.signal);
    // Met when the work has ended.
    looking.catch(() => undefined);
    try {
      return await work();
    } finally {
      ended.abort();
      await looking;
    }
  }

  async #lookUntil(
    ctx: Context,
    watched: readonly { readonly used: UsedStore; readonly store: OpenStore }[],
    ended: AbortSignal,
  ): Promise<void> {
    const isEnded = () => ended.aborted;
    while (!isEnded()) {
      for (const { used, store } of watched) await this.look(ctx, used, store);
      try {
        await ctx.clock.sleep(LOOK_EVERY_MS, ended);
      } catch (error) {
        if (!isEnded()) throw error;
      }
    }
  }

  #tell(ctx: Context, identity: string, { bytes, seconds, warning }: CaptureLag): void {
    if (warning !== null && warning !== this.#told.get(identity)) ctx.report.warn(`${identity}: ${warning}`);
    this.#told.set(identity, warning ?? '');
    if (bytes <= (this.#limits.get(identity) ?? FIRST_WARNING_BYTES)) return;
    this.#limits.set(identity, bytes * 2);
    const age = seconds === null ? '' : `, ${seconds} s`;
    ctx.report.warn(
      `${identity}: following is behind by ${Math.round(bytes / 1024 / 1024)} MiB of log${age}, and growing`,
    );
  }
}
