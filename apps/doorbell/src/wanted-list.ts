import { access } from 'node:fs/promises';
import path from 'node:path';
import { now } from './events.ts';
import { addPicture } from './files.ts';
import type { Parts } from './parts.ts';

const TIMEOUT_MS = 30_000;

interface WantedList {
  readonly items?: readonly {
    readonly title?: string | null;
    readonly images?: readonly { readonly large?: string | null; readonly original?: string | null }[] | null;
  }[];
}

/** Adds people of the public list to the blacklist who are not there yet; returns how many. Entries without a usable picture are left out. */
export async function refreshWantedList(parts: Parts): Promise<number> {
  const { api_url, max_entries } = parts.settings.wanted_list;
  const url = new URL(api_url);
  url.searchParams.set('pageSize', String(max_entries));
  const list = (await (await get(url)).json()) as WantedList;
  const known = new Set((await parts.storage.people()).map(({ personId }) => personId));
  let added = 0;
  for (const { title, images } of (list.items ?? []).slice(0, max_entries)) {
    const picture = images?.[0]?.original ?? images?.[0]?.large;
    if (!title || !picture || known.has(personIdOf(title))) continue;
    try {
      if (await add(parts, title, picture)) added++;
    } catch (error) {
      // One broken entry must not keep the others out; it is tried again tomorrow.
      console.error(`Wanted list: ${title}:`, error);
    }
  }
  return added;
}

function personIdOf(title: string): string {
  return `blacklist:${title}`;
}

async function add({ places, faces, storage }: Parts, title: string, picture: string): Promise<boolean> {
  const jpeg = await faces.normalise(await (await get(picture)).bytes(), { quality: 85 });
  const [face] = (await faces.analyse(jpeg)).faces;
  if (!face) return false;
  const name = `fbi_${title.toLowerCase().replaceAll(/[\s/\\]+/g, '_')}.jpg`;
  const isThere = await access(path.join(places.blacklist, name)).then(
    () => true,
    () => false,
  );
  if (!isThere) await addPicture(places, places.blacklist, () => name, jpeg);
  const person = { personId: personIdOf(title), name: title, isBlacklisted: true };
  await storage.addEncoding(person, face.encoding, now().timestamp);
  return true;
}

async function get(url: string | URL): Promise<Response> {
  const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!response.ok) throw new Error(`${String(url)} answered ${response.status}`);
  return response;
}
