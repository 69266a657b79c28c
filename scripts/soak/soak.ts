import { NONE, sum, type Differences } from './compare.ts';
import { Random } from './random.ts';
import { Round } from './round.ts';

/** Longer rounds show no more: everything that a round can meet is met in this time. */
const MAX_ROUND_MS = 60_000;
const MINUTE_MS = 60_000;

export interface Soak {
  /** On each pair. */
  readonly minutes: number;
  readonly seed: number;
  readonly pairs: readonly (readonly [string, string])[];
  readonly say: (line: string) => void;
}

/** Plays rounds on all pairs in turn until the time is over, at least one on each. True when nothing was wrong; says so in the last line. */
export async function soak({ minutes, seed, pairs, say }: Soak): Promise<boolean> {
  const random = new Random(seed);
  const totalMs = minutes * MINUTE_MS * pairs.length;
  const roundMs = Math.min(MAX_ROUND_MS, minutes * MINUTE_MS);
  const startMs = performance.now();
  let found: Differences = NONE;
  let kills = 0;
  let acknowledged = 0;
  const problems: string[] = [];
  say(`seed ${seed}, ${minutes} minutes on each pair, rounds of ${Math.round(roundMs / 1000)} s`);
  for (let round = 0; round < pairs.length || performance.now() - startMs + roundMs <= totalMs; round++) {
    const pair = pairs[round % pairs.length];
    if (pair === undefined) break;
    const name = `${pair.join(' → ')}, round ${round + 1}`;
    const result = await Round.play(pair, new Random(random.fork()), roundMs, (line) => say(`${name}: ${line}`));
    found = sum([found, result.differences]);
    kills += result.kills;
    acknowledged += result.acknowledged;
    problems.push(...result.problems);
    for (const problem of result.problems) say(`${name}: PROBLEM ${problem}`);
  }
  const { lost, duplicated, different } = found;
  say(`transactions acknowledged ${acknowledged}, problems ${problems.length}`);
  say(`rows lost ${lost}, rows duplicated ${duplicated}, rows different ${different}, kills ${kills}`);
  return lost + duplicated + different + problems.length === 0 && kills > 0 && acknowledged > 0;
}
