import fc from 'fast-check';
import { expect, test } from 'vitest';
import { people } from '../../seed/people.ts';
import { decodePicture, encodeJpeg, type Picture } from '../../shared/picture.ts';
import { turboJpeg } from './turbo-jpeg.ts';

const encode = await turboJpeg();
const off = (a: Picture, b: Picture) => a.data.reduce((sum, byte, at) => sum + Math.abs(byte - (b.data[at] ?? 0)), 0);

test('a portrait comes back as near as from the encoder in JavaScript', async () => {
  for (const { portraits } of await people()) {
    const picture = decodePicture(portraits[0]?.jpeg ?? expect.fail());
    const there = decodePicture(encode(picture, 90));
    expect([there.width, there.height]).toEqual([picture.width, picture.height]);
    expect(off(picture, there)).toBeLessThan(1.2 * off(picture, decodePicture(encodeJpeg(picture, 90))));
  }
});

test('pictures of any size and content follow each other, down to one pixel and up to noise', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 90 }),
      fc.integer({ min: 1, max: 90 }),
      fc.boolean(),
      fc.integer({ min: 1, max: 100 }),
      (width, height, isNoise, quality) => {
        const data = new Uint8Array(width * height * 3);
        for (let at = 0; at < data.length; at++)
          data[at] = isNoise ? (Math.imul(at + 1, 2_654_435_761) >>> 24) & 255 : 200;
        const picture = { width, height, data };
        const there = decodePicture(encode(picture, quality));
        expect([there.width, there.height]).toEqual([width, height]);
        if (isNoise)
          expect(off(picture, there)).toBeLessThan(
            1.2 * off(picture, decodePicture(encodeJpeg(picture, quality))) + 50,
          );
        else expect(there.data.every((byte) => Math.abs(byte - 200) < 16)).toBe(true);
      },
    ),
    { numRuns: 400, examples: [[37, 28, true, 93]] },
  );
});
