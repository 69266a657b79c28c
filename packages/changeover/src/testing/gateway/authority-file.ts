import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';

import type { Authority, AuthoritySource } from '../../plan/authority.ts';

const LIVE_OLD: Authority = {
  side: 'legacy',
  state: 'LIVE_OLD',
  epoch: 1,
  version: 1,
  leaseUntilMs: null,
  leaseBoot: null,
  operatorHold: false,
  reason: null,
};

/** The authority as a small file: what the journal's row is to a real gateway. */
export class AuthorityFile {
  readonly path: string;
  #now = LIVE_OLD;

  constructor(path: string) {
    this.path = path;
    this.set({});
  }

  get now(): Authority {
    return this.#now;
  }

  /** Changes the row and returns its new version. */
  set(change: Partial<Authority>): number {
    this.#now = { ...this.#now, ...change, version: this.#now.version + 1 };
    writeFileSync(`${this.path}.new`, JSON.stringify(this.#now));
    renameSync(`${this.path}.new`, this.path);
    return this.#now.version;
  }

  /** Leaves something that is no authority. */
  corrupt(): void {
    writeFileSync(`${this.path}.new`, 'no authority');
    renameSync(`${this.path}.new`, this.path);
  }
}

/**
 * How a worker follows such a file.
 *
 * @public Imported by the programs that `openRig` writes.
 */
export function openAuthorityFile(path: string): AuthoritySource {
  let seen = '';
  const stamp = (): string => {
    const { ino, ctimeNs } = statSync(path, { bigint: true });
    return `${ino}:${ctimeNs}`;
  };
  return {
    changed: () => stamp() !== seen,
    read: () => {
      seen = stamp();
      return JSON.parse(readFileSync(path, 'utf8')) as Authority;
    },
    close: () => undefined,
  };
}
