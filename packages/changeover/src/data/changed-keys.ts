import { appendFileSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** Past this size reading the keys is no cheaper than comparing everything. */
const MAX_BYTES = 32 * 1024 * 1024;

/** What the last full verification rested on. */
export interface FullVerification {
  readonly runId: string;
  /** A file that was not synced is trusted within one boot only. */
  readonly bootId: string;
  /** Compared rows of each target table. */
  readonly rows: Readonly<Record<string, number>>;
}

export interface ChangedSince {
  readonly full: FullVerification;
  /** Encoded source keys by source table. */
  readonly keys: ReadonlyMap<string, ReadonlySet<string>>;
}

/**
 * The source keys that were applied since the last full verification, in a file that every process of the run appends to. A key is
 * written down before it is applied, so the file names at least what changed.
 */
export class ChangedKeys {
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  add(table: string, keys: Iterable<string>): void {
    let lines = '';
    for (const key of keys) lines += `${JSON.stringify([table, key])}\n`;
    if (lines === '') return;
    mkdirSync(path.dirname(this.#file), { recursive: true });
    appendFileSync(this.#file, lines);
  }

  /** Where a full verification begins: what is added from here on has to be verified after it. */
  mark(): number {
    return statSync(this.#file, { throwIfNoEntry: false })?.size ?? 0;
  }

  /** Everything before `mark` was verified. */
  verified(mark: number, full: FullVerification): void {
    const kept = this.mark() === 0 ? '' : readFileSync(this.#file).subarray(mark).toString();
    mkdirSync(path.dirname(this.#file), { recursive: true });
    const draft = `${this.#file}.${process.pid}`;
    writeFileSync(draft, `${JSON.stringify({ full })}\n${kept}`);
    renameSync(draft, this.#file);
  }

  /** Null where there is no full verification of this run to build on. */
  since(runId: string, bootId: string): ChangedSince | null {
    const size = this.mark();
    if (size === 0 || size > MAX_BYTES) return null;
    const [header, ...lines] = readFileSync(this.#file, 'utf8').split('\n');
    const { full } = parseHeader(header ?? '');
    if (full?.runId !== runId || full.bootId !== bootId) return null;
    const keys = new Map<string, Set<string>>();
    for (const line of lines) {
      if (line === '') continue;
      const [table, key] = JSON.parse(line) as [string, string];
      const known = keys.get(table);
      if (known === undefined) keys.set(table, new Set([key]));
      else known.add(key);
    }
    return { full, keys };
  }
}

function parseHeader(line: string): { full?: FullVerification } {
  return line.startsWith('{"full"') ? (JSON.parse(line) as { full: FullVerification }) : {};
}
