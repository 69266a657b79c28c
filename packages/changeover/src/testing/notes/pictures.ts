import { mkdirSync } from 'node:fs';
import { open, readFile, rm } from 'node:fs/promises';
import path from 'node:path';

/** A folder with one `<token>.bin` a note, written in place as the legacy always did. */
export class Pictures {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true });
  }

  /** Resolves when the file and its name are on disk. */
  async write(token: string, bytes: Uint8Array): Promise<void> {
    await using file = await open(this.#file(token), 'w');
    await file.writeFile(bytes);
    await file.sync();
    await using folder = await open(this.#folder, 'r');
    await folder.sync();
  }

  async read(token: string): Promise<Uint8Array | null> {
    return readFile(this.#file(token)).catch((error: unknown) => {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
      throw error;
    });
  }

  async remove(token: string): Promise<void> {
    await rm(this.#file(token), { force: true });
  }

  #file(token: string): string {
    return path.join(this.#folder, `${token}.bin`);
  }
}
