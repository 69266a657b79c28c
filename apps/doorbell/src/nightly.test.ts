import { once } from 'node:events';
import { readdir, utimes, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import path from 'node:path';
import { tempFolder } from 'changeover/testing';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { openSystem as openLegacy } from '../legacy/system.ts';
import { refreshWantedList as refreshLegacy } from '../legacy/wanted-list.ts';
import { people, type Person } from '../seed/people.ts';
import { Faces } from '../shared/faces.ts';
import { Activity } from './activity.ts';
import { daily, untilHour } from './daily.ts';
import { removeOldCaptures } from './retention.ts';
import { openSystem } from './system.ts';
import { refreshWantedList } from './wanted-list.ts';

const faces = new Faces();
let wanted: Person;

beforeAll(async () => {
  wanted = (await people()).find(({ role }) => role === 'wanted') ?? expect.fail();
}, 120_000);
afterAll(() => faces.close());

/** A public list with two usable entries among unusable ones. */
async function publicList() {
  const server = createServer((request, response) => {
    if (request.url === '/face.jpg') return void response.end(wanted.portraits[0]?.jpeg);
    if (request.url === '/broken.jpg') return void response.end('no picture');
    const host = `http://${request.headers.host ?? ''}`;
    const items = [
      { title: 'JOHN Q. PUBLIC', images: [{ large: `${host}/face.jpg` }] },
      { title: 'NO PICTURE', images: null },
      { title: '../../ODD/NAME', images: [{ original: `${host}/face.jpg` }] },
      { title: 'BROKEN', images: [{ original: `${host}/broken.jpg` }] },
      { title: 'ONE TOO MANY', images: [{ original: `${host}/face.jpg` }] },
    ];
    response.end(JSON.stringify({ total: items.length, items }));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}/list`,
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

test('both sides read the public list the same way, and adding it again adds nobody', async () => {
  await using list = await publicList();
  await using temp = await tempFolder();
  const environment = { FBI_API_URL: list.url, FBI_MAX_ENTRIES: '4' };
  const legacy = await openLegacy({ root: path.join(temp.path, 'legacy'), cameraFolder: null, faces, environment });
  const next = await openSystem({ root: path.join(temp.path, 'next'), faces, environment: {} });
  next.settings.wanted_list.api_url = list.url;
  next.settings.wanted_list.max_entries = 4;
  const muted = vi.spyOn(console, 'error').mockImplementation(() => undefined);

  expect([await refreshLegacy(legacy), await refreshLegacy(legacy)]).toEqual([2, 0]);
  expect([await refreshWantedList(next), await refreshWantedList(next)]).toEqual([2, 0]);
  muted.mockRestore();

  const names = ['JOHN Q. PUBLIC', '../../ODD/NAME'];
  expect(legacy.book.blacklist.names).toEqual(names);
  expect((await next.storage.encodings()).map(({ personId }) => personId)).toEqual(
    names.map((name) => `blacklist:${name}`),
  );
  const files = ['fbi_.._.._odd_name.jpg', 'fbi_john_q._public.jpg'];
  expect(await readdir(legacy.places.blacklist)).toEqual(files);
  expect(await readdir(next.places.blacklist)).toEqual(files);
  await next.runtime.stop();
});

test('old pictures of visits are removed only where the settings say after how many days', async () => {
  await using temp = await tempFolder();
  const system = await openSystem({ root: temp.path, faces, environment: {} });
  const day = 86_400_000;
  for (const [name, age] of [
    ['visitor_old.jpg', 8],
    ['visitor_new.jpg', 6],
    ['notes.txt', 99],
  ] as const) {
    const file = path.join(system.places.captures, name);
    await writeFile(file, '');
    await utimes(file, new Date(), new Date(Date.now() - age * day));
  }
  expect(await removeOldCaptures(system)).toBe(0);
  system.settings.storage.keep_images_days = 7;
  expect(await removeOldCaptures(system)).toBe(1);
  expect((await readdir(system.places.captures)).sort()).toEqual(['notes.txt', 'visitor_new.jpg']);
  await system.runtime.stop();
});

test('nightly work waits for its hour, and a passive side does none', async () => {
  vi.useFakeTimers({ now: new Date(2026, 10, 21, 1, 59) });
  const activity = new Activity(false);
  let runs = 0;
  daily(2, activity, 'Test', () => Promise.resolve(runs++));
  await vi.advanceTimersByTimeAsync(48 * 3_600_000);
  expect(runs).toBe(0);
  activity.activate();
  await vi.advanceTimersByTimeAsync(59_000);
  expect(runs).toBe(0);
  await vi.advanceTimersByTimeAsync(2000);
  expect(runs).toBe(1);
  await vi.advanceTimersByTimeAsync(24 * 3_600_000);
  expect(runs).toBe(2);
  await activity.passivate();
  await vi.advanceTimersByTimeAsync(48 * 3_600_000);
  expect(runs).toBe(2);
  vi.useRealTimers();
  expect(untilHour(2, new Date(2026, 0, 1, 2))).toBe(24 * 3_600_000);
});
