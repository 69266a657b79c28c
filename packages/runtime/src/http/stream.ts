import type { FastifyReply, FastifyRequest } from 'fastify';
import { RuntimeError } from '../errors.ts';

const HEARTBEAT_MS = 30_000;
const MAX_CLIENTS = 50;
/** A client that does not read is let go before it fills the memory. */
const MAX_WAITING_BYTES = 1 << 20;

interface Client {
  send(event: string, data: unknown): void;
  end(): void;
}

/** Server-sent events to many clients; each gets what comes after it has joined. */
export class EventStream {
  readonly #clients = new Set<Client>();
  readonly #maxClients: number;
  readonly #heartbeat: NodeJS.Timeout;
  #sent = 0;

  /** @param options.maxClients Default 50. */
  constructor(options: { readonly maxClients?: number; readonly heartbeatMs?: number } = {}) {
    this.#maxClients = options.maxClients ?? MAX_CLIENTS;
    this.#heartbeat = setInterval(() => {
      this.send('heartbeat', { timestamp: new Date().toISOString() });
    }, options.heartbeatMs ?? HEARTBEAT_MS);
    this.#heartbeat.unref();
  }

  get clients(): number {
    return this.#clients.size;
  }

  /** Answers the request with the stream. @throws RuntimeError RUN_LIMIT_EXCEEDED. */
  join(request: FastifyRequest, reply: FastifyReply, hello?: { readonly event: string; readonly data: unknown }): void {
    if (this.#clients.size >= this.#maxClients)
      throw new RuntimeError('RUN_LIMIT_EXCEEDED', { limit: `${this.#maxClients} streams` });
    reply.hijack();
    const { raw } = reply;
    raw.writeHead(200, {
      ...(reply.getHeaders() as Record<string, string>),
      'Content-Type': 'text/event-stream; charset=utf-8',
      'Cache-Control': 'no-store',
      'X-Accel-Buffering': 'no',
    });
    const client: Client = {
      send: (event, data) => {
        if (raw.writableLength > MAX_WAITING_BYTES) raw.destroy();
        else raw.write(`id: ${this.#sent}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
      },
      end: () => raw.end(),
    };
    this.#clients.add(client);
    request.raw.once('close', () => this.#clients.delete(client));
    raw.once('close', () => this.#clients.delete(client));
    if (hello !== undefined) client.send(hello.event, hello.data);
    else raw.flushHeaders();
  }

  /** To every client. `data` as JSON. */
  send(event: string, data: unknown): void {
    this.#sent += 1;
    for (const client of this.#clients) client.send(event, data);
  }

  /** Ends all streams. */
  close(): void {
    clearInterval(this.#heartbeat);
    for (const client of this.#clients) client.end();
    this.#clients.clear();
  }
}
