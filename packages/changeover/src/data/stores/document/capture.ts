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
      this.#ctx.faults.at('data.capture.installed');
    });
  }

  pending(limit: number): Promise<ChangeBatch> {
    return named(this.#store, 'reading', async () => {
      const reading = await this.#reader.read();
      const captured = this.#captured();
      const isRescan = this.#sidecar.note(RESCAN) === true;
      const isSame = this.#isAsScanned(reading);
      const differences = isSame ? [] : captured.flatMap((table) => this.#differences(table, reading));
      if (differences.length === 0 && !isSame) this.#noteScan(reading);
      const rows = isRescan ? differences : differences.slice(0, limit);
      const token: Token = { rows, isRescan };
      return {
        changes: isRescan ? [] : rows.map(({ table, id }) => ({ table, key: decodeKey(id) })),
        rescan: isRescan ? captured : [],
        remaining: differences.length - rows.length,
        token,
      };
    });
  }

  acknowledge({ token }: ChangeBatch): Promise<void> {
    return named(this.#store, 'acknowledging', () => {
      this.#sidecar.gated(this.#sidecar.epoch, () => {
        for (const { table, id, hash } of (token as Token).rows) this.#remember(table, id, hash);
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
    const differences: Token['rows'][number][] = [];
    const known = new Map<string, string>();
    for (const { key, hash } of this.#sidecar.all(
      'SELECT key, hash FROM document_row WHERE store = ? AND tbl = ?',
      table,
    )) {
      known.set(String(key), String(hash));
    }
    for (const [id, row] of reading.tables[table] ?? []) {
      const hash = hashOf(row);
      if (known.get(id) !== hash) differences.push({ table, id, hash });
      known.delete(id);
    }
    for (const id of known.keys()) differences.push({ table, id, hash: null });
    return differences;
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
