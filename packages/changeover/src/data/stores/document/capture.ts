import type { Context } from '../../../plan/context.ts';
import type { Capture, ChangeBatch } from '../../../plan/stores.ts';
import type { Json } from '../../../plan/words.ts';
import { isSameStamp, isSettled, named, type Stamp } from '../../durable.ts';
import type { Sidecar } from '../../sidecar.ts';
import { decodeKey } from '../../values.ts';
import { hashOf, type DocumentReader, type Reading } from './reader.ts';

const TABLES = 'captured';
const SCAN = 'scan';
const RESCAN = 'rescan';
/** Stands for the hash of a row that was read in a state which no scan has seen; equal to none. */
const UNSEEN = '';

interface Scan {
  readonly readAtMs: number;
  readonly stamps: Readonly<Record<string, Stamp | null>>;
}

/** What the rows of one batch were when it was made; null for those that were gone. */
interface Token {
  readonly rows: readonly { readonly table: string; readonly id: string; readonly hash: string | null }[];
  readonly isRescan: boolean;
}

/** Rows whose hash differs from that of the last acknowledged scan. Files with the stamps of a scan without differences are not read. */
export class DocumentCapture implements Capture {
  readonly #reader: DocumentReader;
  readonly #sidecar: Sidecar;
  readonly #ctx: Context;
  readonly #store: string;
  /** The state of the scan was seen missing: what changed since is not known any more. */
  #isLost = false;
  /** The rows that the last scan, or a reading after it, came upon. */
  #seen: Reading['tables'] | null = null;
  /** Rows that were read in another state after the batch was made, as `table key`. */
  readonly #unseen = new Set<string>();

  constructor(reader: DocumentReader, sidecar: Sidecar, ctx: Context, store: string) {
    this.#reader = reader;
    this.#sidecar = sidecar;
    this.#ctx = ctx;
    this.#store = store;
  }

