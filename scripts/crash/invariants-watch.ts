import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { NotesSystem } from './system.ts';

export type Side = 'legacy' | 'next';

/** The authority's row as it stands in the journal. */
export interface Row {
  readonly side: Side;
  readonly state: string;
  readonly epoch: number;
  readonly version: number;
  readonly leaseUntilMs: number | null;
  readonly reason: string | null;
}

interface Gate {
  /** Another one for a store whose bookkeeping was removed and made anew; epochs then begin anew. */
  readonly identity: string;
  readonly epoch: number;
}

const AUTHORITY_EVERY_MS = 4;
const STORES_EVERY_MS = 20;
/** Without timers, devices and messages the new side has to be in these states. */
const PASSIVE_STATES = ['LIVE_OLD', 'HOLD', 'QUIESCE', 'LOCK', 'FENCE', 'COMMIT_NEW', 'RB_OPEN', 'RB_RELEASE'];

/**
 * Looks from outside, all the time, at what must hold at every instant: epochs never decrease, the stores of both sides never accept
 * writes at once, a store's gate is never ahead of the authority, and the new side does nothing of its own before OPEN.
 */
export class Watch {
  readonly problems = new Set<string>();
  readings = 0;
  /** The sides that served, one after the other. */
  readonly sides: Side[] = [];
  readonly #journal: DatabaseSync;
  readonly #system: NotesSystem;
  readonly #stores = new Map<string, DatabaseSync>();
  readonly #gates = new Map<string, Gate>();
  readonly #timer: NodeJS.Timeout;
  #row: Row;
  #storesAtMs = 0;
  #ticks: { bytes: number; row: Row };

