import { existsSync } from 'node:fs';
import { readFile, realpath } from 'node:fs/promises';
import { userInfo } from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { createDataMove } from './data/move.ts';
import { sliceId } from './data/slices/scope.ts';
import { openAuthoritySource } from './engine/authority.ts';
import { systemClock } from './engine/clock.ts';
import { faultsFromEnvironment } from './engine/faults.ts';
import { openJournal } from './engine/journal.ts';
import { keep } from './engine/session/keeper.ts';
import type { Parts } from './engine/session/parts.ts';
import { createSession } from './engine/session/session.ts';
import { openSliceSources, readJournal, readSlices, sliceFolder, sliceFolders } from './engine/slices.ts';
import { ChangeoverError } from './errors.ts';
import type { Changeover, OpenOptions } from './plan/api.ts';
import { isPlan } from './plan/define.ts';
import type { Plan } from './plan/plan.ts';
import type { Unit } from './plan/ports.ts';
import { planHash, planSpec } from './plan/spec.ts';
import { createSnapshot } from './snapshot/index.ts';
import { createGateway, runSupervisor } from './traffic/index.ts';

export { ChangeoverError, CATALOGUE, type ErrorCode } from './errors.ts';
export { defineChangeover } from './plan/define.ts';
export type * from './plan/api.ts';
export type * from './plan/author.ts';
export type * from './plan/authority.ts';
export type * from './plan/context.ts';
export type { AddedColumn, ExpandDefinition, TableExpansion } from './plan/expand.ts';
export type * from './plan/plan.ts';
export type * from './plan/ports.ts';
export type * from './plan/stores.ts';
export type * from './plan/sync.ts';
export type * from './plan/words.ts';
export { command } from './engine/units/command.ts';
export { dotenv, environment, iniFile, jsonFile, pythonModule, settings, tomlFile, yamlFile } from './config/index.ts';
export { constant, expand, expression, files, sync } from './data/move.ts';
export { document, jsonFormat, pickleFormat } from './data/stores/document/index.ts';
export type { DocumentFormat, DocumentOptions, DocumentTable, JsonValue } from './data/stores/document/index.ts';
export { log } from './data/stores/log/index.ts';
export type { LogOptions, LogStore } from './data/stores/log/index.ts';
export { mariadb } from './data/stores/mariadb/index.ts';
export { postgres } from './data/stores/postgres/index.ts';
export { sqlite } from './data/stores/sqlite/index.ts';
export { counts, http, isolation, rows } from './verify/index.ts';

/** Folder of our own state, beside the plan. */
const STATE_FOLDER = '.changeover';

/** How soon the keeper sees that a slice was begun. */
const SLICES_POLL_MS = 250;

const BIN = fileURLToPath(new URL('../bin/changeover.js', import.meta.url));

