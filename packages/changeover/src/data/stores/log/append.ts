import {
  closeSync,
  existsSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  statSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { ChangeoverError } from '../../../errors.ts';
import type { Context } from '../../../plan/context.ts';
import type { LedgerEntry } from '../../../plan/stores.ts';
import type { Json } from '../../../plan/words.ts';
import { syncFolder } from '../../durable.ts';
import type { Sidecar } from '../../sidecar.ts';
import type { LineIndex } from './line-index.ts';

const INTENT = 'append';

/** What is about to be appended: enough to tell after a kill whether it was, in part or whole. */
interface Intent {
  readonly offset: number;
  /** The newline that a half line before it lacks, or nothing. */
  readonly before: '' | '\n';
  readonly lines: readonly { readonly id: string; readonly text: string }[];
  readonly ledger: LedgerEntry | null;
}

/**
 * Appends lines so that a kill at any moment neither loses, doubles nor halves one: what will be written, and where, is durable before
 * the first byte, and whoever comes next compares the end of the file with it and completes it.
 */
export class Appender {
  readonly #index: LineIndex;
  readonly #sidecar: Sidecar;
  readonly #ctx: Context;
  readonly #store: string;

  constructor(index: LineIndex, sidecar: Sidecar, ctx: Context, store: string) {
    this.#index = index;
    this.#sidecar = sidecar;
    this.#ctx = ctx;
    this.#store = store;
  }

  append(epoch: number, lines: Intent['lines'], ledger: LedgerEntry | null): void {
    this.#sidecar.gated(epoch, () => {
      const { offset, before } = endOf(this.#index.path);
      const intent: Intent = { offset, before, lines, ledger };
      this.#sidecar.setNote(INTENT, intent as unknown as Json);
    });
    this.#ctx.faults.at('data.log.intended');
    this.#complete(epoch, true);
    this.#ctx.faults.at('data.log.recorded');
  }

  /** Completes what a killed process left. An owner that was replaced leaves it to its successor. */
  recover(): void {
    if (this.#sidecar.note(INTENT) === undefined || this.#sidecar.epoch < this.#sidecar.gate()) return;
    this.#complete(this.#sidecar.epoch, false);
  }

  #complete(epoch: number, isFresh: boolean): void {
    this.#sidecar.gated(epoch, () => {
      const intent = this.#sidecar.note(INTENT) as unknown as Intent | undefined;
      if (!intent) return;
      const bytes = Buffer.from(intent.before + intent.lines.map(({ text }) => `${text}\n`).join(''));
      let offset = this.#write(intent.offset, bytes, isFresh) + intent.before.length;
      this.#ctx.faults.at('data.log.appended');
      for (const { id, text } of intent.lines) {
        const line = Buffer.from(text);
        this.#index.assign(id, offset, line);
        offset += line.length + 1;
      }
      if (intent.ledger) this.#sidecar.enterIntoLedger(intent.ledger);
      this.#sidecar.dropNote(INTENT);
    });
  }

  /** Makes the bytes stand in the file once, at `offset` or after; returns where. */
  #write(offset: number, bytes: Buffer, isFresh: boolean): number {
    const isNew = !existsSync(this.#index.path);
    const fd = openSync(this.#index.path, 'a+', 0o644);
    try {
      if (isNew) giveToOwnerOf(fd, path.dirname(this.#index.path));
      const added = readFrom(fd, offset);
      const found = added.length < bytes.length ? -1 : added.indexOf(bytes);
      if (found >= 0) return sync(fd, offset + found);
      if (bytes.subarray(0, added.length).equals(added)) {
        ftruncateSync(fd, offset);
      } else if (!isFresh || added.at(-1) !== 10) {
        throw new ChangeoverError('CHG_DATA_LOG_TAIL', { store: this.#store, offset, bytes: added.length });
      }
      // Appending never overwrites what somebody else added meanwhile; it only comes after it.
      writeAll(fd, bytes);
      return sync(fd, offset + readFrom(fd, offset).indexOf(bytes));
    } finally {
      closeSync(fd);
      if (isNew) syncFolder(path.dirname(this.#index.path));
    }
  }
}

/** Where the next byte goes, and the newline that must come first when somebody died in the middle of a line. */
function endOf(file: string): Pick<Intent, 'offset' | 'before'> {
  if (!existsSync(file)) return { offset: 0, before: '' };
  const fd = openSync(file, 'r');
  try {
    const offset = fstatSync(fd).size;
    return { offset, before: offset > 0 && readFrom(fd, offset - 1)[0] !== 10 ? '\n' : '' };
  } finally {
    closeSync(fd);
  }
}

function readFrom(fd: number, offset: number): Buffer {
  const bytes = Buffer.alloc(Math.max(0, fstatSync(fd).size - offset));
  let length = 0;
  while (length < bytes.length) {
    const read = readSync(fd, bytes, length, bytes.length - length, offset + length);
    if (read === 0) break;
    length += read;
  }
  return bytes.subarray(0, length);
}

function writeAll(fd: number, bytes: Buffer): void {
  for (let written = 0; written < bytes.length;) written += writeSync(fd, bytes, written);
}

function sync(fd: number, result: number): number {
  fsyncSync(fd);
  return result;
}

/** A log that we create must be writable by the legacy, which may run as somebody else. */
function giveToOwnerOf(fd: number, folder: string): void {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = statSync(folder);
  fchownSync(fd, uid, gid);
}
