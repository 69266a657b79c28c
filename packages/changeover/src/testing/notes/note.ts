/** One note as both sides serve it. */
export interface Note {
  /** Chosen by the client; it is also the idempotency key of its creation. */
  readonly token: string;
  readonly body: string;
  readonly tags: readonly string[];
}

/** Where a side keeps its notes. Every write is on disk when its promise resolves. */
export interface NotesStore {
  /** False for an append-only log: notes can be added, never changed or deleted. */
  readonly supportsChanges: boolean;
  /** Notes in the order of their tokens, strictly after `after`; a token that is there twice comes twice. */
  list(after: string, limit: number): Promise<Note[]>;
  get(token: string): Promise<Note | null>;
  /** False when the token is there already. */
  create(note: Note): Promise<boolean>;
  /** False when the token is not there. */
  update(note: Note): Promise<boolean>;
  remove(token: string): Promise<boolean>;
  close(): Promise<void>;
}

/** Thrown by a store that somebody has fenced. */
export class FencedError extends Error {
  override readonly name = 'FencedError';
}

/** Tokens name files, so they hold nothing that means something in a path. */
export const TOKEN = /^[A-Za-z0-9_-]{1,64}$/;

/** All notes of a store, page by page. */
export async function* allNotes(list: (after: string) => Promise<readonly Note[]>): AsyncGenerator<Note> {
  for (let after = ''; ;) {
    const page = await list(after);
    yield* page;
    const last = page.at(-1);
    if (last === undefined) return;
    after = last.token;
  }
}
