import type { NewPerson, Storage } from '../storage/storage.ts';

/** Everybody who can be recognised, in the order of their encodings. */
export interface Gallery {
  /** One for each encoding: a person has as many as there are pictures. */
  readonly people: readonly NewPerson[];
  /** All encodings one behind the other. */
  readonly encodings: Float64Array;
  /** Where each of them begins, and behind the last one its end. */
  readonly begins: Int32Array;
}

/**
 * Keeps the gallery in memory, and asks the store for each visit whether it is still that one: another process may have written to it. To ask
 * reads no encoding.
 */
export class KeptGallery {
  readonly #storage: Pick<Storage, 'encodings' | 'encodingsVersion'>;
  #kept: { readonly version: string; readonly gallery: Gallery } | null = null;

  constructor(storage: Pick<Storage, 'encodings' | 'encodingsVersion'>) {
    this.#storage = storage;
  }

  async current(): Promise<Gallery> {
    // The version first: what is written between the two is then read once more, and never missed.
    const version = await this.#storage.encodingsVersion();
    if (this.#kept?.version !== version) this.#kept = { version, gallery: galleryOf(await this.#storage.encodings()) };
    return this.#kept.gallery;
  }
}

export function galleryOf(stored: Awaited<ReturnType<Storage['encodings']>>): Gallery {
  const begins = new Int32Array(stored.length + 1);
  for (const [index, { encoding }] of stored.entries()) begins[index + 1] = (begins[index] ?? 0) + encoding.length;
  const encodings = new Float64Array(begins.at(-1) ?? 0);
  for (const [index, { encoding }] of stored.entries()) encodings.set(encoding, begins[index]);
  return {
    people: stored.map(({ personId, name, isBlacklisted }) => ({ personId, name, isBlacklisted })),
    encodings,
    begins,
  };
}
