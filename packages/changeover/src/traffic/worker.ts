import type { Server } from 'node:http';
import { Server as NetServer } from 'node:net';

import type { AuthoritySource, SliceSources } from '../plan/authority.ts';
import { Admission } from './admission.ts';
import type { Desk } from './exchange.ts';
import { createFront } from './front.ts';
import { monotonicMs } from './identity.ts';
import { emptyLedger } from './ledger.ts';
import { Follower } from './follower.ts';
import { reportsFolder, sliceReportsFolder } from './layout.ts';
import { ReportFile } from './report.ts';
import { settingsFromEnvironment, type GatewaySettings } from './settings.ts';
import { Streams } from './streams.ts';
import { keepSupervised, LISTENING_DESCRIPTOR, LOOK_NOW, readSupervisorRecord } from './succession.ts';
import { tenantOf } from './tenant.ts';
import { openUpstreams } from './upstream.ts';

/** How often a worker looks at the authority and at its clock; a wake-up costs more than what is done in it. */
const TICK_MS = 25;
/** The same while something is held: requests expire, are let go in batches, and somebody waits for the counts. */
const HELD_TICK_MS = 5;
/** Between the refusal of what is still parked and the end, when it is stopped. */
const FAREWELL_MS = 300;

export interface WorkerOptions {
  /** Where this process reads the authority. The caller closes it. */
  readonly source: AuthoritySource;
  /** The slices that go their own way, where the settings say how a request is known to be of one. The caller closes it. */
  readonly slices?: SliceSources;
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
  await new Worker(options.settings ?? settingsFromEnvironment(), options).run();
}

class Worker {
  readonly #settings: GatewaySettings;
  readonly #whole: Follower;
  readonly #slices: SliceSources | null;
  /** By the name of the slice. */
  readonly #followers = new Map<string, Follower>();
  readonly #front: Server;
  readonly #ended = Promise.withResolvers<null>();
  #isListening = false;
  #isRetiring = false;
  #isClosed = false;
  #stopAtMs = Infinity;
  #timer: NodeJS.Timeout | undefined;
  #stopWatching: () => void = () => undefined;

  constructor(settings: GatewaySettings, { source, slices }: WorkerOptions) {
    this.#settings = settings;
    const upstreams = openUpstreams(settings.targets);
    this.#whole = this.#follower(this.#desk(upstreams), source, reportsFolder(settings));
    this.#slices = slices ?? null;
    const { tenant } = settings;
    const { desk } = this.#whole;
    this.#front =
      tenant === undefined
        ? createFront(desk)
        : createFront(desk, (request) => this.#followers.get(tenantOf(request, tenant) ?? '')?.desk ?? desk);
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
      for (const follower of this.#all()) follower.write();
    });
    try {
      await this.#ended.promise;
    } finally {
      clearTimeout(this.#timer);
      this.#stopWatching();
      this.#front.closeAllConnections();
      await Promise.all(Object.values(this.#whole.desk.upstreams).map((upstream) => upstream.destroy()));
      for (const follower of this.#all()) follower.close();
    }
  }

  #all(): Follower[] {
    return [this.#whole, ...this.#followers.values()];
  }

  #desk(upstreams: Desk['upstreams']): Desk {
    const ledger = emptyLedger();
    return {
      ledger,
      admission: new Admission(ledger, this.#settings),
      streams: new Streams(ledger),
      upstreams,
      targets: this.#settings.targets,
      maxHeldMs: this.#settings.maxHeldMs,
      isRetiring: this.#isRetiring,
    };
  }

  #follower(desk: Desk, source: AuthoritySource, folder: string): Follower {
    return new Follower(desk, source, new ReportFile(folder), () => this.#isListening);
  }

  /** A slice that was begun gets a gate of its own; its requests that are under way stay counted where they were admitted. */
  #discover(): void {
    for (const { name, id, source } of this.#slices?.current() ?? []) {
      if (this.#followers.has(name) || !wasBegun(source)) continue;
      const desk = this.#desk(this.#whole.desk.upstreams);
      this.#followers.set(name, this.#follower(desk, source, sliceReportsFolder(this.#settings, id)));
    }
  }

  #tick(): void {
    this.#discover();
    for (const follower of this.#all()) follower.tick();
    if (this.#isRetiring) this.#endWhenDone(monotonicMs());
  }

  #schedule(): void {
    const isWatched = this.#isRetiring || this.#all().some((follower) => follower.isWatched);
    this.#timer = setTimeout(
      () => {
        this.#tick();
        this.#schedule();
      },
      isWatched ? HELD_TICK_MS : TICK_MS,
    );
  }

  /** No new connections; those that are open end by themselves, each after the answer that it waits for. */
  #retire(): void {
    if (this.#isRetiring) return;
    this.#isRetiring = true;
    for (const { desk } of this.#all()) desk.isRetiring = true;
    this.#isListening = false;
    this.#stopWatching();
    // Not `http.Server.close`, which also ends idle connections: a client may be sending on one of them right now.
    NetServer.prototype.close.call(this.#front, () => {
      this.#isClosed = true;
    });
    for (const follower of this.#all()) follower.write();
  }

  #stop(): void {
    this.#retire();
    if (this.#stopAtMs !== Infinity) return;
    this.#stopAtMs = monotonicMs() + this.#settings.stopDeadlineMs;
    for (const { desk } of this.#all()) desk.streams.keepOnly(null);
  }

  #endWhenDone(nowMs: number): void {
    const desks = this.#all().map(({ desk }) => desk);
    const isStopping = this.#stopAtMs !== Infinity;
    if (isStopping) this.#front.closeIdleConnections();
    if (nowMs >= this.#stopAtMs) for (const { admission } of desks) admission.refuseAll();
    const inFlight = desks.reduce((sum, { ledger }) => sum + ledger.inFlight.legacy + ledger.inFlight.next, 0);
    const isIdle = this.#isClosed && inFlight === 0;
    if (isIdle || nowMs >= this.#stopAtMs + FAREWELL_MS) this.#ended.resolve(null);
  }
}

/** A slice that was only looked at never had an owner. One that cannot be read may have had any. */
function wasBegun(source: AuthoritySource): boolean {
  try {
    return source.read().epoch > 0;
  } catch {
    return true;
  }
}
