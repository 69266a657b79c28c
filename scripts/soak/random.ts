import { hash } from 'node:crypto';

/** Choices that a seed repeats: the digests of the seed with a running number. */
export class Random {
  readonly #seed: number;
  #taken = 0;

  constructor(seed: number) {
    this.#seed = seed;
  }

  /** From 0 up to, not including, 1. */
  next(): number {
    return Number.parseInt(hash('sha256', `${this.#seed} ${this.#taken++}`).slice(0, 8), 16) / 0x1_0000_0000;
  }

  /** An integer from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  chance(share: number): boolean {
    return this.next() < share;
  }

  pick<Item>(items: readonly Item[]): Item {
    const item = items[this.between(0, items.length - 1)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }

  /** A seed for another sequence of choices. */
  fork(): number {
    return this.between(0, 0xffff_ffff);
  }
}
