import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';

/** A write that the doorbell acknowledged to the client, in the words of the client. */
export type Write =
  | { readonly kind: 'person'; readonly name: string; readonly filename: string }
  | { readonly kind: 'delete'; readonly name: string }
  | { readonly kind: 'capture'; readonly filename: string; readonly sha256: string }
  | { readonly kind: 'press'; readonly atMs: number };

/**
 * The client's own record of what was acknowledged to it: a line is on disk before the client goes on, so that it outlives
 * whatever dies. The product never sees it.
 */
export class Ledger {
  readonly #descriptor: number;
  readonly #writes: Write[] = [];

  constructor(file: string) {
    this.#descriptor = openSync(file, 'a', 0o600);
  }

  acknowledge(write: Write): void {
    writeSync(this.#descriptor, `${JSON.stringify(write)}\n`);
    fsyncSync(this.#descriptor);
    this.#writes.push(write);
  }

  get writes(): readonly Write[] {
    return this.#writes;
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}
