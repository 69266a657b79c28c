import type { Context } from '../../../plan/context.ts';
import type { Capture, ChangeBatch, Key } from '../../../plan/stores.ts';
import type { Json } from '../../../plan/words.ts';
import { named } from '../../durable.ts';
import type { Sidecar } from '../../sidecar.ts';
import type { LineIndex, LogView, Place } from './line-index.ts';

const SCAN = 'scan';
/** Where no file ever is: the next pass compares the log whole. */
const LOST: Place = { file: 'lost', offset: 1, tail: '', number: 0 };
export const TABLE = 'lines';

/** Lines that were added since the last acknowledged scan; a log that is another one is compared whole. */
export class LogCapture implements Capture {
  readonly #index: LineIndex;
  readonly #sidecar: Sidecar;
  readonly #ctx: Context;
  readonly #store: string;
  readonly #recover: () => void;
  /** The state of the scan was seen missing: what changed since is not known any more. */
  #isLost = false;

  constructor(index: LineIndex, sidecar: Sidecar, ctx: Context, store: string, recover: () => void) {
    this.#index = index;
    this.#sidecar = sidecar;
    this.#ctx = ctx;
    this.#store = store;
    this.#recover = recover;
  }

  async install(): Promise<void> {
    if (this.#sidecar.note(SCAN) !== undefined) return;
    this.#ctx.faults.at('data.capture.installing');
    const place = this.#isLost ? LOST : await this.#view((view) => Promise.resolve(this.#index.placeOf(view)));
    this.#sidecar.gated(this.#sidecar.epoch, () => {
      this.#sidecar.setNote(SCAN, place as unknown as Json);
    });
    this.#ctx.faults.at('data.capture.installed');
  }

  pending(limit: number): Promise<ChangeBatch> {
    return this.#view(async (view) => {
      const scan = this.#sidecar.note(SCAN) as unknown as Place | undefined;
      if (!scan || !(await this.#index.isStillAt(view, scan))) {
        return { changes: [], rescan: [TABLE], remaining: 0, token: this.#index.placeOf(view) };
      }
      const keys: Key[] = [];
      let token = scan;
      if (view) {
        for await (const { row, line, number } of this.#index.rows(view, scan.offset, scan.number)) {
          keys.push([row['id'] ?? null]);
          if (keys.length < limit) continue;
          token = await this.#index.placeAfter(view, line, number);
          break;
        }
        if (keys.length < limit) token = this.#index.placeOf(view);
      }
      const lines = (view?.index.number ?? 0) - token.number;
      return {
        changes: keys.map((key) => ({ table: TABLE, key })),
        rescan: [],
        remaining: lines - this.#index.brokenFrom(token.offset),
        token,
      };
    });
  }

  acknowledge({ token }: ChangeBatch): Promise<void> {
    return named(this.#store, 'acknowledging', () => {
      this.#sidecar.gated(this.#sidecar.epoch, () => {
        this.#sidecar.setNote(SCAN, token as Json);
      });
    });
  }

  intact(): Promise<readonly string[]> {
    return named(this.#store, 'checking', () => {
      this.#isLost = this.#sidecar.note(SCAN) === undefined;
      return this.#isLost ? [`the state of the last scan of ${this.#store} is missing`] : [];
    });
  }

  remove(): Promise<void> {
    return named(this.#store, 'forgetting', () => {
      this.#sidecar.dropNote(SCAN);
    });
  }

  #view<Result>(use: (view: LogView | null) => Promise<Result>): Promise<Result> {
    return named(this.#store, 'reading', () => {
      this.#recover();
      return this.#index.view(use);
    });
  }
}
