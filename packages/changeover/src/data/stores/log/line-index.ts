import { createHash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { ChangeoverError } from '../../../errors.ts';
import type { Key, Row } from '../../../plan/stores.ts';
import { identityOf, isMissing } from '../../durable.ts';
import type { Sidecar } from '../../sidecar.ts';
import { readLines, reasonAgainst, type Line, type LineFormat } from './line.ts';

/** How far a file has been read, and what tells that it is still the same file. */
export interface Place {
  readonly file: string;
  readonly offset: number;
  /** Hash of the bytes before `offset`. */
  readonly tail: string;
  /** Complete lines before `offset`. */
  readonly number: number;
}

interface IndexState extends Place {
  /** Lines before `offset` that are rows. */
  readonly rows: number;
  /** Increases whenever the file turns out to be another one. */
  readonly generation: number;
}

export interface BrokenLine {
  readonly number: number;
  readonly offset: number;
  readonly reason: string;
}

/** An opened log with what is known about it. */
export interface LogView {
  readonly file: FileHandle;
  readonly size: number;
  readonly index: IndexState;
  /** What need not be asked for each line, since there is none. */
  readonly has: { readonly broken: boolean; readonly known: boolean };
}

const TAIL_BYTES = 4096;
/** Work that a kill may cost, and the distance of the marks from which line numbers are counted. */
const SAVE_BYTES = 8 * 1024 * 1024;
const MARK_BYTES = 64 * 1024;
const SINGLE_LINE_BLOCK_BYTES = 8 * 1024;
/** Lines so near each other are read with what is between them. */
const NEAR_BYTES = 16 * 1024;

const START: Place = { file: '', offset: 0, tail: '', number: 0 };

/**
 * The lines of one log: which are rows, which are broken, and under which id each goes. Only what was added since the last look is
 * read; a file that was truncated, rotated or replaced is noticed and read from its start.
 */
export class LineIndex {
  readonly path: string;
  readonly format: LineFormat;
  readonly #store: string;
  readonly #sidecar: Sidecar;
  /** Offsets with their line numbers, for one generation. */
  #marks: { generation: number; places: { offset: number; number: number }[] } = { generation: -1, places: [] };
  #turn: Promise<unknown> = Promise.resolve();

  constructor(path: string, format: LineFormat, store: string, sidecar: Sidecar) {
    this.path = path;
    this.format = format;
    this.#store = store;
    this.#sidecar = sidecar;
  }

  /** Opens the log, reads what is new, and closes it after `use`. A missing log is `null`. One at a time. */
  view<Result>(use: (view: LogView | null) => Promise<Result>): Promise<Result> {
    const turn = this.#turn.then(async () => {
      let file: FileHandle;
      try {
        file = await open(this.path, 'r');
      } catch (error) {
        if (isMissing(error)) return use(null);
        throw error;
      }
      try {
        const stat = await file.stat({ bigint: true });
        const size = Number(stat.size);
        const index = await this.#refresh(file, identityOf(stat), size);
        const has = { broken: this.#any('log_broken'), known: this.#any('log_line') };
        return await use({ file, size, index, has });
      } finally {
        await file.close();
      }
    });
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  /** Where `view` ends now, for a later `isStillAt`. */
  placeOf(view: LogView | null): Place {
    if (!view) return START;
    const { file, offset, tail, number } = view.index;
    return { file, offset, tail, number };
  }

  /** The place after `line`, the `number`th of the file. */
  async placeAfter(view: LogView, line: Line, number: number): Promise<Place> {
    return { file: view.index.file, offset: line.end, tail: await tailOf(view.file, line.end), number };
  }

  /** False when the file was truncated, rotated, replaced or rewritten since it was read up to `place`. */
  async isStillAt(view: LogView | null, place: Place): Promise<boolean> {
    if (place.offset === 0) return true;
    if (view?.index.file !== place.file || view.size < place.offset) return false;
    return (await tailOf(view.file, place.offset)) === place.tail;
  }

  /** The rows from `from` on, the start of a line with `number` lines before it. */
  async *rows(view: LogView, from: number, number: number): AsyncGenerator<{ row: Row; line: Line; number: number }> {
    for await (const line of readLines(view.file, from, view.index.offset)) {
      number += 1;
      const row = this.#rowOf(view, line, number);
      if (row) yield { row, line, number };
    }
  }

  /** The rows of those ids whose lines are still there, in the order of the file. Lines near each other are read in one go. */
  async rowsOf(view: LogView, ids: readonly string[]): Promise<Row[]> {
    const wanted = new Set(ids);
    const offsets = [...wanted].map((id) => this.#offsetOf(id)).filter((offset) => offset !== null);
    offsets.sort((one, other) => one - other);
    const found: Row[] = [];
    for (let from = 0; from < offsets.length;) {
      const start = offsets[from] ?? 0;
      let last = start;
      let next = from;
      for (; next < offsets.length && (offsets[next] ?? 0) - last <= NEAR_BYTES; next += 1) last = offsets[next] ?? 0;
      // An id that names the middle of a line would make a row of its second half; the next one may start a line again.
      if (start >= view.index.offset || !(await startsLine(view.file, start))) {
        from += 1;
        continue;
      }
      const block = last - start > NEAR_BYTES ? undefined : SINGLE_LINE_BLOCK_BYTES;
      let number = await this.numberAt(view, start);
      for await (const line of readLines(view.file, start, view.index.offset, block)) {
        number += 1;
        const row = this.#rowOf(view, line, number);
        if (row && wanted.has(String(row['id']))) found.push(row);
        if (line.offset >= last) break;
      }
      from = next;
    }
    return found;
  }

  /** The line of that id, also when its row was deleted. */
  async line(view: LogView, id: string): Promise<(Line & { readonly bytes: Buffer }) | null> {
    const offset = this.#offsetOf(id);
    if (offset === null) return null;
    const line = await lineAt(view.file, offset, view.index.offset);
    if (!line?.bytes || this.#identify(view, line.offset, line.bytes).id !== id) return null;
    return { ...line, bytes: line.bytes };
  }

  /** Where the line after the one of that id starts. Throws `CHG_DATA_LOG_POSITION` when that cannot be told. */
  async after(view: LogView, [id]: Key): Promise<number> {
    const offset = this.#offsetOf(String(id));
    if (offset === null) throw new ChangeoverError('CHG_DATA_LOG_POSITION', { store: this.#store, id: String(id) });
    for await (const line of readLines(view.file, offset, view.index.offset)) return line.end;
    return view.index.offset;
  }

  /** Complete lines before `offset`. */
  async numberAt(view: LogView, offset: number): Promise<number> {
    const places = await this.#marksOf(view);
    const next = places.findIndex((mark) => mark.offset > offset);
    const mark = places.at(next < 0 ? -1 : next - 1) ?? START;
    return mark.number + (await countNewlines(view.file, mark.offset, offset));
  }

  brokenLines(): BrokenLine[] {
    const rows = this.#sidecar.all(
      'SELECT number, offset, reason FROM log_broken WHERE store = ? ORDER BY offset LIMIT 100000',
    );
    return rows.map((row) => ({
      number: Number(row['number']),
      offset: Number(row['offset']),
      reason: String(row['reason']),
    }));
  }

  /** How many broken lines there are from `offset` on. */
  brokenFrom(offset: number): number {
    const sql = 'SELECT count(*) AS n FROM log_broken WHERE store = ? AND offset >= ?';
    return Number(this.#sidecar.all(sql, offset)[0]?.['n']);
  }

  /** Remembers that the line at `offset` goes under `id`, and whether its row is there. Inside a transaction. */
  assign(id: string, offset: number, bytes: Uint8Array, isDeleted = false): void {
    const sql = 'INSERT OR REPLACE INTO log_line VALUES (?, ?, ?, ?, ?)';
    this.#sidecar.run(sql, id, offset, hashOf(bytes), isDeleted ? 1 : 0);
  }

  /** How many rows were deleted whose lines are still there. */
  deletedRows(): number {
    const sql = 'SELECT count(*) AS n FROM log_line WHERE store = ? AND is_deleted = 1';
    return Number(this.#sidecar.all(sql)[0]?.['n']);
  }

  async #refresh(file: FileHandle, identity: string, size: number): Promise<IndexState> {
    const known = this.#sidecar.note('index') as unknown as IndexState | undefined;
    const isSame =
      known?.file === identity && known.offset <= size && known.tail === (await tailOf(file, known.offset));
    let state: IndexState = isSame
      ? known
      : { ...START, file: identity, rows: 0, generation: (known?.generation ?? 0) + 1 };
    if (!isSame) await this.#forget(file, size, state);
    let broken: BrokenLine[] = [];
    const save = async (next: IndexState): Promise<void> => {
      state = { ...next, tail: await tailOf(file, next.offset) };
      this.#sidecar.transaction(() => {
        for (const { offset, number, reason } of broken) {
          this.#sidecar.run('INSERT OR REPLACE INTO log_broken VALUES (?, ?, ?, ?)', offset, number, reason);
        }
        this.#sidecar.setNote('index', { ...state });
      });
      broken = [];
    };
    let { offset, number, rows } = state;
    for await (const line of readLines(file, offset, size)) {
      number += 1;
      offset = line.end;
      const reason = reasonAgainst(line.bytes, this.format);
      if (reason === null) rows += 1;
      else broken.push({ offset: line.offset, number, reason });
      if (offset - state.offset > SAVE_BYTES) await save({ ...state, offset, number, rows });
    }
    if (offset > state.offset) await save({ ...state, offset, number, rows });
    return state;
  }

  /** The file is another one: only lines that are there with the same text keep the id that they were given. */
  async #forget(file: FileHandle, size: number, state: IndexState): Promise<void> {
    const lost: string[] = [];
    for (const row of this.#sidecar.all('SELECT id, offset, hash FROM log_line WHERE store = ?')) {
      const line = await lineAt(file, Number(row['offset']), size);
      if (!line?.bytes || hashOf(line.bytes) !== row['hash']) lost.push(String(row['id']));
    }
    this.#sidecar.transaction(() => {
      for (const id of lost) this.#sidecar.run('DELETE FROM log_line WHERE store = ? AND id = ?', id);
      this.#sidecar.run('DELETE FROM log_broken WHERE store = ?');
      this.#sidecar.setNote('index', { ...state });
    });
  }

  #rowOf(view: LogView, { offset, bytes }: Line, number: number): Row | null {
    if (bytes === null || (view.has.broken && this.#isBroken(offset))) return null;
    const { id, isDeleted } = this.#identify(view, offset, bytes);
    return isDeleted ? null : { id, offset, number, text: bytes.toString('utf8') };
  }

  #identify(view: LogView, offset: number, bytes: Buffer): { id: string; isDeleted: boolean } {
    const native = `@${offset}`;
    if (!view.has.known) return { id: native, isDeleted: false };
    const [row] = this.#sidecar.all('SELECT id, hash, is_deleted FROM log_line WHERE store = ? AND offset = ?', offset);
    if (row && row['hash'] === hashOf(bytes)) return { id: String(row['id']), isDeleted: row['is_deleted'] === 1 };
    // A row that was appended may have been called like the native line of another place.
    const isTaken = (this.#known(native)?.offset ?? offset) !== offset;
    return { id: isTaken ? `${native}'` : native, isDeleted: false };
  }

  #isBroken(offset: number): boolean {
    return this.#sidecar.all('SELECT 1 FROM log_broken WHERE store = ? AND offset = ?', offset).length > 0;
  }

  #any(table: string): boolean {
    return this.#sidecar.all(`SELECT 1 FROM ${table} WHERE store = ? LIMIT 1`).length > 0;
  }

  /** Where the line of that id starts, as far as the id tells. */
  #offsetOf(id: string): number | null {
    return this.#known(id)?.offset ?? nativeOffset(id);
  }

  #known(id: string): { offset: number } | null {
    const [row] = this.#sidecar.all('SELECT offset FROM log_line WHERE store = ? AND id = ?', id);
    return row ? { offset: Number(row['offset']) } : null;
  }

  async #marksOf({ file, index }: LogView): Promise<{ offset: number; number: number }[]> {
    if (this.#marks.generation !== index.generation) {
      this.#marks = { generation: index.generation, places: [{ offset: 0, number: 0 }] };
    }
    const { places } = this.#marks;
    for (let last = places.at(-1) ?? START; index.offset - last.offset > MARK_BYTES;) {
      const offset = last.offset + MARK_BYTES;
      last = { offset, number: last.number + (await countNewlines(file, last.offset, offset)) };
      places.push(last);
    }
    return places;
  }
}

