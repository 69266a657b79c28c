const MINUTE_MS = 60_000;
const SLOT_MS = 1000;

/** Counts what happened within the last minute, to the second, in memory that does not grow with it. */
export class LastMinute {
  readonly #slots = new Map<number, number>();

  add(nowMs: number): void {
    this.#forget(nowMs);
    const slot = Math.floor(nowMs / SLOT_MS);
    this.#slots.set(slot, (this.#slots.get(slot) ?? 0) + 1);
  }

  count(nowMs: number): number {
    this.#forget(nowMs);
    return [...this.#slots.values()].reduce((sum, one) => sum + one, 0);
  }

  #forget(nowMs: number): void {
    for (const slot of this.#slots.keys()) if ((slot + 1) * SLOT_MS <= nowMs - MINUTE_MS) this.#slots.delete(slot);
  }
}
