import { inspect } from 'node:util';
import { z } from 'zod';

const SHOWN = '[secret]';

/**
 * A value that no output shows: not as text, not as JSON, not in a log, not when looked at in a debugger's console. `reveal()` gives it.
 */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The value itself; for the one place that needs it. */
  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return SHOWN;
  }

  toJSON(): string {
    return SHOWN;
  }

  [inspect.custom](): string {
    return SHOWN;
  }
}

/**
 * The schema of a secret: text that is kept in a `Secret`.
 *
 * @example
 * z.object({ token: secret(), chat: z.string() })
 */
export function secret() {
  return z
    .union([z.string(), z.instanceof(Secret)])
    .transform((value) => (value instanceof Secret ? value : new Secret(value)))
    .meta({ secret: true });
}
