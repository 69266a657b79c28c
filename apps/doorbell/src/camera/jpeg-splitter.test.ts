import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { encodeJpeg } from '../../shared/picture.ts';
import { JpegSplitter } from './jpeg-splitter.ts';

/** Noise: its coded data holds every byte there is. */
function picture(side: number): Buffer {
  return encodeJpeg({ width: side, height: side, data: randomBytes(side * side * 3) }, 90);
}

function split(bytes: Uint8Array, size: number): string[] {
  const splitter = new JpegSplitter();
  const found: string[] = [];
  for (let at = 0; at < bytes.length; at += size)
    for (const frame of splitter.push(bytes.subarray(at, at + size))) found.push(Buffer.from(frame).toString('hex'));
  return found;
}

const sent = [picture(16), picture(64), picture(33)];
const hex = sent.map((one) => one.toString('hex'));

test.each([1, 2, 3, 7, 1000, 1_000_000])('pictures come out as they went in, %d bytes at a time', (size) => {
  expect(split(Buffer.concat(sent), size)).toEqual(hex);
});

test('what stands between the pictures is passed over, such as the headers of a stream over HTTP', () => {
  const parts = sent.flatMap((one) => [
    Buffer.from('--frame\r\nContent-Type: image/jpeg\r\n\r\n\xff\xff', 'latin1'),
    one,
  ]);
  for (const size of [1, 5, 4096]) expect(split(Buffer.concat(parts), size)).toEqual(hex);
});

test('the end of a thumbnail inside a picture is not the end of the picture', () => {
  const [small = expect.fail(), large = expect.fail()] = sent;
  const head = Buffer.alloc(4);
  head.writeUInt16BE(0xffe1);
  head.writeUInt16BE(small.length + 2, 2);
  const whole = Buffer.concat([large.subarray(0, 2), head, small, large.subarray(2)]);
  for (const size of [1, 100, whole.length]) expect(split(whole, size)).toEqual([whole.toString('hex')]);
});

test('after a broken picture the next one is found', () => {
  const [first = expect.fail(), second = expect.fail()] = sent;
  const broken = Buffer.concat([first.subarray(0, 2), Buffer.from([0x12, 0x34]), second]);
  expect(split(broken, 10)).toEqual([second.toString('hex')]);
});

test('noise gives nothing or ends in time, and a picture without an end is refused before it fills the memory', () => {
  for (let round = 0; round < 50; round++) split(randomBytes(20_000), 1 + round * 37);
  const splitter = new JpegSplitter();
  const endless = Buffer.concat([sent[0]?.subarray(0, -2) ?? expect.fail(), Buffer.alloc(8 * 1024 * 1024)]);
  expect(splitter.push(endless)).toEqual([]);
  expect(() => splitter.push(Buffer.alloc(9 * 1024 * 1024))).toThrow(/more than 16777216 bytes/);
});