  install(tables: readonly string[]): Promise<void> {
    return named(this.#store, 'capturing', async () => {
      const captured = this.#captured();
      const added = tables.filter((table) => !captured.includes(table));
      if (added.length === 0) return;
      this.#ctx.faults.at('data.capture.installing');
      const reading = await this.#reader.read();
      this.#sidecar.gated(this.#sidecar.epoch, () => {
        for (const table of added) {
          for (const [id, row] of reading.tables[table] ?? []) this.#remember(table, id, hashOf(row));
        }
        this.#sidecar.setNote(TABLES, [...captured, ...added]);
        if (this.#isLost) this.#sidecar.setNote(RESCAN, true);
        this.#sidecar.dropNote(SCAN);
      });
      this.#seen = reading.tables;
      this.#ctx.faults.at('data.capture.installed');
    });
  }

  /**
   * Told of every reading whose rows go to the target. A row that changes and changes back between two scans differs in none of them, yet
   * the target got what it was in between: such rows stay pending until they are read as a scan saw them. Written down before
   * anybody can have written the row to the target.
   */
  served(reading: Reading): void {
    const { tables } = reading;
    if (tables === this.#seen || this.#sidecar.epoch === 0) return;
    const captured = this.#captured();
    const unseen = captured.flatMap((table) =>
      this.#seen === null
        ? this.#differences(table, reading)
        : differences(table, known(this.#seen[table]), tables[table]),
    );
    if (unseen.length > 0) {
      this.#sidecar.gated(this.#sidecar.epoch, () => {
        for (const { table, id } of unseen) this.#remember(table, id, UNSEEN);
        this.#sidecar.dropNote(SCAN);
      });
    }
    for (const { table, id } of unseen) this.#unseen.add(`${table} ${id}`);
    this.#seen = tables;
  }

  pending(limit: number): Promise<ChangeBatch> {
    return named(this.#store, 'reading', async () => {
      const reading = await this.#reader.read();
      const captured = this.#captured();
      const isRescan = this.#sidecar.note(RESCAN) === true;
      const isSame = this.#isAsScanned(reading);
      const changed = isSame ? [] : captured.flatMap((table) => this.#differences(table, reading));
      if (changed.length === 0 && !isSame) this.#noteScan(reading);
      this.#seen = reading.tables;
      this.#unseen.clear();
      const rows = isRescan ? changed : changed.slice(0, limit);
      const token: Token = { rows, isRescan };
      return {
        changes: isRescan ? [] : rows.map(({ table, id }) => ({ table, key: decodeKey(id) })),
        rescan: isRescan ? captured : [],
        remaining: changed.length - rows.length,
        token,
      };
    });
  }

  acknowledge({ token }: ChangeBatch): Promise<void> {
    return named(this.#store, 'acknowledging', () => {
      this.#sidecar.gated(this.#sidecar.epoch, () => {
        for (const { table, id, hash } of (token as Token).rows)
          this.#remember(table, id, this.#unseen.has(`${table} ${id}`) ? UNSEEN : hash);
        if ((token as Token).isRescan) this.#sidecar.dropNote(RESCAN);
        this.#sidecar.dropNote(SCAN);
      });
    });
  }

  intact(): Promise<readonly string[]> {
    return named(this.#store, 'checking', () => {
      this.#isLost = this.#captured().length === 0;
      return this.#isLost ? [`the state of the last scan of ${this.#store} is missing`] : [];
    });
  }

  remove(): Promise<void> {
    return named(this.#store, 'forgetting', () => {
      this.#sidecar.transaction(() => {
        this.#sidecar.run('DELETE FROM document_row WHERE store = ?');
        for (const note of [TABLES, SCAN, RESCAN]) this.#sidecar.dropNote(note);
      });
    });
  }

  #captured(): readonly string[] {
    return (this.#sidecar.note(TABLES) as readonly string[] | undefined) ?? [];
  }

  #differences(table: string, reading: Reading): Token['rows'] {
    const rows = this.#sidecar.all('SELECT key, hash FROM document_row WHERE store = ? AND tbl = ?', table);
    const hashes = new Map(rows.map(({ key, hash }) => [String(key), String(hash)]));
    return differences(table, hashes, reading.tables[table]);
  }

  #remember(table: string, id: string, hash: string | null): void {
    if (hash === null) this.#sidecar.run('DELETE FROM document_row WHERE store = ? AND tbl = ? AND key = ?', table, id);
    else this.#sidecar.run('INSERT OR REPLACE INTO document_row VALUES (?, ?, ?, ?)', table, id, hash);
  }

  /** Only the owner writes it down: what a mere reader saw may be older than what the owner acknowledges meanwhile. */
  #noteScan({ files }: Reading): void {
    if (this.#sidecar.epoch === 0 || this.#sidecar.epoch < this.#sidecar.gate()) return;
    const all = Object.entries(files);
    const scan: Scan = {
      readAtMs: Math.min(...all.map(([, { readAtMs }]) => readAtMs)),
      stamps: Object.fromEntries(all.map(([name, { stamp }]) => [name, stamp])),
    };
    this.#sidecar.setNote(SCAN, scan as unknown as Json);
  }

  #isAsScanned({ files }: Reading): boolean {
    const scan = this.#sidecar.note(SCAN) as unknown as Scan | undefined;
    if (!scan) return false;
    return Object.entries(files).every(([name, { stamp }]) => {
      const then = scan.stamps[name] ?? null;
      return isSameStamp(stamp, then) && (then === null || isSettled(then, scan.readAtMs));
    });
  }
}

type Rows = Reading['tables'][string] | undefined;

function known(rows: Rows): Map<string, string> {
  return new Map([...(rows ?? [])].map(([id, row]) => [id, hashOf(row)]));
}

/** Rows that are new, changed or gone, with the hash that they have now. */
function differences(table: string, before: Map<string, string>, rows: Rows): Token['rows'] {
  const found: Token['rows'][number][] = [];
  for (const [id, row] of rows ?? []) {
    const hash = hashOf(row);
    if (before.get(id) !== hash) found.push({ table, id, hash });
    before.delete(id);
  }
  for (const id of before.keys()) found.push({ table, id, hash: null });
  return found;
}
