/** How the way of an item through the pipeline ended. */
export type Outcome = 'done' | 'dropped' | 'failed';

/** A value on its way. Whoever takes it settles it once: then its origin may forget it. */
export interface Item<T> {
  readonly value: T;
  /** Set by a queue that cannot give it to be worked on: it ends as failed, for this reason. */
  readonly failure?: Error;
  settle(outcome: Outcome): void;
}

/** What came out of an item: that one is settled when all of these are, as the worst of them. */
export function derived<In, Out>(from: Item<In>, values: readonly Out[]): Item<Out>[] {
  if (values.length === 0) from.settle('done');
  let left = values.length;
  let worst: Outcome = 'done';
  return values.map((value) => ({
    value,
    settle: (outcome) => {
      if (RANK[outcome] > RANK[worst]) worst = outcome;
      left -= 1;
      if (left === 0) from.settle(worst);
    },
  }));
}

const RANK = { done: 0, dropped: 1, failed: 2 } as const;
