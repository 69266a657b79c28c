import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readdir, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { GUARDS, type Guard, type Proof } from './guards.ts';
import type { Checked } from './invariants.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const SOURCES = 'packages/changeover/src';
/** All that the tests of the package and the crash cases need. */
const COPIED = ['package.json', 'vitest.config.ts', 'packages/changeover', 'scripts/crash'];
const LEFT_OUT = ['node_modules', 'dist'];
/** So many copies are worked on at once; the machine has as many cores as a small one has. */
const LANES = 2;
/** A proof that hangs has failed nothing; ending it would leave its system behind, so that it gets long. */
const PROOF_TIMEOUT_MS = 600_000;
/** Only a kind of legacy whose store can refuse writes notices all guards. */
const STORE = 'sqlite';

/**
 * Removes one guard after the other and sees that its proof fails, and that the same proof passes with the guard in its place; invariants
 * that were just seen to hold are not played once more.
 */
export async function playGuards(
  wanted: (name: string) => boolean,
  held: readonly Checked[],
): Promise<readonly Checked[]> {
  const guards = GUARDS.filter(({ name }) => wanted(name));
  if (guards.length === 0) return [];
  const trees = await Promise.all(Array.from({ length: Math.min(LANES, guards.length) }, copyTree));
  try {
    const proven = new Set(
      held.flatMap(({ name, store, problem }) => (store === STORE && problem === null ? [name] : [])),
    );
    const unproven = await unprovenOf(trees[0] ?? ROOT, guards, proven);
    const checked: Checked[] = [];
    const left = guards.toSorted((one, other) => costOf(other) - costOf(one));
    const work = async (tree: string) => {
      for (let guard = left.shift(); guard !== undefined; guard = left.shift())
        checked.push(await told(guard, () => problemOf(tree, guard, unproven)));
    };
    await Promise.all(trees.map(work));
    return checked;
  } finally {
    for (const tree of trees) await rm(tree, { recursive: true, force: true });
  }
}

async function told(guard: Guard, find: () => Promise<string | null>): Promise<Checked> {
  const startMs = performance.now();
  const name = `guard: ${guard.name}`;
  const problem = await find();
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  console.log(
    `${problem === null ? 'ok    ' : 'FAILED'} ${name}: without it "${titleOf(guard.proof)}" fails (${seconds} s)`,
  );
  if (problem !== null) console.log(`       ${problem.replaceAll('\n', '\n       ')}`);
  return { name, store: null, problem };
}

async function problemOf(tree: string, guard: Guard, unproven: ReadonlyMap<string, string>): Promise<string | null> {
  const reason = unproven.get(keyOf(guard.proof));
  if (reason !== undefined) return `its proof does not pass with the guard in its place: ${reason}`;
  const file = path.join(tree, SOURCES, guard.file);
  const source = await readFile(file, 'utf8');
  const found = source.split(guard.find).length - 1;
  if (found !== 1) return `it is found ${found} times in ${guard.file}, expected once`;
  await writeFile(
    file,
    source.replace(guard.find, () => guard.replace),
  );
  try {
    const outcome = await prove(tree, [guard.proof]);
    const { failed, text } = outcome.get(keyOf(guard.proof)) ?? { failed: null, text: 'it was not run' };
    if (failed === true) return null;
    return failed === false ? 'nobody notices that it is missing' : `its proof came to no verdict: ${text}`;
  } finally {
    await writeFile(file, source);
  }
}

/** Proofs that do not pass with every guard in its place, with the reason. */
async function unprovenOf(
  tree: string,
  guards: readonly Guard[],
  proven: ReadonlySet<string>,
): Promise<Map<string, string>> {
  const proofs = new Map(guards.map(({ proof }) => [keyOf(proof), proof]));
  for (const [key, proof] of proofs) if ('invariant' in proof && proven.has(proof.invariant)) proofs.delete(key);
  const outcomes = await prove(tree, [...proofs.values()]);
  const unproven = new Map<string, string>();
  for (const key of proofs.keys()) {
    const { failed, text } = outcomes.get(key) ?? { failed: null, text: 'it was not run' };
    if (failed !== false) unproven.set(key, text);
  }
  return unproven;
}

interface Outcome {
  /** Null: no verdict. */
  readonly failed: boolean | null;
  readonly text: string;
}

async function prove(tree: string, proofs: readonly Proof[]): Promise<Map<string, Outcome>> {
  const tests = proofs.filter((proof) => 'test' in proof);
  const invariants = proofs.filter((proof) => 'invariant' in proof);
  const parts = await Promise.all([proveByTests(tree, tests), proveByInvariants(tree, invariants)]);
  return new Map(parts.flat());
}

