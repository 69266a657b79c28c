import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';

import { isAlive, signalProcess, startTimeOf, type ProcessIdentity } from './identity.ts';

const MIN_BACKOFF_MS = 50;
const MAX_BACKOFF_MS = 5_000;
/** A process that lived so long has not failed at once, and is started again without delay. */
const HEALTHY_AFTER_MS = 10_000;
const CHECK_MS = 250;

export interface ChildOptions {
  /** Arguments of `node`. */
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly log: string;
  /** Descriptor that the child finds as number 3. */
  readonly socket?: number;
  /** A process that already does this work, from an earlier supervisor: the child is started only when it has ended. */
  readonly predecessor?: ProcessIdentity | null;
  readonly onStarted?: (identity: ProcessIdentity) => void;
}

/** A child process that is started again whenever it ends, with a growing delay if it ends at once. */
export class KeptChild {
  readonly #options: ChildOptions;
  #child: ChildProcess | null = null;
  #identity: ProcessIdentity | null;
  #backoffMs = 0;
  #startedAtMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(options: ChildOptions) {
    this.#options = options;
    this.#identity = options.predecessor ?? null;
    if (this.#identity === null) this.#start();
    else this.#awaitPredecessor(this.#identity);
  }

  get identity(): ProcessIdentity | null {
    return this.#identity;
  }

  get isRunning(): boolean {
    return this.#identity !== null && isAlive(this.#identity);
  }

  /** No more starts; the process itself gets `signal`. */
  stop(signal: NodeJS.Signals): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    if (this.#identity !== null) signalProcess(this.#identity, signal);
  }

  #start(): void {
    const { args, env, log, socket } = this.#options;
    const descriptor = openSync(log, 'a');
    const child = spawn(process.execPath, args, {
      // The channel carries nothing: its end tells the child that the supervisor has died.
      stdio: ['ignore', descriptor, descriptor, ...(socket === undefined ? [] : [socket]), 'ipc'],
      env,
    });
    closeSync(descriptor);
    this.#child = child;
    this.#startedAtMs = performance.now();
    child.once('error', (error) => {
      process.stderr.write(`cannot start ${args.join(' ')}: ${error.message}\n`);
      this.#restart();
    });
    child.once('exit', () => {
      this.#restart();
    });
    if (child.pid === undefined) return;
    this.#identity = { pid: child.pid, startTime: startTimeOf(child.pid) ?? '' };
    this.#options.onStarted?.(this.#identity);
  }

  #restart(): void {
    if (this.#child === null) return;
    this.#child = null;
    if (this.#isStopped) return;
    const isHealthy = performance.now() - this.#startedAtMs > HEALTHY_AFTER_MS;
    const delayMs = isHealthy ? 0 : this.#backoffMs;
    this.#backoffMs = isHealthy ? 0 : Math.min(Math.max(this.#backoffMs * 2, MIN_BACKOFF_MS), MAX_BACKOFF_MS);
    this.#timer = setTimeout(() => {
      this.#start();
    }, delayMs);
  }

  #awaitPredecessor(predecessor: ProcessIdentity): void {
    this.#timer = setTimeout(() => {
      if (isAlive(predecessor)) this.#awaitPredecessor(predecessor);
      else this.#start();
    }, CHECK_MS);
  }
}
