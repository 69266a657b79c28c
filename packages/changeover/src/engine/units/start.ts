import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { ChangeoverError } from '../../errors.ts';
import type { Context } from '../../plan/context.ts';
import { describeProcess, listenerOf, startTimeOf } from '../process-table.ts';
import { ask } from './ask.ts';
import type { Answer } from './ask.ts';
import { membersOf, type Members } from './members.ts';
import { LAUNCH, TOKEN_VARIABLE, removeRecord, replacingShell, writeRecord } from './record.ts';
import type { UnitFiles } from './record.ts';

/** Of a unit, what starting and watching it needs. */
export interface StartableUnit {
  readonly name: string;
  readonly run: string;
  readonly files: UnitFiles;
  /** Null for a unit without an HTTP service. */
  readonly health: URL | null;
  /** Where it listens on this machine, if it does. */
  readonly port: number | null;
  readonly startTimeoutMs: number;
}

export interface Launch {
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  readonly passive: boolean;
}

/** How a process ended that we started; null while it runs, or when another process of ours started it. */
type Exit = { readonly how: string; readonly isSuccess: boolean } | null;

export interface Launched {
  readonly exit: () => Exit;
  /** It ran already. */
  readonly isFound: boolean;
  /** Length of the log before this start. */
  readonly logStart: number;
}

const POLL_MS = 25;
const ANSWER_TIMEOUT_MS = 2000;
/** A unit without an HTTP service counts as started when it has lived that long. */
const SETTLE_MS = 300;
const LOG_LINES = 10;
const LOG_BYTES = 4096;

/** Starts the process, detached and writing to its log, and records it. The caller has seen that none runs. */
export async function launch(ctx: Context, unit: StartableUnit, { cwd, env, passive }: Launch): Promise<Launched> {
  const { files } = unit;
  removeRecord(files);
  const token = randomUUID();
  writeRecord(files, { token, pid: null, startTime: null, passive });
  ctx.faults.at('engine.unit.planned');
  mkdirSync(dirname(files.log), { recursive: true, mode: 0o700 });
  const log = openSync(files.log, 'a', 0o600);
  try {
    const logStart = statSync(files.log).size;
    // A file, not a pipe: the unit outlives us, and a pipe without a reader would kill it at its next line.
    const child = spawn('/bin/sh', ['-c', LAUNCH, 'changeover-unit', files.claim(token), replacingShell(unit.run)], {
      cwd,
      env: { ...env, [TOKEN_VARIABLE]: token },
      detached: true,
      stdio: ['ignore', log, log],
    });
    ctx.faults.at('engine.unit.spawned');
    const { pid } = child;
    if (pid === undefined) {
      const [cause] = (await once(child, 'error')) as [Error];
      removeRecord(files);
      throw exited(unit, `it could not be started in ${cwd} (${cause.message})`, logStart, cause);
    }
    let exit: Exit = null;
    child.once('exit', (code, signal) => {
      exit = { how: signal === null ? `exit code ${String(code)}` : `ended by ${signal}`, isSuccess: code === 0 };
    });
    child.unref();
    writeRecord(files, { token, pid, startTime: startTimeOf(pid) ?? 'gone', passive });
    ctx.faults.at('engine.unit.recorded');
    return { exit: () => exit, isFound: false, logStart };
  } finally {
    closeSync(log);
  }
}

/** For a unit that runs already. */
export function found(unit: StartableUnit): Launched {
  const logStart = statSync(unit.files.log, { throwIfNoEntry: false })?.size ?? 0;
  return { exit: () => null, isFound: true, logStart };
}

/** Resolves when the unit is healthy; says what is wrong otherwise. A unit that is not healthy in time is left as it is. */
export async function waitUntilHealthy(ctx: Context, unit: StartableUnit, launched: Launched): Promise<void> {
  const startedMs = ctx.clock.monotonicMs();
  for (;;) {
    const answer = unit.health === null ? null : await askHealth(ctx, unit.health);
    const members = await membersOf(unit.files, unit.port);
    const exit = launched.exit();
    // A command that goes to the background ends with 0 and will leave somebody who listens.
    const mayBeInBackground = exit?.isSuccess === true && unit.port !== null;
    const isOver = exit === null ? launched.isFound && members === null : members?.record == null && !mayBeInBackground;
    if (isOver) {
      const how = exit?.how ?? 'how is not known, as another process had started it';
      throw exited(unit, `${how}${portUser(unit)}`, launched.logStart);
    }
    const waitedMs = Math.round(ctx.clock.monotonicMs() - startedMs);
    if (answer === null ? waitedMs >= SETTLE_MS : isHealthy(answer) && members !== null) return;
    if (waitedMs >= unit.startTimeoutMs) throw notHealthy(unit, members, answer, waitedMs, launched);
    await ctx.clock.sleep(POLL_MS, ctx.signal);
  }
}

function askHealth(ctx: Context, url: URL): Promise<Answer> {
  return ask('GET', url, { timeoutMs: ANSWER_TIMEOUT_MS, signal: ctx.signal });
}

function isHealthy({ status }: Answer): boolean {
  return status !== null && status >= 200 && status < 400;
}

function exited(unit: StartableUnit, how: string, logStart: number, cause?: unknown): Error {
  return new ChangeoverError(
    'CHG_ENGINE_UNIT_EXITED',
    { name: unit.name, how, log: lastLines(unit.files.log, logStart), path: unit.files.log },
    { cause },
  );
}

function notHealthy(
  unit: StartableUnit,
  members: Members | null,
  answer: Answer | null,
  waitedMs: number,
  launched: Launched,
): Error {
  const { name, port, files } = unit;
  const url = String(unit.health);
  const shown = answer?.shown ?? 'no answer';
  const pid = members?.leader?.pid ?? 0;
  if (members?.record === null) {
    const who = members.leader === null ? 'a process of another user' : describeProcess(members.leader.pid);
    return new ChangeoverError('CHG_ENGINE_UNIT_PORT_BUSY', { name, port: port ?? 0, who, url, answer: shown });
  }
  const log = lastLines(files.log, launched.logStart);
  return answer?.status == null
    ? new ChangeoverError('CHG_ENGINE_UNIT_HUNG', { name, pid, url, waitedMs, log, path: files.log })
    : new ChangeoverError('CHG_ENGINE_UNIT_UNHEALTHY', {
        name,
        pid,
        url,
        answer: shown,
        waitedMs,
        log,
        path: files.log,
      });
}

function portUser({ port }: StartableUnit): string {
  if (port === null) return '';
  const { isListening, pid } = listenerOf(port);
  if (!isListening) return '';
  return `; port ${port} is used by ${pid === null ? 'a process of another user' : describeProcess(pid)}`;
}

/** What the unit wrote last since `from`, indented below the message. */
function lastLines(path: string, from: number): string {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  const start = Math.max(from, size - LOG_BYTES);
  if (size <= start) return '';
  const buffer = Buffer.alloc(size - start);
  const file = openSync(path, 'r');
  try {
    readSync(file, buffer, 0, buffer.length, start);
  } finally {
    closeSync(file);
  }
  const lines = buffer.toString('utf8').trimEnd().split('\n').slice(-LOG_LINES);
  return `; its last lines:\n${lines.map((line) => `  | ${line}`).join('\n')}`;
}
