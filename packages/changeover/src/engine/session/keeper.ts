import { rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ChangeoverError } from '../../errors.ts';
import { isInTransition } from '../../plan/authority.ts';
import type { Context } from '../../plan/context.ts';
import type { Direction } from '../../plan/words.ts';
import { recover } from '../cutover/recover.ts';
import type { Owner } from '../ownership.ts';
import { ownedContext } from './context.ts';
import { isLeftHeld, releaseRequests } from './hold.ts';
import { cutoverParts, type Parts } from './parts.ts';
import { finishRestore, isRestoring } from './restore.ts';

const IDLE_POLL_MS = 100;
/** How often a dead or late runner of a switch is looked for: it adds to the hold of a killed cutover. */
const TRANSITION_POLL_MS = 20;
const FOLLOW_PAUSE_MS = 100;
const WANTED_POLL_MS = 20;
const RETRY_AFTER_ERROR_MS = 1000;
const HEARTBEAT_MS = 1000;

type Task =
  | { readonly kind: 'none' | 'recover' | 'restore' | 'release' }
  | { readonly kind: 'follow'; readonly direction: Direction };

/**
 * The process that acts when nobody is at the keyboard. It follows the data while no command runs (forward before the cutover, in
 * reverse after it), gives way to every command, and finishes or reverts the switch of a runner that died or outstayed its lease,
 * and puts the rest of a snapshot back.
 * It ends when `signal` aborts; being killed costs nothing.
 */
export async function keep(parts: Parts, signal: AbortSignal): Promise<void> {
  const { clock } = parts;
  let lastBeatMs = -Infinity;
  while (!signal.aborted) {
    if (clock.monotonicMs() - lastBeatMs > HEARTBEAT_MS) {
      await beat(parts);
      lastBeatMs = clock.monotonicMs();
    }
    const task = taskOf(parts);
    const owner = task.kind === 'none' ? null : await takeOwnership(parts, task, signal);
    if (owner === null) {
      await pause(clock, parts.journal.authority().leaseUntilMs !== null ? TRANSITION_POLL_MS : IDLE_POLL_MS, signal);
      continue;
    }
    let failed = false;
    try {
      await act(parts, owner, signal);
    } catch (error) {
      failed = true;
      report(parts, owner, error);
    } finally {
      owner.release();
    }
    await pause(clock, failed ? RETRY_AFTER_ERROR_MS : IDLE_POLL_MS, signal);
  }
}

function taskOf(parts: Parts): Task {
  const authority = parts.journal.authority();
  if (isInTransition(authority.state)) return { kind: 'recover' };
  if (isRestoring(parts)) return { kind: 'restore' };
  if (isLeftHeld(parts)) return { kind: 'release' };
  const run = parts.journal.currentRun();
  // A plan that changed since the run began must not move data by its new rules.
  if (run === null || run.hash !== parts.planHash || run.undoing !== null) return { kind: 'none' };
  if (run.status === 'ready' && authority.state === 'LIVE_OLD') return { kind: 'follow', direction: 'forward' };
  if (run.status === 'live' && authority.state === 'LIVE_NEW') return { kind: 'follow', direction: 'reverse' };
  // The runner died after the switch and before it wrote that down.
  if (run.status === 'ready' && authority.state === 'LIVE_NEW') return { kind: 'recover' };
  return { kind: 'none' };
}

/** Null while somebody else owns the journal, unless that owner holds requests past its lease: then it is killed first. */
async function takeOwnership(parts: Parts, task: Task, signal: AbortSignal): Promise<Owner | null> {
  const info = parts.journal.ownerInfo();
  const command = 'changeover keeper';
  if (info?.isHeld === true) {
    if (task.kind === 'follow' || !isLeaseOver(parts)) return null;
    return parts.journal.takeOver({ command, epoch: info.epoch, waitMs: RETRY_AFTER_ERROR_MS, signal });
  }
  try {
    return await parts.journal.acquire({ command, signal });
  } catch (error) {
    if (error instanceof ChangeoverError && error.code === 'CHG_ENGINE_OWNED') return null;
    throw error;
  }
}

