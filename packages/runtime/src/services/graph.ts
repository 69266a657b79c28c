import { RuntimeError } from '../errors.ts';
import { started, type AnyService, type Need } from './service.ts';

/** Who needs whom, checked. */
export class Graph {
  /** Each after those that it needs. */
  readonly names: readonly string[];
  readonly #needs = new Map<string, readonly Need[]>();

  /** @throws RuntimeError RUN_SERVICE_TWICE, RUN_SERVICE_UNKNOWN, RUN_SERVICE_CYCLE with the circle in its order. */
  constructor(services: readonly AnyService[]) {
    const given = services.map(({ name }) => name);
    for (const { name, options } of services) {
      if (this.#needs.has(name)) throw new RuntimeError('RUN_SERVICE_TWICE', { service: name });
      this.#needs.set(
        name,
        (options.needs ?? []).map((need) => ('condition' in need ? need : started(need))),
      );
    }
    const known = given.join(', ');
    for (const { service } of [...this.#needs.values()].flat())
      if (!this.#needs.has(service)) throw new RuntimeError('RUN_SERVICE_UNKNOWN', { service, known });
    this.names = this.#ordered(given);
  }

  needsOf(name: string): readonly Need[] {
    return this.#needs.get(name) ?? [];
  }

  /** Those that need `name` directly. */
  dependentsOf(name: string): string[] {
    return this.names.filter((other) => this.needsOf(other).some(({ service }) => service === name));
  }

  #ordered(given: readonly string[]): string[] {
    const ordered = new Set<string>();
    const visit = (name: string, path: readonly string[]) => {
      if (path.includes(name)) {
        const circle = [...path.slice(path.indexOf(name)), name];
        throw new RuntimeError('RUN_SERVICE_CYCLE', { path: circle.join(' → ') });
      }
      if (ordered.has(name)) return;
      for (const { service } of this.needsOf(name)) visit(service, [...path, name]);
      ordered.add(name);
    };
    for (const name of given) visit(name, []);
    return [...ordered];
  }
}
