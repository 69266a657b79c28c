import { expect, test } from 'vitest';
import { PipelineConfig } from '../settings.ts';
import { type Motion, MotionDetector } from './motion.ts';

const WIDTH = 320;
const HEIGHT = 240;
const FRAME_MS = 100;

type Shade = (x: number, y: number, frame: number) => number;

function watch(frames: number, shade: Shade, changes: object = {}): Motion[] {
  const settings = PipelineConfig.parse({ motion_detection: { max_static_duration: 3, ...changes } }).motion_detection;
  const detector = new MotionDetector(settings, [WIDTH, HEIGHT]);
  const told: Motion[] = [];
  for (let frame = 0; frame < frames; frame++) {
    const pixels = new Uint8Array(WIDTH * HEIGHT);
    for (let index = 0; index < pixels.length; index++)
      pixels[index] = Math.max(0, Math.min(255, shade(index % WIDTH, Math.floor(index / WIDTH), frame)));
    const motion = detector.look(pixels, frame * FRAME_MS);
    if (motion) told.push(motion);
  }
  return told;
}

const porch: Shade = (x, y) => 80 + (x + y) / 10;
/** A light square that is there from one frame up to another, at a place. */
const square =
  (from: number, to: number, left: (frame: number) => number, side = 50): Shade =>
  (x, y, frame) => {
    const isInside =
      frame >= from && frame < to && x >= left(frame) && x < left(frame) + side && y >= 90 && y < 90 + side;
    return isInside ? 230 : porch(x, y, frame);
  };
/** The same noise in each run. */
function noise(amplitude: number): () => number {
  let state = 7;
  return () => ((state = (state * 48_271) % 2_147_483_647) / 2_147_483_647 - 0.5) * 2 * amplitude;
}

test('a square that crosses the picture is motion from its first picture to its last', () => {
  const told = watch(
    60,
    square(10, 30, (frame) => (frame - 10) * 12),
  );
  expect(told.map(({ kind }) => kind)).toEqual(['detected', 'ended']);
  expect(told[0]).toMatchObject({ at: 1000 });
  expect(told[1]).toMatchObject({ at: 2900, seconds: 1.9 });
  expect(told[1]?.area).toBeGreaterThan(1500);
  expect(told[1]?.area).toBeLessThan(6000);
});

test('what is shorter than the least duration, or smaller or larger than the areas, is no motion', () => {
  const crossing = (side: number) => square(10, 30, (frame) => (frame - 10) * 12, side);
  expect(
    watch(
      40,
      square(10, 13, (frame) => frame * 12),
    ),
  ).toEqual([]);
  expect(watch(40, crossing(8))).toEqual([]);
  expect(watch(40, crossing(50), { max_area: 1000 })).toEqual([]);
  expect(watch(40, crossing(8), { min_area: 10, blur_kernel: 1 })).toHaveLength(2);
});

test('a light that is switched on, or fades, is no motion, and motion is seen after it', () => {
  const lit = (frame: number) => (frame >= 10 ? 70 : 0);
  expect(watch(40, (x, y, frame) => porch(x, y, frame) + lit(frame))).toEqual([]);
  expect(watch(60, (x, y, frame) => porch(x, y, frame) - frame)).toEqual([]);
  // A lamp that lights the halves differently.
  const uneven: Shade = (x, y, frame) => porch(x, y, frame) + (x < 200 ? lit(frame) : 0);
  expect(watch(40, uneven, { max_area: 20_000 })).toEqual([]);
  const later = square(30, 45, (frame) => (frame - 30) * 12);
  expect(watch(70, (x, y, frame) => later(x, y, frame) + lit(frame)).map(({ kind }) => kind)).toEqual([
    'detected',
    'ended',
  ]);
});

test('noise is no motion', () => {
  const grain = noise(60);
  expect(watch(30, (x, y, frame) => porch(x, y, frame) + grain())).toEqual([]);
});

test('motion in noise is motion', () => {
  const grain = noise(30);
  const crossing = square(10, 25, (frame) => (frame - 10) * 12);
  const told = watch(45, (x, y, frame) => crossing(x, y, frame) + grain());
  expect(told.map(({ kind }) => kind)).toEqual(['detected', 'ended']);
});

test('what was put down belongs to the background after a while, and its absence too', () => {
  const told = watch(
    120,
    square(10, 70, () => 100),
  );
  expect(told.map(({ kind, at }) => [kind, at])).toEqual([
    ['detected', 1000],
    ['ended', 4000],
    ['detected', 7000],
    ['ended', 10_000],
  ]);
});

test('motion ends with the pictures', () => {
  const settings = PipelineConfig.parse({}).motion_detection;
  const detector = new MotionDetector({ ...settings, blur_kernel: 0, min_area: 1 }, [2, 2]);
  for (let frame = 0; frame < 10; frame++) detector.look(Uint8Array.of(0, 0, 0, frame > 0 ? 200 : 0), frame * 100);
  expect(detector.end(1000)).toEqual({ kind: 'ended', at: 1000, area: 1, seconds: 0.9 });
  expect(detector.end(1000)).toBeNull();
});
