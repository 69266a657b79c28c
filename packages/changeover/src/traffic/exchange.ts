import { STATUS_CODES, type IncomingMessage, type ServerResponse } from 'node:http';

import type { Dispatcher } from 'undici';

import { ChangeoverError } from '../errors.ts';
import type { Side } from '../plan/words.ts';
import type { Admissible, Admission } from './admission.ts';
import type { Ledger, RequestOutcome } from './ledger.ts';
import type { RequestHead } from './request-head.ts';
import { readResponseHead } from './response-head.ts';
import type { LongConnection, Streams } from './streams.ts';
import { Upload } from './upload.ts';
import type { Route, Upstream } from './upstream.ts';

/** What all exchanges of one worker share. */
export interface Desk {
  readonly ledger: Ledger;
  readonly admission: Admission;
  readonly streams: Streams;
  readonly upstreams: Readonly<Record<Side, Upstream>>;
  readonly targets: Readonly<Record<Side, string>>;
  readonly maxHeldMs: number;
  /** This worker takes no new connections and asks clients to leave after their answer. */
  isRetiring: boolean;
}

/** What an answer says of an error, whichever it is. */
type Explained = Pick<ChangeoverError, 'message' | 'hint'> & { readonly code: string; readonly fields: object };

/** Body that Node may have buffered while a request is parked; the rest waits in the kernel. */
const MAX_BUFFERED_BODY_BYTES = 64 * 1024;
/** Errors of a kept connection that the server closed while it was idle. */
const STALE_CONNECTION = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);
/** Responses without an end of their own. */
const ENDLESS = /^\s*(text\/event-stream|multipart\/x-mixed-replace)/i;
const RECONNECT_MS = 500;
const NOTHING = Buffer.alloc(0);

function isWriting(method: string): boolean {
  return method !== 'GET' && method !== 'HEAD' && method !== 'OPTIONS';
}

/**
 * One request from its acceptance to its one outcome, and the handler of its answer. Two ends are told apart: the upstream's (until
 * then it is in flight, even when the client has left) and the client's (which decides the outcome).
 */
export class Exchange implements Admissible, LongConnection, Dispatcher.DispatchHandler {
  readonly writes: boolean;
  readonly heldBytes: number;
  protected readonly desk: Desk;
  protected readonly head: RequestHead;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  #side: Side = 'legacy';
  #outcome: RequestOutcome | null = null;
  #controller: Dispatcher.DispatchController | null = null;
  #isInFlight = false;
  #isSent = false;
  #isAnswered = false;
  #hasLeft = false;
  #isRetried = false;
  #isStream = false;
  #isChunked = false;
  /** Length of the body when it is known; a body that comes as one chunk goes out with the head in one write. */
  #wholeBytes = -1;
  #wholeBody: Buffer | null = null;
  /** Last bytes of an event stream; null where nothing may be added to it. */
  #tail: string | null = null;

  constructor(desk: Desk, head: RequestHead, request: IncomingMessage, response: ServerResponse, isUpgrade = false) {
    this.desk = desk;
    this.head = head;
    this.#request = request;
    this.#response = response;
    this.writes = isUpgrade || isWriting(request.method ?? 'GET');
    const { bodyLength, bytes } = head;
    this.heldBytes = bytes + (bodyLength < 0 ? MAX_BUFFERED_BODY_BYTES : Math.min(bodyLength, MAX_BUFFERED_BODY_BYTES));
    response.on('close', () => {
      this.#clientOver();
    });
  }

  get side(): Side {
    return this.#side;
  }

  proceed(side: Side): void {
    this.#side = side;
    this.#isInFlight = true;
    if (this.head.expectsContinue) this.#response.writeContinue();
    const mayRepeat = !this.writes && this.head.bodyLength === 0;
    const { kept, fresh } = this.desk.upstreams[side];
    this.dispatch(mayRepeat ? kept : fresh);
  }

