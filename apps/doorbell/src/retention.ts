import { readdir, stat, unlink } from 'node:fs/promises';
import path from 'node:path';
import type { Parts } from './parts.ts';

const DAY_MS = 86_400_000;

/** Removes pictures of visits that are older than the settings keep them; returns how many. People's pictures are never removed. */
export async function removeOldCaptures({ settings, places }: Parts, now = Date.now()): Promise<number> {
  const days = settings.storage.keep_images_days;
  if (days === null) return 0;
  let removed = 0;
  for (const name of await readdir(places.captures)) {
    const file = path.join(places.captures, name);
    if (!name.endsWith('.jpg') || now - (await stat(file)).mtimeMs < days * DAY_MS) continue;
    await unlink(file);
    removed++;
  }
  return removed;
}