/** The offset that a native id names. */
function nativeOffset(id: string): number | null {
  const digits = /^@(\d{1,15})'?$/.exec(id)?.[1];
  return digits === undefined ? null : Number(digits);
}

/** The complete line that starts at `offset`, if one does. */
async function lineAt(file: FileHandle, offset: number, size: number): Promise<Line | null> {
  if (!(await startsLine(file, offset))) return null;
  for await (const line of readLines(file, offset, size, SINGLE_LINE_BLOCK_BYTES)) return line;
  return null;
}

async function startsLine(file: FileHandle, offset: number): Promise<boolean> {
  if (offset === 0) return true;
  const { bytesRead, buffer } = await file.read(Buffer.alloc(1), 0, 1, offset - 1);
  return bytesRead === 1 && buffer[0] === 10;
}

async function tailOf(file: FileHandle, offset: number): Promise<string> {
  if (offset === 0) return START.tail;
  const from = Math.max(0, offset - TAIL_BYTES);
  const { bytesRead, buffer } = await file.read(Buffer.alloc(offset - from), 0, offset - from, from);
  return hashOf(buffer.subarray(0, bytesRead));
}

async function countNewlines(file: FileHandle, from: number, to: number): Promise<number> {
  const { bytesRead, buffer } = await file.read(Buffer.alloc(to - from), 0, to - from, from);
  let count = 0;
  for (let at = buffer.indexOf(10); at >= 0 && at < bytesRead; at = buffer.indexOf(10, at + 1)) count += 1;
  return count;
}

function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
