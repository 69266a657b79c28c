import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { deflateSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { people, type Person } from '../seed/people.ts';
import { distance, Faces } from './faces.ts';
import { decodePicture, encodeJpeg, scale } from './picture.ts';

const faces = new Faces();
let everybody: readonly Person[];

beforeAll(async () => {
  everybody = await people();
}, 120_000);
afterAll(() => faces.close());

function nearest(a: Person, b: Person): number {
  return Math.min(...a.portraits.flatMap((x) => b.portraits.map((y) => distance(x.encoding, y.encoding))));
}

test('pictures of one person are less than 0.6 apart', () => {
  for (const { portraits } of everybody) {
    for (const a of portraits) for (const b of portraits) expect(distance(a.encoding, b.encoding)).toBeLessThan(0.3);
  }
});

test('strangers are more than 0.6 and wanted people more than 0.5 from everybody else', () => {
  for (const person of everybody.filter(({ role }) => role !== 'resident')) {
    for (const other of everybody.filter((one) => one !== person)) {
      expect(nearest(person, other)).toBeGreaterThan(
        person.role === 'stranger' || other.role === 'stranger' ? 0.6 : 0.5,
      );
    }
  }
});

test('the nearest encoding of a visit belongs to the same person', () => {
  for (const person of everybody) {
    const visit = person.portraits.at(-1)?.encoding ?? [];
    const ranked = everybody
      .flatMap((one) =>
        one.portraits.slice(0, -1).map(({ encoding }) => ({ id: one.id, away: distance(encoding, visit) })),
      )
      .sort((a, b) => a.away - b.away);
    expect(ranked[0]?.id).toBe(person.id);
  }
});

test('one picture gives the same encoding every time', async () => {
  const { jpeg, encoding } = everybody[0]?.portraits[0] ?? expect.fail('nobody is there');
  const found = await faces.analyse(jpeg);
  expect(found.faces.map((face) => face.encoding)).toEqual([encoding]);
  expect(decodePicture(found.faces[0]?.crop ?? new Uint8Array()).width).toBeGreaterThan(50);
});

test('two threads work at the same time, and see what one sees', async () => {
  const both = new Faces({ threads: 2 });
  try {
    await both.warm();
    const portraits = everybody.slice(0, 2).flatMap(({ portraits: [first] }) => first ?? []);
    const found = await Promise.all(portraits.map(({ jpeg }) => both.analyse(jpeg)));
    expect(found.map(({ faces: [face] }) => face?.encoding)).toEqual(portraits.map(({ encoding }) => encoding));
    expect(both.threads).toBe(2);
  } finally {
    await both.close();
  }
});

test('all faces of a large picture are found in its own pixels', async () => {
  const folder = path.dirname(createRequire(import.meta.url).resolve('@vladmandic/face-api/package.json'));
  const found = await faces.analyse(await readFile(path.join(folder, 'demo/sample1.jpg')));
  expect(found).toMatchObject({ width: 1920, height: 1280 });
  expect(found.faces).toHaveLength(3);
  expect(found.faces.every(({ box }) => box.width > 150 && box.x + box.width < 1920)).toBe(true);
});

test('a picture without a face has no faces', async () => {
  const grey = encodeJpeg({ width: 200, height: 150, data: new Uint8Array(200 * 150 * 3).fill(128) });
  expect((await faces.analyse(grey)).faces).toEqual([]);
});

test('a small picture is enlarged only where that is asked for', async () => {
  const small = encodeJpeg({ width: 90, height: 120, data: new Uint8Array(90 * 120 * 3).fill(200) });
  expect(decodePicture(await faces.normalise(small, { quality: 90, enlarge: true }))).toMatchObject({
    width: 220,
    height: 293,
  });
  expect(decodePicture(await faces.normalise(small, { quality: 90 }))).toMatchObject({ width: 90, height: 120 });
});

test('broken, empty, truncated and foreign pictures are refused, and the next one is read', async () => {
  const { jpeg } = everybody[0]?.portraits[0] ?? expect.fail('nobody is there');
  const refused = [
    Buffer.alloc(0),
    Buffer.from('GIF89a, not a picture we read'),
    Buffer.from('<svg onload="alert(1)"/>'),
    Buffer.from(jpeg.subarray(0, 200)),
    png(3, 3, Buffer.alloc(2)),
    png(3, 3, Buffer.alloc(2)).subarray(0, 20),
  ];
  for (const image of refused) await expect(faces.analyse(image)).rejects.toThrow(/./);
  expect((await faces.analyse(jpeg)).faces).toHaveLength(1);
});

test('a picture that would fill the memory is refused before it is decoded', async () => {
  await expect(faces.analyse(png(60_000, 60_000, Buffer.alloc(10)))).rejects.toThrow(/3600000000 pixels/);
  const huge = Buffer.from(encodeJpeg({ width: 8, height: 8, data: new Uint8Array(192) }));
  const frame = huge.indexOf(Buffer.of(0xff, 0xc0));
  huge.writeUInt16BE(65_000, frame + 5);
  huge.writeUInt16BE(65_000, frame + 7);
  await expect(faces.analyse(huge)).rejects.toThrow(/maxResolutionInMP|resolution/);
});

test('scaling keeps an even picture even', () => {
  const even = { width: 31, height: 17, data: new Uint8Array(31 * 17 * 3).fill(90) };
  for (const factor of [0.1, 0.37, 0.99, 1, 1.01, 3]) expect(new Set(scale(even, factor).data)).toEqual(new Set([90]));
});

function png(width: number, height: number, pixels: Buffer): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 6, 0, 0, 0], 8);
  const chunk = (type: string, data: Buffer) => {
    const size = Buffer.alloc(4);
    size.writeUInt32BE(data.length);
    return Buffer.concat([size, Buffer.from(type), data, Buffer.alloc(4)]);
  };
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([
    signature,
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(pixels)),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}
