import type { Settings } from '../settings.ts';

/** How fast the background follows what is seen, a picture. */
const LEARNING = 0.02;
const MS_PER_SECOND = 1000;
const LEVELS = 256;

export type Motion =
  | {
      readonly kind: 'detected';
      /** When it began, in milliseconds since the Unix epoch. */ readonly at: number;
      readonly area: number;
    }
  | { readonly kind: 'ended'; readonly at: number; readonly area: number; readonly seconds: number };

interface Moving {
  readonly since: number;
  last: number;
  /** The largest area so far, in pixels. */
  area: number;
  isTold: boolean;
  /** Pictures without motion after the last one with it. */
  still: number;
  /** When something last changed from one picture to the next. */
  changed: number;
}

/**
 * Tells motion in small grey pictures: what differs from a background, the running average of what was seen, in one connected area of
 * `min_area` to `max_area` pixels. A change of the whole light is none: the median of the differences is taken off, and what is larger than
 * `max_area` becomes the background at once.
 */
export class MotionDetector {
  readonly #settings: Settings['motion_detection'];
  readonly #width: number;
  readonly #height: number;
  readonly #background: Float32Array;
  readonly #seen: Float32Array;
  readonly #before: Float32Array;
  readonly #mask: Uint8Array;
  readonly #scratch: Float32Array;
  readonly #queue: Int32Array;
  #pictures = 0;
  #moving: Moving | null = null;

  constructor(settings: Settings['motion_detection'], [width, height]: readonly [number, number]) {
    this.#settings = settings;
    this.#width = width;
    this.#height = height;
    const floats = () => new Float32Array(width * height);
    [this.#background, this.#seen, this.#before, this.#scratch] = [floats(), floats(), floats(), floats()];
    this.#mask = new Uint8Array(width * height);
    this.#queue = new Int32Array(width * height);
  }

  /** @param pixels One byte a pixel. @param at Milliseconds since the Unix epoch. */
  look(pixels: Uint8Array, at: number): Motion | null {
    const { skip, min_area: least, max_area: most } = this.#settings;
    if (this.#pictures++ % (skip + 1) !== 0) return null;
    this.#before.set(this.#seen);
    this.#seen.set(pixels);
    blur(this.#seen, this.#scratch, this.#width, this.#height, this.#settings.blur_kernel);
    if (this.#pictures === 1) {
      this.#restart();
      return null;
    }
    const area = this.#differing(this.#background) < least ? 0 : this.#largestArea();
    if (area > most) this.#restart();
    const isMoving = area >= least && area <= most;
    if (isMoving) this.#learn(this.#mask);
    else if (area <= most) this.#learn(null);
    return this.#tell(isMoving ? area : 0, at);
  }

  /** No more pictures: whatever moved has ended. */
  end(at: number): Motion | null {
    return this.#ended(at);
  }

  #tell(area: number, at: number): Motion | null {
    const { min_motion_duration: least, max_static_duration: most, motion_history_size: history } = this.#settings;
    if (area === 0) {
      const isOver = this.#moving !== null && ++this.#moving.still >= history;
      return isOver ? this.#ended(this.#moving?.last ?? at) : null;
    }
    const moving = (this.#moving ??= { since: at, last: at, area, isTold: false, still: 0, changed: at });
    moving.last = at;
    moving.still = 0;
    moving.area = Math.max(moving.area, area);
    if (this.#differing(this.#before) >= this.#settings.min_area / 4) moving.changed = at;
    // What stands there for so long belongs there, such as a parcel.
    if (at - moving.changed >= most * MS_PER_SECOND) {
      this.#restart();
      return this.#ended(at);
    }
    if (moving.isTold || at - moving.since < least * MS_PER_SECOND) return null;
    moving.isTold = true;
    return { kind: 'detected', at: moving.since, area: moving.area };
  }

  #ended(at: number): Motion | null {
    const moving = this.#moving;
    this.#moving = null;
    if (!moving?.isTold) return null;
    return { kind: 'ended', at, area: moving.area, seconds: (at - moving.since) / MS_PER_SECOND };
  }

  #restart(): void {
    this.#background.set(this.#seen);
  }

  #learn(except: Uint8Array | null): void {
    for (let index = 0; index < this.#seen.length; index++) {
      if (except?.[index]) continue;
      const learned = this.#background[index] ?? 0;
      this.#background[index] = learned + LEARNING * ((this.#seen[index] ?? 0) - learned);
    }
  }

  /** Marks the pixels that differ by more than the threshold, beside what all of them differ by, and counts them. */
  #differing(from: Float32Array): number {
    const counts = new Uint32Array(2 * LEVELS);
    const difference = (index: number) => (this.#seen[index] ?? 0) - (from[index] ?? 0);
    for (let index = 0; index < from.length; index++) {
      const level = Math.round(difference(index)) + LEVELS;
      counts[level] = (counts[level] ?? 0) + 1;
    }
    let median = 0;
    for (let sum = 0; median < counts.length && sum * 2 < from.length; median++) sum += counts[median] ?? 0;
    const shift = median - 1 - LEVELS;
    let found = 0;
    for (let index = 0; index < from.length; index++) {
      const differs = Math.abs(difference(index) - shift) > this.#settings.threshold ? 1 : 0;
      this.#mask[index] = differs;
      found += differs;
    }
    return found;
  }

  /** Of the areas of marked pixels that touch each other; keeps the marks as 2. */
  #largestArea(): number {
    let largest = 0;
    for (let start = 0; start < this.#mask.length; start++)
      if (this.#mask[start] === 1) largest = Math.max(largest, this.#fill(start));
    return largest;
  }

  #fill(start: number): number {
    const [mask, queue, width] = [this.#mask, this.#queue, this.#width];
    let end = 0;
    const visit = (index: number) => {
      if (mask[index] !== 1) return;
      mask[index] = 2;
      queue[end++] = index;
    };
    visit(start);
    for (let at = 0; at < end; at++) {
      const index = queue[at] ?? 0;
      const column = index % width;
      if (column > 0) visit(index - 1);
      if (column < width - 1) visit(index + 1);
      visit(index - width);
      visit(index + width);
    }
    return end;
  }
}

/** The mean of a square of `kernel` pixels around each, in place: along the rows, then along the columns. */
function blur(picture: Float32Array, scratch: Float32Array, width: number, height: number, kernel: number): void {
  const radius = Math.floor(kernel / 2);
  if (radius === 0) return;
  for (let row = 0; row < height; row++) slide(picture, scratch, row * width, 1, width, radius);
  for (let column = 0; column < width; column++) slide(scratch, picture, column, width, height, radius);
}

function slide(from: Float32Array, to: Float32Array, start: number, step: number, count: number, radius: number): void {
  let sum = 0;
  let weight = 0;
  for (let ahead = 0; ahead < count + radius; ahead++) {
    if (ahead < count) {
      sum += from[start + ahead * step] ?? 0;
      weight++;
    }
    const behind = ahead - 2 * radius - 1;
    if (behind >= 0) {
      sum -= from[start + behind * step] ?? 0;
      weight--;
    }
    const middle = ahead - radius;
    if (middle >= 0) to[start + middle * step] = sum / weight;
  }
}
