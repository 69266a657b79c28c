import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { tempFolder } from 'changeover/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { people } from '../../seed/people.ts';
import { Faces } from '../../shared/faces.ts';
import { encodeJpeg } from '../../shared/picture.ts';
import { now } from '../events.ts';
import { addPicture } from '../files.ts';
import { openSystem } from '../system.ts';
import { detect } from './detect.ts';

const faces = new Faces();
beforeAll(() => faces.warm(), 120_000);
afterAll(() => faces.close());

test('where the sharpest picture shows nobody, one that shows a face takes its place', async () => {
  await using temp = await tempFolder();
  const system = await openSystem({ root: temp.path, faces, environment: {} });
  const { places } = system;
  const empty = encodeJpeg({ width: 64, height: 64, data: new Uint8Array(64 * 64 * 3).fill(99) });
  const [person] = await people();
  const portrait = person?.portraits[0]?.jpeg ?? expect.fail();
  const capture = await addPicture(places, places.captures, (stamp) => `visitor_${stamp}.jpg`, empty);
  const sighting = { eventId: 'e', ...now(), frame: empty, others: [portrait], capture };
  expect((await detect(system, sighting)).faces).toHaveLength(1);
  expect(Buffer.compare(await readFile(path.join(places.captures, capture)), portrait)).toBe(0);
  // What comes after the third is not looked at any more.
  const late = { ...sighting, others: [empty, empty, portrait] };
  expect((await detect(system, late)).faces).toEqual([]);
  await system.runtime.stop();
});
