import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { ChangeoverError } from '../../errors.ts';
import type { Context } from '../../plan/context.ts';
import type { SetupCommand } from '../../plan/plan.ts';
import { catchUpUntilClose } from '../cutover/evidence.ts';
import { SETTINGS_HASH } from '../cutover/parts.ts';
import type { Finding } from '../../plan/words.ts';
import type { Owner } from '../ownership.ts';
import type { Step } from '../steps.ts';
import { undisturbed } from './hold.ts';
import type { Parts } from './parts.ts';

const KEPT_SNAPSHOTS = 3;
/** How much of a failed setup command's output the error carries. */
const OUTPUT_TAIL_CHARACTERS = 2000;

/**
 * Every step from nothing to READY, in order. `undo` removes what the step added and nothing else: a snapshot is never put back by
 * itself, and the gateway stays, because clients are connected to it.
 */
export function runSteps(parts: Parts, owner: Pick<Owner, 'put' | 'setAuthority'>): Step[] {
  const { data, gateway, settings, snapshot, plan, slice } = parts;
  const steps: Step[] = [
    {
      name: 'checkSystem',
      stage: 'prepare',
      weight: 1,
      title: 'check both systems',
      do: (ctx) => checkSystem(ctx, parts),
      probe: repeat,
    },
    {
      name: 'startGateway',
      stage: 'prepare',
      weight: 1,
      title: 'start the gateway',
      do: (ctx) => gateway.start(ctx),
      probe: async (ctx) => ((await gateway.isRunning(ctx)) ? 'done' : 'not-done'),
    },
  ];
  if (plan.backup.paths.length + plan.backup.sqlite.length > 0) {
    steps.push({
      name: 'takeSnapshot',
      stage: 'backup',
      weight: 1,
      title: 'take a snapshot of the legacy',
      do: async (ctx) => {
        await snapshot.take(ctx, ctx.runId);
        await dropOldSnapshots(ctx, parts);
      },
      probe: async (ctx) => ((await snapshot.isTaken(ctx, ctx.runId)) ? 'done' : 'not-done'),
      verify: (ctx) => snapshot.verify(ctx, ctx.runId),
    });
  }
  if (settings !== null) {
    steps.push({
      name: 'writeSettings',
      stage: 'config',
      weight: 1,
      title: 'write the new settings',
      before: (ctx) => settings.before(ctx),
      do: async (ctx) => {
        owner.put(SETTINGS_HASH, await settings.sourceHash(ctx));
        await settings.apply(ctx);
      },
      probe: async (ctx) => ((await settings.isApplied(ctx)) ? 'done' : 'not-done'),
      undo: (ctx, before) => settings.undo(ctx, before),
    });
  }
  plan.next.setup.forEach((command, index) => {
    steps.push({
      name: `setupNext:${index + 1}`,
      stage: 'data',
      weight: 1,
      title: `set up the new side: ${command.run}`,
      do: (ctx) => runSetup(ctx, command),
      probe: repeat,
    });
  });
  steps.push(...createTables(parts, owner));
  steps.push(
    {
      name: 'prepareData',
      stage: 'data',
      weight: 1,
      title: 'fence the new stores and capture changes of the legacy',
      do: (ctx) => data.prepare(ctx, undisturbed(ctx, parts, owner)),
      probe: repeat,
      undo: async (ctx) => {
        await data.uninstall(ctx, { emptyTarget: true }, undisturbed(ctx, parts, owner));
      },
    },
    {
      name: 'copyData',
      stage: 'data',
      weight: 10,
      title: 'copy',
      do: (ctx) => data.copy(ctx),
      probe: repeat,
    },
    ...completeTables(parts),
    {
      name: 'verifyCopy',
      stage: 'data',
      weight: 3,
      title: 'apply what changed meanwhile and verify every row',
      do: (ctx) => catchUpUntilClose(ctx, parts, 'forward'),
      verify: (ctx) => data.verify(ctx, 'forward', 'full'),
      needsProof: true,
      probe: repeat,
    },
    {
      name: 'startNext',
      stage: 'integrate',
      weight: 3,
      title: 'start the new side, passive',
      do: (ctx) => startPassive(ctx, parts),
      probe: repeat,
      undo: async (ctx) => {
        for (const unit of [...plan.next.units].reverse()) await unit.stop(ctx);
      },
    },
    {
      name: 'captureNext',
      stage: 'integrate',
      weight: 1,
      title: 'capture changes of the new side for the way back',
      do: (ctx) => data.prepareReverse(ctx),
      probe: repeat,
    },
    {
      name: 'verifyReady',
      stage: 'integrate',
      weight: 2,
      title: 'verify every row again',
      do: (ctx) => catchUpUntilClose(ctx, parts, 'forward'),
      verify: (ctx) => data.verify(ctx, 'forward', 'full'),
      needsProof: true,
      probe: repeat,
    },
  );
  return slice === null ? steps : steps.filter(({ name }) => STEPS_OF_A_SLICE.has(name));
}

