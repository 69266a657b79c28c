import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ChangeoverError } from '../errors.ts';

/**
 * Which tables the row functions of a sync looked up. A change of a looked-up row changes rows that were made from it, so their table is then
 * compared whole. Kept in a file, since the process that applies is often not the one that copied.
 */
export class Lookups {
  readonly #sync: string;
  readonly #file: string;
  readonly #captured: ReadonlySet<string>;
  #tables: Record<string, string[]> | null = null;

  /** @param captured The tables of the source whose changes are captured. */
  constructor(sync: string, file: string, captured: ReadonlySet<string>) {
    this.#sync = sync;
    this.#file = file;
    this.#captured = captured;
  }

  /** The tables that the rows of target table `table` were made from, besides their own. */
  of(table: string): readonly string[] {
    return this.#read()[table] ?? [];
  }

  /** Written down before the row that rests on it. Throws `CHG_DATA_LOOKUP_UNKNOWN` where changes of the table would be missed. */
  note(table: string, lookedUp: string): void {
    if (!this.#captured.has(lookedUp))
      throw new ChangeoverError('CHG_DATA_LOOKUP_UNKNOWN', { sync: this.#sync, table: lookedUp });
    const tables = this.#read();
    const known = (tables[table] ??= []);
    if (known.includes(lookedUp)) return;
    known.push(lookedUp);
    mkdirSync(path.dirname(this.#file), { recursive: true });
    const draft = `${this.#file}.${process.pid}`;
    writeFileSync(draft, JSON.stringify(tables));
    renameSync(draft, this.#file);
  }

  #read(): Record<string, string[]> {
    return (this.#tables ??= read(this.#file));
  }
}

function read(file: string): Record<string, string[]> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw error;
  }
  return JSON.parse(text) as Record<string, string[]>;
}
