import { access } from 'node:fs/promises';
import path from 'node:path';
import type { Parts } from './doorbell.ts';
import { writeDurably } from './files.ts';

const REFRESH_HOUR = 2;
const DAY_MS = 86_400_000;
const TIMEOUT_MS = 30_000;

interface WantedList {
  readonly items?: readonly {
    readonly title?: string | null;
    readonly images?: readonly { readonly large?: string | null; readonly original?: string | null }[] | null;
  }[];
}

/** Reads the public list every night at two. */
export function scheduleRefresh(parts: Parts): void {
  if (!parts.settings.wantedList.enabled) return;
  const now = new Date();
  const next = new Date(now.getFullYear(), now.getMonth(), now.getDate(), REFRESH_HOUR);
  const wait = (next.getTime() - now.getTime() + DAY_MS) % DAY_MS || DAY_MS;
  setTimeout(() => {
    void refreshWantedList(parts)
      .catch((error: unknown) => {
        console.error('Wanted list:', error);
      })
      .then(() => {
        scheduleRefresh(parts);
      });
  }, wait).unref();
}

/** Adds people of the public list who are not there yet; returns how many. Entries without a usable picture are left out. */
export async function refreshWantedList({ settings, places, faces, book }: Parts): Promise<number> {
  const { apiUrl, maxEntries } = settings.wantedList;
  const url = new URL(apiUrl);
  url.searchParams.set('pageSize', String(maxEntries));
  const list = (await (await get(url)).json()) as WantedList;
  let added = 0;
  for (const { title, images } of (list.items ?? []).slice(0, maxEntries)) {
    const picture = images?.[0]?.original ?? images?.[0]?.large;
    if (!title || !picture) continue;
    const name = `fbi_${title.toLowerCase().replaceAll(/[\s/\\]+/g, '_')}.jpg`;
    const file = path.join(places.blacklist, name);
    if (
      await access(file).then(
        () => true,
        () => false,
      )
    )
      continue;
    try {
      const jpeg = await faces.normalise(await (await get(picture)).bytes(), { quality: 85 });
      const [face] = (await faces.analyse(jpeg)).faces;
      if (!face) continue;
      await writeDurably(places, file, jpeg);
      await book.blacklist.add(title, face.encoding);
      added++;
    } catch (error) {
      console.error(`Wanted list: ${title}:`, error);
    }
  }
  return added;
}

async function get(url: string | URL): Promise<Response> {
  const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!response.ok) throw new Error(`${String(url)} answered ${response.status}`);
  return response;
}
