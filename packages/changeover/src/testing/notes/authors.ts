import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';

/** How many notes each author wrote, as a legacy on files keeps it: one JSON document, replaced as a whole. */
export class Authors {
  readonly #file: string;
  readonly #notes: Record<string, number>;

  constructor(file: string) {
    this.#file = file;
    this.#notes = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Record<string, number>) : {};
  }

  add(token: string): void {
    const author = authorOf(token);
    this.#notes[author] = (this.#notes[author] ?? 0) + 1;
    const draft = `${this.#file}.new`;
    const fd = openSync(draft, 'w');
    writeSync(fd, JSON.stringify(this.#notes));
    fsyncSync(fd);
    closeSync(fd);
    renameSync(draft, this.#file);
  }
}

/** A token is its author and a number. */
export function authorOf(token: string): string {
  return token.replace(/-\d+$/, '');
}
