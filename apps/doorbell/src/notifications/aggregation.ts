import type { Settings } from '../settings.ts';
import type { Storage } from '../storage/storage.ts';
import type { Entry } from './entry.ts';

const MS_PER_SECOND = 1000;
const TEST_TYPE = 'test_notification';

/**
 * The first alert of a type goes out at once and opens a window; those that come within it wait for its end, and leave as one message, which opens
 * the next one. Critical alerts and tests neither wait nor are folded.
 */
export class Aggregation {
  readonly #settings: Settings['notifications'];
  readonly #storage: Storage;
  /** End of the window of a type, in milliseconds since the epoch. */
  readonly #ends = new Map<string, number>();

  constructor(settings: Settings['notifications'], storage: Storage) {
    this.#settings = settings;
    this.#storage = storage;
  }

  /** Folds what belongs together, or makes it wait; returns the ids of those that are told of by others now. */
  async fold(entries: readonly Entry[]): Promise<readonly string[]> {
    const gone = await this.#finish(entries);
    const { aggregation_enabled: isEnabled, aggregation_window: seconds } = this.#settings;
    if (!isEnabled) return gone;
    const now = Date.now();
    const fresh = entries.filter(
      (one) => one.isFresh && one.priority !== 'critical' && one.type !== TEST_TYPE && !gone.includes(one.id),
    );
    for (const [type, group] of Map.groupBy(fresh, (one) => one.type)) {
      const end = this.#ends.get(type) ?? 0;
      // One that was let go may still wait for its channels.
      const waiting = group.filter((one) => !one.isReleased);
      const carrier = waiting.at(-1);
      if (carrier === undefined) continue;
      for (const one of waiting) one.heldUntil = end;
      if (now < end) continue;
      const others = waiting.slice(0, -1);
      if (others.length > 0) {
        carrier.fold(others);
        // In this order a crash in between loses and doubles nothing: what the carrier names is finished by the next start.
        await carrier.save(this.#storage);
        for (const one of others) await one.foldInto(this.#storage);
        gone.push(...others.map((one) => one.id));
      }
      carrier.isReleased = true;
      this.#ends.set(type, now + seconds * MS_PER_SECOND);
    }
    return gone;
  }

  /** What a carrier that was stored before a crash already tells of. */
  async #finish(entries: readonly Entry[]): Promise<string[]> {
    const told = new Set(entries.flatMap((one) => one.folded?.ids ?? []));
    const left = entries.filter((one) => told.has(one.id));
    for (const one of left) await one.foldInto(this.#storage);
    return left.map((one) => one.id);
  }
}
