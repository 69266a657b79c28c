import { closeSync, fdatasyncSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { formatLogLine, parseLogLine } from './log-line.ts';
import { Authors } from './authors.ts';
import type { Note, NotesStore } from './note.ts';

/**
 * Notes as lines of an append-only log. Like many a legacy it reads its file once, at boot, and answers from memory: only
 * `list` shows what another process wrote meanwhile.
 */
export class LogNotes implements NotesStore {
  readonly supportsChanges = false;
  readonly #file: string;
  readonly #fd: number;
  readonly #notes: Map<string, Note>;
  readonly #authors: Authors;

  constructor(file: string) {
    this.#file = file;
    mkdirSync(path.dirname(file), { recursive: true });
    this.#fd = openSync(file, 'a+');
    // Half a line is what a kill left of a note that was never acknowledged.
    const bytes = readFileSync(this.#fd);
    ftruncateSync(this.#fd, bytes.lastIndexOf('\n') + 1);
    this.#notes = new Map(this.#read().map((note) => [note.token, note]));
    this.#authors = new Authors(path.join(path.dirname(file), 'authors.json'));
  }

  list(after: string, limit: number): Promise<Note[]> {
    const notes = this.#read().filter((note) => note.token > after);
    notes.sort((one, other) => (one.token < other.token ? -1 : one.token > other.token ? 1 : 0));
    // A page never ends between two notes of one token, or the second would be skipped.
    let end = Math.min(limit, notes.length);
    while (end > 0 && end < notes.length && notes[end]?.token === notes[end - 1]?.token) end++;
    return Promise.resolve(notes.slice(0, end));
  }

  get(token: string): Promise<Note | null> {
    return Promise.resolve(this.#notes.get(token) ?? null);
  }

  create(note: Note): Promise<boolean> {
    if (this.#notes.has(note.token)) return Promise.resolve(false);
    const line = formatLogLine({ token: note.token, body: note.body, time: Date.now() / 1000 });
    writeSync(this.#fd, `${line}\n`);
    fdatasyncSync(this.#fd);
    this.#authors.add(note.token);
    this.#notes.set(note.token, { ...note, tags: [] });
    return Promise.resolve(true);
  }

  update(): Promise<boolean> {
    return Promise.reject(new Error('a log is only appended to'));
  }

  remove(): Promise<boolean> {
    return Promise.reject(new Error('a log is only appended to'));
  }

  close(): Promise<void> {
    closeSync(this.#fd);
    return Promise.resolve();
  }

  #read(): Note[] {
    const lines = readFileSync(this.#file, 'utf8').split('\n').slice(0, -1);
    return lines.flatMap((text) => {
      const line = parseLogLine(text);
      if (typeof line?.token !== 'string' || typeof line.body !== 'string') return [];
      return [{ token: line.token, body: line.body, tags: [] }];
    });
  }
}
