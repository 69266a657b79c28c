import { closeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

import { KeptChild } from './child.ts';
import { isAlive, monotonicMs, ownIdentity, signalProcess, type ProcessIdentity } from './identity.ts';
import { logFile, reportsFolder, sliceReportsFolders, supervisorLock } from './layout.ts';
import { bindListener, type Listener } from './listener.ts';
import { acquireLock } from './lock.ts';
import { forgetEnded, readReports } from './report.ts';
import { settingsFromEnvironment, settingsHash, settingsToEnvironment, type GatewaySettings } from './settings.ts';
import {
  hasInheritedSocket,
  LISTENING_DESCRIPTOR,
  readSupervisorRecord,
  removeSupervisorRecord,
  writeSupervisorRecord,
} from './succession.ts';

const CHECK_MS = 20;
const TIDY_MS = 5_000;
/** Added to the workers' own deadline before they are killed. */
const KILL_GRACE_MS = 1_000;

/**
 * The supervisor process: owns the listening socket without ever accepting from it, and keeps the workers and the keeper running.
 * Resolves at once when another supervisor has the lock, otherwise when it was told to end (SIGTERM, SIGINT) and everything it
 * kept has ended. Throws `CHG_TRAFFIC_PORT_BUSY`.
 */
export async function runSupervisor(settings: GatewaySettings = settingsFromEnvironment()): Promise<void> {
  const stopRequested = new Promise((resolve) => {
    // Not `once`: a second signal would find no listener and end the process in the middle of its work.
    process.on('SIGTERM', resolve).on('SIGINT', resolve);
  });
  const lock = acquireLock(supervisorLock(settings));
  if (lock === null) return;
  try {
    const isSuccessor = hasInheritedSocket();
    // The gateway was stopped while this process was starting.
    if (isSuccessor && readSupervisorRecord(settings) === null) return;
    const listener = isSuccessor ? inheritedListener() : await bindListener(settings.listen);
    for (const folder of [reportsFolder(settings), ...sliceReportsFolders(settings)])
      forgetEnded(folder, isSuccessor ? 'unused' : 'all');
    const supervisor = new Supervisor(settings, listener);
    const tidying = setInterval(() => {
      forgetEnded(reportsFolder(settings), 'unused');
    }, TIDY_MS);
    await Promise.race([stopRequested, supervisor.retirePredecessors()]);
    await stopRequested;
    clearInterval(tidying);
    await supervisor.stop();
    removeSupervisorRecord(settings);
  } finally {
    lock.release();
  }
}

function inheritedListener(): Listener {
  return {
    descriptor: LISTENING_DESCRIPTOR,
    close: () => {
      closeSync(LISTENING_DESCRIPTOR);
    },
  };
}

class Supervisor {
  readonly #settings: GatewaySettings;
  readonly #listener: Listener;
  readonly #workers: readonly KeptChild[];
  readonly #keeper: KeptChild | null;
  #isStopping = false;

  constructor(settings: GatewaySettings, listener: Listener) {
    this.#settings = settings;
    this.#listener = listener;
    const keeper = readSupervisorRecord(settings)?.keeper ?? null;
    this.#record(keeper);
    const env = settingsToEnvironment(settings);
    const log = logFile(settings, 'worker');
    this.#workers = Array.from(
      { length: settings.workers },
      () => new KeptChild({ args: settings.entry.worker, env, log, socket: listener.descriptor }),
    );
    this.#keeper =
      settings.entry.keeper === undefined
        ? null
        : new KeptChild({
            args: settings.entry.keeper,
            env,
            log: logFile(settings, 'keeper'),
            predecessor: keeper !== null && isAlive(keeper) ? keeper : null,
            onStarted: (identity) => {
              this.#record(identity);
            },
          });
  }

  /** Workers of a supervisor that died stay until ours accept, so that there is no moment without one. */
  async retirePredecessors(): Promise<void> {
    while (!this.#isStopping) {
      const others = this.#otherWorkers();
      if (others.length === 0) return;
      const reports = readReports(reportsFolder(this.#settings)).live;
      const ready = this.#workers.filter((worker) =>
        reports.some((report) => report.isListening && report.pid === worker.identity?.pid),
      );
      if (ready.length === this.#workers.length) {
        for (const other of others) signalProcess(other, 'SIGUSR2');
        return;
      }
      await sleep(CHECK_MS);
    }
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    // Closed here first and then by each worker: newcomers are refused at once instead of waiting for nobody.
    this.#listener.close();
    for (const worker of this.#workers) worker.stop('SIGTERM');
    for (const other of this.#otherWorkers()) signalProcess(other, 'SIGTERM');
    this.#keeper?.stop('SIGTERM');
    const killAtMs = monotonicMs() + this.#settings.stopDeadlineMs + KILL_GRACE_MS;
    while (this.#kept().length > 0) {
      if (monotonicMs() >= killAtMs) for (const one of this.#kept()) signalProcess(one, 'SIGKILL');
      await sleep(CHECK_MS);
    }
  }

  #kept(): ProcessIdentity[] {
    const children = this.#keeper === null ? this.#workers : [...this.#workers, this.#keeper];
    const own = children.filter((child) => child.isRunning).flatMap(({ identity }) => identity ?? []);
    return [...own, ...this.#otherWorkers()];
  }

  #otherWorkers(): ProcessIdentity[] {
    const own = new Set(this.#workers.map((worker) => worker.identity?.pid));
    return readReports(reportsFolder(this.#settings)).live.filter(({ pid }) => !own.has(pid));
  }

  #record(keeper: ProcessIdentity | null): void {
    writeSupervisorRecord(this.#settings, { ...ownIdentity(), settingsHash: settingsHash(this.#settings), keeper });
  }
}
