import type { Context, Progress } from '../plan/context.ts';

/**
 * Contexts for pieces of work that follow each other: each tells its progress as one equal part of the whole.
 *
 * @param first How many parts came before. Default: none.
 */
export function inParts(ctx: Context, count: number, first = 0): () => Context {
  let next = first;
  return () => {
    const part = { start: next / count, share: 1 / count };
    next += 1;
    return telling(ctx, (progress) => ({ ...progress, part }));
  };
}

/** For catching up: how much is left of what changes meanwhile says nothing about the step. */
export function withoutTotal(ctx: Context): Context {
  return telling(ctx, (progress) => ({ ...progress, total: null }));
}

export function telling(ctx: Context, change: (progress: Progress) => Progress): Context {
  const progress = (told: Progress): void => {
    ctx.report.progress(change(told));
  };
  // Inherited, because the epoch and the side are looked up anew each time.
  return Object.create(ctx, { report: { value: { ...ctx.report, progress }, enumerable: true } }) as Context;
}
