import { createHistogram } from 'node:perf_hooks';
import { isAcknowledged } from './compare.ts';
import type { Reply } from './connection.ts';
import type { Operation } from './ledger.ts';

/** What a client saw. Every request is in exactly one of `ok` and `failed`. */
export interface ClientSummary {
  readonly seconds: number;
  readonly requests: number;
  readonly ok: number;
  /** Requests that did not get the answer they should have got, for whatever reason. */
  readonly failed: number;
  /** Of the failed: requests without any answer. */
  readonly cut: number;
  /** Of the failed: answered with 503. */
  readonly refused: number;
  readonly reads: number;
  readonly writes: number;
  readonly writesAcknowledged: number;
  /** Reads that did not show the client's own last acknowledged write. */
  readonly staleReads: number;
  readonly servedBy: Readonly<Record<string, number>>;
  /** Each time another side began to serve: a cutover is one, a rollback the second. More are answers of the wrong side. */
  readonly switches: readonly { readonly to: string; readonly atMs: number }[];
  /** From the moment at which a request was due to its answer, without the time for the ledger. */
  readonly latencyMs: {
    readonly mean: number;
    readonly p50: number;
    readonly p90: number;
    readonly p99: number;
    readonly max: number;
  };
  /** The first failures, in words. */
  readonly failures: readonly string[];
}

const SHOWN_FAILURES = 20;

export class Tally {
  onFirstWrite: () => void = () => undefined;
  failed = 0;
  readonly #latencyUs = createHistogram();
  readonly #startedAt = performance.now();
  readonly #servedBy: Record<string, number> = {};
  readonly #switches: { to: string; atMs: number }[] = [];
  readonly #failures: string[] = [];
  #serving: { side: string; since: number } | null = null;
  #reads = 0;
  #writes = 0;
  #acknowledged = 0;
  #cut = 0;
  #refused = 0;
  #stale = 0;

  read(token: string, reply: Reply, lateMs: number, isStale: boolean): void {
    this.#reads++;
    if (isStale) this.#stale++;
    this.#count(`read ${token}`, reply, lateMs, reply.status === 200 && !isStale, isStale ? 'stale' : '');
  }

  /** `isRepeat`: a creation whose first answer never came, so that "duplicate" is good news. */
  write(operation: Operation, token: string, reply: Reply, lateMs: number, isRepeat: boolean): void {
    this.#writes++;
    const isDone = isAcknowledged(reply.status) || (isRepeat && reply.status === 409);
    if (isDone && this.#acknowledged++ === 0) this.onFirstWrite();
    this.#count(`${operation} ${token}`, reply, lateMs, isDone, '');
  }

  summary(seconds: number): ClientSummary {
    const requests = this.#reads + this.#writes;
    const ms = (us: number) => Math.round(us) / 1000;
    const latency = this.#latencyUs;
    return {
      seconds: Math.round(seconds * 1000) / 1000,
      requests,
      ok: requests - this.failed,
      failed: this.failed,
      cut: this.#cut,
      refused: this.#refused,
      reads: this.#reads,
      writes: this.#writes,
      writesAcknowledged: this.#acknowledged,
      staleReads: this.#stale,
      servedBy: this.#servedBy,
      switches: this.#switches,
      latencyMs: {
        mean: requests === 0 ? 0 : ms(latency.mean),
        p50: ms(latency.percentile(50)),
        p90: ms(latency.percentile(90)),
        p99: ms(latency.percentile(99)),
        max: ms(latency.max),
      },
      failures: this.#failures,
    };
  }

  #count(what: string, reply: Reply, lateMs: number, isGood: boolean, why: string): void {
    const now = performance.now();
    this.#latencyUs.record(Math.max(1, Math.round((now - reply.sentAt + lateMs) * 1000)));
    if (reply.status === null) this.#cut++;
    else {
      if (reply.status === 503) this.#refused++;
      if (reply.side !== null) this.#served(reply.side, reply.sentAt, now);
    }
    if (isGood) return;
    this.failed++;
    if (this.#failures.length < SHOWN_FAILURES) {
      const answer =
        reply.status === null ? reply.error : `${reply.status} ${JSON.stringify(reply.json).slice(0, 200)}`;
      this.#failures.push(`${what} at ${Math.round(now - this.#startedAt)} ms: ${why} ${answer}`);
    }
  }

  #served(side: string, sentAt: number, now: number): void {
    this.#servedBy[side] = (this.#servedBy[side] ?? 0) + 1;
    if (this.#serving?.side === side) return;
    // A request that was sent before the other side began to serve may still be answered by the former one.
    if (this.#serving !== null && sentAt < this.#serving.since) return;
    if (this.#serving !== null) this.#switches.push({ to: side, atMs: Math.round(now - this.#startedAt) });
    this.#serving = { side, since: now };
  }
}