/** The plan that `configFile` exports by default. Throws `CHG_PLAN_FILE` when it cannot be read or exports something else. */
async function loadPlan(configFile: string): Promise<Plan> {
  let exported: unknown;
  try {
    await readFile(configFile);
    exported = ((await import(pathToFileURL(configFile).href)) as { default?: unknown }).default;
  } catch (cause) {
    if (cause instanceof ChangeoverError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ChangeoverError('CHG_PLAN_FILE', { file: configFile, reason }, { cause });
  }
  if (!isPlan(exported)) {
    throw new ChangeoverError('CHG_PLAN_FILE', {
      file: configFile,
      reason: 'its default export is not a plan made with defineChangeover',
    });
  }
  return exported;
}

/**
 * Opens a plan with its journal.
 *
 * @example
 * ```ts
 * const changeover = await openChangeover({ configFile: '/srv/doorbell/changeover.config.ts' });
 * await changeover.run({ through: true });
 * await changeover.close();
 * ```
 */
export async function openChangeover(options: OpenOptions): Promise<Changeover> {
  return createSession(await openParts(options));
}

async function openParts({
  configFile: given,
  slice = null,
  stateDir,
  onEvent = () => undefined,
  actor,
}: Omit<OpenOptions, 'slice'> & { readonly slice?: string | null }): Promise<Parts> {
  // Units, the keeper and the gateway name the plan by this path, so it must be the same through any link.
  const configFile = await realpath(given).catch(() => path.resolve(given));
  const plan = await loadPlan(configFile);
  const root = path.dirname(configFile);
  const state = path.resolve(root, stateDir ?? STATE_FOLDER);
  const clock = systemClock();
  const faults = faultsFromEnvironment();
  const data = createDataMove(plan.data, { slice, throttle: plan.throttle });
  const own = slice === null ? null : sliceFolder(state, slice, sliceId(slice));
  const journalDir = own?.folder ?? state;
  // The gateway follows it too, whatever slice this is about.
  if (own !== null) openJournal(state, { clock, faults }).close();
  return {
    plan,
    planHash: planHash(plan),
    planSpec: planSpec(plan),
    configFile,
    root,
    stateDir: state,
    slice,
    journalDir,
    slices: () => readSlices(state),
    restStatus: () => readJournal(state).run?.status ?? null,
    journal: openJournal(journalDir, { clock, faults }),
    data,
    gateway: gatewayOf(plan, configFile, state, own?.id ?? null),
    settings: plan.config,
    snapshot: createSnapshot(plan.backup),
    clock,
    faults,
    actor: actor ?? userInfo().username,
    emit: onEvent,
  };
}

function gatewayOf(plan: Plan, configFile: string, stateDir: string, slice: string | null) {
  const entry = (kind: string) => [BIN, 'internal', kind, '--config', configFile, '--state', stateDir];
  const { listen, workers, maxHeldRequests, maxHeldBytes, maxHeldMs, tenant } = plan.gateway;
  const options = {
    listen,
    workers,
    maxHeldRequests,
    maxHeldBytes,
    maxHeldMs,
    targets: { legacy: urlOf(plan.legacy.units, 'legacy'), next: urlOf(plan.next.units, 'next') },
    entry: { supervisor: entry('supervisor'), worker: entry('worker'), keeper: entry('keeper') },
    ...(tenant === undefined ? {} : { tenant }),
  };
  return createGateway(options, slice);
}

/** Traffic goes to the first unit of a side that has an address. */
function urlOf(units: readonly Unit[], side: string): string {
  const unit = units.find(({ url }) => url !== null);
  if (unit?.url == null) throw new ChangeoverError('CHG_PLAN_NO_URL', { side });
  return unit.url;
}

export type InternalKind = 'supervisor' | 'worker' | 'keeper';

/** The processes that run detached; the command line starts them by a hidden verb. */
export async function runInternal(
  kind: InternalKind,
  options: OpenOptions & { readonly stateDir: string },
): Promise<void> {
  switch (kind) {
    case 'supervisor':
      await runSupervisor();
      return;
    case 'worker': {
      // Its HTTP client is a quarter of what any other process would load.
      const { runWorker } = await import('./traffic/worker.ts');
      await runWorker({
        source: openAuthoritySource(options.stateDir),
        slices: openSliceSources(options.stateDir),
      });
      return;
    }
    case 'keeper':
      await runKeeper(options);
      return;
    default:
      kind satisfies never;
  }
}

async function runKeeper(options: OpenOptions & { readonly stateDir: string }): Promise<void> {
  const ending = new AbortController();
  process.once('SIGTERM', () => {
    ending.abort();
  });
  const log = (slice: string | null) => (event: object) => {
    // The supervisor keeps what a child prints in a log of its own.
    const whose = slice === null ? {} : { slice };
    process.stdout.write(`${new Date().toISOString()} ${JSON.stringify({ ...whose, ...event })}\n`);
  };
  const keepOne = async (slice: string | null): Promise<void> => {
    const parts = await openParts({ ...options, slice, onEvent: log(slice) });
    try {
      await keep(parts, ending.signal);
    } finally {
      await parts.data.close();
      parts.journal.close();
    }
  };
  const kept = new Map<string, Promise<void>>();
  const whole = keepOne(null);
  while (!ending.signal.aborted) {
    for (const { name, id, folder } of sliceFolders(options.stateDir)) {
      if (kept.has(id)) continue;
      const keeping = keepOne(name)
        // Of a slice that was uninstalled nothing is left to keep; any other is tried again.
        .catch((error: unknown) => {
          if (existsSync(folder)) log(name)({ event: 'warning', message: `keeper: ${String(error)}` });
        })
        .finally(() => kept.delete(id));
      kept.set(id, keeping);
    }
    await Promise.race([
      whole,
      systemClock()
        .sleep(SLICES_POLL_MS, ending.signal)
        .catch(() => undefined),
    ]);
  }
  await Promise.all([whole, ...kept.values()]);
}
