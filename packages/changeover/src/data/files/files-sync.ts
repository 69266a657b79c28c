import { mkdirSync, rmSync, utimesSync } from 'node:fs';
import path from 'node:path';
import { ChangeoverError } from '../../errors.ts';
import type { Context } from '../../plan/context.ts';
import type { CatchUp, TableSummary } from '../../plan/ports.ts';
import type { FilesDefinition } from '../../plan/sync.ts';
import {
  sourceSide,
  targetSide,
  type Direction,
  type Finding,
  type Footprint,
  type Side,
  type Verdict,
} from '../../plan/words.ts';
import { named, secondsOf, stampOf } from '../durable.ts';
import { Sidecar } from '../sidecar.ts';
import { bytesOf, findChanges, type ChangedFile } from './file-changes.ts';
import { readFile } from './file-copy.ts';
import { FileState, knownHash } from './file-state.ts';
import { FileVerification } from './file-verification.ts';
import { FileWriter } from './file-writer.ts';
import { checkFiles } from './files-check.ts';
import { Folder, fsPath, parentOf, rawPath, shown, type RawPath } from './folder.ts';

/** One pass gives way after this time. */
const PASS_MS = 500;
/** What one batch copies at most; the last file may exceed the bytes. */
const BATCH_FILES = 256;
const BATCH_BYTES = 64 * 1024 * 1024;
/** A file that is still changing after so many tries though its unit was stopped has another writer. */
const MAX_LAST_ROUNDS = 5;
const RETRY_MS = 50;

const COPIED = 'copied';

interface Opened {
  readonly sidecar: Sidecar;
  readonly state: FileState;
  readonly folders: Readonly<Record<Side, Folder>>;
}

/**
 * A folder of files moved to another folder while both live, in both directions. Its state (which file was read when, with which
 * contents) is in our own state folder; the folders get plain copies, with mode and times kept, and no trace of ours.
 *
 * @example
 * const faces = new FilesSync(files({ name: 'faces', from: 'data/known_faces', to: 'data/faces', only: ['*.jpg'] }));
 * await faces.copy(ctx);
 * await faces.catchUp(ctx, 'forward');
 */
export class FilesSync {
  readonly name: string;
  readonly #definition: FilesDefinition;
  #opened: Opened | null = null;

  constructor(definition: FilesDefinition) {
    this.name = definition.name;
    this.#definition = definition;
  }

