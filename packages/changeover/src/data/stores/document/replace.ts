import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  closeSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { ChangeoverError } from '../../../errors.ts';
import type { Context } from '../../../plan/context.ts';
import type { Json } from '../../../plan/words.ts';
import { isMissing, isSameStamp, stampOf, syncFolder, type Stamp } from '../../durable.ts';
import type { Sidecar } from '../../sidecar.ts';

const INTENT = 'replace';
/** Of a file that is made anew. */
const NEW_FILE_MODE = 0o644;

/** One file that is about to become another: `bytes` null removes it. */
export interface Replacement {
  readonly path: string;
  readonly before: Stamp | null;
  readonly bytes: Uint8Array | null;
}

interface Step {
  readonly path: string;
  readonly before: Stamp | null;
  /** The finished new file beside it; null removes it. */
  readonly draft: string | null;
  readonly sha256: string | null;
}

/**
 * Replaces several files so that a kill at any moment ends with all of them: their new contents are durable beside them before the first
 * rename, and whoever comes next finishes the renames. A file that somebody else changed in between is left alone.
 */
export class Replacer {
  readonly #sidecar: Sidecar;
  readonly #ctx: Context;
  readonly #store: string;
  readonly #paths: readonly string[];

  constructor(sidecar: Sidecar, ctx: Context, store: string, paths: readonly string[]) {
    this.#sidecar = sidecar;
    this.#ctx = ctx;
    this.#store = store;
    this.#paths = paths;
  }

  /** Throws `CHG_DATA_DOCUMENT_CHANGED` when a file is not any more what it was planned to replace. */
  replace(epoch: number, replacements: readonly Replacement[]): void {
    this.#sidecar.gated(epoch, () => {
      this.#removeDrafts();
      const steps = replacements.map((replacement): Step => {
        const target = realPathOf(replacement.path);
        if (!isSameStamp(stampAt(target), replacement.before)) throw this.#changed(replacement.path);
        const { bytes, before } = replacement;
        if (bytes === null) return { path: target, before, draft: null, sha256: null };
        return { path: target, before, draft: writeDraft(target, bytes), sha256: sha256(bytes) };
      });
      this.#ctx.faults.at('data.document.drafted');
      this.#sidecar.setNote(INTENT, steps as unknown as Json);
    });
    this.#ctx.faults.at('data.document.intended');
    this.#finish(epoch);
    this.#ctx.faults.at('data.document.done');
  }

  /** Finishes what a killed process left. An owner that was replaced leaves it to its successor. */
  recover(): void {
    if (this.#sidecar.epoch < this.#sidecar.gate() || this.#sidecar.epoch === 0) return;
    if (this.#sidecar.note(INTENT) !== undefined) this.#finish(this.#sidecar.epoch);
  }

  /** Removes what a process left that was killed before it had an intent. */
  clean(): void {
    this.#sidecar.gated(this.#sidecar.epoch, () => {
      this.#removeDrafts();
    });
  }

  #finish(epoch: number): void {
    this.#sidecar.gated(epoch, () => {
      const steps = (this.#sidecar.note(INTENT) as unknown as readonly Step[] | undefined) ?? [];
      for (const { path: target, before, draft, sha256: expected } of steps) {
        const isOurs = draft === null || readIfPresent(draft) === expected;
        if (isOurs && isSameStamp(stampAt(target), before)) {
          if (draft === null) rmSync(target, { force: true });
          else renameSync(draft, target);
          syncFolder(path.dirname(target));
          this.#ctx.faults.at('data.document.renamed');
        }
      }
      this.#sidecar.dropNote(INTENT);
      this.#removeDrafts();
    });
  }

  /** Only inside the gate: nobody else has one then. */
  #removeDrafts(): void {
    for (const file of this.#paths) {
      const target = realPathOf(file);
      const prefix = draftPrefix(target);
      for (const name of readFolder(path.dirname(target))) {
        if (name.startsWith(prefix)) rmSync(path.join(path.dirname(target), name), { force: true });
      }
    }
  }

  #changed(file: string): ChangeoverError {
    return new ChangeoverError('CHG_DATA_DOCUMENT_CHANGED', { store: this.#store, file });
  }
}

function draftPrefix(file: string): string {
  return `.${path.basename(file)}.changeover-`;
}

/** Writes the new file beside the old one, durably, with its mode and owner. */
function writeDraft(file: string, bytes: Uint8Array): string {
  const folder = path.dirname(file);
  const draft = path.join(folder, `${draftPrefix(file)}${process.pid}`);
  const old = statIfPresent(file);
  const owner = old ?? statSync(folder, { bigint: true });
  const fd = openSync(draft, 'wx', 0o600);
  try {
    for (let written = 0; written < bytes.length;) written += writeSync(fd, bytes, written);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  // The owner first: changing it may clear bits of the mode.
  const mine = statSync(draft, { bigint: true });
  if (mine.uid !== owner.uid || mine.gid !== owner.gid) chownSync(draft, Number(owner.uid), Number(owner.gid));
  chmodSync(draft, old ? Number(old.mode & 0o7777n) : NEW_FILE_MODE);
  return draft;
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function readIfPresent(file: string): string | null {
  try {
    return sha256(readFileSync(file));
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

function statIfPresent(file: string) {
  return statSync(file, { bigint: true, throwIfNoEntry: false });
}

function stampAt(file: string): Stamp | null {
  const stat = statIfPresent(file);
  return stat ? stampOf(stat) : null;
}

function readFolder(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

/** A link stays a link: the file that it leads to is replaced. */
function realPathOf(file: string): string {
  try {
    return realpathSync(file);
  } catch (error) {
    if (isMissing(error)) return file;
    throw error;
  }
}
