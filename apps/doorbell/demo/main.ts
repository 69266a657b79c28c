/**
 * `npm run demo`: moves a doorbell that a household uses, kills the move twice, takes it back, moves it again, and proves from the
 * household's own ledger that nothing was lost and nothing failed.
 *
 *   npm run demo                  as a person watches it
 *   npm run demo -- --json        events, and the result as the last line
 *   npm run demo -- --postgres    the new side keeps its rows in Postgres
 *   npm run demo -- --keep        leaves the folder for a look
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startPostgres } from 'changeover/testing';
import type { ComparisonReport, Measured } from './client.ts';
import { CommandLine } from './command-line.ts';
import { compareWithBefore, fingerprint, type Kept } from './fingerprint.ts';
import { HouseholdProcess } from './household.ts';
import { environmentOf, prepare, type Places } from './places.ts';
import { createStage } from './stage.ts';

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    postgres: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
  },
});
const QUIET_MS = 4000;
const LEGACY_START_MS = 15_000;
const RECOVERY_MS = 30_000;
/** What the legacy's root may hold besides what was there: it makes this folder itself. */
const LEGACYS_OWN = ['.env', '.tmp', 'config', 'data'];

const stage = createStage(values.json);
const startedMs = performance.now();

async function main(): Promise<number> {
  const database = values.postgres ? await startPostgres() : null;
  stage.title('A doorbell in use: 12 people, 20,000 events, a household that rings, looks and takes pictures');
  const places = await prepare(database?.url ?? null);
  const before = await fingerprint(places.legacyRoot);
  const changeover = new CommandLine(places, values.json);
  const legacy = await startLegacy(places);
  let household: HouseholdProcess | null = null;
  try {
    await changeover.run(['traffic', 'start']);
    stage.say(`legacy, process ${String(legacy.pid)}, in ${places.legacyRoot}`);
    household = new HouseholdProcess(places);
    await sleep(QUIET_MS);
    household.enter('move');

    stage.title('What would happen');
    await changeover.run(['check']);
    await changeover.run(['plan']);

    stage.title('The run, killed with SIGKILL in the middle of the data');
    await changeover.run(['run'], { killedAt: 'data.copy.after_chunk#12' });
    stage.say('killed; the household noticed nothing, and the same command goes on');
    await changeover.run(['run']);

    stage.title('The cutover, killed with SIGKILL while requests are held');
    household.enter('switch');
    await changeover.run(['cutover'], { killedAt: 'cutover.FENCE.done' });
    const recovered = await recoveredBy(changeover);
    stage.say(
      `killed; ${recovered} ms later the keeper had put the legacy back in service, with nobody at the keyboard`,
    );

    stage.title('The cutover');
    await changeover.run(['cutover']);
    household.enter('move');
    await sleep(QUIET_MS);
    const onNext = await household.compare('next');
    stage.compared('new side', onNext);

    stage.title('Back to the legacy, with everything written since');
    await changeover.run(['rollback', '--dry-run']);
    household.enter('switch');
    await changeover.run(['rollback']);
    household.enter('move');
    const onLegacy = await household.compare('legacy');
    stage.compared('legacy', onLegacy);
    const kept = compareWithBefore(before, await fingerprint(places.legacyRoot));
    stage.kept(kept);

    stage.title('Again, and for good');
    household.enter('switch');
    await changeover.run(['run', '--through']);
    household.enter('move');
    await sleep(QUIET_MS);
    const { status: live } = (await changeover.ask(['status'])) as {
      status: { gateway: { maxHoldMs: number } | null };
    };
    const verified = await rowsVerified(changeover);
    await changeover.run(['finish']);
    const atEnd = await household.compare('next');
    stage.compared('new side', atEnd);
    const measured = await household.leave();
    stage.say('the household is pointed at the new side; the gateway is no longer used');
    await changeover.run(['uninstall']);
    const strangers = (await readdir(places.legacyRoot)).filter((name) => !LEGACYS_OWN.includes(name));
    const ofOurs = [...(await fingerprint(places.legacyRoot)).keys()].filter((file) => /changeover/i.test(file));
    stage.say(
      strangers.length + ofOurs.length === 0
        ? "the legacy's folders hold nothing of ours"
        : `left behind: ${[...strangers, ...ofOurs].join(', ')}`,
    );

    return conclude({
      comparisons: [onNext, onLegacy, atEnd],
      kept,
      measured,
      verified,
      leftBehind: strangers.length + ofOurs.length,
      gatewayHoldMs: live.gateway?.maxHoldMs ?? 0,
    });
  } finally {
    household?.kill();
    await endUnits(changeover, places, legacy);
    await database?.stop();
    if (values.keep) stage.say(`everything is left in ${places.folder}`);
    else await rm(places.folder, { recursive: true, force: true });
  }
}

