import type { NatsConnection } from '@nats-io/transport-node';
import { reasonOf } from '../errors.ts';
import type { Logger } from '../observe/logs.ts';
import { SYSTEM_CLOCK } from '../observe/clock.ts';
import { connectTo, prepare, type Session, type SessionOptions } from './session.ts';

const FLUSH_TIMEOUT_MS = 2_000;

/** The way to the server: made when it is first used and again when it is lost for good, and what is wrong with it. */
export class Link {
  readonly #options: SessionOptions;
  readonly #log: Logger;
  #connection: Promise<NatsConnection> | null = null;
  #session: Promise<Session> | null = null;
  #problem: string | null = null;
  #state: 'none' | 'connected' | 'away' = 'none';
  #isClosed = false;

  constructor(options: SessionOptions, log: Logger) {
    this.#options = options;
    this.#log = log;
  }

  /** Why it cannot be used just now; null when it can, or was not used yet. */
  get problem(): string | null {
    return this.#problem;
  }

  /** Whether what is sent now goes out at once. */
  get isConnected(): boolean {
    return this.#state === 'connected';
  }

  /** Rejects where there is no server, or no stream can be had of it. */
  use(): Promise<Session> {
    if (this.#isClosed) return Promise.reject(new Error('the queue was released'));
    // What is sent meanwhile would be thrown away, and found missing late.
    if (this.#state === 'away') return Promise.reject(new Error('the server is away'));
    this.#connection ??= this.#connect();
    this.#session ??= this.#connection.then((connection) => prepare(connection, this.#options));
    return this.#session;
  }

  works(): void {
    if (this.#problem === null) return;
    this.#problem = null;
    this.#log.info({ stream: this.#options.stream }, 'the queue can be reached again');
  }

  /** What was prepared may be gone: the next one who uses it looks again. */
  failed(error: unknown): void {
    this.#session = null;
    if (this.#problem === null)
      this.#log.warn({ err: error, stream: this.#options.stream }, 'the queue does not answer');
    this.#problem = reasonOf(error);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const connection = await this.#connection?.catch(() => null);
    if (connection == null || connection.isClosed()) return;
    // What the server did not hear is given to somebody again: nothing depends on the flush.
    await Promise.race([Promise.allSettled([connection.flush()]), SYSTEM_CLOCK.sleep(FLUSH_TIMEOUT_MS)]);
    await connection.close();
  }

  async #connect(): Promise<NatsConnection> {
    try {
      const connection = await connectTo(this.#options);
      this.#state = 'connected';
      void this.#watch(connection);
      return connection;
    } catch (error) {
      this.#connection = null;
      throw error;
    }
  }

  /** A connection comes back by itself, for ever; it only ends where the server does not let it in any more. */
  async #watch(connection: NatsConnection): Promise<void> {
    for await (const { type } of connection.status()) {
      if (type === 'disconnect') {
        this.#state = 'away';
        this.failed(new Error('the server is away'));
      }
      if (type === 'reconnect') {
        this.#state = 'connected';
        this.works();
      }
    }
    this.#state = 'none';
    this.#connection = null;
    this.#session = null;
  }
}
