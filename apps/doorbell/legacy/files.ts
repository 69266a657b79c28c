import { open, readdir, rename } from 'node:fs/promises';
import path from 'node:path';
import { localIso } from '../shared/names.ts';

/** The folders and files of a legacy system. */
export function layout(root: string) {
  const data = (...names: string[]) => path.join(root, 'data', ...names);
  return {
    root,
    known: data('known_faces'),
    blacklist: data('blacklist_faces'),
    captures: data('captures'),
    croppedKnown: data('cropped_faces/known'),
    croppedUnknown: data('cropped_faces/unknown'),
    logs: data('logs'),
    knownCache: data('known_faces_cache.pkl'),
    blacklistCache: data('blacklist_faces_cache.pkl'),
    eventsLog: data('logs/events.log'),
    doorbellLog: data('logs/doorbell.log'),
    /** Unfinished files; outside of `data`, so that nobody takes them for pictures. */
    scratch: path.join(root, '.tmp'),
  } as const;
}

export type Layout = ReturnType<typeof layout>;

let written = 0;

/** Writes a file completely or not at all; it is on disk when this resolves. */
export async function writeDurably(places: Layout, file: string, bytes: Uint8Array): Promise<void> {
  const unfinished = path.join(places.scratch, `${process.pid}-${written++}`);
  const handle = await open(unfinished, 'w');
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(unfinished, file);
  await syncFolder(path.dirname(file));
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Names of the `*.jpg` of a folder, sorted; other pictures are not seen. */
export async function pictures(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter((name) => name.endsWith('.jpg')).sort();
}

/** Local naive time with microseconds, as `datetime.now().isoformat()` writes it. */
export function isoNow(): string {
  return localIso(new Date(), Math.floor((performance.now() * 1000) % 1000));
}
