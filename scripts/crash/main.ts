/**
 * `npm run test:crash`: kills a real process with SIGKILL at every named crash point, while a client writes, and sees that the move goes on
 * or goes back with nothing lost, nothing doubled and never two sides that accept writes. Then it stops and kills every actor of a move
 * and sees that the protocol's invariants hold, and at last removes the protocol's guards one by one and sees that a test fails.
 *
 *   npm run test:crash                          everything
 *   npm run test:crash -- --only invariants     only the points, the invariants or the guards
 *   npm run test:crash -- --point cutover.FENCE   only points whose name contains the text
 *   npm run test:crash -- --case keeper         only invariants and guards whose name contains it; may be repeated
 *   npm run test:crash -- --store files         only one kind of legacy
 */
import path from 'node:path';
import { parseArgs } from 'node:util';
import { CRASH_POINTS } from '../../packages/changeover/src/plan/crash-points.ts';
import { play, survey, VERBS, type Case, type CaseResult, type Verb } from './cases.ts';
import { playGuards } from './guards-play.ts';
import { pythonProblem } from './invariants-bench.ts';
import { playInvariants, UNHARMED } from './invariants.ts';
import { NotesSystem } from './system.ts';

type Store = NotesSystem['store'];

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    point: { type: 'string', default: '' },
    case: { type: 'string', multiple: true, default: [] },
    store: { type: 'string' },
  },
});
const stores: readonly Store[] = values.store === undefined ? ['sqlite', 'files'] : [storeNamed(values.store)];

function storeNamed(name: string): Store {
  if (name === 'sqlite' || name === 'files') return name;
  throw new Error(`--store: expected sqlite or files, got ${name}`);
}

const PARTS = ['points', 'invariants', 'guards'];
if (values.only !== undefined && !PARTS.includes(values.only))
  throw new Error(`--only: expected ${PARTS.join(', ')}, got ${values.only}`);
const isPlayed = (part: string) => values.only === undefined || values.only === part;

interface Played {
  readonly store: Store;
  readonly case: Case;
  readonly result: CaseResult;
}

/** Points that this list does not leave to another store are played here; each point is played with every verb that passes it. */
function casesOf(
  passes: ReadonlyMap<Verb, ReadonlyMap<string, number>>,
  wanted: (point: string, verb: Verb) => boolean,
): Case[] {
  return VERBS.flatMap((verb) =>
    [...(passes.get(verb) ?? [])]
      .filter(([point]) => point.includes(values.point) && wanted(point, verb))
      // In the middle of the passes: the first and the last are often special, and those are other points.
      .flatMap(([point, count]) =>
        (['resume', 'rollback'] as const).map((afterwards) => ({
          point,
          verb,
          pass: Math.ceil(count / 2),
          afterwards,
        })),
      ),
  );
}

/** What a kill left in the legacy's log must be readable by the interpreter that the legacy was written in. */
function withPython(system: NotesSystem, result: CaseResult): CaseResult {
  const problem = system.store === 'files' ? pythonProblem(path.join(system.folder, 'legacy/data/notes.log')) : null;
  return problem === null ? result : { ...result, problems: [...result.problems, problem] };
}

async function playAll(store: Store, taken: Set<string>): Promise<{ played: Played[]; reached: Set<string> }> {
  const system = await NotesSystem.start(store);
  const played: Played[] = [];
  try {
    await system.startClient();
    const passes = await survey(system);
    const reached = new Set([...passes.values()].flatMap((points) => [...points.keys()]));
    const cases = casesOf(passes, (point, verb) => {
      const key = `${verb}: ${point}`;
      if (taken.has(key)) return false;
      taken.add(key);
      return true;
    });
    for (const each of cases) {
      const startedAt = performance.now();
      const result = withPython(system, await play(system, each));
      played.push({ store, case: each, result });
      const { point, verb, afterwards, pass } = each;
      const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
      console.log(
        `${result.problems.length === 0 ? 'ok    ' : 'FAILED'} ${store} ${verb} killed at ${point}#${pass}, ${afterwards} (${seconds} s)`,
      );
      for (const problem of result.problems) console.log(`       ${problem.replaceAll('\n', '\n       ')}`);
    }
    return { played, reached };
  } finally {
    await system.end();
  }
}

/** Waits for all even where one fails: each leaves processes behind unless it comes to its end. */
async function allDone<Result>(running: readonly Promise<Result>[]): Promise<Result[]> {
  await Promise.allSettled(running);
  return Promise.all(running);
}

// The two kinds of legacy share the verbs' points: whichever comes to a point first plays it.
const taken = new Set<string>();
const results = isPlayed('points') ? await allDone(stores.map((store) => playAll(store, taken))) : [];
const played = results.flatMap((result) => result.played);
const reached = new Set(results.flatMap((result) => [...result.reached]));
const unreached = CRASH_POINTS.filter(
  (point) => isPlayed('points') && point.includes(values.point) && !reached.has(point),
);
for (const point of unreached) console.log(`FAILED ${point} is reached by no verb`);

const sum = (count: (result: CaseResult) => number) => played.reduce((total, { result }) => total + count(result), 0);
const refused = sum(({ refusedByLock }) => refusedByLock);
if (isPlayed('points'))
  console.log(
    refused === 0
      ? `ok     sqlite ${UNHARMED}`
      : `FAILED sqlite ${UNHARMED}: ${refused} writes met a lock of ours ("database is locked")`,
  );

const isWanted = (name: string) => values.case.length === 0 || values.case.some((part) => name.includes(part));
const held = isPlayed('invariants')
  ? (await allDone(stores.map((store) => playInvariants(store, isWanted)))).flat()
  : [];
const checked = [...held, ...(isPlayed('guards') ? await playGuards(isWanted, held) : [])];

const failed =
  played.filter(({ result }) => result.problems.length > 0).length +
  unreached.length +
  checked.filter(({ problem }) => problem !== null).length +
  (refused === 0 ? 0 : 1);
const points = new Set(played.map((each) => each.case.point)).size;
const counted = (afterwards: Case['afterwards']) => played.filter((each) => each.case.afterwards === afterwards).length;
console.log(
  `crash points ${points}, resumed ${counted('resume')}, rolled back ${counted('rollback')}, rows lost ${sum(({ lost }) => lost)}, ` +
    `rows duplicated ${sum(({ duplicated }) => duplicated)}, both sides writable ${sum(({ bothWritable }) => bothWritable)}`,
);
const all = played.length + unreached.length + checked.length + (isPlayed('points') ? 1 : 0);
console.log(`${all - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
