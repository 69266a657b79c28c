import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SliceStatus } from '../plan/api.ts';
import type { Authority, AuthoritySource, SliceSources } from '../plan/authority.ts';
import { JOURNAL_FILE, openAuthoritySource, readAuthority } from './authority.ts';
import { JournalDatabase } from './database.ts';
import { currentRun, type Run } from './runs.ts';

/** A slice that was begun, with the folder of its own journal. */
export interface SliceFolder {
  readonly name: string;
  /** What its folder and everything of it in stores is called by. */
  readonly id: string;
  readonly folder: string;
}

const NAME_FILE = 'slice.json';

function foldersOf(stateDir: string): string {
  return join(stateDir, 'slices');
}

/** Makes the folder of a slice, or gives back what is there. */
export function sliceFolder(stateDir: string, name: string, id: string): SliceFolder {
  const folder = join(foldersOf(stateDir), id);
  if (!existsSync(join(folder, NAME_FILE))) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `${NAME_FILE}.tmp`), JSON.stringify({ name }));
    renameSync(join(folder, `${NAME_FILE}.tmp`), join(folder, NAME_FILE));
  }
  return { name, id, folder };
}

/** Every slice that has a journal, in the order of their names. */
export function sliceFolders(stateDir: string): SliceFolder[] {
  return idsIn(stateDir)
    .flatMap((id) => folderOf(stateDir, id) ?? [])
    .sort((one, other) => (one.name < other.name ? -1 : 1));
}

function idsIn(stateDir: string): string[] {
  const all = foldersOf(stateDir);
  return existsSync(all) ? readdirSync(all) : [];
}

function folderOf(stateDir: string, id: string): SliceFolder | null {
  const folder = join(foldersOf(stateDir), id);
  if (!existsSync(join(folder, NAME_FILE)) || !existsSync(join(folder, JOURNAL_FILE))) return null;
  const { name } = JSON.parse(readFileSync(join(folder, NAME_FILE), 'utf8')) as { name: string };
  return { name, id, folder };
}

/** How every slice stands that was begun; one that was only looked at is none. Reads only, and takes no lock of an owner's. */
export function readSlices(stateDir: string): SliceStatus[] {
  return sliceFolders(stateDir).flatMap(({ name, folder }) => {
    const read = readJournal(folder);
    if (read.run === null) return [];
    const { state, side } = read.authority;
    return [{ name, status: read.run.status, state, side, progress: read.run.progress }];
  });
}

/** The run and the authority of a journal that another process may own. */
export function readJournal(folder: string): { readonly run: Run | null; readonly authority: Authority } {
  const database = JournalDatabase.openReadOnly(join(folder, JOURNAL_FILE));
  try {
    return { run: currentRun(database), authority: readAuthority(database) };
  } finally {
    database.close();
  }
}

/** How the workers of the gateway follow the slices. What cannot be read holds the requests of its slice, and of no other. */
export function openSliceSources(stateDir: string): SliceSources {
  const sources = new Map<string, { readonly name: string; readonly id: string; readonly source: AuthoritySource }>();
  return {
    current() {
      for (const id of idsIn(stateDir)) {
        const found = sources.has(id) ? null : folderOf(stateDir, id);
        if (found !== null) sources.set(id, { name: found.name, id, source: whenReadable(found.folder) });
      }
      return [...sources.values()];
    },
    close() {
      for (const { source } of sources.values()) source.close();
      sources.clear();
    },
  };
}

/** The journal of a slice may be seen before it is made to its end; until then its reading fails. */
function whenReadable(folder: string): AuthoritySource {
  let opened: AuthoritySource | null = null;
  return {
    read: () => (opened ??= openAuthoritySource(folder)).read(),
    changed: () => opened?.changed() ?? true,
    close: () => opened?.close(),
  };
}
