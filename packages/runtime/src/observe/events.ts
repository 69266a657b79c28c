export type Listener<Payload> = (payload: Payload) => void;

/**
 * Typed events. A listener that throws stops neither the others nor who emitted: what it threw goes to `onFailure`.
 *
 * @example
 * const events = new Events<{ started: { service: string } }>((error) => log.error(error));
 * const off = events.on('started', ({ service }) => console.log(service));
 */
export class Events<Map extends object> {
  readonly #listeners = new Map<keyof Map, Set<Listener<never>>>();
  readonly #onFailure: (error: unknown, type: keyof Map) => void;

  constructor(onFailure: (error: unknown, type: keyof Map) => void) {
    this.#onFailure = onFailure;
  }

  /** Returns what takes the listener away again. */
  on<Type extends keyof Map>(type: Type, listener: Listener<Map[Type]>): () => void {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners);
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
    };
  }

  emit<Type extends keyof Map>(type: Type, payload: Map[Type]): void {
    for (const listener of [...(this.#listeners.get(type) ?? [])] as Listener<Map[Type]>[]) {
      try {
        listener(payload);
      } catch (error) {
        this.#onFailure(error, type);
      }
    }
  }
}
