import { accessSync, constants } from 'node:fs';
import { ChangeoverError } from '../../../errors.ts';
import type { Context } from '../../../plan/context.ts';
import type {
  Capture,
  Key,
  LedgerEntry,
  OpenStore,
  Row,
  StoreLock,
  TableShape,
  WriteBatch,
} from '../../../plan/stores.ts';
import type { Finding, Footprint } from '../../../plan/words.ts';
import { codeOf, isMissing, named } from '../../durable.ts';
import { Sidecar } from '../../sidecar.ts';
import { Appender } from './append.ts';
import { LogCapture, TABLE } from './capture.ts';
import { LineIndex, type BrokenLine, type LogView } from './line-index.ts';
import { reasonAgainst, type LineFormat } from './line.ts';

interface NewLine {
  readonly id: string;
  readonly text: string;
}

/** A line that is there and whose row appears or disappears. */
interface Mark {
  readonly id: string;
  readonly line: { readonly offset: number; readonly bytes: Uint8Array };
  readonly isDeleted: boolean;
}

/** Broken lines that `check` names one by one; it counts all. */
const NAMED_BROKEN_LINES = 20;

/** An opened log. A log only grows: rows can be added, and nothing else can be written. */
export class OpenLog implements OpenStore {
  readonly kind = 'log';
  readonly capture: Capture;
  readonly #store: string;
  readonly #sidecar: Sidecar;
  readonly #index: LineIndex;
  readonly #appender: Appender;