  constructor(system: NotesSystem) {
    this.#system = system;
    this.#journal = new DatabaseSync(path.join(system.stateDir, 'journal.db'), { readOnly: true, timeout: 1000 });
    this.#row = this.row();
    this.sides.push(this.#row.side);
    this.#ticks = { bytes: this.tickBytes(), row: this.#row };
    this.#timer = setInterval(() => {
      this.#look();
    }, AUTHORITY_EVERY_MS);
  }

  row(): Row {
    const row = this.#journal.prepare('SELECT * FROM authority WHERE id = 1').get();
    if (row === undefined) throw new Error('the journal has lost its authority');
    return {
      side: row['side'] === 'next' ? 'next' : 'legacy',
      state: String(row['state']),
      epoch: Number(row['epoch']),
      version: Number(row['version']),
      leaseUntilMs: row['lease_until_ms'] === null ? null : Number(row['lease_until_ms']),
      reason: row['reason'] === null ? null : String(row['reason']),
    };
  }

  /** Who wrote its name last, and whether it has given the ownership back. */
  owner(): { readonly pid: number; readonly command: string; readonly isReleased: boolean } {
    const row = this.#journal.prepare('SELECT * FROM owners ORDER BY id DESC LIMIT 1').get();
    return {
      pid: Number(row?.['pid'] ?? 0),
      command: String(row?.['command'] ?? ''),
      isReleased: row?.['released_ms'] !== null,
    };
  }

  runStatus(): string | null {
    const status = this.#run()?.['status'];
    return status === undefined ? null : String(status);
  }

  #run() {
    return this.#journal.prepare('SELECT status, undo_reason FROM runs ORDER BY number DESC LIMIT 1').get();
  }

  /** A run that is being undone has stopped the new side, and then takes its fence away with everything else. */
  #isFencing(): boolean {
    const run = this.#run();
    return run?.['undo_reason'] === null && ['ready', 'live'].includes(String(run['status']));
  }

  tickBytes(): number {
    const file = path.join(this.#system.folder, 'next/data/next-ticks.log');
    return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#journal.close();
    for (const store of this.#stores.values()) store.close();
  }

  #look(): void {
    this.readings += 1;
    const before = this.#row;
    const row = (this.#row = this.row());
    if (row.epoch < before.epoch) this.#found(`the authority's epoch fell from ${before.epoch} to ${row.epoch}`);
    if (row.version < before.version) this.#found(`its version fell from ${before.version} to ${row.version}`);
    if (row.side !== before.side) this.sides.push(row.side);
    this.#lookAtTicks();
    if (performance.now() - this.#storesAtMs < STORES_EVERY_MS) return;
    this.#storesAtMs = performance.now();
    this.#lookAtGates();
    this.#lookAtFences();
  }

  /** The file may only have grown if the state between two readings was not the same passive one. */
  #lookAtTicks(): void {
    const bytes = this.tickBytes();
    const row = this.row();
    const before = this.#ticks;
    this.#ticks = { bytes, row };
    if (row.version !== before.row.version || !PASSIVE_STATES.includes(row.state)) return;
    if (bytes > before.bytes) this.#found(`the new side acted on its own in ${row.state}`);
  }

  #lookAtGates(): void {
    for (const [name, gate] of this.#readGates()) {
      const before = this.#gates.get(name);
      this.#gates.set(name, gate);
      if (before?.identity === gate.identity && gate.epoch < before.epoch)
        this.#found(`the epoch in the gate of ${name} fell from ${before.epoch} to ${gate.epoch}`);
      const { epoch } = this.row();
      if (gate.epoch > epoch) this.#found(`the gate of ${name} has epoch ${gate.epoch}, the authority only ${epoch}`);
    }
  }

  #readGates(): [string, Gate][] {
    const gates: [string, Gate][] = [];
    for (const side of ['legacy', 'next'] as const) {
      const store = this.#store(side);
      if (store === null) continue;
      for (const row of rowsOf(store, 'changeover_gate'))
        gates.push([side, { identity: String(row['identity']), epoch: Number(row['epoch']) }]);
    }
    const sidecar = this.#open(path.join(this.#system.stateDir, 'data.db'));
    for (const row of sidecar === null ? [] : rowsOf(sidecar, 'gate'))
      gates.push([String(row['store']), { identity: '', epoch: Number(row['epoch']) }]);
    return gates;
  }

  /** Only a fence in the store is seen here; where the legacy's absence is the fence, the probes of the whole move see. */
  #lookAtFences(): void {
    if (this.#system.store !== 'sqlite' || !this.#isFencing()) return;
    const [legacy, next] = [this.#store('legacy'), this.#store('next')];
    if (legacy === null || next === null) return;
    // The legacy is looked at before and after: only what is open both times was open while the other one was.
    const isLegacyOpen = !isFenced(legacy);
    const isNextOpen = !isFenced(next) && hasTable(next, 'changeover_gate');
    const isOpenStill = !isFenced(legacy) && this.#isFencing();
    if (isLegacyOpen && isNextOpen && isOpenStill) this.#found(`both stores accepted writes in ${this.row().state}`);
  }

  #store(side: Side): DatabaseSync | null {
    if (side === 'next') return this.#open(path.join(this.#system.folder, 'next/data/next.db'));
    return this.#system.store === 'sqlite' ? this.#open(path.join(this.#system.folder, 'legacy/data/notes.db')) : null;
  }

  #open(file: string): DatabaseSync | null {
    const open = this.#stores.get(file);
    if (open !== undefined) return open;
    if (!existsSync(file)) return null;
    const store = new DatabaseSync(file, { readOnly: true, timeout: 1000 });
    this.#stores.set(file, store);
    return store;
  }

  #found(problem: string): void {
    this.problems.add(problem);
  }
}

function hasTable(store: DatabaseSync, name: string): boolean {
  return store.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?").get(name) !== undefined;
}

/** In one snapshot: the table may be removed while it is looked at. */
function rowsOf(store: DatabaseSync, table: string) {
  store.exec('BEGIN');
  try {
    return hasTable(store, table) ? store.prepare(`SELECT * FROM ${table}`).all() : [];
  } finally {
    store.exec('COMMIT');
  }
}

function isFenced(store: DatabaseSync): boolean {
  const sql = "SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND name LIKE 'changeover\\_fence\\_%' ESCAPE '\\'";
  return store.prepare(sql).get() !== undefined;
}
