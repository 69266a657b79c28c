import { setTimeout as sleep } from 'node:timers/promises';
import type { JsMsg } from '@nats-io/jetstream';
import type { NodeConnectionOptions } from '@nats-io/transport-node';
import { reasonOf, RuntimeError } from '../errors.ts';
import type { Item, Outcome } from '../pipeline/item.ts';
import type { Overflow, Queue, QueueStatus, SharedQueue } from '../pipeline/queue.ts';
import { decode, encode } from './codec.ts';
import { Link } from './link.ts';

const CAPACITY = 100_000;
const ACK_WAIT_MS = 30_000;
const DELIVERIES = 5;
const PUSH_TIMEOUT_MS = 10_000;
const DUPLICATE_WINDOW_MS = 120_000;
/** Of one publication, or one acknowledgement; then it is sent again. */
const REQUEST_TIMEOUT_MS = 2_000;
/** The least that the client takes. A stop that finds the queue empty waits for so long. */
const TAKE_MS = 1_000;
const RETRY_MS = [10, 20, 50, 100, 250] as const;
const RELEASE_MS = 5_000;
const STATUS_MS = 1_000;
/** The server's store did not take it: because the stream is full, or for a reason of its own, which its text alone tells apart. */
const NOT_STORED = 10_077;
const IS_FULL = /^maximum (messages|bytes) exceeded/;
const HIGH_WATER = 0.8;
const LOW_WATER = 0.2;

export interface JetStreamOptions<T> {
  /** Where the server is and how it lets this process in: the options of `connect` in `@nats-io/transport-node`, as they are. */
  readonly connection: NodeConnectionOptions;
  /** Name of the stream, which is made where it is missing, and of its subject. Letters, digits, `_` and `-`. */
  readonly stream: string;
  /** Items of one id within `duplicateWindowMs` are one item. Default: each is an item of its own. */
  readonly idOf?: (value: T) => string;
  /** Default 120,000. */
  readonly duplicateWindowMs?: number;
  /** Time after which the item of a taker that gave no sign goes to another one; signs are given by themselves. Default 30,000. */
  readonly ackWaitMs?: number;
  /** Times that an item is taken by somebody who then is lost; after that it has failed. Default 5. */
  readonly deliveries?: number;
  /** Time that `push` waits for a server that does not answer, where the queue does not block. Default 10,000. */
  readonly pushTimeoutMs?: number;
  /** Servers of a cluster that hold each item. Default 1. */
  readonly replicas?: number;
}

/**
 * A queue in a work-queue stream of NATS JetStream, which several machines push to and take from. An item is on the server's disk when `push`
 * resolves, and leaves it when its way has ended; until then it is given to another taker when its own is lost.
 *
 * @example
 * const line = pipeline<Press>('bell')
 *   .stage('capture', { work: capture })
 *   .stage('detect', { work: detect, queue: jetStreamQueue({ connection: { servers: '10.0.0.5' }, stream: 'detect' }) })
 *   .build({ only: ['detect'] });
 */
export function jetStreamQueue<T>(options: JetStreamOptions<T>): SharedQueue<T> {
  return { open: (own) => new JetStreamQueue(options, own) };
}

class JetStreamQueue<T> implements Queue<T> {
  readonly #options: JetStreamOptions<T>;
  readonly #stage: string;
  readonly #capacity: number;
  readonly #overflow: Overflow;
  readonly #link: Link;
  readonly #held = new Set<JsMsg>();
  readonly #settling = new Set<Promise<void>>();
  #isReleased = false;
  readonly #heartbeat: NodeJS.Timeout;
  /** Resolves when who waits for an item does so no longer. */
  readonly #over = Promise.withResolvers<null>();
  #isClosed = false;
  #isPressed = false;
  #waiting = 0;
  #lookedAt = 0;
  #enqueued = 0;
  #dequeued = 0;
  #dropped = 0;

