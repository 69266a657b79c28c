import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Activity } from '../activity.ts';
import type { Settings } from '../settings.ts';
import type { NewNotification, Storage } from '../storage/storage.ts';
import { type Channel, DeliveryError } from './channel.ts';
import { channelsFor } from './channels.ts';
import { Aggregation } from './aggregation.ts';
import { Entry } from './entry.ts';

/** How often undelivered messages are looked for besides right after an event. */
const SWEEP_MS = 60_000;
/** So many are open at a time; those behind them wait until some of these are delivered or given up. */
const MAX_OPEN = 1000;
/** Nothing that is due is looked for more often. */
const MIN_PAUSE_MS = 10;
const MS_PER_SECOND = 1000;

export interface OutboxParts {
  readonly settings: Settings['notifications'];
  readonly storage: Storage;
  readonly activity: Activity;
  readonly capturesFolder: string;
  readonly channels: readonly Channel[];
}

/**
 * Sends the pending rows. Each channel sends on its own, one message after the other, so that one that is slow or away holds up no other; how
 * far it is with a message is in the row, so that none sends twice because another one has to.
 */
export class Outbox {
  readonly #parts: OutboxParts;
  readonly #aggregation: Aggregation;
  #entries = new Map<string, Entry>();
  /** Settled while the rows were read: they may be read as pending. */
  #settled = new Set<string>();
  #reading: Promise<unknown> = Promise.resolve();
  readonly #underWay = new Set<Promise<void>>();
  readonly #busy = new Set<Channel>();
  readonly #pausedUntil = new Map<Channel, number>();
  #isStarted = false;
  #stopping: Promise<void> | null = null;
  #sweep: NodeJS.Timeout | undefined;
  #next: NodeJS.Timeout | undefined;

  constructor(parts: OutboxParts) {
    this.#parts = parts;
    this.#aggregation = new Aggregation(parts.settings, parts.storage);
  }

