import path from 'node:path';
import { LogNotes } from './log-notes.ts';
import type { NotesStore } from './note.ts';
import { Pictures } from './pictures.ts';
import { PostgresNotes } from './postgres-notes.ts';
import { SqliteNotes } from './sqlite-notes.ts';

/** How the legacy keeps its notes: rows in `data/notes.db`, or lines in `data/notes.log`. */
export type LegacyStore = 'sqlite' | 'files';

/** Opens the legacy's notes under `root` as the legacy does; its busy timeout is 0 on purpose. */
export function openLegacyNotes(root: string, store: LegacyStore): NotesStore {
  if (store === 'files') return new LogNotes(path.join(root, 'data/notes.log'));
  const file = path.join(root, 'data/notes.db');
  const notes = new SqliteNotes({ file, tagsTable: 'tags', timeColumn: 'updated_at', retryBusyMs: 0 });
  notes.createTables();
  return notes;
}

const RETRY_BUSY_MS = 5_000;

/** Opens the notes of the new side: `data/next.db` under `root`, or Postgres where a URL is given. */
export function openNextNotes(root: string, databaseUrl?: string): SqliteNotes | PostgresNotes {
  if (databaseUrl !== undefined && databaseUrl !== '') return new PostgresNotes(databaseUrl);
  const file = path.join(root, 'data/next.db');
  return new SqliteNotes({
    file,
    tagsTable: 'note_tags',
    timeColumn: 'changed_at',
    retryBusyMs: RETRY_BUSY_MS,
    hasAuthors: true,
  });
}

/** Opens the pictures of either side, each of which has a root of its own. */
export function openPictures(root: string): Pictures {
  return new Pictures(path.join(root, 'data/pictures'));
}
