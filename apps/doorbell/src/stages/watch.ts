import { randomUUID } from 'node:crypto';
import { pipeline, type HealthReport, type Logger, type Metrics, type Pipeline } from '@changeover/runtime';
import { localIso } from '../../shared/names.ts';
import { greySize } from '../camera/ffmpeg.ts';
import type { Parts } from '../parts.ts';
import { type Motion, MotionDetector } from './motion.ts';

const STORE_ATTEMPTS = 7;
const MS_PER_SECOND = 1000;

type Watched = Pick<Parts, 'activity' | 'camera' | 'settings' | 'storage'>;

interface Told {
  readonly motion: Motion;
  /** Of the visit of one mover: its beginning and its end. */
  readonly correlationId: string;
  readonly settle: () => void;
}

/** Looks for motion in what the camera sees, and stores its beginnings and ends as events. */
export class MotionWatch {
  readonly #parts: Watched;
  readonly #line: Pipeline<Told>;
  readonly #detector: MotionDetector;
  readonly #off: readonly (() => void)[];
  #correlationId = randomUUID();

  /** Begins at once. */
  constructor(parts: Watched, options: { readonly log: Logger; readonly metrics: Metrics }) {
    this.#parts = parts;
    const { motion_detection: motion } = parts.settings;
    this.#detector = new MotionDetector(motion, greySize(parts.settings));
    this.#line = pipeline<Told>('motion')
      .stage('store', {
        capacity: Math.max(1, motion.queue_size),
        timeoutMs: motion.timeout * MS_PER_SECOND,
        attempts: STORE_ATTEMPTS,
        work: (told) => this.#store(told),
      })
      .build(options);
    this.#line.events.on('failed', ({ item, error }) => {
      options.log.error({ err: error }, 'a motion could not be stored');
      (item as Told).settle();
    });
    this.#line.start();
    const { events } = parts.camera;
    this.#off = [
      events.on('grey', ({ pixels, at }) => {
        this.#tell(this.#detector.look(pixels, at));
      }),
      events.on('ended', () => {
        this.#tell(this.#detector.end(Date.now()));
      }),
    ];
  }

  async stop(): Promise<void> {
    for (const off of this.#off) off();
    this.#tell(this.#detector.end(Date.now()));
    await this.#line.stop();
  }

  health(): HealthReport {
    return this.#line.health();
  }

  #tell(motion: Motion | null): void {
    if (motion === null) return;
    if (motion.kind === 'detected') this.#correlationId = randomUUID();
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const told = { motion, correlationId: this.#correlationId, settle: () => resolve(undefined) };
    // A side is not idle before it has stored what it saw.
    void this.#parts.activity.goOn(async () => {
      await this.#line.push(told);
      await promise;
    });
  }

  async #store({ motion, correlationId, settle }: Told): Promise<void> {
    const { at, area } = motion;
    const data = {
      area,
      ...(motion.kind === 'ended' && { seconds: motion.seconds }),
      local_time: localIso(new Date(at), 0),
    };
    const event = {
      eventId: `${correlationId}-${motion.kind}`,
      type: motion.kind === 'detected' ? 'MOTION_DETECTED' : 'MOTION_ENDED',
      timestamp: at / MS_PER_SECOND,
      source: 'camera',
      priority: 'NORMAL',
      confidence: null,
      correlationId,
      data: JSON.stringify(data),
    };
    await this.#parts.storage.addEvent(event, null, []);
    settle();
  }
}
