import { lstatSync, readdirSync, rmdirSync, type BigIntStats, type Dirent } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { ChangeoverError } from '../../errors.ts';
import { codeOf, isMissing } from '../durable.ts';

/**
 * A path as its bytes, one character each: names are bytes, and a text that was decoded from other than UTF-8 does not lead back to
 * its file.
 */
export type RawPath = string & { readonly __raw: unique symbol };

export function rawPath(text: string): RawPath {
  return Buffer.from(text, 'utf8').toString('latin1') as RawPath;
}

export function joinRaw(folder: RawPath, name: RawPath): RawPath {
  return (folder === '' ? name : `${folder}/${name}`) as RawPath;
}

export function parentOf(path: RawPath): RawPath {
  return path.slice(0, Math.max(0, path.lastIndexOf('/'))) as RawPath;
}

/** What the functions of `node:fs` take. */
export function fsPath(path: RawPath): Buffer {
  return Buffer.from(path, 'latin1');
}

/** For people: what is not UTF-8 or would break the line is escaped. */
export function shown(path: RawPath): string {
  const text = fsPath(path).toString('utf8');
  if (rawPath(text) === path) return JSON.stringify(text).slice(1, -1);
  return path.replace(/[^ -~]/g, (byte) => `\\x${byte.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/** Names of ours: files that are not finished yet, at the top of a folder. */
const DRAFT = /^\.changeover-[\d-]+$/;
let drafts = 0;

export function draftName(epoch: number): RawPath {
  drafts += 1;
  return rawPath(`.changeover-${epoch}-${process.pid}-${drafts}`);
}

export interface FoundFile {
  readonly path: RawPath;
  readonly stat: BigIntStats;
}

/** Entries after which other work of the process gets its turn. */
const ENTRIES_AT_ONCE = 500;

/** A folder of one side. */
export class Folder {
  readonly root: RawPath;
  /** As the plan has it. */
  readonly name: string;
  readonly #only: readonly RegExp[] | null;

  constructor(absolute: string, name: string, only: readonly string[] | null) {
    this.root = rawPath(absolute);
    this.name = name;
    this.#only = only && only.map(globToRegExp);
  }

  at(path: RawPath): Buffer {
    return fsPath(joinRaw(this.root, path));
  }

  matches(path: RawPath): boolean {
    const text = fsPath(path).toString('utf8');
    return this.#only === null || this.#only.some((pattern) => pattern.test(text));
  }

  /**
   * Every plain file that the plan names. A missing folder has none. Links and devices are given to `onUnmovable`, or refused with
   * `CHG_DATA_FILES_UNMOVABLE`; they are never followed.
   */
  async files(signal: AbortSignal, onUnmovable?: (path: RawPath, what: string) => void): Promise<FoundFile[]> {
    const found: FoundFile[] = [];
    for await (const path of this.#plain(signal, onUnmovable)) {
      const stat = this.stat(path);
      if (stat?.isFile()) found.push({ path, stat });
    }
    return found;
  }

  /** The paths of `files` alone, in a fraction of the time. */
  async paths(signal: AbortSignal): Promise<RawPath[]> {
    const found: RawPath[] = [];
    for await (const path of this.#plain(signal)) found.push(path);
    return found;
  }

  /** Unfinished files of ours that a killed process left. */
  drafts(): RawPath[] {
    return this.#entries(rawPath('')).flatMap(({ path }) => (DRAFT.test(path) ? [path] : []));
  }

  stat(path: RawPath): BigIntStats | null {
    try {
      return lstatSync(this.at(path), { bigint: true });
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  }

  /** Removes the folders above `path` that are empty now, up to the root, and that `other` does not have. */
  pruneAbove(path: RawPath, other: Folder | null): void {
    for (let folder = parentOf(path); folder !== ''; folder = parentOf(folder)) {
      if (other?.stat(folder)?.isDirectory() || !this.removeIfEmpty(folder)) return;
    }
  }

  /** False when there is something in it. */
  removeIfEmpty(folder: RawPath): boolean {
    try {
      rmdirSync(this.at(folder));
      return true;
    } catch (error) {
      if (isMissing(error)) return true;
      if (codeOf(error) === 'ENOTEMPTY' || codeOf(error) === 'EEXIST') return false;
      throw error;
    }
  }

  async *#plain(
    signal: AbortSignal,
    onUnmovable?: (path: RawPath, what: string) => void,
  ): AsyncGenerator<RawPath, void, undefined> {
    const folders: RawPath[] = [rawPath('')];
    let entries = 0;
    for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
      for (const { path, entry } of this.#entries(folder)) {
        entries += 1;
        if (entries % ENTRIES_AT_ONCE === 0) {
          signal.throwIfAborted();
          await setImmediate();
        }
        if (folder === '' && DRAFT.test(path)) continue;
        if (entry.isDirectory()) folders.push(path);
        else if (this.matches(path)) {
          if (entry.isFile()) yield path;
          else this.#unmovable(path, kindOf(entry), onUnmovable);
        }
      }
    }
  }

  #entries(folder: RawPath): { readonly path: RawPath; readonly entry: Dirent<Buffer> }[] {
    try {
      const entries = readdirSync(this.at(folder), { encoding: 'buffer', withFileTypes: true });
      return entries.map((entry) => ({
        path: joinRaw(folder, Buffer.from(entry.name).toString('latin1') as RawPath),
        entry,
      }));
    } catch (error) {
      // Gone since its parent was listed: the folder is live.
      if (isMissing(error)) return [];
      throw error;
    }
  }

  #unmovable(path: RawPath, what: string, onUnmovable?: (path: RawPath, what: string) => void): void {
    if (!onUnmovable) {
      throw new ChangeoverError('CHG_DATA_FILES_UNMOVABLE', { folder: this.name, file: shown(path), what });
    }
    onUnmovable(path, what);
  }
}

function kindOf(entry: Dirent<Buffer>): string {
  if (entry.isSymbolicLink()) return 'a symbolic link';
  if (entry.isSocket()) return 'a socket';
  return entry.isFIFO() ? 'a pipe' : 'a device';
}

/** `*` and `?` stay within a name, `**` crosses folders, `[…]` is one of some characters. */
export function globToRegExp(glob: string): RegExp {
  const source = glob.replace(/\*\*\/|\*\*|\*|\?|\[[^\]/]+\]|[\\^$.|+(){}[\]]/g, (token) => {
    if (token === '**/') return '(?:.*/)?';
    if (token === '**') return '.*';
    if (token === '*') return '[^/]*';
    if (token === '?') return '[^/]';
    if (token.length > 1) return token.replace(/^\[!/, '[^').replaceAll('\\', '\\\\');
    return `\\${token}`;
  });
  return new RegExp(`^${source}$`, 'su');
}
