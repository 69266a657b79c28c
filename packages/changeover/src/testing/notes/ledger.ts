import { open, readFile, type FileHandle } from 'node:fs/promises';

export type Operation = 'create' | 'update' | 'delete' | 'slow';

/** What a client asked for and what it heard, as its ledger keeps it. */
export interface LedgerEntry {
  readonly operation: Operation;
  readonly token: string;
  readonly version: number;
  /** Status of the answer; null when there was none, or none yet when the client died. */
  readonly status: number | null;
}

export interface LedgerOptions {
  readonly tags: boolean;
  readonly pictures: boolean;
}

/**
 * A client's own record of its writes, on disk before a request is sent and before its answer counts as heard. Lines:
 * `options {…}`, `intent <n> <operation> <token> <version>`, `ack <n> <status>`, `cut <n> <reason>`.
 */
export class Ledger {
  readonly #file: FileHandle;
  #next = 0;
  #buffer = '';
  #flushing: Promise<void> = Promise.resolve();
  #queued: Promise<void> | null = null;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  static async create(path: string, options: LedgerOptions): Promise<Ledger> {
    const ledger = new Ledger(await open(path, 'wx'));
    await ledger.#append(`options ${JSON.stringify(options)}`);
    return ledger;
  }

  /** Number of the intent, once it is on disk. */
  async intent(operation: Operation, token: string, version: number): Promise<number> {
    const number = this.#next++;
    await this.#append(`intent ${number} ${operation} ${token} ${version}`);
    return number;
  }

  ack(number: number, status: number): Promise<void> {
    return this.#append(`ack ${number} ${status}`);
  }

  cut(number: number, reason: string): Promise<void> {
    return this.#append(`cut ${number} ${reason.replaceAll(/\s+/g, ' ')}`);
  }

  async close(): Promise<void> {
    await this.#flushing;
    await this.#file.close();
  }

  // Lines that arrive while a flush is under way share the next one.
  #append(line: string): Promise<void> {
    this.#buffer += `${line}\n`;
    this.#queued ??= this.#flushing = this.#flushing.then(async () => {
      const lines = this.#buffer;
      this.#buffer = '';
      this.#queued = null;
      await this.#file.appendFile(lines);
      await this.#file.datasync();
    });
    return this.#queued;
  }
}

/** Reads a ledger back, also one whose client was killed: half a last line counts as not written. */
export async function readLedger(path: string): Promise<{ options: LedgerOptions; entries: LedgerEntry[] }> {
  const entries = new Map<number, LedgerEntry>();
  let options: LedgerOptions = { tags: false, pictures: false };
  for (const line of (await readFile(path, 'utf8')).split('\n').slice(0, -1)) {
    const [kind, number = '', what = '', token = '', version = ''] = line.split(' ');
    if (kind === 'options') options = JSON.parse(line.slice('options '.length)) as LedgerOptions;
    if (kind === 'intent')
      entries.set(Number(number), { operation: what as Operation, token, version: Number(version), status: null });
    const entry = entries.get(Number(number));
    if (kind === 'ack' && entry !== undefined) entries.set(Number(number), { ...entry, status: Number(what) });
  }
  return { options, entries: [...entries.values()] };
}
