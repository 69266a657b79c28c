import type { SchemaRule } from '../../plan/words.ts';

/** What becomes of the parts of one table, in the order in which they are looked at, and which of them the plan leaves out. */
export class Parts {
  readonly rules: SchemaRule[] = [];
  readonly #omitted: ReadonlySet<string>;

  constructor(omitted: readonly string[]) {
    this.#omitted = new Set(omitted);
  }

  isOmitted(name: string, from: string): boolean {
    if (!this.#omitted.has(name)) return false;
    this.rules.push({
      ...ruleOf(name, from, null),
      verdict: 'lossy',
      reason: 'left out, as the plan says',
      isNamed: true,
    });
    return true;
  }

  accept(name: string, from: string, to: string): void {
    this.rules.push(ruleOf(name, from, to));
  }

  /** Not made, and nothing is lost by that. */
  skip(name: string, from: string, reason: string): void {
    this.rules.push({ ...ruleOf(name, from, null), reason });
  }

  refuse(name: string, from: string, reason = 'it may mean something else in the target, or nothing'): void {
    const remedy = `omit: ['${name}'], and make what replaces it in the new side's own migrations`;
    this.rules.push({ ...ruleOf(name, from, null), verdict: 'lossy', reason, remedy });
  }
}

function ruleOf(name: string, from: string, to: string | null): SchemaRule {
  return { name, from, to, verdict: 'exact', reason: 'the same meaning', isNamed: false, remedy: null };
}
