import { closeSync, mkdirSync, openSync, readFileSync, readdirSync, renameSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';

import { ChangeoverError } from '../errors.ts';
import { emptyLedger, type Ledger } from './ledger.ts';
import { isAlive, monotonicMs, ownIdentity, type ProcessIdentity } from './identity.ts';

/** What a worker says about itself. */
export interface WorkerReport extends ProcessIdentity {
  /** Version of the authority that route and hold follow; -1 before the first reading. */
  readonly version: number;
  /** Why the authority cannot be read, where it cannot: the worker then holds everything. */
  readonly authorityError: string | null;
  readonly isListening: boolean;
  /** Monotonic time of this report. */
  readonly atMs: number;
  readonly ledger: Ledger;
}

const SUFFIX = '.report';
const RECORD_BYTES = 1_024;
/** So that every record fits. */
const MAX_ERROR_CHARS = 200;

/**
 * One file per worker, a fixed record overwritten in place. Not a shared database: a worker that is stopped with SIGSTOP inside a
 * write transaction would keep the others from reporting, and they would be killed for a silence that is not theirs.
 * Nothing is decided from these files but who has seen what.
 */
export class ReportFile {
  readonly #descriptor: number;
  readonly #record = Buffer.alloc(RECORD_BYTES, ' ');
  readonly #identity = ownIdentity();

  /** The file appears at once with its first record, before the worker accepts anything. */
  constructor(folder: string) {
    mkdirSync(folder, { recursive: true });
    const path = join(folder, `${this.#identity.pid}-${this.#identity.startTime.replace(/\W/g, '')}`);
    this.#descriptor = openSync(`${path}.new`, 'w');
    this.write({ version: -1, authorityError: 'not read yet', isListening: false, ledger: emptyLedger() });
    renameSync(`${path}.new`, path + SUFFIX);
  }

  write(state: Omit<WorkerReport, 'pid' | 'startTime' | 'atMs'>): void {
    const authorityError = state.authorityError?.replace(/[^\x20-\x7e]|["\\]/g, '?').slice(0, MAX_ERROR_CHARS) ?? null;
    const json = JSON.stringify({ ...this.#identity, atMs: monotonicMs(), ...state, authorityError });
    const text = `${crc32(json).toString(16).padStart(8, '0')}${json}`;
    this.#record.fill(' ');
    this.#record.write(text, 'latin1');
    writeSync(this.#descriptor, this.#record, 0, RECORD_BYTES, 0);
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}

/** Reports of all workers, alive or not, that this gateway has had. */
export function readReports(folder: string): { readonly live: WorkerReport[]; readonly ended: WorkerReport[] } {
  const live: WorkerReport[] = [];
  const ended: WorkerReport[] = [];
  for (const path of reportPaths(folder)) {
    // Liveness first: a report read before its writer died might miss the last record.
    const identity = whole(path);
    if (identity === null) continue;
    if (isAlive(identity)) live.push(identity);
    else ended.push(whole(path) ?? identity);
  }
  return { live, ended };
}

/** Forgets ended workers: all of them at a fresh start, otherwise only those that never served anybody. */
export function forgetEnded(folder: string, which: 'all' | 'unused'): void {
  for (const path of reportPaths(folder)) {
    const report = readReport(path);
    if (report === 'damaged' && which === 'all') unlinkSync(path);
    if (report === null || report === 'damaged' || isAlive(report)) continue;
    if (which === 'all' || report.ledger.accepted + report.ledger.rejected === 0) unlinkSync(path);
  }
}

/** Throws `CHG_TRAFFIC_REPORT_DAMAGED`: a worker of which nothing is known must not be taken for none. */
function whole(path: string): WorkerReport | null {
  const report = readReport(path);
  if (report === 'damaged') throw new ChangeoverError('CHG_TRAFFIC_REPORT_DAMAGED', { file: path });
  return report;
}

function reportPaths(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith(SUFFIX))
      .map((name) => join(folder, name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** Reads until the checksum fits: a record may be overwritten while it is read. Null when the file is gone. */
function readReport(path: string): WorkerReport | 'damaged' | null {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    let text: string;
    try {
      text = readFileSync(path, 'latin1').trimEnd();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw error;
    }
    const json = text.slice(8);
    if (Number.parseInt(text.slice(0, 8), 16) === crc32(json)) return JSON.parse(json) as WorkerReport;
  }
  return 'damaged';
}
