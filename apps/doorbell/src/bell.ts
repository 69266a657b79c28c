import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { pipeline, type HealthReport, type Logger, type Metrics, type Pipeline } from '@changeover/runtime';
import { now } from './events.ts';
import type { Parts } from './parts.ts';
import { workersOf } from './settings.ts';
import { capture } from './stages/capture.ts';
import { detect, MAX_SEARCHED } from './stages/detect.ts';
import { identify } from './stages/identify.ts';
import { record } from './stages/record.ts';
import { LAMPS, type Detected, type Rung, type Sighting, type Visit } from './stages/visit.ts';

/** Of an accepted press, in a store that refuses or does not answer. */
const STORE_ATTEMPTS = 7;
const STORE_RETRY_MS = 100;
const DETECT_ATTEMPTS = 2;
/** For loading the models, and for the pictures of others before it. */
const DETECT_GRACE_MS = 120_000;
/** Then it begins anew, for as long as the store is away. */
const STORE_PAUSE_MS = 30_000;
const CAPTURE_ATTEMPTS = 3;
const MS_PER_SECOND = 1000;

/** The button, and what follows a press: picture, faces, people, event, messages. */
export class Bell {
  readonly #parts: Parts;
  readonly #line: Pipeline<Rung>;
  /** What ends the activity of a press that is under way. */
  readonly #underWay = new Map<string, () => void>();
  readonly #listeners: ((visit: Visit) => void)[] = [];
  #lastPress = -Infinity;
  #debounced = 0;
  #refused = 0;

  /** @param root Accepted presses are kept in a file there until their event is stored. */
  constructor(parts: Parts, root: string, options: { readonly log: Logger; readonly metrics?: Metrics }) {
    this.#parts = parts;
    const { frame_capture: frames, face_detection: detection, event_processing: events } = parts.settings;
    const workers = workersOf(parts);
    this.#line = pipeline<Rung>('bell')
      .stage<Sighting>('capture', {
        capacity: events.max_queue_size,
        attempts: CAPTURE_ATTEMPTS,
        work: (rung, context) => this.#capture(rung, context.attempt),
        timeoutMs:
          (frames.retry_attempts * (frames.retry_delay + frames.buffer_timeout) +
            frames.burst_count * frames.burst_interval +
            detection.job_timeout) *
          MS_PER_SECOND,
      })
      .stage<Detected>('detect', {
        capacity: detection.max_queue_size,
        workers: workers.detection,
        attempts: DETECT_ATTEMPTS,
        // The search ends itself in time; a stage that is late has failed, and its press with it.
        timeoutMs: MAX_SEARCHED * detection.job_timeout * MS_PER_SECOND + DETECT_GRACE_MS,
        work: (sighting, context) => this.#detect(sighting, context.attempt),
      })
      .stage('identify', {
        capacity: parts.settings.face_recognition.max_queue_size,
        workers: workers.recognition,
        attempts: STORE_ATTEMPTS,
        retryMs: STORE_RETRY_MS,
        work: (detected) => identify(parts, detected),
      })
      .stage('record', {
        attempts: STORE_ATTEMPTS,
        retryMs: STORE_RETRY_MS,
        work: async (visit) => {
          await record(parts, visit);
          this.#end(visit);
        },
      })
      .build({ ...options, durable: path.join(root, 'data', 'presses.queue'), retryFailedMs: STORE_PAUSE_MS });
    this.#line.events.on('failed', ({ item }) => {
      this.#abandon(item as Rung);
    });
  }

  /** The way of a press. */
  get line(): Pipeline<Rung> {
    return this.#line;
  }

  /** Begins to work on what was accepted, also before a restart. */
  start(): void {
    if (this.#line.state === 'new') this.#line.start();
  }

  /** Takes no more presses, and resolves when all that were accepted are stored. */
  async stop(): Promise<void> {
    await this.#line.stop();
  }

  /** True when no accepted press is without its event. */
  get isIdle(): boolean {
    return this.#parts.activity.isIdle && this.#line.status().stages[0]?.queue.size === 0;
  }

  /** With the presses that have no event: those that came too soon, those that found no room, and how often one failed and was put off. */
  health(): HealthReport {
    const report = this.#line.health();
    const lost = { debounced: this.#debounced, refused: this.#refused, failed: this.#line.status().failed };
    return { ...report, details: { ...report.details, ...lost } };
  }

  /** Called with every visit that was stored. */
  onVisit(listener: (visit: Visit) => void): void {
    this.#listeners.push(listener);
  }

  /**
   * Accepts a press and returns its event's id; null where it is dropped, because it came too soon after the last one. It is on the disk when
   * this resolves.
   */
  async press(): Promise<string | null> {
    const { activity, storage, settings } = this.#parts;
    return activity.run(async () => {
      await storage.assertWritable();
      const at = performance.now();
      if (at - this.#lastPress < settings.hardware.button_debounce_time * MS_PER_SECOND) {
        this.#debounced += 1;
        return null;
      }
      this.#lastPress = at;
      const rung: Rung = { eventId: randomUUID(), ...now() };
      this.#begin(rung);
      try {
        await this.#line.push(rung);
      } catch (error) {
        this.#refused += 1;
        this.#abandon(rung);
        throw error;
      }
      return rung.eventId;
    });
  }

  /** Twice is once: a press that was accepted before a restart begins with its first stage. */
  #begin({ eventId }: Rung): void {
    if (this.#underWay.has(eventId)) return;
    this.#parts.lamp.pressed();
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.#underWay.set(eventId, () => {
      this.#underWay.delete(eventId);
      resolve(undefined);
    });
    void this.#parts.activity.goOn(() => promise);
  }

  #end(visit: Visit): void {
    this.#parts.lamp.done(LAMPS[visit.type]);
    for (const listener of this.#listeners) listener(visit);
    this.#underWay.get(visit.eventId)?.();
  }

  #abandon({ eventId }: Rung): void {
    this.#parts.lamp.done('error');
    this.#underWay.get(eventId)?.();
  }

  async #capture(rung: Rung, attempt: number): Promise<Sighting> {
    this.#begin(rung);
    try {
      return await capture(this.#parts, rung);
    } catch (error) {
      if (attempt < CAPTURE_ATTEMPTS) throw error;
      // A picture that could not be kept is no reason to forget the press.
      console.error('A picture could not be kept:', error);
      return { ...rung, frame: null, others: [], capture: null };
    }
  }

  async #detect(sighting: Sighting, attempt: number): Promise<Detected> {
    try {
      return await detect(this.#parts, sighting);
    } catch (error) {
      if (attempt < DETECT_ATTEMPTS) throw error;
      // A picture that nobody can search is still a visit.
      console.error('A picture could not be searched:', error);
      const { eventId, timestamp, local, capture } = sighting;
      return { eventId, timestamp, local, capture, faces: null, seconds: 0 };
    }
  }
}