interface Report {
  readonly testResults: readonly {
    readonly name: string;
    readonly message: string;
    readonly assertionResults: readonly {
      readonly status: string;
      readonly fullName: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
}

async function proveByTests(
  tree: string,
  proofs: readonly Extract<Proof, { test: string }>[],
): Promise<[string, Outcome][]> {
  if (proofs.length === 0) return [];
  const files = [...new Set(proofs.map(({ file }) => path.join(SOURCES, file)))];
  const names = proofs.map(({ test }) => test.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|');
  const output = path.join(tree, 'report.json');
  await rm(output, { force: true });
  const vitest = path.join(ROOT, 'node_modules/vitest/vitest.mjs');
  const reporting = ['--reporter=json', `--outputFile=${output}`];
  const text = await run(tree, [
    vitest,
    'run',
    '--root',
    tree,
    '--project',
    'unit',
    ...files,
    '-t',
    names,
    ...reporting,
  ]);
  const report = await readFile(output, 'utf8').catch(() => null);
  const results = report === null ? [] : (JSON.parse(report) as Report).testResults;
  return proofs.map((proof) => {
    const result = results.find(({ name }) => name === path.join(tree, SOURCES, proof.file));
    const own = result?.assertionResults.filter(
      ({ status, fullName }) => fullName.includes(proof.test) && status !== 'skipped' && status !== 'pending',
    );
    if (own === undefined || own.length === 0)
      return [keyOf(proof), { failed: null, text: `${result?.message ?? ''}\n${text.slice(-2000)}` }];
    const failed = own.filter(({ status }) => status === 'failed');
    return [keyOf(proof), { failed: failed.length > 0, text: failed[0]?.failureMessages.join('\n') ?? '' }];
  });
}

async function proveByInvariants(
  tree: string,
  proofs: readonly Extract<Proof, { invariant: string }>[],
): Promise<[string, Outcome][]> {
  if (proofs.length === 0) return [];
  const cases = proofs.flatMap(({ invariant }) => ['--case', invariant]);
  const main = path.join(tree, 'scripts/crash/main.ts');
  const text = await run(tree, [main, '--only', 'invariants', '--store', STORE, ...cases]);
  const lines = text.split('\n');
  return proofs.map((proof) => {
    const verdict = (word: string) => lines.some((line) => line.startsWith(`${word} ${STORE} ${proof.invariant}`));
    const failed = verdict('FAILED') ? true : verdict('ok    ') ? false : null;
    return [keyOf(proof), { failed, text: text.slice(-3000) }];
  });
}

/** What it printed, however it ended. */
async function run(tree: string, args: readonly string[]): Promise<string> {
  const child = spawn(process.execPath, args, {
    cwd: tree,
    stdio: ['ignore', 'pipe', 'pipe'],
    signal: AbortSignal.timeout(PROOF_TIMEOUT_MS),
    killSignal: 'SIGTERM',
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  child.on('error', (error) => (text += String(error)));
  await once(child, 'close').catch((error: unknown) => (text += String(error)));
  return text;
}

/** A copy of the sources in which `changeover` is the copy itself and everything else what is installed here. */
async function copyTree(): Promise<string> {
  const tree = await realpath(await mkdtemp(path.join(tmpdir(), 'changeover-guards-')));
  for (const name of COPIED)
    await cp(path.join(ROOT, name), path.join(tree, name), {
      recursive: true,
      filter: (source) => !LEFT_OUT.includes(path.basename(source)),
    });
  await linkModules(tree, 'node_modules');
  await linkModules(tree, 'packages/changeover/node_modules');
  return tree;
}

async function linkModules(tree: string, folder: string): Promise<void> {
  await mkdir(path.join(tree, folder), { recursive: true });
  for (const name of await readdir(path.join(ROOT, folder))) {
    const real = await realpath(path.join(ROOT, folder, name));
    const inside = path.relative(ROOT, real);
    if (name.startsWith('@')) await linkModules(tree, path.join(folder, name));
    // A workspace is linked into the copy; what was installed lies below node_modules.
    else
      await symlink(
        inside.split(path.sep).includes('node_modules') ? real : path.join(tree, inside),
        path.join(tree, folder, name),
      );
  }
}

function keyOf(proof: Proof): string {
  return 'invariant' in proof ? proof.invariant : `${proof.file} ${proof.test}`;
}

function titleOf(proof: Proof): string {
  return 'invariant' in proof ? proof.invariant : proof.test;
}

/** The long ones first, so that no lane is left alone with one at the end. */
function costOf({ proof }: Guard): number {
  return 'invariant' in proof ? 1 : 0;
}