/** Everything else is done once, by the run that moves what belongs to no slice. */
const STEPS_OF_A_SLICE = new Set([
  'checkSystem',
  'prepareData',
  'copyData',
  'verifyCopy',
  'captureNext',
  'verifyReady',
]);

/** The journal's key for what the new side lacked: `completeTables` adds to what is ours only. */
const MISSING_TABLES = 'schema.missing';

function createTables({ data }: Parts, owner: Pick<Owner, 'put'>): Step[] {
  const { schema } = data;
  if (schema === null) return [];
  return [
    {
      name: 'createTables',
      stage: 'data',
      weight: 1,
      title: 'make the new tables with their keys',
      before: (ctx) => schema.missing(ctx),
      do: async (ctx, missing) => {
        owner.put(MISSING_TABLES, missing);
        await schema.create(ctx, missing);
      },
      probe: repeat,
      undo: (ctx, missing) => schema.remove(ctx, missing),
    },
  ];
}

function completeTables({ data, journal }: Parts): Step[] {
  const { schema } = data;
  if (schema === null) return [];
  return [
    {
      name: 'completeTables',
      stage: 'data',
      weight: 2,
      title: 'make indexes, checks and foreign keys',
      do: (ctx) => schema.complete(ctx, journal.get(MISSING_TABLES) ?? {}),
      probe: repeat,
    },
  ];
}

/** For steps that are safe to do again whether or not they were done. */
function repeat(): Promise<'not-done'> {
  return Promise.resolve('not-done');
}

/** A snapshot outlives its run, because it may be wanted after a rollback; only the newest few are kept. */
async function dropOldSnapshots(ctx: Context, { snapshot }: Parts): Promise<void> {
  const newestFirst = (await snapshot.list(ctx)).toSorted((one, other) => other.takenAtMs - one.takenAtMs);
  for (const { id } of newestFirst.slice(KEPT_SNAPSHOTS)) await snapshot.drop(ctx, id);
}

async function checkSystem(ctx: Context, parts: Parts): Promise<void> {
  const findings = await allFindings(ctx, parts);
  for (const finding of findings)
    if (finding.level === 'warning') ctx.report.warn(`${finding.about}: ${finding.message}`);
  const errors = findings.filter(({ level }) => level === 'error');
  if (errors.length === 0) return;
  const list = errors.map(
    ({ about, message, remedy }) => `  ${about}: ${message}${remedy === undefined ? '' : `\n    → ${remedy}`}`,
  );
  throw new ChangeoverError('CHG_ENGINE_CHECK_FAILED', { count: errors.length, list: list.join('\n') });
}

/** What all parts find, in the order of the data path. */
export async function allFindings(ctx: Context, parts: Parts): Promise<Finding[]> {
  const { settings, data, snapshot } = parts;
  if (parts.slice !== null) return [...tenantFindings(parts), ...(await data.check(ctx))];
  return [
    ...(await snapshot.check(ctx)),
    ...(settings === null ? [] : await settings.check(ctx)),
    ...(await data.check(ctx)),
  ];
}

/** Without knowing whose a request is, the gateway could send none of them to the other side. */
function tenantFindings({ plan }: Parts): Finding[] {
  if (plan.gateway.tenant !== undefined) return [];
  const message = 'the plan does not say how a request is known to be of a slice';
  const remedy =
    "write gateway: { tenant: { header: 'x-network' } }, { query: 'network' } or { path: '/api/networks/' }";
  return [{ level: 'error', about: 'gateway.tenant', message, remedy }];
}

async function startPassive(ctx: Context, parts: Parts): Promise<void> {
  for (const unit of parts.plan.next.units) {
    await unit.start(ctx, { passive: true });
    await unit.passivate(ctx);
  }
}

async function runSetup(ctx: Context, command: SetupCommand): Promise<void> {
  const cwd = path.resolve(ctx.root, command.cwd ?? '.');
  const child = spawn(command.run, {
    cwd,
    shell: true,
    env: { ...process.env, ...command.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    signal: ctx.signal,
  });
  let output = '';
  const keepTail = (chunk: Buffer) => (output = (output + chunk.toString()).slice(-OUTPUT_TAIL_CHARACTERS));
  child.stdout.on('data', keepTail);
  child.stderr.on('data', keepTail);
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) {
    throw new ChangeoverError('CHG_ENGINE_SETUP_FAILED', {
      command: command.run,
      code: code ?? 'a signal',
      output: output.trim(),
    });
  }
}
