import { Bench, HAS_PYTHON, Violation, type Stand } from './invariants-bench.ts';
import { GATEWAY_CASES } from './invariants-gateway.ts';
import { LIVE_CASES } from './invariants-live.ts';
import { READY_CASES, SWITCHING_CASES } from './invariants-ready.ts';
import { WHOLE_CASES } from './invariants-whole.ts';
import type { NotesSystem } from './system.ts';

type Store = NotesSystem['store'];

/** One thing that must hold whatever is stopped or killed, seen on the running system. */
export interface InvariantCase {
  readonly name: string;
  readonly from: Stand;
  /** Default: both. */
  readonly stores?: readonly Store[];
  /** Requests of the client that the case's own kill may cut off. Default 0. */
  readonly cutAllowed?: number;
  /** It starts the client itself. */
  readonly hasOwnClient?: boolean;
  readonly needsSettings?: boolean;
  /** Resolves with what was measured; throws a `Violation`. */
  play(bench: Bench): Promise<string | undefined>;
}

/** In an order that needs few switches between them. */
const CASES: readonly InvariantCase[] = [
  ...GATEWAY_CASES,
  ...READY_CASES,
  ...LIVE_CASES,
  ...SWITCHING_CASES,
  ...WHOLE_CASES,
];
const WATCHED = 'all the time: epochs never fall, never both stores open, nothing of the new side before OPEN';
const PYTHON = 'after every case: CPython reads every complete line of the log';
export const UNHARMED = 'all the time: a legacy that never waits for a lock suffers no error because of us';

export interface Checked {
  readonly name: string;
  /** Null for what does not depend on it. */
  readonly store: Store | null;
  readonly problem: string | null;
}

/** Plays the cases of one kind of legacy and tells of each as it ends. A system that a violated case left behind is replaced. */
export async function playInvariants(store: Store, wanted: (name: string) => boolean): Promise<Checked[]> {
  const hasSettings = process.env['NOTES_CONFIG'] === undefined;
  const cases = CASES.filter(
    ({ name, stores, needsSettings }) =>
      wanted(name) && (stores?.includes(store) ?? true) && (needsSettings !== true || hasSettings),
  );
  if (cases.length === 0) return [];
  const checked: Checked[] = [];
  const watched = { problems: [] as string[], readings: 0, requests: 0, refusedByLock: 0, pythonReadings: 0 };
  let bench: Bench | null = null;
  const tell = (name: string, problem: string | null, note: string, ms: number) => {
    checked.push({ name, store, problem });
    const measured = note === '' ? '' : `: ${note}`;
    console.log(`${problem === null ? 'ok    ' : 'FAILED'} ${store} ${name}${measured} (${(ms / 1000).toFixed(1)} s)`);
    if (problem !== null) console.log(`       ${problem.replaceAll('\n', '\n       ')}`);
  };
  const finish = async () => {
    if (bench === null) return;
    watched.problems.push(...bench.watch.problems);
    watched.readings += bench.watch.readings;
    watched.pythonReadings += bench.pythonReadings;
    watched.requests += bench.clients.requests;
    watched.refusedByLock += bench.clients.refusedByLock;
    const ending = bench;
    bench = null;
    await ending.end();
  };
  for (const each of cases) {
    const startMs = performance.now();
    try {
      bench ??= await Bench.start(store);
      const note = await playCase(bench, each);
      tell(each.name, null, note, performance.now() - startMs);
    } catch (error) {
      const problem = error instanceof Violation ? error.message : String((error as Error).stack);
      tell(each.name, problem, '', performance.now() - startMs);
      await finish().catch((cause: unknown) => {
        console.log(`       and its system did not end well: ${String(cause)}`);
      });
    }
  }
  await finish();
  const { problems, readings, requests, refusedByLock } = watched;
  tell(WATCHED, problems.length === 0 ? null : problems.join('\n'), `${readings} readings`, 0);
  const harm = refusedByLock === 0 ? null : `${refusedByLock} writes met a lock of ours ("database is locked")`;
  tell(UNHARMED, harm, `${requests} requests`, 0);
  if (store === 'files') {
    // A line that it cannot read has failed the case after which it was found.
    if (HAS_PYTHON) tell(PYTHON, null, `${watched.pythonReadings} readings`, 0);
    else console.log(`        files ${PYTHON}: not checked, there is no python3 on this machine`);
  }
  return checked;
}

async function playCase(bench: Bench, each: InvariantCase): Promise<string> {
  await bench.bringTo(each.from);
  if (each.hasOwnClient === true) return (await each.play(bench)) ?? '';
  await bench.startClient();
  const note = await each.play(bench);
  bench.expectPythonReads();
  await bench.stopClient(each.cutAllowed);
  return note ?? '';
}
