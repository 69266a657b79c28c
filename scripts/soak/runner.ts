/**
 * The runner of the move in the soak: `node runner.ts <settings as JSON>`. It does what the engine does in the same order: raises the epoch, goes back to where
 * the decision was not made, copies and follows until the switch is wanted, then switches and ends. It is killed at a crash point, or from outside.
 */
import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createDataMove } from '../../packages/changeover/src/data/move.ts';
import type { Context } from '../../packages/changeover/src/plan/context.ts';
import { sourceSide, targetSide, type Direction, type Verdict } from '../../packages/changeover/src/plan/words.ts';
import { killAt, testContext } from '../../packages/changeover/src/testing/context.ts';
import { definitionsOf } from './definitions.ts';
import { PREPARED, decidedMark, wantedMark, type SoakSettings } from './settings.ts';

const VERIFY_EVERY = 40;
const PASS_PAUSE_MS = 5;
/** Changes left over at which the lock is taken. */
const FEW_CHANGES = 100;
const MAX_PASSES = 200;

interface RunnerSettings extends SoakSettings {
  readonly direction: Direction;
  readonly epoch: number;
  readonly kill: { readonly point: string; readonly pass: number } | null;
}

const settings = JSON.parse(process.argv[2] ?? '') as RunnerSettings;
const { folder, direction, epoch, kill } = settings;
const mark = (name: string) => path.join(folder, name);
const data = createDataMove(definitionsOf(settings));
const isDecided = existsSync(mark(decidedMark(direction)));
const ctx: Context = testContext(folder, {
  epoch,
  liveSide: isDecided ? targetSide(direction) : sourceSide(direction),
  ...(kill === null ? {} : { faults: killAt(kill.point, kill.pass) }),
  report: { progress: () => undefined, log: () => undefined, warn: (message) => console.log(`warning: ${message}`) },
});

/** Anything that is not equal ends the runner; what nobody could compare while it changed is compared under the lock. */
function expectNoDifference(verdicts: readonly Verdict[]): void {
  const failed = verdicts.filter(({ outcome }) => outcome === 'FAIL');
  if (failed.length > 0) throw new Error(`verification failed: ${JSON.stringify(failed)}`);
}

const startMs = performance.now();
/** The last line of a runner that does not come to its end says where it is. */
function say(what: string): void {
  console.log(`${Math.round(performance.now() - startMs)} ms: ${what}`);
}

async function prepare(): Promise<void> {
  await data.prepare(ctx);
  writeFileSync(mark(PREPARED), '');
  await data.copy(ctx);
  await data.prepareReverse(ctx);
}

async function follow(): Promise<void> {
  for (let pass = 1; !existsSync(mark(wantedMark(direction))); pass++) {
    await data.catchUp(ctx, direction);
    if (pass % VERIFY_EVERY === 0) expectNoDifference(await data.verify(ctx, direction, 'full'));
    await sleep(PASS_PAUSE_MS);
  }
}

async function switchOver(): Promise<void> {
  say('verifying');
  expectNoDifference(await data.verify(ctx, direction, 'full'));
  say('catching up');
  for (let pass = 0; pass < MAX_PASSES; pass++) if ((await data.catchUp(ctx, direction)).pending < FEW_CHANGES) break;
  say('locking');
  const locked = await data.lock(ctx, direction);
  try {
    say('applying under the lock');
    await locked.applyToEmpty();
    say('verifying under the lock');
    expectNoDifference(await locked.verify('changed'));
    await locked.sequences();
  } catch (error) {
    await locked.release();
    throw error;
  }
  say('fencing');
  await locked.fence();
  writeFileSync(mark(decidedMark(direction)), '');
}

await data.installEpoch(ctx);
if (!isDecided) {
  await data.unfence(ctx, sourceSide(direction));
  if (direction === 'forward') await prepare();
  console.log('following');
  await follow();
  await switchOver();
}
await data.unfence(ctx, targetSide(direction));
await data.close();
console.log('done');