interface Conclusion {
  readonly comparisons: readonly ComparisonReport[];
  readonly kept: Kept;
  readonly measured: Measured;
  readonly verified: number;
  readonly leftBehind: number;
  readonly gatewayHoldMs: number;
}

function conclude({ comparisons, kept, measured, verified, leftBehind, gatewayHoldMs }: Conclusion): number {
  const result = {
    event: 'result',
    requests: measured.requests,
    failed: measured.failed,
    writesAcknowledged: measured.writesAcknowledged,
    writesMissing: sum(comparisons, ({ missing }) => missing),
    writesDuplicated: sum(comparisons, ({ duplicated }) => duplicated),
    rowsVerified: verified,
    kills: 2,
    rollbacks: 1,
    maxHoldMs: measured.maxHoldMs,
    extraLatencyP99Ms: measured.extraLatencyP99Ms,
    seconds: Math.round((performance.now() - startedMs) / 1000),
  };
  stage.result(result, { failures: measured.failures, gatewayHoldMs });
  const isKept =
    result.failed + result.writesMissing + result.writesDuplicated + kept.problems.length + leftBehind === 0;
  return isKept ? 0 : 1;
}

/** The legacy runs as somebody's own process: the tool must find it and stop it by itself. */
async function startLegacy(places: Places): Promise<ChildProcess> {
  const legacy = spawn(process.execPath, [fileURLToPath(new URL('../legacy/server.ts', import.meta.url))], {
    env: {
      ...process.env,
      ...environmentOf(places),
      DOORBELL_ROOT: places.legacyRoot,
      CAMERA_FOLDER: places.camera,
      DEVELOPMENT_MODE: 'true',
      PORT: String(places.ports.legacy),
    },
    stdio: 'ignore',
  });
  const untilMs = performance.now() + LEGACY_START_MS;
  for (;;) {
    const isUp = await fetch(`http://127.0.0.1:${places.ports.legacy}/api/status`).then(
      (response) => response.ok,
      () => false,
    );
    if (isUp) return legacy;
    if (performance.now() > untilMs) throw new Error('the legacy did not start');
    await sleep(50);
  }
}

/** Waits, doing nothing, until requests flow again. How long that took from the first look on. */
async function recoveredBy(changeover: CommandLine): Promise<number> {
  const fromMs = performance.now();
  for (;;) {
    const { status } = (await changeover.ask(['status'])) as {
      status?: { hold: string; authority: { state: string } };
    };
    const elapsedMs = Math.round(performance.now() - fromMs);
    if (status?.hold === 'none' && status.authority.state === 'LIVE_OLD') return elapsedMs;
    if (elapsedMs > RECOVERY_MS) throw new Error(`not recovered after ${RECOVERY_MS} ms: ${JSON.stringify(status)}`);
  }
}

async function rowsVerified(changeover: CommandLine): Promise<number> {
  const { verdicts } = (await changeover.ask(['verify'])) as { verdicts: { check: string; measured: number }[] };
  const ofRows = new Map(
    verdicts.filter(({ check }) => check.includes('rows')).map(({ check, measured }) => [check, measured]),
  );
  return sum([...ofRows.values()], (measured) => measured);
}

/** Ends what this demonstration started, and nothing else. */
async function endUnits(changeover: CommandLine, places: Places, legacy: ChildProcess): Promise<void> {
  const { status } = (await changeover.ask(['status']).catch(() => ({}))) as {
    status?: { units: { status: { pid: number | null } }[] };
  };
  await changeover.ask(['traffic', 'stop']);
  for (const unit of status?.units ?? []) if (unit.status.pid !== null) process.kill(unit.status.pid, 'SIGKILL');
  if (legacy.exitCode === null && legacy.signalCode === null) legacy.kill('SIGKILL');
  await rm(path.join(places.folder, 'state'), { recursive: true, force: true });
}

function sum<Item>(items: readonly Item[], count: (item: Item) => number): number {
  return items.reduce((total, item) => total + count(item), 0);
}

process.exitCode = await main();