  constructor(options: JetStreamOptions<T>, own: Parameters<SharedQueue<T>['open']>[0]) {
    const { connection, stream, ackWaitMs = ACK_WAIT_MS } = options;
    const { stage, overflow, capacity = CAPACITY } = own;
    if (!/^[\w-]+$/.test(stream)) {
      const reason = 'its name has to be of letters, digits, _ and -';
      throw new RuntimeError('RUN_TRANSPORT_STREAM', { stream, stage, reason });
    }
    if (overflow === 'drop-oldest' || overflow === 'spill')
      throw new RuntimeError('RUN_TRANSPORT_OVERFLOW', { stage, overflow });
    this.#options = options;
    this.#stage = stage;
    this.#capacity = capacity;
    this.#overflow = overflow;
    const { replicas = 1, duplicateWindowMs = DUPLICATE_WINDOW_MS } = options;
    this.#link = new Link({ connection, stream, stage, capacity, replicas, ackWaitMs, duplicateWindowMs }, own.log);
    this.#heartbeat = setInterval(() => {
      this.#tellOfHeld((message) => {
        message.working();
      });
    }, ackWaitMs / 3);
    this.#heartbeat.unref();
  }

  async push(item: Item<T>, signal?: AbortSignal): Promise<void> {
    const data = encode(item.value, this.#stage);
    // The id of one push also keeps its repetition from being a second item. A header holds no line break.
    const id = encodeURIComponent((this.#options.idOf?.(item.value) ?? crypto.randomUUID()).toWellFormed());
    const { stream, pushTimeoutMs = PUSH_TIMEOUT_MS } = this.#options;
    const deadline = performance.now() + pushTimeoutMs;
    for (let attempt = 0; ; attempt++) {
      if (this.#isClosed) throw new RuntimeError('RUN_PIPELINE_CLOSED', { pipeline: this.#stage, state: 'closed' });
      const result = await until(this.#publish(data, id), signal);
      if (result === 'in' || result === 'duplicate') {
        if (result === 'in' || attempt > 0) this.#enqueued += 1;
        item.settle('done');
        return;
      }
      if (result === 'full' && this.#overflow === 'reject')
        throw new RuntimeError('RUN_QUEUE_FULL', { stage: this.#stage, capacity: this.#capacity });
      if (result === 'full' && this.#overflow === 'drop-newest') {
        this.#dropped += 1;
        item.settle('dropped');
        return;
      }
      if (this.#overflow !== 'block' && performance.now() > deadline) {
        const fields = { stage: this.#stage, stream, timeoutMs: pushTimeoutMs, reason: reasonOf(result) };
        throw new RuntimeError('RUN_TRANSPORT_UNAVAILABLE', fields, { cause: result });
      }
      await until(pause(attempt), signal);
    }
  }

  async take(): Promise<Item<T> | null> {
    for (let attempt = 0; !this.#isClosed; attempt++) {
      try {
        const message = await Promise.race([this.#next(), this.#over.promise]);
        this.#link.works();
        if (message !== null) return this.#item(message);
        attempt = 0;
      } catch (error) {
        this.#link.failed(error);
        await pause(attempt);
      }
    }
    return null;
  }

  close(): void {
    this.#isClosed = true;
    // A server that is away ends no waiting.
    void sleep(TAKE_MS * 2, undefined, { ref: false }).then(() => {
      this.#over.resolve(null);
    });
  }

  /** Of this process; the size is that of the server, as it was a moment ago. */
  status(): QueueStatus {
    if (performance.now() - this.#lookedAt > STATUS_MS && !this.#isReleased) void this.#look();
    return {
      size: this.#waiting,
      spilled: this.#waiting,
      capacity: this.#capacity,
      enqueued: this.#enqueued,
      dequeued: this.#dequeued,
      dropped: this.#dropped,
      isPressed: this.#isPressed,
      ...(this.#link.problem === null ? {} : { problem: this.#link.problem }),
    };
  }

  async release(): Promise<void> {
    await Promise.race([Promise.all(this.#settling), sleep(RELEASE_MS, undefined, { ref: false })]);
    this.#isReleased = true;
    clearInterval(this.#heartbeat);
    this.#tellOfHeld((message) => {
      message.nak();
    });
    await this.#link.close();
  }

  async #publish(data: Uint8Array, id: string): Promise<'in' | 'duplicate' | 'full' | Error> {
    try {
      const { connection, client } = await this.#link.use();
      const bytes = data.length + `NATS/1.0\r\nNats-Msg-Id: ${id}\r\n\r\n`.length;
      const limit = connection.info?.max_payload ?? Infinity;
      if (bytes > limit) throw new RuntimeError('RUN_TRANSPORT_TOO_LARGE', { stage: this.#stage, bytes, limit });
      const { duplicate } = await client.publish(this.#options.stream, data, {
        msgID: id,
        timeout: REQUEST_TIMEOUT_MS,
      });
      this.#link.works();
      return duplicate ? 'duplicate' : 'in';
    } catch (error) {
      if (error instanceof RuntimeError && error.code === 'RUN_TRANSPORT_TOO_LARGE') throw error;
      if (error instanceof Error && 'code' in error && error.code === NOT_STORED && IS_FULL.test(error.message))
        return 'full';
      this.#link.failed(error);
      if (error instanceof RuntimeError) throw error;
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  /** One at a time, when there is somebody to work on it: what lay in a buffer here would be late, and lost to the others. */
  async #next(): Promise<JsMsg | null> {
    const { consumer } = await this.#link.use();
    return consumer.next({ expires: TAKE_MS });
  }

  #item(message: JsMsg): Item<T> {
    const { deliveries = DELIVERIES } = this.#options;
    const { info, data } = message;
    this.#dequeued += 1;
    this.#waiting = info.pending;
    this.#held.add(message);
    const settle = (outcome: Outcome) => {
      const told = this.#settle(message, outcome).finally(() => {
        this.#held.delete(message);
        this.#settling.delete(told);
      });
      this.#settling.add(told);
    };
    let value: T;
    try {
      value = decode(data, this.#stage) as T;
    } catch (error) {
      return { value: data as T, failure: error as Error, settle };
    }
    if (info.deliveryCount <= deliveries) return { value, settle };
    return { value, failure: new RuntimeError('RUN_TRANSPORT_POISON', { stage: this.#stage, deliveries }), settle };
  }

  /** Tells the server until it has heard it. Where that never happens, the item goes to somebody once more. */
  async #settle(message: JsMsg, outcome: Outcome): Promise<void> {
    const verb = outcome === 'failed' ? '+TERM' : '+ACK';
    for (let attempt = 0; ; attempt++) {
      try {
        const { connection } = await this.#link.use();
        await connection.request(replyOf(message), verb, { timeout: REQUEST_TIMEOUT_MS });
        return;
      } catch (error) {
        if (this.#isReleased) return;
        this.#link.failed(error);
        await pause(attempt);
      }
    }
  }

  #tellOfHeld(tell: (message: JsMsg) => void): void {
    if (this.#link.isConnected) for (const message of this.#held) tell(message);
  }

  async #look(): Promise<void> {
    this.#lookedAt = performance.now();
    try {
      const { num_pending: waiting, num_ack_pending: taken } = await (await this.#link.use()).consumer.info();
      this.#waiting = waiting;
      const level = (waiting + taken) / this.#capacity;
      if (level >= HIGH_WATER) this.#isPressed = true;
      if (level <= LOW_WATER) this.#isPressed = false;
      this.#link.works();
    } catch (error) {
      if (!this.#isReleased) this.#link.failed(error);
    }
  }
}

/** Where the server hears of a message; the client has it, and its types do not. */
function replyOf(message: JsMsg): string {
  if ('reply' in message && typeof message.reply === 'string') return message.reply;
  throw new TypeError('a message of the client has no reply');
}

function pause(attempt: number): Promise<void> {
  return sleep(RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)]);
}

/** What `act` resolves to, or the reason of `signal`. */
async function until<T>(act: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return act;
  const aborted = Promise.withResolvers<never>();
  const abort = () => {
    aborted.reject(signal.reason);
  };
  signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted) abort();
  try {
    return await Promise.race([act, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
