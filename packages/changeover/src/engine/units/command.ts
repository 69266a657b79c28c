import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { cp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { resolve } from 'node:path';
import { ChangeoverError } from '../../errors.ts';
import type { Context } from '../../plan/context.ts';
import type { Unit } from '../../plan/ports.ts';
import type { Json } from '../../plan/words.ts';
import { describeProcess } from '../process-table.ts';
import { ask } from './ask.ts';
import { areGone, membersOf, runs, signalAll } from './members.ts';
import type { Members } from './members.ts';
import { readRecord, removeRecord, unitFiles, writeRecord } from './record.ts';
import { found, launch, waitUntilHealthy } from './start.ts';
import type { StartableUnit } from './start.ts';

export interface CommandOptions {
  /** How the plan, the screen and the log's file call it. Default: host and port of `url`, else the command. */
  readonly name?: string;
  /** Base URL of its HTTP service, e.g. `http://127.0.0.1:5001`. By its port a copy is found that we did not start. */
  readonly url?: string;
  /** Path that answers 200 to 399 when it is ready. Default `/`. */
  readonly health?: string;
  /** Folder to run in, relative to the plan. Default: the plan's folder. */
  readonly cwd?: string;
  /** Added to the environment of this process. */
  readonly env?: Readonly<Record<string, string>>;
  /**
   * How it runs without timers, devices, consumers and messages: the environment it is started with then, and where it is told by POST
   * to become active and passive. With `env` alone it is restarted for that.
   */
  readonly passive?: {
    readonly env?: Readonly<Record<string, string>>;
    readonly activate?: string;
    readonly passivate?: string;
  };
  /** Where it tells, as JSON, whether everything that it acknowledged is stored. */
  readonly quiesce?: {
    readonly until: { readonly path: string; readonly idle: (status: never) => boolean };
    /** Default 20. */
    readonly pollMs?: number;
  };
  /**
   * How it is booted once on copies of its files, beside itself: what differs then. `{folder}` and `{port}` stand for the copies' folder and
   * a free port. It is started passive; without a `url` it answers at its own one with that port.
   */
  readonly rehearse?: {
    /** The unit's folder, relative to the plan, that is copied to `{folder}` before. Default: nothing is copied. */
    readonly copy?: string;
    readonly run?: string;
    readonly url?: string;
    readonly env?: Readonly<Record<string, string>>;
  };
  /** Default 30,000. */
  readonly startTimeoutMs?: number;
  /** From SIGTERM to SIGKILL. Default 10,000. */
  readonly stopTimeoutMs?: number;
}

const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 10_000;
/** How long the kernel may take to end a killed process. */
const KILL_TIMEOUT_MS = 5000;
const HOOK_TIMEOUT_MS = 10_000;
const QUIESCE_POLL_MS = 20;
const PAUSE_POLL_MS = 5;
/** Somebody who starts a unit again as fast as we stop it is not raced. */
const STOP_ROUNDS = 3;

/**
 * A unit that is a command of this machine: run by a shell, detached, its output in `<stateDir>/units/<name>.log`. It is known by pid
 * and start time; a copy that somebody else started, by its listening port.
 * @example
 * command('node legacy/server.ts', { url: 'http://127.0.0.1:5001', health: '/api/status' })
 */
export function command(run: string, options: CommandOptions = {}): Unit {
  const base = options.url === undefined ? null : new URL(options.url);
  const name = options.name ?? base?.host ?? run;
  const { passive = {}, startTimeoutMs = START_TIMEOUT_MS, stopTimeoutMs = STOP_TIMEOUT_MS } = options;

  const at = (path: string): URL | null => (base === null ? null : new URL(path, base));
  const startable = (ctx: Context): StartableUnit => ({
    name,
    run,
    files: unitFiles(ctx.stateDir, name),
    health: at(options.health ?? '/'),
    port: localPort(base),
    startTimeoutMs,
  });
  const find = (ctx: Context): Promise<Members | null> => {
    const { files, port } = startable(ctx);
    return membersOf(files, port);
  };
  const isRunning = (ctx: Context): Promise<boolean> => {
    const { files, port } = startable(ctx);
    return runs(files, port);
  };
  const isPassive = (ctx: Context): boolean | null => readRecord(unitFiles(ctx.stateDir, name))?.passive ?? null;

  const tell = async (ctx: Context, what: 'activate' | 'passivate', path: string): Promise<void> => {
    if (!(await isRunning(ctx))) throw new ChangeoverError('CHG_ENGINE_UNIT_NOT_RUNNING', { name, what });
    const url = at(path);
    if (url === null) throw new ChangeoverError('CHG_ENGINE_UNIT_NO_URL', { name, what });
    const answer = await ask('POST', url, { timeoutMs: HOOK_TIMEOUT_MS, signal: ctx.signal });
    if (answer.status === null || answer.status >= 300) {
      throw new ChangeoverError('CHG_ENGINE_UNIT_HOOK_FAILED', { name, what, url: url.href, answer: answer.shown });
    }
    const { files } = startable(ctx);
    const record = readRecord(files);
    if (record !== null) writeRecord(files, { ...record, passive: what === 'passivate' });
  };

  const unit: Unit = {
    name,
    url: base?.href.replace(/\/$/, '') ?? null,
    spec: specOf(run, options),

    async status(ctx) {
      const members = await find(ctx);
      if (members === null) return { state: 'stopped', pid: null, startTime: null };
      const { leader, all } = members;
      const state = all.length > 0 && all.every(({ isStopped }) => isStopped) ? 'paused' : 'running';
      return { state, pid: leader?.pid ?? null, startTime: leader?.startTime ?? null };
    },

    async start(ctx, start) {
      const unitToStart = startable(ctx);
      const members = await find(ctx);
      if (members !== null) {
        if (members.record === null) ctx.report.log(`${name} runs already as process ${String(members.leader?.pid)}`);
        signalAll(name, members.all, 'SIGCONT');
        await waitUntilHealthy(ctx, unitToStart, found(unitToStart));
        return;
      }
      // Faults are meant for the process that they were given to.
      const inherited = { ...process.env, CHANGEOVER_FAULT: undefined, CHANGEOVER_FAULT_LOG: undefined };
      const launched = await launch(ctx, unitToStart, {
        cwd: resolve(ctx.root, options.cwd ?? '.'),
        env: { ...inherited, ...options.env, ...(start.passive ? passive.env : {}), ...start.env },
        passive: start.passive,
      });
      await waitUntilHealthy(ctx, unitToStart, launched);
    },

    async stop(ctx) {
      for (let round = 0; ; round++) {
        const members = await find(ctx);
        if (members === null) break;
        const { leader, all, record } = members;
        const who = leader === null ? 'a process of another user' : describeProcess(leader.pid);
        if (leader === null || round === STOP_ROUNDS) throw unstoppable(name, who);
        ctx.faults.at('engine.unit.stopping');
        // A master that somebody else started ends its own workers; in a group of ours a shell may be in between.
        signalAll(name, record === null ? [leader] : all, 'SIGTERM');
        signalAll(name, all, 'SIGCONT');
        if (!(await areGone(ctx, all, stopTimeoutMs))) {
          ctx.report.warn(`${name} (${who}) did not end within ${stopTimeoutMs} ms of SIGTERM and is killed`);
          signalAll(name, all, 'SIGKILL');
          if (!(await areGone(ctx, all, KILL_TIMEOUT_MS))) throw unstoppable(name, who);
        }
        ctx.faults.at('engine.unit.stopped');
      }
      removeRecord(startable(ctx).files);
    },

    async pause(ctx) {
      // A child that was born between the look and the signal shows in the next look.
      for (let left = running(await find(ctx)); left.length > 0; left = running(await find(ctx))) {
        signalAll(name, left, 'SIGSTOP');
        await ctx.clock.sleep(PAUSE_POLL_MS, ctx.signal);
      }
    },

    async resume(ctx) {
      signalAll(name, (await find(ctx))?.all ?? [], 'SIGCONT');
    },

    async activate(ctx) {
      if (passive.activate !== undefined) await tell(ctx, 'activate', passive.activate);
      else if (passive.env !== undefined && isPassive(ctx) !== false) await restart(ctx, unit, false);
    },

    async passivate(ctx) {
      // What does not run has no work of its own.
      if (!(await isRunning(ctx))) return;
      if (passive.passivate !== undefined) await tell(ctx, 'passivate', passive.passivate);
      else if (passive.env !== undefined && isPassive(ctx) !== true) await restart(ctx, unit, true);
    },

    async rehearse(ctx, folder) {
      const copy = await rehearsalOf(run, options, name, folder);
      if (copy === null) return null;
      await copy.stop(ctx);
      if (options.rehearse?.copy !== undefined) {
        await rm(folder, { recursive: true, force: true });
        await cp(resolve(ctx.root, options.rehearse.copy), folder, { recursive: true, preserveTimestamps: true });
      }
      const startedMs = ctx.clock.monotonicMs();
      try {
        await copy.start(ctx, { passive: true });
        return { bootMs: ctx.clock.monotonicMs() - startedMs };
      } finally {
        // A cancelled rehearsal must not leave its process either.
        await copy.stop({ ...ctx, signal: new AbortController().signal });
      }
    },

    async quiesce(ctx, deadlineMs) {
      if (!(await isRunning(ctx))) return;
      const url = options.quiesce === undefined ? null : at(options.quiesce.until.path);
      if (options.quiesce === undefined || url === null) {
        ctx.report.warn(
          `${name} declares no quiesce, so nobody can see whether it has stored all that it acknowledged`,
        );
        return;
      }
      const { until, pollMs = QUIESCE_POLL_MS } = options.quiesce;
      let seen: string | null = null;
      for (;;) {
        const timeoutMs = deadlineMs - ctx.clock.monotonicMs();
        const answer = await ask('GET', url, { timeoutMs, signal: ctx.signal });
        const { isIdle, shown } =
          answer.status === 200 ? judge(answer.body, until.idle) : { isIdle: false, shown: answer.shown };
        if (isIdle) return;
        // The deadline may cut the last question short; the answer to the one before tells more.
        if (answer.status !== null || seen === null) seen = shown;
        if (ctx.clock.monotonicMs() + pollMs >= deadlineMs) {
          throw new ChangeoverError('CHG_ENGINE_NOT_IDLE', { name, url: url.href, answer: seen });
        }
        await ctx.clock.sleep(pollMs, ctx.signal);
      }
    },
  };
  return unit;
}

/** The unit that boots on copies. It has a record of its own, so that one left by a crash is found and ended. */
async function rehearsalOf(run: string, options: CommandOptions, name: string, folder: string): Promise<Unit | null> {
  const { rehearse, url } = options;
  if (rehearse === undefined) return null;
  const port = await freePort();
  const fill = (text: string): string => text.replaceAll('{folder}', folder).replaceAll('{port}', String(port));
  const { env, ...plain } = { ...options, env: { ...options.env, ...rehearse.env } };
  const filled = Object.fromEntries(Object.entries(env).map(([key, value]) => [key, fill(value)]));
  const base = rehearse.url ?? (url === undefined ? null : withPort(url, port));
  return command(fill(rehearse.run ?? run), {
    ...plain,
    name: `${name}.rehearsal`,
    env: filled,
    ...(base === null ? {} : { url: fill(base) }),
  });
}

function withPort(url: string, port: number): string {
  const moved = new URL(url);
  moved.port = String(port);
  return moved.href;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function restart(ctx: Context, unit: Unit, passive: boolean): Promise<void> {
  await unit.stop(ctx);
  await unit.start(ctx, { passive });
}

function unstoppable(name: string, who: string): Error {
  return new ChangeoverError('CHG_ENGINE_UNIT_UNSTOPPABLE', { name, who, waitedMs: KILL_TIMEOUT_MS });
}

function running(members: Members | null): Members['all'] {
  return members?.all.filter(({ isStopped }) => !isStopped) ?? [];
}

function judge(body: string, idle: (status: never) => boolean): { readonly isIdle: boolean; readonly shown: string } {
  const shown = body.slice(0, 200);
  try {
    return { isIdle: idle(JSON.parse(body) as never), shown };
  } catch (error) {
    return { isIdle: false, shown: `${shown} (${error instanceof Error ? error.message : String(error)})` };
  }
}

/** Where a unit listens on this machine; null for one that is elsewhere. */
function localPort(base: URL | null): number | null {
  if (base === null || !/^(localhost|127(\.\d+){3}|\[::1\])$/.test(base.hostname)) return null;
  if (base.port !== '') return Number(base.port);
  return base.protocol === 'https:' ? 443 : 80;
}

/** Environment values may be secrets and the spec is kept in the journal: a change shows, the value does not. */
function specOf(run: string, options: CommandOptions): Json {
  const hidden = (env: Readonly<Record<string, string>> = {}): Json =>
    Object.fromEntries(
      Object.entries(env).map(([key, value]) => [key, createHash('sha256').update(value).digest('hex').slice(0, 12)]),
    );
  const { passive, quiesce, rehearse, env, ...plain } = options;
  return {
    kind: 'command',
    run,
    ...plain,
    env: hidden(env),
    ...(rehearse === undefined ? {} : { rehearse: { ...rehearse, env: hidden(rehearse.env) } }),
    ...(passive === undefined ? {} : { passive: { ...passive, env: hidden(passive.env) } }),
    ...(quiesce === undefined
      ? {}
      : { quiesce: { ...quiesce, until: { path: quiesce.until.path, idle: String(quiesce.until.idle) } } }),
  };
}