function isLeaseOver(parts: Parts): boolean {
  const { leaseUntilMs, leaseBoot } = parts.journal.authority();
  if (leaseUntilMs === null) return false;
  return leaseBoot !== parts.clock.bootId() || parts.clock.monotonicMs() > leaseUntilMs;
}

/** The task is looked up again: between looking and owning another command may have done it. */
async function act(parts: Parts, owner: Owner, signal: AbortSignal): Promise<void> {
  const task = taskOf(parts);
  const ctx = ownedContext(parts, owner, signal);
  if (task.kind === 'recover') {
    await recover(ctx, cutoverParts(parts, owner));
    settleRun(parts, owner);
  } else if (task.kind === 'restore') {
    await finishRestore(ctx, parts, owner);
  } else if (task.kind === 'release') {
    await releaseRequests(ctx, parts, owner);
  } else if (task.kind === 'follow') {
    await follow(ctx, parts, owner, task.direction);
  }
}

/** The run's status follows the authority when the command that should have written it died. */
export function settleRun(parts: Parts, owner: Owner): void {
  const run = parts.journal.currentRun();
  if (run?.status === 'ready' && parts.journal.authority().state === 'LIVE_NEW') owner.setRunStatus(run.id, 'live');
}

async function follow(ctx: Context, parts: Parts, owner: Owner, direction: Direction): Promise<void> {
  await parts.data.installEpoch(ctx);
  let nextRoundMs = 0;
  while (!ctx.signal.aborted && !owner.isWanted()) {
    owner.check();
    if (parts.clock.monotonicMs() > nextRoundMs) {
      if (direction === 'reverse') await keepNextActive(ctx, parts);
      await beat(parts);
      nextRoundMs = parts.clock.monotonicMs() + HEARTBEAT_MS;
    }
    const { applied } = await parts.data.catchUp(ctx, direction);
    for (let slept = 0; applied === 0 && slept < FOLLOW_PAUSE_MS && !owner.isWanted(); slept += WANTED_POLL_MS) {
      await pause(parts.clock, WANTED_POLL_MS, ctx.signal);
    }
  }
}

/** A new side that died after the cutover comes back as the owner of its devices, not passive. */
async function keepNextActive(ctx: Context, parts: Parts): Promise<void> {
  for (const unit of parts.plan.next.units) {
    const { state } = await unit.status(ctx);
    if (state !== 'stopped') continue;
    ctx.report.warn(`${unit.name} had stopped; it is started again`);
    await unit.start(ctx, { passive: false });
    await unit.activate(ctx);
  }
}

function report(parts: Parts, owner: Owner, error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  parts.emit({ event: 'warning', message: `keeper: ${message}` });
  const run = parts.journal.currentRun();
  // A fenced owner can write nothing any more; the event above is then all there is.
  const isFenced = error instanceof ChangeoverError && error.code === 'CHG_ENGINE_FENCED';
  if (run !== null && !isFenced) owner.message(run.id, 'error', `keeper: ${message}`);
}

/** Where `status` sees that a keeper lives; it decides nothing. */
export function heartbeatFile(stateDir: string): string {
  return path.join(stateDir, 'keeper.json');
}

async function beat(parts: Parts): Promise<void> {
  const file = heartbeatFile(parts.journalDir);
  await writeFile(
    `${file}.tmp`,
    JSON.stringify({ pid: process.pid, atMonotonicMs: Math.round(parts.clock.monotonicMs()) }),
  );
  await rename(`${file}.tmp`, file);
}

async function pause(clock: Parts['clock'], ms: number, signal: AbortSignal): Promise<void> {
  try {
    await clock.sleep(ms, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