  protected dispatch(route: Route, upgrade: string | null = null): void {
    route.dispatch(
      {
        path: this.head.path,
        method: this.#request.method ?? 'GET',
        headers: this.head.headers,
        body: this.head.bodyLength === 0 ? null : new Upload(this.#request),
        upgrade,
      },
      this,
    );
  }

  refuse(reason: 'full' | 'late' | 'stopping'): void {
    this.settle('refused');
    const error =
      reason === 'full'
        ? new ChangeoverError('CHG_TRAFFIC_HOLD_FULL', { held: this.desk.ledger.held })
        : reason === 'late'
          ? new ChangeoverError('CHG_TRAFFIC_HELD_TOO_LONG', { limitMs: this.desk.maxHeldMs })
          : new ChangeoverError('CHG_TRAFFIC_STOPPING', {});
    this.#answerError(503, error, ['Retry-After', '1']);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#hasLeft) controller.abort(new Error('the client left before its request was sent'));
  }

  onRequestSent(): void {
    this.#isSent = true;
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    _headers: unknown,
    message?: string,
  ): void {
    if (status < 200) return;
    this.#isAnswered = true;
    if (this.#hasLeft) {
      controller.abort(new Error('the client left'));
      return;
    }
    const response = this.#response;
    const { headers, length, type, encoding } = readResponseHead(controller.rawHeaders as Buffer[]);
    if (this.#isLast()) headers.push('Connection', 'close');
    this.#lingerForUpload();
    this.#isChunked = length === null;
    this.#wholeBytes = length === null ? -1 : Number(length);
    if (message === undefined || message === STATUS_CODES[status] || /[^\x20-\x7e]/.test(message)) {
      response.writeHead(status, headers);
    } else {
      response.writeHead(status, message, headers);
    }
    // The head goes without waiting for the body; but the body of a small answer is in the same chunk as its head, and both leave
    // in one write, because Node holds this one back to the end of the turn. (`flushHeaders` would send it as UTF-8.)
    response.write(NOTHING);
    if (length === null && type !== null && ENDLESS.test(type)) {
      this.#becomeStream(encoding === null && !type.includes('mixed'));
    }
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#hasLeft) return;
    if (chunk.length === this.#wholeBytes) {
      this.#wholeBody = chunk;
      return;
    }
    if (this.#tail !== null)
      this.#tail = (this.#tail + chunk.toString('latin1', Math.max(0, chunk.length - 4))).slice(-4);
    if (!this.#response.write(chunk)) {
      controller.pause();
      this.#response.once('drain', () => {
        controller.resume();
      });
    }
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    this.upstreamOver();
    if (this.#hasLeft) return;
    const trailers = controller.rawTrailers as Buffer[] | null | undefined;
    if (this.#isChunked && trailers != null && trailers.length > 0) this.#addTrailers(trailers);
    if (this.#wholeBody === null) this.#response.end();
    else this.#response.end(this.#wholeBody);
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#mayRetry(error)) {
      this.#isRetried = true;
      this.dispatch(this.desk.upstreams[this.#side].fresh);
      return;
    }
    this.upstreamOver();
    if (this.#hasLeft || this.#outcome !== null) return;
    this.settle('failed');
    if (this.#response.headersSent) {
      // Cutting the connection is the only way left to say that the answer is incomplete.
      this.#response.destroy();
      return;
    }
    const { side, desk } = this;
    const reason = error.message;
    this.#answerError(
      502,
      new ChangeoverError('CHG_TRAFFIC_BACKEND_FAILED', { side, target: desk.targets[side], reason }, { cause: error }),
      [],
    );
  }

  closeForSwitch(): void {
    this.settle('completed');
    const isBetweenEvents = this.#tail !== null && /(^|\n\n|\r\n\r\n|\r\r)$/.test(this.#tail);
    if (isBetweenEvents) this.#response.write(`retry: ${RECONNECT_MS}\n\n`);
    this.#response.end();
    this.#controller?.abort(new Error('closed for the switch'));
  }

  protected settle(outcome: RequestOutcome): void {
    if (this.#outcome !== null) return;
    this.#outcome = outcome;
    this.desk.ledger[outcome] += 1;
  }

  /** The side is done with this request: the only place where it leaves the count in flight. */
  protected upstreamOver(): void {
    if (this.#isStream) this.desk.streams.remove(this);
    if (!this.#isInFlight) return;
    this.#isInFlight = false;
    this.desk.ledger.inFlight[this.#side] -= 1;
  }

  #becomeStream(isPlainEvents: boolean): void {
    this.upstreamOver();
    this.#isStream = true;
    this.#tail = isPlainEvents ? '' : null;
    this.desk.streams.add(this);
  }

  #clientOver(): void {
    if (this.#response.writableFinished) {
      this.settle('completed');
      return;
    }
    this.settle('clientAborted');
    this.#hasLeft = true;
    if (!this.#isInFlight && !this.#isStream) {
      this.desk.admission.leave(this);
      return;
    }
    // A write that is with the backend whole is carried out whether we listen or not. It stays in flight until it is answered, so
    // that a drain does not end before it.
    const isWithBackend = this.writes && this.#isSent && !this.#isAnswered;
    if (!isWithBackend) this.#controller?.abort(new Error('the client left'));
  }

  /** Once, and only where nothing was done twice: safe method, no body, not one byte of an answer, connection closed while idle. */
  #mayRetry(error: Error): boolean {
    const { code } = error as NodeJS.ErrnoException;
    return (
      !this.#isRetried &&
      !this.#isAnswered &&
      !this.#hasLeft &&
      !this.writes &&
      this.head.bodyLength === 0 &&
      code !== undefined &&
      STALE_CONNECTION.has(code)
    );
  }

  #answerError(status: number, error: Explained, extra: readonly string[]): void {
    const body = Buffer.from(
      `${JSON.stringify({ error: { ...error.fields, code: error.code, message: error.message, hint: error.hint } })}\n`,
    );
    const headers = ['Content-Type', 'application/json', 'Content-Length', String(body.length), ...extra];
    // After an unanswered Expect the body may or may not follow, so the connection cannot be used again.
    if (this.head.expectsContinue || this.#isLast()) headers.push('Connection', 'close');
    else this.#lingerForUpload();
    this.#response.writeHead(status, headers);
    this.#response.end(this.#request.method === 'HEAD' ? undefined : body);
    this.#request.resume();
  }

  /**
   * While a client still sends, closing would reset the connection and the answer with it. It is kept, even for a client that asked
   * for its end (that one closes it itself), and the rest of the upload is read and thrown away.
   */
  #lingerForUpload(): void {
    if (!this.#request.complete && this.#request.httpVersionMinor > 0) this.#response.shouldKeepAlive = true;
  }

  /** Whether the client should go elsewhere after this answer. */
  #isLast(): boolean {
    return this.desk.isRetiring && this.#request.complete;
  }

  #addTrailers(raw: readonly Buffer[]): void {
    const trailers: [string, string][] = [];
    for (let index = 0; index < raw.length; index += 2) {
      trailers.push([raw[index]?.toString('latin1') ?? '', raw[index + 1]?.toString('latin1') ?? '']);
    }
    this.#response.addTrailers(trailers);
  }
}
