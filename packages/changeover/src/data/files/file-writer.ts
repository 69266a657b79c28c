import { chmodSync, chownSync, lstatSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { ChangeoverError } from '../../errors.ts';
import type { Context } from '../../plan/context.ts';
import { sourceSide, targetSide, type Direction } from '../../plan/words.ts';
import { secondsOf, stampOf, syncFolder } from '../durable.ts';
import type { Sidecar } from '../sidecar.ts';
import type { ChangedFile } from './file-changes.ts';
import { readFile } from './file-copy.ts';
import type { FileState, ReadFile } from './file-state.ts';
import { draftName, fsPath, joinRaw, parentOf, rawPath, shown, type Folder, type RawPath } from './folder.ts';

const FILES_AT_ONCE = 4;

interface Draft {
  readonly path: RawPath;
  readonly draft: RawPath;
  readonly isNew: boolean;
  readonly read: ReadFile & { readonly mode: number };
}

export interface Written {
  readonly applied: number;
  /** Files that changed while they were copied: they are copied again in the next pass. */
  readonly torn: readonly RawPath[];
}

/**
 * Writes to the folder that is made equal to the other one. Copies are finished and durable under a name of ours before the gate is asked;
 * inside the gate there are only renames and removals, so an owner that was replaced changes nothing.
 */
export class FileWriter {
  readonly #ctx: Context;
  readonly #direction: Direction;
  readonly #source: Folder;
  readonly #target: Folder;
  readonly #sidecar: Sidecar;
  readonly #state: FileState;

  constructor(
    ctx: Context,
    direction: Direction,
    parts: { readonly source: Folder; readonly target: Folder; readonly sidecar: Sidecar; readonly state: FileState },
  ) {
    this.#ctx = ctx;
    this.#direction = direction;
    this.#source = parts.source;
    this.#target = parts.target;
    this.#sidecar = parts.sidecar;
    this.#state = parts.state;
  }

  async copy(files: readonly ChangedFile[]): Promise<Written> {
    const drafts: Draft[] = [];
    const same: [RawPath, ReadFile][] = [];
    const torn: RawPath[] = [];
    this.#makeRoot();
    try {
      await eachOf(files, async ({ path, synced }) => {
        const draft = draftName(this.#ctx.epoch);
        const read = await readFile(this.#source.at(path), this.#ctx.clock, this.#target.at(draft));
        if (read === 'torn') torn.push(path);
        else if (read !== 'gone' && read.sha256 === synced) {
          await rm(this.#target.at(draft), { force: true });
          same.push([path, read]);
        } else if (read !== 'gone') drafts.push({ path, draft, read, isNew: synced === null });
      });
      await this.#finish(drafts);
      if (drafts.length > 0) this.#place(drafts);
    } finally {
      // Those that were renamed are not there any more.
      for (const { draft } of drafts) await rm(this.#target.at(draft), { force: true });
    }
    this.#state.remember(sourceSide(this.#direction), same);
    return { applied: drafts.length, torn };
  }

  delete(paths: readonly RawPath[]): void {
    this.#sidecar.gated(this.#ctx.epoch, () => {
      for (const path of paths) {
        rmSync(this.#target.at(path), { force: true });
        this.#ctx.faults.at('data.files.deleted');
        this.#target.pruneAbove(path, this.#source);
        this.#state.forget(path);
      }
      this.#syncFolders(paths);
    });
  }

  /** Modes, times, and then all of it durable: once one of many new files is synced, the others cost next to nothing. */
  async #finish(drafts: readonly Draft[]): Promise<void> {
    for (const { path, draft, read } of drafts) this.#own(draft, path, read.mode);
    await eachOf(drafts, async ({ draft, read }) => {
      const file = await open(this.#target.at(draft), 'r');
      try {
        const seconds = secondsOf(read.stamp);
        await file.utimes(seconds, seconds);
        await file.sync();
      } finally {
        await file.close();
      }
    });
  }

  /** Renames the drafts to their names. That they are ours is durable first: a file that is gone again before the next pass is then removed. */
  #place(drafts: readonly Draft[]): void {
    this.#sidecar.gated(this.#ctx.epoch, () => {
      for (const { path, isNew } of drafts) if (isNew) this.#state.setSynced(path, '');
    });
    this.#ctx.faults.at('data.files.intended');
    this.#sidecar.gated(this.#ctx.epoch, () => {
      for (const { path, draft, read } of drafts) {
        this.#makeFolders(parentOf(path));
        renameSync(this.#target.at(draft), this.#target.at(path));
        this.#ctx.faults.at('data.files.renamed');
        const stamp = stampOf(lstatSync(this.#target.at(path), { bigint: true }));
        const { sha256 } = read;
        this.#state.setSynced(path, sha256);
        this.#state.setRead(sourceSide(this.#direction), path, read);
        this.#state.setRead(targetSide(this.#direction), path, { stamp, readAtMs: this.#ctx.clock.wallMs(), sha256 });
      }
      this.#syncFolders(drafts.map(({ path }) => path));
    });
    this.#ctx.faults.at('data.files.recorded');
  }

  /** A file keeps its owner on this side; a new one belongs to whom the folder belongs. The owner first: it may clear bits of the mode. */
  #own(draft: RawPath, path: RawPath, mode: number): void {
    const owner = this.#target.stat(path) ?? this.#target.stat(rawPath(''));
    const file = this.#target.at(draft);
    const mine = lstatSync(file, { bigint: true });
    if (owner && process.getuid?.() === 0 && (owner.uid !== mine.uid || owner.gid !== mine.gid)) {
      chownSync(file, Number(owner.uid), Number(owner.gid));
    }
    chmodSync(file, mode);
  }

  #makeRoot(): void {
    if (this.#target.stat(rawPath(''))) return;
    mkdirSync(fsPath(this.#target.root), { recursive: true });
    this.#sidecar.setNote(`made ${targetSide(this.#direction)}`, true);
  }

  /** Never through a link: it may lead out of the folder. */
  #makeFolders(folder: RawPath): void {
    let at = rawPath('');
    for (const name of folder === '' ? [] : folder.split('/')) {
      const parent = this.#target.stat(at);
      at = joinRaw(at, name as RawPath);
      const stat = this.#target.stat(at);
      if (stat?.isDirectory()) continue;
      if (stat) {
        const what = 'in the way of a folder';
        throw new ChangeoverError('CHG_DATA_FILES_UNMOVABLE', { folder: this.#target.name, file: shown(at), what });
      }
      mkdirSync(this.#target.at(at));
      if (parent && process.getuid?.() === 0) chownSync(this.#target.at(at), Number(parent.uid), Number(parent.gid));
      const source = this.#source.stat(at);
      if (source) chmodSync(this.#target.at(at), Number(source.mode & 0o7777n));
    }
  }

  #syncFolders(paths: readonly RawPath[]): void {
    for (const folder of new Set(paths.map(parentOf))) {
      if (this.#target.stat(folder)?.isDirectory()) syncFolder(this.#target.at(folder));
    }
  }
}

/** A few at a time; throws the first failure when all that were begun have ended. */
async function eachOf<Item>(items: readonly Item[], act: (item: Item) => Promise<void>): Promise<void> {
  const queue = [...items];
  const lane = async (): Promise<void> => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await act(item);
  };
  const ended = await Promise.allSettled(Array.from({ length: FILES_AT_ONCE }, lane));
  for (const result of ended) if (result.status === 'rejected') throw result.reason;
}
