import type { Context } from '../plan/context.ts';
import type { Step } from './steps.ts';

/** Repeats `act` as often as a step says, with a pause that doubles. The last error is thrown; a cancelled one is not repeated. */
export async function withRetries(ctx: Context, retry: Step['retry'], act: () => Promise<void>): Promise<void> {
  const { attempts, delayMs } = retry ?? { attempts: 1, delayMs: 0 };
  for (let attempt = 1; ; attempt++) {
    try {
      await act();
      return;
    } catch (error) {
      if (attempt >= attempts || ctx.signal.aborted) throw error;
      ctx.report.warn(`try ${attempt} of ${attempts}: ${error instanceof Error ? error.message : String(error)}`);
      await ctx.clock.sleep(delayMs * 2 ** (attempt - 1), ctx.signal);
    }
  }
}
