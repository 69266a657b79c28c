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
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { CRASH_POINTS } from '../../packages/changeover/src/plan/crash-points.ts';
import { play, PLAIN_VERBS, survey, takeOldSnapshots, VERBS, type Case, type CaseResult, type Verb } from './cases.ts';
import { playGuards } from './guards-play.ts';
import { pythonProblem } from './invariants-bench.ts';
import { playInvariants, UNHARMED } from './invariants.ts';
import { NotesSystem } from './system.ts';

type Store = NotesSystem['store'];

// Hundreds of processes are started from the same sources.
process.env['NODE_COMPILE_CACHE'] ??= path.join(tmpdir(), 'node-compile-cache');

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

/** How often it is told how far it is, in points. */
const TELL_EVERY = 10;
/** Cases after which a system is replaced by a fresh one. */
const RENEWED_AFTER = 12;

interface Played {
  readonly store: Store;
  readonly case: Case;
  readonly result: CaseResult;
}

type Passes = ReadonlyMap<Verb, ReadonlyMap<string, number>>;

/** A crash point with a verb that passes it, and which kinds of legacy pass it then, how often. */
interface Place {
  readonly verb: Verb;
  readonly point: string;
  readonly passes: ReadonlyMap<Store, number>;
}

/**
 * Each point is played with each of the verbs of a plain move that passes it; with the others only if none of those does.
 */
function placesOf(surveyed: ReadonlyMap<Store, Passes>): Place[] {
  const places = new Map<string, { verb: Verb; point: string; passes: Map<Store, number> }>();
  const plain = new Set<string>();
  for (const verb of VERBS) {
    for (const [store, passes] of surveyed) {
      for (const [point, count] of passes.get(verb) ?? []) {
        if (!point.includes(values.point)) continue;
        if (PLAIN_VERBS.includes(verb)) plain.add(point);
        else if (plain.has(point)) continue;
        const place = places.get(`${verb} ${point}`) ?? { verb, point, passes: new Map<Store, number>() };
        place.passes.set(store, count);
        places.set(`${verb} ${point}`, place);
      }
    }
  }
  return [...places.values()];
}

/** The next place that this kind of legacy passes; those that no other passes come first. */
function take(left: Place[], store: Store): Place | undefined {
  const own = left.find(({ passes }) => passes.has(store) && passes.size === 1);
  const place = own ?? left.find(({ passes }) => passes.has(store));
  if (place !== undefined) left.splice(left.indexOf(place), 1);
  return place;
}

/** What a kill left in the legacy's log must be readable by the interpreter that the legacy was written in. */
function withPython(system: NotesSystem, result: CaseResult): CaseResult {
  const problem = system.store === 'files' ? pythonProblem(path.join(system.folder, 'legacy/data/notes.log')) : null;
  return problem === null ? result : { ...result, problems: [...result.problems, problem] };
}

/** Ends the system that it is given, and every other that it starts. */
async function playAll(given: NotesSystem, left: Place[], total: number): Promise<Played[]> {
  let system = given;
  const { store } = system;
  const played: Played[] = [];
  try {
    for (let place = take(left, store); place !== undefined; place = take(left, store)) {
      const results = await playPlace(system, place);
      played.push(...results);
      // A system that a failed case left behind would fail the next one too.
      const hasFailed = results.some(({ result }) => result.problems.length > 0);
      if (hasFailed || played.length % RENEWED_AFTER === 0) system = await renewed(system);
      if (left.length % TELL_EVERY === 0)
        console.log(`       ${total - left.length} of ${total} points with their verbs begun`);
    }
    return played;
  } finally {
    await system.end();
  }
}

/** A client of many cases leaves many notes behind, and nothing is shown by moving them again and again. */
async function renewed(system: NotesSystem): Promise<NotesSystem> {
  await system.end();
  const another = await NotesSystem.start(system.store);
  await another.startClient();
  await takeOldSnapshots(another);
  return another;
}

async function playPlace(system: NotesSystem, place: Place): Promise<Played[]> {
  const { store } = system;
  const played: Played[] = [];
  const { verb, point, passes } = place;
  // In the middle of the passes: the first and the last are often special, and those are other points.
  const pass = Math.ceil((passes.get(store) ?? 1) / 2);
  for (const afterwards of ['resume', 'rollback'] as const) {
    const startedAt = performance.now();
    const result = withPython(system, await play(system, { point, verb, pass, afterwards }));
    played.push({ store, case: { point, verb, pass, afterwards }, result });
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
    console.log(
      `${result.problems.length === 0 ? 'ok    ' : 'FAILED'} ${store} ${verb} killed at ${point}#${pass}, ${afterwards} (${seconds} s)`,
    );
    for (const problem of result.problems) console.log(`       ${problem.replaceAll('\n', '\n       ')}`);
  }
  return played;
}

async function playPoints(): Promise<{ played: Played[]; reached: Set<string> }> {
  const systems: NotesSystem[] = [];
  const surveyed = new Map<Store, Passes>();
  try {
    for (const store of stores) systems.push(await NotesSystem.start(store));
    await allDone(
      systems.map(async (system) => {
        await system.startClient();
        surveyed.set(system.store, await survey(system));
      }),
    );
  } catch (error) {
    for (const system of systems) await system.end();
    throw error;
  }
  const reached = new Set(
    [...surveyed.values()].flatMap((verbs) => [...verbs.values()].flatMap((points) => [...points.keys()])),
  );
  const left = placesOf(surveyed);
  const total = left.length;
  const played = (await allDone(systems.map((system) => playAll(system, left, total)))).flat();
  return { played, reached };
}

/** Waits for all even where one fails: each leaves processes behind unless it comes to its end. */
async function allDone<Result>(running: readonly Promise<Result>[]): Promise<Result[]> {
  await Promise.allSettled(running);
  return Promise.all(running);
}

const { played, reached } = isPlayed('points') ? await playPoints() : { played: [], reached: new Set<string>() };
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
