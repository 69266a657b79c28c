/** The vocabulary that every folder shares. */

/** The two architectures: the one being left and the one being moved to. */
export type Side = 'legacy' | 'next';

/** Data flows `forward` (legacy to next) before the cutover and in `reverse` after it. */
export type Direction = 'forward' | 'reverse';

export function sourceSide(direction: Direction): Side {
  return direction === 'forward' ? 'legacy' : 'next';
}

export function targetSide(direction: Direction): Side {
  return direction === 'forward' ? 'next' : 'legacy';
}

/** Stages of a run in order. READY lies between `integrate` and `cutover`: the legacy still serves. */
export const STAGES = ['prepare', 'backup', 'config', 'data', 'integrate', 'cutover', 'validate', 'cleanup'] as const;
export type Stage = (typeof STAGES)[number];

/** Share of a whole run that each stage stands for; the sum is 1. The cutover itself lasts milliseconds and weighs nothing. */
export const STAGE_WEIGHTS: Readonly<Record<Stage, number>> = {
  prepare: 0.05,
  backup: 0.15,
  config: 0.2,
  data: 0.3,
  integrate: 0.2,
  cutover: 0,
  validate: 0.08,
  cleanup: 0.02,
};

/** PASS and FAIL are claims with evidence; no data, no answer or too little of it is INCONCLUSIVE. */
export type Outcome = 'PASS' | 'FAIL' | 'INCONCLUSIVE';

export interface Verdict {
  /** What was checked, e.g. `events: rows equal`. */
  readonly check: string;
  readonly outcome: Outcome;
  /** What was seen, in one line, with figures. */
  readonly evidence: string;
  /** How many rows, files or responses the verdict rests on. */
  readonly measured: number;
  /**
   * Set where nothing but rows or files that were changed again and again kept it from PASS: how many. The next verification of what
   * changed compares them; under the lock they stand still.
   */
  readonly changing?: number;
}

/** True for a verdict that passes but for rows or files that were changed too often to be compared. */
export function passesButForChanging({ outcome, changing = 0 }: Verdict): boolean {
  return outcome === 'PASS' || (outcome === 'INCONCLUSIVE' && changing > 0);
}

/**
 * What happens to the values of a column on the new side. `exact`: every value arrives and comes back, or is refused beforehand. `lossy`: something
 * is lost, and said. `ambiguous`: the schema does not say what is stored.
 */
export type SchemaVerdict = 'exact' | 'lossy' | 'ambiguous';

/** What becomes of one column, default, check, index or foreign key where the target's tables are made from the legacy's schema. */
export interface SchemaRule {
  /** `table.column`, or the name of the index or constraint; as `schema.columns` and `schema.omit` name it. */
  readonly name: string;
  /** In the legacy's own words. */
  readonly from: string;
  /** In the target's own words; null: it is not made. */
  readonly to: string | null;
  readonly verdict: SchemaVerdict;
  readonly reason: string;
  /** True where the plan names it, and so accepts the verdict. */
  readonly isNamed: boolean;
  /** What to write in the plan, where a run is refused without it. */
  readonly remedy: string | null;
}

/** Something `check` or `plan` wants the operator to know before anything is changed. */
export interface Finding {
  readonly level: 'error' | 'warning' | 'info';
  /** The thing it is about, e.g. `data.events` or `.env:DEBOUNCE_TIME`. */
  readonly about: string;
  readonly message: string;
  /** What to do, where there is something: a statement to run, a line to add to the plan. */
  readonly remedy?: string;
}

/** What the tool adds to somebody's system. */
export interface Footprint {
  readonly where: string;
  /** The exact statement or action that adds it. `finish: …` is not done before `finish`, whose screen shows it too. */
  readonly adds: string;
  /** The least right that this needs. */
  readonly right: string;
  /** The statement or action that removes it. */
  readonly removal: string;
}

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
