import { holdOf, isInTransition, type AuthoritySource, type Hold } from '../plan/authority.ts';
import type { Desk } from './exchange.ts';
import { monotonicMs } from './identity.ts';
import type { ReportFile } from './report.ts';

/** How often a worker reports when its counts change, … */
const REPORT_MS = 100;
/** … and when they do not. */
const HEARTBEAT_MS = 250;

/** One gate of a worker that follows one authority: that of all requests, or that of a slice. */
export class Follower {
  readonly desk: Desk;
  readonly #source: AuthoritySource;
  readonly #report: ReportFile;
  readonly #isListening: () => boolean;
  #version = -1;
  #authorityError: string | null = 'not read yet';
  #hold: Hold = 'all';
  #lastReport = { atMs: 0, text: '' };

  constructor(desk: Desk, source: AuthoritySource, report: ReportFile, isListening: () => boolean) {
    this.desk = desk;
    this.#source = source;
    this.#report = report;
    this.#isListening = isListening;
  }

  /** Something is held, so somebody may wait for what this one reports. */
  get isWatched(): boolean {
    return this.#hold !== 'none' || this.desk.ledger.held > 0;
  }

  /** Route and hold change in this one synchronous step, and only then is the version acknowledged. */
  follow(): void {
    const { admission, streams } = this.desk;
    try {
      if (this.#authorityError === null && !this.#source.changed()) return;
      const authority = this.#source.read();
      if (this.#authorityError === null && authority.version === this.#version) return;
      this.#authorityError = null;
      this.#version = authority.version;
      this.#hold = holdOf(authority);
      admission.follow(authority.side, this.#hold);
      const isSwitching = this.#hold === 'all' && isInTransition(authority.state);
      streams.keepOnly(isSwitching ? null : authority.side);
    } catch (error) {
      // Nobody knows who may write, so nothing passes until it can be read again.
      const message = error instanceof Error ? error.message : String(error);
      if (message === this.#authorityError) return;
      this.#authorityError = message;
      this.#hold = 'all';
      admission.holdAll();
    }
    this.write();
  }

  tick(): void {
    this.follow();
    const { admission, ledger } = this.desk;
    admission.tick();
    const sinceMs = monotonicMs() - this.#lastReport.atMs;
    if (sinceMs >= HEARTBEAT_MS) this.write();
    else if ((this.isWatched || sinceMs >= REPORT_MS) && JSON.stringify(ledger) !== this.#lastReport.text) this.write();
  }

  write(): void {
    const { ledger } = this.desk;
    this.#lastReport = { atMs: monotonicMs(), text: JSON.stringify(ledger) };
    this.#report.write({
      version: this.#version,
      authorityError: this.#authorityError,
      isListening: this.#isListening(),
      ledger,
    });
  }

  close(): void {
    this.write();
    this.#report.close();
  }
}
