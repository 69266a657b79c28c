import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';

/** What one statement of a writer means for the tables; keys and rows as the text that `contentOf` gives. */
export type Effect =
  | readonly ['set', table: OwnTable, key: string, row: string]
  | readonly ['drop', table: OwnTable, key: string]
  | readonly ['clear', table: OwnTable]
  | readonly ['add', counter: string, n: number];

/** Tables whose rows belong to one writer each. */
export type OwnTable = 'items' | 'parts' | 'scratch';

type Line =
  { readonly seq: number; readonly effects: readonly Effect[] } | { readonly ack: number } | { readonly gone: number };

/** What is known of the transactions of one writer. */
export interface Known {
  readonly rows: Readonly<Record<OwnTable, Map<string, string>>>;
  readonly counters: Map<string, number>;
  /** The last transaction that was acknowledged; 0 where there is none. */
  readonly seq: number;
  readonly acknowledged: number;
  /** A transaction of which nobody knows yet whether it was committed: only ever the last one. */
  readonly open: { readonly seq: number; readonly effects: readonly Effect[] } | null;
}

/**
 * A writer's own record of what it was told: before a COMMIT what it means, after it that it was acknowledged. Each line is synced to the disk,
 * so that neither a kill of the writer nor a loss of power forgets an acknowledgement.
 */
export class Ledger {
  readonly #file: number;

  constructor(file: string) {
    this.#file = openSync(file, 'a');
  }

  intend(seq: number, effects: readonly Effect[]): void {
    this.#append({ seq, effects });
  }

  acknowledge(seq: number): void {
    this.#append({ ack: seq });
  }

  /** The transaction was found not to be committed. */
  forget(seq: number): void {
    this.#append({ gone: seq });
  }

  close(): void {
    closeSync(this.#file);
  }

  #append(line: Line): void {
    writeSync(this.#file, `${JSON.stringify(line)}\n`);
    fsyncSync(this.#file);
  }
}

/** Everything in a ledger up to now. A last line without its end was never finished, and nothing rests on it. */
export function readLedger(file: string): Known {
  const known = {
    rows: { items: new Map<string, string>(), parts: new Map<string, string>(), scratch: new Map<string, string>() },
    counters: new Map<string, number>(),
    seq: 0,
    acknowledged: 0,
    open: null as Known['open'],
  };
  const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
  for (const json of text.slice(0, text.lastIndexOf('\n') + 1).split('\n')) {
    if (json === '') continue;
    const line = JSON.parse(json) as Line;
    if ('effects' in line) {
      known.open = line;
      continue;
    }
    if ('ack' in line && known.open !== null) {
      take(known, known.open.effects);
      known.seq = line.ack;
      known.acknowledged += 1;
    }
    known.open = null;
  }
  return known;
}

/** Applies what a committed transaction meant. */
export function take({ rows, counters }: Pick<Known, 'rows' | 'counters'>, effects: readonly Effect[]): void {
  for (const effect of effects) {
    switch (effect[0]) {
      case 'set':
        rows[effect[1]].set(effect[2], effect[3]);
        break;
      case 'drop':
        rows[effect[1]].delete(effect[2]);
        break;
      case 'clear':
        rows[effect[1]].clear();
        break;
      case 'add':
        counters.set(effect[1], (counters.get(effect[1]) ?? 0) + effect[2]);
        break;
      default:
        effect satisfies never;
    }
  }
}
