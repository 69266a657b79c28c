import type { Server } from 'node:http';
import { Server as NetServer } from 'node:net';

import { holdOf, isInTransition, type AuthoritySource, type Hold } from '../plan/authority.ts';
import { Admission } from './admission.ts';
import type { Desk } from './exchange.ts';
import { createFront } from './front.ts';
import { monotonicMs } from './identity.ts';
import { emptyLedger } from './ledger.ts';
import { reportsFolder } from './layout.ts';
import { ReportFile } from './report.ts';
import { settingsFromEnvironment, type GatewaySettings } from './settings.ts';
import { Streams } from './streams.ts';
import { keepSupervised, LISTENING_DESCRIPTOR, LOOK_NOW, readSupervisorRecord } from './succession.ts';
import { openUpstreams } from './upstream.ts';

/** How often a worker looks at the authority and at its clock; a wake-up costs more than what is done in it. */
const TICK_MS = 25;
/** The same while something is held: requests expire, are let go in batches, and somebody waits for the counts. */
const HELD_TICK_MS = 5;
/** How often it reports when its counts change, … */
const REPORT_MS = 100;
/** … and when they do not. */
const HEARTBEAT_MS = 250;
/** Between the refusal of what is still parked and the end, when it is stopped. */
const FAREWELL_MS = 300;

export interface WorkerOptions {
  /** Where this process reads the authority. The caller closes it. */
  readonly source: AuthoritySource;
  /** Default: what the supervisor put into the environment. */
  readonly settings?: GatewaySettings;
}

/**
 * One worker process of the gateway: accepts from the shared socket, asks the gate, forwards. Resolves when it was told to end and
 * has: SIGTERM ends it within `stopDeadlineMs`, SIGUSR2 once its last connection has ended by itself.
 *
 * @example
 * await runWorker({ source: openAuthority(stateDir) });
 */
export async function runWorker(options: WorkerOptions): Promise<void> {
  await new Worker(options.settings ?? settingsFromEnvironment(), options.source).run();
}

class Worker {
  readonly #settings: GatewaySettings;
  readonly #source: AuthoritySource;
  readonly #desk: Desk;
  readonly #front: Server;
  readonly #report: ReportFile;
  readonly #ended = Promise.withResolvers<null>();
  #version = -1;
  #authorityError: string | null = 'not read yet';
  #hold: Hold = 'all';
  #isListening = false;
  #isClosed = false;
  #stopAtMs = Infinity;
  #lastReport = { atMs: 0, text: '' };
  #timer: NodeJS.Timeout | undefined;
  #stopWatching: () => void = () => undefined;