  constructor(path: string, format: LineFormat, store: string, ctx: Context) {
    this.#store = store;
    this.#sidecar = Sidecar.open(ctx, `log:${path}`);
    this.#index = new LineIndex(path, format, store, this.#sidecar);
    this.#appender = new Appender(this.#index, this.#sidecar, ctx, store);
    this.capture = new LogCapture(this.#index, this.#sidecar, ctx, store, () => {
      this.#appender.recover();
    });
  }

  shape(table: string): Promise<TableShape> {
    const column = (name: string, type: string) => ({ name, type, nullable: false });
    const columns = [
      column('id', 'text'),
      column('offset', 'integer'),
      column('number', 'integer'),
      column('text', 'text'),
    ];
    return this.#do('describing', () => {
      if (table !== TABLE) throw new ChangeoverError('CHG_DATA_TABLE_MISSING', { store: this.#store, table });
      return { name: TABLE, key: ['id'], columns };
    });
  }

  /** Rows in the order of the file. */
  chunk(_table: string, after: Key | null, limit: number): Promise<Row[]> {
    return this.#view(async (view) => {
      const rows: Row[] = [];
      if (!view) return rows;
      const from = after ? await this.#index.after(view, after) : 0;
      for await (const { row } of this.#index.rows(view, from, await this.#index.numberAt(view, from))) {
        rows.push(row);
        if (rows.length >= limit) break;
      }
      return rows;
    });
  }

  rows(_table: string, keys: readonly Key[]): Promise<Row[]> {
    return this.#view(async (view) =>
      view
        ? this.#index.rowsOf(
            view,
            keys.map(([id]) => String(id)),
          )
        : [],
    );
  }

  count(): Promise<number> {
    return this.#view((view) => Promise.resolve(view ? view.index.rows - this.ignoredDeletes() : 0));
  }

  /** Lines that are no rows: they do not parse as the log's format. Counted, named, and never moved. */
  brokenLines(): Promise<BrokenLine[]> {
    return this.#view(() => Promise.resolve(this.#index.brokenLines()));
  }

  /** Rows that were deleted although a log cannot forget: their lines are still in the file, and are no rows any more. */
  ignoredDeletes(): number {
    return this.#index.deletedRows();
  }

  prepare(): Promise<void> {
    return this.#do('preparing', () => {
      this.#appender.recover();
    });
  }

  installEpoch(epoch: number): Promise<void> {
    return this.#do('taking over', () => {
      this.#sidecar.installEpoch(epoch);
      this.#appender.recover();
    });
  }

  /**
   * Appends the rows whose id is new, in their order. Rows that are there with the same text are left alone; of a deleted row the line stays
   * and is counted. Throws `CHG_DATA_ROW_REFUSED` for a row that is no line, or whose line has another text.
   */
  async write(batch: WriteBatch): Promise<void> {
    const ledger = batch.ledger ?? null;
    const { lines, marks } = await this.#view(async (view) => {
      if (ledger && this.#sidecar.isInLedger(ledger)) return { lines: [], marks: [] };
      const upserts = batch.changes.flatMap((change) => change.upserts);
      const deletes = batch.changes.flatMap((change) => change.deletes);
      const { lines, marks } = await this.#added(view, upserts);
      return { lines, marks: [...(await this.#deleted(view, deletes)), ...marks] };
    });
    this.#sidecar.gated(batch.epoch, () => {
      for (const { id, line, isDeleted } of marks) this.#index.assign(id, line.offset, line.bytes, isDeleted);
      if (ledger && lines.length === 0) this.#sidecar.enterIntoLedger(ledger);
    });
    if (lines.length === 0) return;
    await this.#do('appending', () => {
      this.#appender.append(batch.epoch, lines, ledger);
    });
  }

  ledger(run: string, sync: string): Promise<LedgerEntry[]> {
    return this.#do('reading the ledger', () => this.#sidecar.ledger(run, sync));
  }

  async empty(): Promise<void> {
    if ((await this.count()) > 0) throw new ChangeoverError('CHG_DATA_LOG_GROWS', { store: this.#store });
  }

  sequences(): Promise<void> {
    return Promise.resolve();
  }

  /** A log is fenced by stopping the unit that writes it. */
  lock(): Promise<StoreLock> {
    return Promise.resolve({ fence: () => Promise.resolve(), release: () => Promise.resolve() });
  }

  fence(): Promise<void> {
    return Promise.resolve();
  }

  unfence(): Promise<void> {
    return Promise.resolve();
  }

  isFenced(): Promise<boolean> {
    return Promise.resolve(false);
  }

  async check(_tables: readonly string[], role: 'source' | 'target'): Promise<Finding[]> {
    const about = this.#store;
    try {
      accessSync(this.#index.path, role === 'source' ? constants.R_OK : constants.R_OK | constants.W_OK);
    } catch (error) {
      if (isMissing(error)) return [{ level: 'warning', about, message: 'the file does not exist: no rows' }];
      const message = `this user may not ${role === 'source' ? 'read' : 'write'} it (${String(codeOf(error))})`;
      return [{ level: 'error', about, message, remedy: `Give this user the right on ${this.#index.path}.` }];
    }
    const { halfBytes, broken } = await this.#view((view) =>
      Promise.resolve({ halfBytes: view ? view.size - view.index.offset : 0, broken: this.#index.brokenLines() }),
    );
    const findings: Finding[] = broken.slice(0, NAMED_BROKEN_LINES).map(({ number, reason }) => ({
      level: 'warning',
      about: `${about}:${number}`,
      message: `this line is not moved, since it is broken: ${reason}`,
      remedy: `See it with: sed -n ${number}p ${this.#index.path}`,
    }));
    if (broken.length > NAMED_BROKEN_LINES) {
      findings.push({ level: 'warning', about, message: `${broken.length} lines are broken and are not moved` });
    }
    if (halfBytes > 0) {
      const message = `the last ${halfBytes} bytes are no line yet: their newline is missing`;
      findings.push({ level: 'info', about, message });
    }
    return findings;
  }

  footprint(_tables: readonly string[], role: 'source' | 'target'): Promise<Footprint[]> {
    if (role === 'source') return Promise.resolve([]);
    const adds = 'lines at the end of the file, one for each row that it does not have';
    return Promise.resolve([
      { where: this.#index.path, adds, right: 'to append to the file', removal: 'none: they are the data' },
    ]);
  }

  /** Nothing of ours is ever in the log but rows. */
  uninstall(): Promise<boolean> {
    return this.#do('uninstalling', () => {
      this.#appender.recover();
      this.#sidecar.forget();
      return false;
    });
  }

  close(): Promise<void> {
    this.#sidecar.close();
    return Promise.resolve();
  }

  async #added(view: LogView | null, upserts: readonly Row[]): Promise<{ lines: NewLine[]; marks: Mark[] }> {
    const lines = new Map<string, string>();
    const marks: Mark[] = [];
    for (const row of upserts) {
      const { id, text } = row;
      if (typeof id !== 'string' || typeof text !== 'string') throw this.#refused(row, 'id and text must be texts');
      const reason = text.includes('\n')
        ? 'a line break in a line'
        : reasonAgainst(Buffer.from(text), this.#index.format);
      if (reason !== null || !text.isWellFormed()) throw this.#refused(row, reason ?? 'half a surrogate pair');
      const line = view && (await this.#index.line(view, id));
      const present = lines.get(id) ?? line?.bytes.toString('utf8');
      if (present === undefined) lines.set(id, text);
      else if (present !== text) throw this.#refused(row, 'its line has another text, and a log only grows');
      else if (line && (await this.#index.rowsOf(view, [id])).length === 0) marks.push({ id, line, isDeleted: false });
    }
    return { lines: Array.from(lines, ([id, text]) => ({ id, text })), marks };
  }

  async #deleted(view: LogView | null, keys: readonly Key[]): Promise<Mark[]> {
    const marks: Mark[] = [];
    for (const [id] of keys) {
      const line = view && (await this.#index.line(view, String(id)));
      if (line) marks.push({ id: String(id), line, isDeleted: true });
    }
    return marks;
  }

  #refused({ id }: Row, reason: string): ChangeoverError {
    return new ChangeoverError('CHG_DATA_ROW_REFUSED', { store: this.#store, table: TABLE, key: String(id), reason });
  }

  #view<Result>(use: (view: LogView | null) => Promise<Result>): Promise<Result> {
    return this.#do('reading', () => {
      this.#appender.recover();
      return this.#index.view(use);
    });
  }

  #do<Result>(action: string, act: () => Promise<Result> | Result): Promise<Result> {
    return named(this.#store, action, act);
  }
}
