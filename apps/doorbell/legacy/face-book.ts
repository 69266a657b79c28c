import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { NdArray, plain, readPickle, writePickle } from 'changeover/python';
import { distance, type Faces } from '../shared/faces.ts';
import type { Identity } from './event-log.ts';
import { type Layout, pictures, writeDurably } from './files.ts';

interface Entry {
  readonly name: string;
  readonly encoding: ArrayLike<number>;
}

/**
 * One pickle of encodings with their names, read at boot and kept in memory. It is the only place where the real names live: made
 * again from the pictures, everybody is called like a file.
 */
export class FaceList {
  readonly #places: Layout;
  readonly #file: string;
  #entries: Entry[];
  #saving: Promise<void> = Promise.resolve();

  private constructor(places: Layout, file: string, entries: Entry[]) {
    this.#places = places;
    this.#file = file;
    this.#entries = entries;
  }

  static async load(
    places: Layout,
    file: string,
    rebuild: { readonly folder: string; readonly nameOf: (stem: string) => string; readonly faces: Faces },
  ): Promise<FaceList> {
    const bytes = await readFile(file).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw error;
    });
    if (bytes) return new FaceList(places, file, entriesOf(bytes, file));
    const list = new FaceList(places, file, await entriesFromPictures(rebuild));
    await list.#save();
    return list;
  }

  get names(): string[] {
    return this.#entries.map(({ name }) => name);
  }

  /** The nearest entry, or null when none is within `tolerance`. */
  nearest(encoding: ArrayLike<number>, tolerance: number): { readonly name: string; readonly distance: number } | null {
    let best: { name: string; distance: number } | null = null;
    for (const entry of this.#entries) {
      const away = distance(entry.encoding, encoding);
      if (away <= tolerance && away < (best?.distance ?? Infinity)) best = { name: entry.name, distance: away };
    }
    return best;
  }

  async add(name: string, encoding: ArrayLike<number>): Promise<void> {
    this.#entries.push({ name, encoding });
    await this.#save();
  }

  /** Removes the first entry of that name and leaves any others, and all pictures. False when there is none. */
  async removeFirst(name: string): Promise<boolean> {
    const at = this.#entries.findIndex((entry) => entry.name === name);
    if (at < 0) return false;
    this.#entries.splice(at, 1);
    await this.#save();
    return true;
  }

  /** One after the other: two uploads at once must not leave the older state on disk. */
  #save(): Promise<void> {
    const next = this.#saving.then(() => writeDurably(this.#places, this.#file, facesPickle(this.#entries)));
    this.#saving = next.catch(() => undefined); // the caller of that save is the one who is told
    return next;
  }
}

/** `{'encodings': [ndarray, …], 'names': [str, …]}` with protocol 4. */
export function facesPickle(entries: readonly Entry[]): Uint8Array {
  return writePickle(
    {
      encodings: entries.map(({ encoding }) => NdArray.float64(encoding)),
      names: entries.map(({ name }) => name),
    },
    { protocol: 4 },
  );
}

function entriesOf(bytes: Uint8Array, file: string): Entry[] {
  const { encodings, names } = plain(readPickle(bytes)) as { encodings?: unknown; names?: unknown };
  if (!Array.isArray(encodings) || !Array.isArray(names) || encodings.length !== names.length) {
    throw new Error(`${file} does not hold as many names as encodings`);
  }
  return encodings.map((encoding: unknown, index) => {
    if (!(encoding instanceof NdArray)) throw new Error(`${file}: encoding ${index} is no array`);
    return { name: String(names[index]), encoding: encoding.toFloat64Array() };
  });
}

async function entriesFromPictures({
  folder,
  nameOf,
  faces,
}: {
  readonly folder: string;
  readonly nameOf: (stem: string) => string;
  readonly faces: Faces;
}): Promise<Entry[]> {
  const entries: Entry[] = [];
  for (const name of await pictures(folder)) {
    const found = await faces.analyse(await readFile(path.join(folder, name)));
    const [face] = found.faces;
    if (face) entries.push({ name: nameOf(path.parse(name).name), encoding: face.encoding });
  }
  return entries;
}

/** The known and the unwanted. */
export class FaceBook {
  readonly known: FaceList;
  readonly blacklist: FaceList;
  readonly #tolerances: { readonly face: number; readonly blacklist: number };

  private constructor(known: FaceList, blacklist: FaceList, tolerances: { face: number; blacklist: number }) {
    this.known = known;
    this.blacklist = blacklist;
    this.#tolerances = tolerances;
  }

  static async load(places: Layout, faces: Faces, tolerances: { face: number; blacklist: number }): Promise<FaceBook> {
    const known = await FaceList.load(places, places.knownCache, {
      folder: places.known,
      nameOf: (stem) => stem,
      faces,
    });
    const blacklist = await FaceList.load(places, places.blacklistCache, {
      folder: places.blacklist,
      nameOf: (stem) => stem.toLowerCase().replace(/[a-z]+/g, (word) => word.charAt(0).toUpperCase() + word.slice(1)),
      faces,
    });
    return new FaceBook(known, blacklist, tolerances);
  }

  /** The blacklist is asked first: a person on both lists is unwanted. */
  identify(encoding: ArrayLike<number>): Identity {
    const unwanted = this.blacklist.nearest(encoding, this.#tolerances.blacklist);
    if (unwanted) return { status: 'blacklisted', ...unwanted, confidence: 1 - unwanted.distance };
    const known = this.known.nearest(encoding, this.#tolerances.face);
    if (known) return { status: 'known', ...known, confidence: 1 - known.distance };
    return { status: 'unknown', name: null, confidence: 0, distance: Infinity };
  }
}
