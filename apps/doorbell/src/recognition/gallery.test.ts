import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { tempFolder } from 'changeover/testing';
import { expect, test, vi } from 'vitest';
import { distance } from '../../shared/faces.ts';
import { SqliteStorage } from '../storage/sqlite.ts';
import type { StoredEncoding } from '../storage/storage.ts';
import { galleryOf, KeptGallery } from './gallery.ts';
import { recognise } from './recognise.ts';

/** The same numbers in each run. */
function numbers(seed: number, length = 128): number[] {
  let state = seed;
  return Array.from({ length }, () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647 / 4);
}

const stored = (name: string, isBlacklisted: boolean, encoding: readonly number[]): StoredEncoding => ({
  personId: `${isBlacklisted ? 'blacklist' : 'known'}:${name}`,
  name,
  isBlacklisted,
  encoding,
});

test('the answers are those of a search one by one, to the last bit', () => {
  const all = Array.from({ length: 200 }, (_, index) => stored(`p${index % 60}`, index % 7 === 0, numbers(index + 1)));
  const gallery = galleryOf([...all, stored('odd', true, [1, 2, 3]), stored('none', false, [])]);
  for (let seed = 500; seed < 600; seed++) {
    const probe = numbers(seed);
    const tolerances = { face: 1.2, blacklist: 1.1 };
    const best = (isBlacklisted: boolean, tolerance: number) =>
      all
        .filter((one) => one.isBlacklisted === isBlacklisted)
        .map((one) => ({ ...one, away: distance(one.encoding, probe) }))
        .filter(({ away }) => away <= tolerance)
        .sort((a, b) => a.away - b.away)[0];
    const expected = best(true, tolerances.blacklist) ?? best(false, tolerances.face);
    const { personId, distance: found } = recognise(probe, gallery, tolerances);
    expect([personId, found]).toEqual([expected?.personId ?? null, expected?.away ?? null]);
  }
});

test('of several encodings of a person the nearest counts, and the blacklist is asked first', () => {
  const near = numbers(1);
  const far = near.map((value) => value + 0.03);
  const gallery = galleryOf([stored('Ann', false, far), stored('Ann', false, near), stored('Bad', true, far)]);
  expect(recognise(near, gallery, { face: 0.6, blacklist: 0.5 })).toMatchObject({ status: 'blacklisted', name: 'Bad' });
  expect(recognise(near, gallery, { face: 0.6, blacklist: 0.1 })).toMatchObject({ name: 'Ann', distance: 0 });
});

test('the encodings are read once, and again when any process has written', async () => {
  await using temp = await tempFolder();
  const file = path.join(temp.path, 'pipeline.db');
  const storage = new SqliteStorage(file);
  await storage.migrate();
  const read = vi.spyOn(storage, 'encodings');
  const kept = new KeptGallery(storage);
  const names = async () => (await kept.current()).people.map(({ name }) => name);
  await storage.addEncoding(stored('Ann', false, []), [1, 2], 1);
  expect([await names(), await names()]).toEqual([['Ann'], ['Ann']]);
  const event = { eventId: 'e', type: 'X', timestamp: 0, source: '', priority: '', confidence: null };
  await storage.addEvent({ ...event, correlationId: null, data: '{}' }, null, []);
  expect(await names()).toEqual(['Ann']);
  expect(read).toHaveBeenCalledTimes(1);
  await storage.addEncoding(stored('Bob', true, []), [3], 1);
  expect(await names()).toEqual(['Ann', 'Bob']);
  const other = new DatabaseSync(file, { timeout: 5000 });
  other.exec("UPDATE persons SET person_name = 'Anne' WHERE person_name = 'Ann'");
  other.close();
  expect(await names()).toEqual(['Anne', 'Bob']);
  expect(read).toHaveBeenCalledTimes(3);
  await storage.close();
});
