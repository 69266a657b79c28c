import type { Hold } from '../plan/authority.ts';
import type { Side } from '../plan/words.ts';
import type { Ledger } from './ledger.ts';
import { monotonicMs } from './identity.ts';

/** A request at the gate. */
export interface Admissible {
  /** True unless its method is GET, HEAD or OPTIONS; a WebSocket counts as a writer. */
  readonly writes: boolean;
  /** Memory that it takes while it is parked. */
  readonly heldBytes: number;
  /** Called once, synchronously with the choice of the side; the request is already counted in flight. */
  proceed(side: Side): void;
  /** Called instead of `proceed` when it cannot wait. */
  refuse(reason: 'full' | 'late' | 'stopping'): void;
}

export interface AdmissionLimits {
  readonly maxHeldRequests: number;
  readonly maxHeldBytes: number;
  readonly maxHeldMs: number;
}

/** Parked requests are let go in batches this large per turn of the event loop … */
const RELEASE_BATCH = 8;
/** … and above so many in flight only with the next tick of the worker. */
const RELEASE_WINDOW = 128;

/**
 * The gate of one worker. `admit` is one synchronous step (look at the hold, take the side, count it in flight), so that no
 * request can be past the gate and not yet counted when the hold is acknowledged.
 */
export class Admission {
  readonly #ledger: Ledger;
  readonly #limits: AdmissionLimits;
  /** Arrival order; requests that do not write may be released before those that do. */
  readonly #parked: { readonly reads: Map<Admissible, number>; readonly writes: Map<Admissible, number> };
  #side: Side = 'legacy';
  /** Until the authority has been read nothing passes. */
  #hold: Hold = 'all';
  #heldBytes = 0;
  #isPumping = false;

  constructor(ledger: Ledger, limits: AdmissionLimits) {
    this.#ledger = ledger;
    this.#limits = limits;
    this.#parked = { reads: new Map(), writes: new Map() };
  }

  follow(side: Side, hold: Hold): void {
    this.#side = side;
    this.#hold = hold;
    this.#pump();
  }

  /** The authority cannot be read: nothing passes, whatever was known before. */
  holdAll(): void {
    this.#hold = 'all';
  }

  admit(request: Admissible): void {
    const parked = request.writes ? this.#parked.writes : this.#parked.reads;
    const isHeld = this.#isHeld(request.writes);
    const hasRoom =
      this.#ledger.held < this.#limits.maxHeldRequests &&
      this.#heldBytes + request.heldBytes <= this.#limits.maxHeldBytes;
    if (isHeld && !hasRoom) {
      request.refuse('full');
      return;
    }
    // Behind a queue that is still being let go a newcomer waits too, which keeps the order and the pace; but it is never refused
    // for want of room when nothing holds it any more.
    if (!isHeld && (parked.size === 0 || !hasRoom)) {
      this.#ledger.inFlight[this.#side] += 1;
      request.proceed(this.#side);
      return;
    }
    parked.set(request, monotonicMs());
    this.#ledger.held += 1;
    this.#heldBytes += request.heldBytes;
  }

  /** The client of a parked request has left. */
  leave(request: Admissible): void {
    this.#unpark(request.writes ? this.#parked.writes : this.#parked.reads, request);
  }

  /** Every few milliseconds: refuses what has waited too long, and goes on with a paced release. */
  tick(): void {
    if (this.#ledger.held === 0) return;
    const nowMs = monotonicMs();
    for (const parked of [this.#parked.reads, this.#parked.writes]) {
      for (const [request, sinceMs] of parked) {
        if (nowMs - sinceMs < this.#limits.maxHeldMs) break;
        this.#unpark(parked, request);
        request.refuse('late');
      }
    }
    this.#release();
    this.#pump();
  }

  refuseAll(): void {
    for (const parked of [this.#parked.reads, this.#parked.writes]) {
      for (const request of parked.keys()) {
        this.#unpark(parked, request);
        request.refuse('stopping');
      }
    }
  }

  #isHeld(writes: boolean): boolean {
    return this.#hold === 'all' || (writes && this.#hold === 'writes');
  }

  #unpark(parked: Map<Admissible, number>, request: Admissible): void {
    const sinceMs = parked.get(request);
    if (sinceMs === undefined) return;
    parked.delete(request);
    this.#ledger.held -= 1;
    this.#heldBytes -= request.heldBytes;
    this.#ledger.maxHoldMs = Math.max(this.#ledger.maxHoldMs, monotonicMs() - sinceMs);
  }

  #pump(): void {
    if (this.#isPumping || this.#ledger.held === 0) return;
    this.#isPumping = true;
    setImmediate(() => {
      this.#isPumping = false;
      const isReleasing = this.#ledger.inFlight[this.#side] < RELEASE_WINDOW && this.#release();
      if (isReleasing) this.#pump();
    });
  }

  /** Lets one batch go, reads first; false when nothing could. */
  #release(): boolean {
    let left = RELEASE_BATCH;
    for (const parked of [this.#parked.reads, this.#parked.writes]) {
      for (const request of parked.keys()) {
        // Asked again for each request: the hold may have come back while the queue was being let go.
        if (left === 0 || this.#isHeld(request.writes)) break;
        left -= 1;
        this.#unpark(parked, request);
        this.#ledger.inFlight[this.#side] += 1;
        request.proceed(this.#side);
      }
    }
    return left < RELEASE_BATCH;
  }
}
