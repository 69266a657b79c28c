import fc from 'fast-check';
import { expect, it } from 'vitest';

import { writeFrame } from '../testing/gateway/index.ts';
import { FrameBoundary } from './frames.ts';

const frame = fc
  .record({
    opcode: fc.constantFrom(0, 1, 2, 9, 10),
    length: fc.oneof(fc.nat(200), fc.constantFrom(125, 126, 65_535, 65_536, 70_000)),
    mask: fc.option(fc.uint8Array({ minLength: 4, maxLength: 4 })),
  })
  .map(({ opcode, length, mask }) => writeFrame(opcode, Buffer.alloc(length, 0x88), mask && Buffer.from(mask)));

it('knows after any cut of a stream whether it lies between two frames', () => {
  fc.assert(
    fc.property(
      fc.array(frame, { minLength: 1, maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 5_000 })),
      (frames, cuts) => {
        const stream = Buffer.concat(frames);
        const ends = new Set<number>();
        let end = 0;
        for (const one of frames) ends.add((end += one.length));
        const boundary = new FrameBoundary();
        let at = 0;
        for (const cut of [...cuts, stream.length]) {
          const chunk = stream.subarray(at, at + cut);
          at += boundary.follow(chunk);
          expect(boundary.isBetweenFrames).toBe(at === 0 || ends.has(at));
        }
        expect(boundary.sawClose).toBe(false);
      },
    ),
    { numRuns: 200 },
  );
});

it('stops at the end of the frame that is under way', () => {
  const [first, second] = [writeFrame(2, Buffer.alloc(300)), writeFrame(1, Buffer.alloc(10))];
  const boundary = new FrameBoundary();
  boundary.follow(first.subarray(0, 100));
  const rest = Buffer.concat([first.subarray(100), second]);
  expect(boundary.follow(rest, true)).toBe(first.length - 100);
  expect(boundary.follow(second, true)).toBe(0);
  boundary.follow(writeFrame(8, Buffer.from([3, 232])));
  expect(boundary.sawClose).toBe(true);
});