  constructor(settings: GatewaySettings, source: AuthoritySource) {
    this.#settings = settings;
    this.#source = source;
    const ledger = emptyLedger();
    this.#desk = {
      ledger,
      admission: new Admission(ledger, settings),
      streams: new Streams(ledger),
      upstreams: openUpstreams(settings.targets),
      targets: settings.targets,
      maxHeldMs: settings.maxHeldMs,
      isRetiring: false,
    };
    this.#front = createFront(this.#desk);
    this.#report = new ReportFile(reportsFolder(settings));
  }

  async run(): Promise<void> {
    // Registered (by the report file) before the authority is read, and read before anything is accepted: whoever waits for a
    // version either finds this worker in the list or committed early enough for this reading to see it.
    // The gateway was stopped while this process was starting: from here on it would have been seen and told.
    if (readSupervisorRecord(this.#settings) === null) return;
    this.#tick();
    this.#schedule();
    this.#stopWatching = keepSupervised(this.#settings);
    process.on('SIGTERM', () => {
      this.#stop();
    });
    process.on('SIGUSR2', () => {
      this.#retire();
    });
    process.on(LOOK_NOW, () => {
      clearTimeout(this.#timer);
      this.#tick();
      this.#schedule();
    });
    this.#front.on('error', this.#ended.reject);
    this.#front.listen({ fd: LISTENING_DESCRIPTOR }, () => {
      this.#isListening = true;
      this.#writeReport();
    });
    try {
      await this.#ended.promise;
    } finally {
      clearTimeout(this.#timer);
      this.#stopWatching();
      this.#front.closeAllConnections();
      await Promise.all(Object.values(this.#desk.upstreams).map((upstream) => upstream.destroy()));
      this.#writeReport();
      this.#report.close();
    }
  }

  /** Route and hold change in this one synchronous step, and only then is the version acknowledged. */
  #follow(): void {
    try {
      if (this.#authorityError === null && !this.#source.changed()) return;
      const authority = this.#source.read();
      if (this.#authorityError === null && authority.version === this.#version) return;
      this.#authorityError = null;
      this.#version = authority.version;
      this.#hold = holdOf(authority);
      this.#desk.admission.follow(authority.side, this.#hold);
      const isSwitching = this.#hold === 'all' && isInTransition(authority.state);
      this.#desk.streams.keepOnly(isSwitching ? null : authority.side);
    } catch (error) {
      // Nobody knows who may write, so nothing passes until it can be read again.
      const message = error instanceof Error ? error.message : String(error);
      if (message === this.#authorityError) return;
      this.#authorityError = message;
      this.#hold = 'all';
      this.#desk.admission.holdAll();
    }
    this.#writeReport();
  }

  #tick(): void {
    this.#follow();
    const { admission, ledger, isRetiring } = this.#desk;
    admission.tick();
    const nowMs = monotonicMs();
    const isWatched = this.#hold !== 'none' || ledger.held > 0;
    const sinceMs = nowMs - this.#lastReport.atMs;
    if (sinceMs >= HEARTBEAT_MS) this.#writeReport();
    else if ((isWatched || sinceMs >= REPORT_MS) && JSON.stringify(ledger) !== this.#lastReport.text) {
      this.#writeReport();
    }
    if (isRetiring) this.#endWhenDone(nowMs);
  }

  #schedule(): void {
    const isWatched = this.#hold !== 'none' || this.#desk.ledger.held > 0 || this.#desk.isRetiring;
    this.#timer = setTimeout(
      () => {
        this.#tick();
        this.#schedule();
      },
      isWatched ? HELD_TICK_MS : TICK_MS,
    );
  }

  #writeReport(): void {
    const { ledger } = this.#desk;
    this.#lastReport = { atMs: monotonicMs(), text: JSON.stringify(ledger) };
    this.#report.write({
      version: this.#version,
      authorityError: this.#authorityError,
      isListening: this.#isListening,
      ledger,
    });
  }

  /** No new connections; those that are open end by themselves, each after the answer that it waits for. */
  #retire(): void {
    if (this.#desk.isRetiring) return;
    this.#desk.isRetiring = true;
    this.#isListening = false;
    this.#stopWatching();
    // Not `http.Server.close`, which also ends idle connections: a client may be sending on one of them right now.
    NetServer.prototype.close.call(this.#front, () => {
      this.#isClosed = true;
    });
    this.#writeReport();
  }

  #stop(): void {
    this.#retire();
    if (this.#stopAtMs !== Infinity) return;
    this.#stopAtMs = monotonicMs() + this.#settings.stopDeadlineMs;
    this.#desk.streams.keepOnly(null);
  }

  #endWhenDone(nowMs: number): void {
    const { ledger, admission } = this.#desk;
    const isStopping = this.#stopAtMs !== Infinity;
    if (isStopping) this.#front.closeIdleConnections();
    if (nowMs >= this.#stopAtMs) admission.refuseAll();
    const isIdle = this.#isClosed && ledger.inFlight.legacy + ledger.inFlight.next === 0;
    if (isIdle || nowMs >= this.#stopAtMs + FAREWELL_MS) this.#ended.resolve(null);
  }
}