  start(): void {
    if (this.#stopping !== null) {
      // What is being disconnected would be disconnected again.
      void this.#stopping.then(() => {
        if (this.#parts.activity.isActive) this.start();
      });
      return;
    }
    if (!this.#isStarted) {
      this.#isStarted = true;
      for (const channel of this.#parts.channels) {
        channel.start?.(() => {
          this.#pausedUntil.delete(channel);
          this.deliver();
        });
      }
      this.#sweep = setInterval(() => {
        this.deliver();
      }, SWEEP_MS).unref();
    }
    this.deliver();
  }

  /** Resolves when what is being sent has its answer, and the channels have let go. */
  async stop(): Promise<void> {
    if (this.#isStarted) {
      this.#isStarted = false;
      clearInterval(this.#sweep);
      clearTimeout(this.#next);
      this.#stopping = this.#letGo();
    }
    await this.#stopping;
  }

  deliver(): void {
    const { activity } = this.#parts;
    if (!activity.isActive || !this.#isStarted) return;
    const pass = activity
      .run(() => this.#pass())
      .catch((error: unknown) => {
        console.error('Notifications stay pending:', error);
      })
      .then(() => {
        this.#underWay.delete(pass);
      });
    this.#underWay.add(pass);
  }

  async deliverNow(notification: NewNotification): Promise<boolean> {
    const { storage } = this.#parts;
    const entry = this.#entryOf(notification);
    await Promise.all(entry.channels.map((channel) => this.#attempt(entry, channel)));
    const { status, metadata } = entry;
    await storage.addNotification({ ...notification, status, metadata });
    if (status === 'pending') this.deliver();
    return status === 'delivered';
  }

  async #letGo(): Promise<void> {
    await Promise.allSettled([...this.#underWay]);
    // Other processes may change the rows from now on.
    this.#entries.clear();
    this.#pausedUntil.clear();
    const results = await Promise.allSettled(this.#parts.channels.map(async (channel) => channel.stop?.()));
    for (const result of results)
      if (result.status === 'rejected') console.error('A channel was not disconnected:', result.reason);
    this.#stopping = null;
  }

  async #pass(): Promise<void> {
    const reading = Promise.allSettled([this.#reading]).then(() => this.#read());
    this.#reading = reading;
    await reading;
    const results = await Promise.allSettled(this.#parts.channels.map((channel) => this.#pump(channel)));
    this.#schedule();
    const failures = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
    if (failures.length > 0) throw failures[0];
  }

  /** Takes over the rows that are new, and stores again what could not be stored. */
  async #read(): Promise<void> {
    this.#settled.clear();
    const rows = await this.#parts.storage.notifications('pending', MAX_OPEN);
    const open = rows.filter(({ alertId }) => !this.#settled.has(alertId));
    const entries = open.map((row) => this.#entries.get(row.alertId) ?? this.#entryOf(row));
    for (const entry of entries) if (entry.status !== 'pending') await this.#save(entry);
    const told = await this.#aggregation.fold(entries);
    // Only now may the channels see what is new: it may have to wait.
    this.#entries = new Map(entries.map((entry) => [entry.id, entry]));
    for (const id of [...told, ...this.#settled]) this.#entries.delete(id);
  }

  #entryOf(notification: NewNotification): Entry {
    const { channels, settings } = this.#parts;
    return new Entry(notification, channelsFor(channels, notification.priority, settings.channels));
  }

  async #pump(channel: Channel): Promise<void> {
    if (this.#busy.has(channel)) return;
    this.#busy.add(channel);
    try {
      for (;;) {
        // Passive means that another side may send now; it does not wait for the rest of ours.
        if (!this.#parts.activity.isActive || !this.#isStarted) return;
        const now = Date.now();
        const entry = [...this.#entries.values()].find(
          (one) => Math.max(one.dueAt(channel), this.#pausedUntil.get(channel) ?? 0) <= now,
        );
        if (entry === undefined) return;
        const before = entry.written;
        await this.#attempt(entry, channel);
        if (entry.written !== before) await this.#save(entry);
      }
    } finally {
      this.#busy.delete(channel);
    }
  }

  /** One attempt; its result is in the entry. */
  async #attempt(entry: Entry, channel: Channel): Promise<void> {
    const { attempts, served = [] } = entry.state(channel);
    const reached = new Set(served);
    const kept = () => (reached.size > 0 ? { served: [...reached] } : {});
    try {
      await channel.send(
        entry.message(() => this.#picture(entry.metadata.capture)),
        reached,
      );
      entry.set(channel, { status: 'delivered', attempts: attempts + 1, ...kept() });
    } catch (failure) {
      const error = failure instanceof Error ? failure.message : String(failure);
      const kind = failure instanceof DeliveryError ? failure.kind : 'failed';
      const tried = kind === 'away' ? attempts : attempts + 1;
      const asked = failure instanceof DeliveryError ? failure.retryAfterMs : null;
      const pauseMs = Math.max(channel.retry.pauseMs(Math.max(tried, 1)), asked ?? 0, MIN_PAUSE_MS);
      // A pause that was asked for holds for all that would go the same way.
      if (kind === 'away' || asked !== null) this.#pausedUntil.set(channel, Date.now() + pauseMs);
      const isGivenUp =
        kind === 'refused' ||
        (kind === 'failed' && tried >= channel.retry.attempts) ||
        (kind === 'away' && entry.ageMs > this.#parts.settings.expire_after * MS_PER_SECOND);
      if (isGivenUp) entry.set(channel, { status: 'failed', attempts: tried, error, ...kept() });
      else {
        const isTimed = kind !== 'away' || asked !== null;
        const next = isTimed ? { next: new Date(Date.now() + pauseMs).toISOString() } : {};
        entry.set(channel, { status: 'pending', attempts: tried, error, ...next, ...kept() });
      }
    }
  }

  async #save(entry: Entry): Promise<void> {
    await entry.save(this.#parts.storage);
    if (entry.status === 'pending') return;
    this.#settled.add(entry.id);
    this.#entries.delete(entry.id);
  }

  /** Wakes up when the next message is due. */
  #schedule(): void {
    clearTimeout(this.#next);
    if (!this.#isStarted) return;
    const dues = [...this.#entries.values()].flatMap((entry) =>
      entry.channels.map((channel) => Math.max(entry.dueAt(channel), this.#pausedUntil.get(channel) ?? 0)),
    );
    const due = dues.reduce((a, b) => Math.min(a, b), Infinity);
    if (due === Infinity) return;
    const pauseMs = Math.min(Math.max(due - Date.now(), MIN_PAUSE_MS), SWEEP_MS);
    this.#next = setTimeout(() => {
      this.deliver();
    }, pauseMs).unref();
  }

  /** A picture that is gone or too large does not hold the message up. */
  async #picture(capture: string | null): Promise<Uint8Array | null> {
    if (capture === null) return null;
    const { capturesFolder, settings } = this.#parts;
    const bytes = await readFile(path.join(capturesFolder, path.basename(capture))).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') console.error('A picture could not be sent:', error);
      return null;
    });
    return bytes && bytes.length <= settings.max_image_bytes ? bytes : null;
  }
}
