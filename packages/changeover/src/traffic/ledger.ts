import type { Side } from '../plan/words.ts';

/** How a request ended. Each accepted request gets exactly one. */
export type RequestOutcome = 'completed' | 'clientAborted' | 'refused' | 'failed';

/**
 * The counts of one worker process. `accepted` is the sum of the four outcomes and of the requests still open:
 * those held, those in flight and the long connections.
 */
export interface Ledger {
  accepted: number;
  completed: number;
  clientAborted: number;
  /** Answered 503 because the hold was full or too long. */
  refused: number;
  failed: number;
  /** Malformed messages answered 400, 408 or 431. They are never admitted, hence not in `accepted`. */
  rejected: number;
  /** Long connections open now. */
  streams: number;
  streamsClosed: number;
  held: number;
  maxHoldMs: number;
  /** Requests that a side has been given and has not ended; a request whose client has left counts until its upstream ends. */
  inFlight: Record<Side, number>;
}

export function emptyLedger(): Ledger {
  return {
    accepted: 0,
    completed: 0,
    clientAborted: 0,
    refused: 0,
    failed: 0,
    rejected: 0,
    streams: 0,
    streamsClosed: 0,
    held: 0,
    maxHoldMs: 0,
    inFlight: { legacy: 0, next: 0 },
  };
}

/** Accepted requests that have no outcome yet. */
export function openRequests(ledger: Ledger): number {
  return ledger.accepted - ledger.completed - ledger.clientAborted - ledger.refused - ledger.failed;
}