  check(ctx: Context): Promise<Finding[]> {
    return this.#do('checking', () => {
      const { folders, state } = this.#open(ctx);
      return checkFiles(ctx, `data.${this.name}`, folders, state);
    });
  }

  describe(ctx: Context): Promise<TableSummary> {
    return this.#do('counting', async () => {
      const found = await this.#open(ctx).folders.legacy.files(ctx.signal, () => undefined);
      const bytes = found.reduce((sum, { stat }) => sum + Number(stat.size), 0);
      return { name: this.name, rows: found.length, unit: 'files', bytes, givenUp: [] };
    });
  }

  footprint(ctx: Context): Promise<Footprint[]> {
    const { folders } = this.#open(ctx);
    return Promise.resolve([
      {
        where: folders.next.name,
        adds: `a copy of each file of ${folders.legacy.name}; unfinished ones are called .changeover-*`,
        right: `to read ${folders.legacy.name} and to write ${folders.next.name}`,
        removal: 'changeover uninstall removes the unfinished ones, and after an undone run the copies',
      },
    ]);
  }

  /** Raises the gate, so that a dead owner's late renames fail. */
  installEpoch(ctx: Context): Promise<void> {
    return this.#do('taking over', () => {
      this.#open(ctx).sidecar.installEpoch(ctx.epoch);
    });
  }

  /** Removes what a killed process left unfinished. Repeatable. */
  prepare(ctx: Context): Promise<void> {
    return this.#do('preparing', () => {
      this.#removeDrafts(ctx);
    });
  }

  /**
   * Makes the new folder equal to the legacy's; goes on where a killed copy stopped. Throws `CHG_DATA_FILES_TARGET_USED` when the new folder
   * holds files that are neither equal to the legacy's nor from an earlier run.
   */
  copy(ctx: Context): Promise<void> {
    return this.#do('copying', async () => {
      const { sidecar } = this.#open(ctx);
      this.#removeDrafts(ctx);
      await this.#adoptTarget(ctx);
      await this.#pass(ctx, 'forward', Infinity);
      sidecar.gated(ctx.epoch, () => {
        sidecar.setNote(COPIED, ctx.runId);
      });
    });
  }

  /** Applies what changed, as far as one pass of half a second comes. Before the copy of the run is done it applies nothing. */
  catchUp(ctx: Context, direction: Direction): Promise<CatchUp> {
    return this.#do('catching up', async () => {
      const { sidecar, state, folders } = this.#open(ctx);
      if (direction === 'reverse' || sidecar.note(COPIED) === ctx.runId) {
        const { applied, pending } = await this.#pass(ctx, direction, PASS_MS);
        return { applied, pending };
      }
      const { changed, deleted } = await findChanges(ctx, direction, folders[sourceSide(direction)], state);
      return { applied: 0, pending: changed.length + deleted.length };
    });
  }

  /**
   * After the unit that writes the source was stopped: scans it whole until nothing is left. Throws `CHG_DATA_FILES_TORN` when files still
   * change.
   */
  applyToEmpty(ctx: Context, direction: Direction): Promise<CatchUp> {
    return this.#do('applying the last changes', async () => {
      let applied = 0;
      for (let round = 1; ; round += 1) {
        const pass = await this.#pass(ctx, direction, Infinity);
        applied += pass.applied;
        if (pass.pending === 0) return { applied, pending: 0 };
        if (pass.pending > 0 && round >= MAX_LAST_ROUNDS) {
          const folder = this.#open(ctx).folders[sourceSide(direction)].name;
          const file = pass.torn.map(shown)[0] ?? '';
          throw new ChangeoverError('CHG_DATA_FILES_TORN', { folder, count: pass.pending, file });
        }
        if (pass.pending > 0) await ctx.clock.sleep(RETRY_MS, ctx.signal);
      }
    });
  }

  /** `changed`: the files that were copied since they were last compared, and all names. */
  verify(ctx: Context, direction: Direction, scope: 'full' | 'changed'): Promise<Verdict[]> {
    return this.#do('verifying', () => {
      const { state, folders } = this.#open(ctx);
      const parts = { source: folders[sourceSide(direction)], target: folders[targetSide(direction)], state };
      // Only an owner has an epoch; a verb that just reads leaves the applying to the process that owns the run.
      const catchUp = async () => (ctx.epoch > 0 ? this.catchUp(ctx, direction) : null);
      return new FileVerification(ctx, direction, parts, catchUp).run(this.name, scope);
    });
  }

  /** Puts a copy of the legacy's folder into `folder`, at its path relative to the plan, and applies the reverse changes to it. */
  rehearse(ctx: Context, folder: string): Promise<void> {
    return this.#do('rehearsing', async () => {
      const { folders, state } = this.#open(ctx);
      const absolute = fsPath(folders.legacy.root).toString();
      const relative = path.relative(ctx.root, absolute);
      const copy = path.join(folder, relative.startsWith('..') ? path.basename(absolute) : relative);
      mkdirSync(copy, { recursive: true });
      const target = new Folder(copy, copy, this.#definition.only);
      const put = async (from: Folder, file: RawPath): Promise<void> => {
        mkdirSync(target.at(parentOf(file)), { recursive: true });
        rmSync(target.at(file), { force: true });
        const read = await readFile(from.at(file), ctx.clock, target.at(file));
        if (typeof read === 'string') return;
        const seconds = secondsOf(read.stamp);
        utimesSync(target.at(file), seconds, seconds);
      };
      const { changed, deleted } = await findChanges(ctx, 'reverse', folders.next, state);
      const skipped = new Set([...changed.map((file) => file.path), ...deleted]);
      for (const { path: file } of await folders.legacy.files(ctx.signal)) {
        if (!skipped.has(file)) await put(folders.legacy, file);
      }
      for (const { path: file } of changed) await put(folders.next, file);
    });
  }

  /** Removes our state and what is unfinished; with `emptyTarget` also the copies in the new folder that are as we made them. */
  uninstall(ctx: Context, { emptyTarget }: { readonly emptyTarget: boolean }): Promise<void> {
    return this.#do('uninstalling', async () => {
      const { sidecar } = this.#open(ctx);
      this.#removeDrafts(ctx);
      if (emptyTarget) await this.#emptyTarget(ctx);
      sidecar.forget();
    });
  }

  close(): Promise<void> {
    this.#opened?.sidecar.close();
    this.#opened = null;
    return Promise.resolve();
  }

  #open(ctx: Context): Opened {
    if (!this.#opened) {
      const { from, to, only } = this.#definition;
      const [legacy, next] = [path.resolve(ctx.root, from), path.resolve(ctx.root, to)];
      const sidecar = Sidecar.open(ctx, `files:${legacy}:${next}`);
      const folders = { legacy: new Folder(legacy, from, only), next: new Folder(next, to, only) };
      this.#opened = { sidecar, state: new FileState(sidecar), folders };
    }
    return this.#opened;
  }

  async #pass(
    ctx: Context,
    direction: Direction,
    limitMs: number,
  ): Promise<CatchUp & { readonly torn: readonly RawPath[] }> {
    const { sidecar, state, folders } = this.#open(ctx);
    const [source, target] = [folders[sourceSide(direction)], folders[targetSide(direction)]];
    const untilMs = ctx.clock.monotonicMs() + limitMs;
    const { changed, deleted, bytes } = await findChanges(ctx, direction, source, state);
    const writer = new FileWriter(ctx, direction, { source, target, sidecar, state });
    // A file may have become a folder, or the other way round: what is gone makes room first.
    if (deleted.length > 0) writer.delete(deleted);
    let left = changed.length;
    let applied = deleted.length;
    let done = bytes - bytesOf(changed);
    const torn: RawPath[] = [];
    for (const batch of batchesOf(changed)) {
      ctx.signal.throwIfAborted();
      await ctx.pace?.ready();
      const written = await writer.copy(batch);
      ctx.pace?.spent(0, bytesOf(batch));
      applied += written.applied;
      torn.push(...written.torn);
      left -= batch.length;
      done += bytesOf(batch);
      ctx.report.progress({ what: this.name, done, total: bytes, unit: 'bytes' });
      if (ctx.clock.monotonicMs() >= untilMs) break;
    }
    return { applied, pending: left + torn.length, torn };
  }

  /** Looks at what the new folder holds before the first copy of a run: an earlier run's files are trusted only as far as they are equal. */
  async #adoptTarget(ctx: Context): Promise<void> {
    const { sidecar, state, folders } = this.#open(ctx);
    const known = state.read('next');
    const synced = state.synced();
    const held = new Map<RawPath, string>();
    for (const { path: file, stat } of await folders.next.files(ctx.signal)) {
      const hash = knownHash(known.get(file), stampOf(stat));
      const read = hash === null ? await readFile(folders.next.at(file), ctx.clock) : null;
      held.set(file, hash ?? (read === null || typeof read === 'string' ? '' : read.sha256));
    }
    const adopted: [RawPath, string][] = [];
    const foreign: RawPath[] = [];
    for (const [file, sha256] of held) {
      if (synced.has(file)) continue;
      const read = await readFile(folders.legacy.at(file), ctx.clock);
      if (typeof read !== 'string' && read.sha256 === sha256) adopted.push([file, sha256]);
      else foreign.push(file);
    }
    if (foreign.length > 0) {
      const fields = { folder: folders.next.name, count: foreign.length, file: shown(foreign[0] ?? rawPath('')) };
      throw new ChangeoverError('CHG_DATA_FILES_TARGET_USED', { ...fields, source: folders.legacy.name });
    }
    sidecar.gated(ctx.epoch, () => {
      for (const [file, sha256] of adopted) state.setSynced(file, sha256);
      for (const [file, { sha256 }] of synced) if (held.get(file) !== sha256) state.setSynced(file, '');
    });
  }

  async #emptyTarget(ctx: Context): Promise<void> {
    const { sidecar, state, folders } = this.#open(ctx);
    let kept = 0;
    for (const [file, { sha256 }] of state.synced()) {
      const read = await readFile(folders.next.at(file), ctx.clock);
      if (read === 'gone') continue;
      const isOurs = read !== 'torn' && (sha256 === '' || read.sha256 === sha256);
      if (!isOurs) kept += 1;
      else {
        sidecar.gated(ctx.epoch, () => {
          rmSync(folders.next.at(file), { force: true });
          folders.next.pruneAbove(file, null);
        });
      }
    }
    if (sidecar.note('made next') === true) folders.next.removeIfEmpty(rawPath(''));
    if (kept > 0) ctx.report.warn(`${folders.next.name}: ${kept} files changed since they were copied and were kept`);
  }

  #removeDrafts(ctx: Context): void {
    const { sidecar, folders } = this.#open(ctx);
    sidecar.gated(ctx.epoch, () => {
      for (const folder of [folders.legacy, folders.next]) {
        for (const draft of folder.drafts()) rmSync(folder.at(draft), { force: true });
      }
    });
  }

  #do<Result>(action: string, act: () => Promise<Result> | Result): Promise<Result> {
    return named(`data.${this.name}`, action, act);
  }
}

function* batchesOf(files: readonly ChangedFile[]): Generator<ChangedFile[]> {
  let batch: ChangedFile[] = [];
  for (const file of files) {
    batch.push(file);
    if (batch.length < BATCH_FILES && bytesOf(batch) < BATCH_BYTES) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}
