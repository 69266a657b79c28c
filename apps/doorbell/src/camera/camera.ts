import { setTimeout as sleep } from 'node:timers/promises';
import { Events, FrameRing, sharedFrame, type Frame, type HealthReport } from '@changeover/runtime';
import type { Activity } from '../activity.ts';
import type { Settings } from '../settings.ts';
import type { CameraSource } from './source.ts';

const MS_PER_SECOND = 1000;

interface CameraEvents {
  readonly frame: Frame;
  /** A small grey picture, where the source was told to make them. */
  readonly grey: { readonly pixels: Uint8Array; readonly at: number };
  /** No more pictures for now. */
  readonly ended: undefined;
}

/**
 * What sees who rings. A source that gives pictures all the time fills a ring in memory that all threads share, from which a press takes those
 * around its moment; another one is asked when somebody rings.
 */
export class Camera {
  readonly events = new Events<CameraEvents>((error) => {
    console.error('A listener to the camera failed:', error);
  });
  readonly #source: CameraSource;
  readonly #capture: Settings['frame_capture'];
  readonly #activity: Activity;
  readonly #ring: FrameRing;
  /** Ends what is played now. */
  #turn = new AbortController();
  #playing: Promise<void> = Promise.resolve();
  #reason = 'it has given no picture yet';

  constructor(source: CameraSource, capture: Settings['frame_capture'], activity: Activity) {
    this.#source = source;
    this.#capture = capture;
    this.#activity = activity;
    this.#ring = new FrameRing(capture.ring_buffer_size);
    activity.onChange((isActive) => {
      this.#turn.abort();
      // The other side needs the device: this one is not passive before it has let go of it.
      if (!isActive) void activity.goOn(() => this.#playing);
    });
  }

  get isContinuous(): boolean {
    return this.#source.kind === 'stream' && this.#capture.enabled;
  }

  /** A JPEG, or null when all attempts gave none. */
  async capture(): Promise<Uint8Array | null> {
    const { retry_attempts: attempts, retry_delay: pause } = this.#capture;
    for (let attempt = 1; ; attempt++) {
      const frame = await this.#frame();
      if (frame || attempt >= attempts) return frame;
      await sleep(pause * MS_PER_SECOND);
    }
  }

  /**
   * The pictures around a moment, the sharpest first; none when the camera gave none. Where there are no pictures of that moment, it is one of
   * now.
   *
   * @param at Milliseconds since the Unix epoch.
   */
  async burst(at: number): Promise<Uint8Array[]> {
    const { burst_count: count, burst_interval, fps } = this.#capture;
    const intervalMs = burst_interval * MS_PER_SECOND;
    const spanMs = (Math.max(0, count - 1) / 2) * intervalMs;
    if (this.#fresh() !== null) await sleep(Math.max(0, Math.min(spanMs, at + spanMs - Date.now())));
    const slackMs = Math.max(intervalMs / 2, MS_PER_SECOND / fps);
    const near = this.#ring.between(at - spanMs - slackMs, at + spanMs + slackMs);
    const chosen = new Set<Frame>();
    for (let index = 0; index < count && near.length > 0; index++) {
      const wanted = at - spanMs + index * intervalMs;
      chosen.add(near.reduce((best, one) => (Math.abs(one.at - wanted) < Math.abs(best.at - wanted) ? one : best)));
    }
    if (chosen.size > 0) return [...chosen].map(({ bytes }) => bytes).sort(bySharpness);
    const frame = await this.capture();
    return frame === null ? [] : [frame];
  }

  /** Fills the ring while this side is active; resolves at the abort, and rejects when the source gives no more pictures. */
  async stream(signal: AbortSignal): Promise<void> {
    const { kind } = this.#source;
    while (!signal.aborted && kind === 'stream') {
      const turn = new AbortController();
      this.#turn = turn;
      const either = AbortSignal.any([signal, turn.signal]);
      if (this.#activity.isActive) await this.#play(either);
      else await aborted(either);
    }
  }

  health(): HealthReport {
    if (!this.isContinuous || !this.#activity.isActive || this.#fresh() !== null) return { status: 'healthy' };
    return { status: 'degraded', reason: `the camera gives no pictures: ${this.#reason}` };
  }

  async #play(signal: AbortSignal): Promise<void> {
    if (this.#source.kind !== 'stream') return;
    const viewer = {
      frame: (jpeg: Uint8Array) => {
        const frame = sharedFrame(jpeg, Date.now());
        this.#ring.add(frame);
        this.events.emit('frame', frame);
      },
      grey: (pixels: Uint8Array) => {
        this.events.emit('grey', { pixels, at: Date.now() });
      },
    };
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.#playing = promise;
    try {
      await this.#source.play(viewer, signal);
    } catch (error) {
      this.#reason = error instanceof Error ? error.message : String(error);
      throw error;
    } finally {
      this.events.emit('ended', undefined);
      resolve(undefined);
    }
  }

  async #frame(): Promise<Uint8Array | null> {
    if (this.#source.kind === 'stream') return this.#fresh()?.bytes ?? null;
    try {
      return await this.#source.take();
    } catch (error) {
      console.error('The camera gave no picture:', error);
      return null;
    }
  }

  #fresh(): Frame | null {
    return this.#ring.latest(this.#capture.buffer_timeout * MS_PER_SECOND, Date.now());
  }
}

/** Coded with one coarseness, a picture of the same scene needs the more bytes the more edges it has: blur takes them away. */
function bySharpness(a: Uint8Array, b: Uint8Array): number {
  return b.length - a.length;
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}
