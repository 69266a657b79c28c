import { randomUUID } from 'node:crypto';
import { EventStream, RuntimeError } from '@changeover/runtime';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Visit } from '../stages/visit.ts';
import type { Channel, Message } from './channel.ts';

const STATUS_MS = 5000;

interface LiveOptions {
  /** Of each stream. Default 50. */
  readonly maxClients?: number;
  /** Default 30,000. */
  readonly heartbeatMs?: number;
  /** Between two `system_status`. Default 5,000. */
  readonly statusMs?: number;
}

/** The pages that are open: what happens at the door, as it happens. Nobody has to be there, so that nothing is tried again. */
export class Live implements Channel {
  readonly name = 'web';
  readonly retry = { attempts: 1, pauseMs: () => 0 };
  readonly #stream: EventStream;
  /** How the stream of events does, for those who watch the system. */
  readonly #watchers: EventStream;
  readonly #statusMs: number;
  #streamed = 0;

  constructor(options: LiveOptions = {}) {
    this.#stream = new EventStream(options);
    this.#watchers = new EventStream(options);
    this.#statusMs = options.statusMs ?? STATUS_MS;
  }

  /** `GET /stream/events` and `GET /stream/system-status`. */
  routes(app: FastifyInstance): void {
    const join =
      (stream: EventStream, event: string, more: object) => (request: FastifyRequest, reply: FastifyReply) => {
        const data = { client_id: randomUUID(), server_time: new Date().toISOString(), ...more };
        try {
          stream.join(request, reply, { event, data });
        } catch (error) {
          if (!(error instanceof RuntimeError)) throw error;
          return reply.code(503).send({ error: 'SSE not available' });
        }
        return reply;
      };
    app.get('/stream/events', join(this.#stream, 'connected', { capabilities: ['events', 'system_status'] }));
    app.get('/stream/system-status', join(this.#watchers, 'status_connected', {}));
    const timer = setInterval(() => {
      this.#watchers.send('system_status', {
        timestamp: new Date().toISOString(),
        streaming_status: 'active',
        active_connections: this.#stream.clients,
        events_streamed: this.#streamed,
        // Nothing is kept for those who come later: they have the events themselves.
        buffer_size: 0,
      });
    }, this.#statusMs).unref();
    // Streams do not end by themselves, and the server waits for them.
    app.addHook('preClose', (done) => {
      clearInterval(timer);
      this.#stream.close();
      this.#watchers.close();
      done();
    });
  }

  /** A visit that was stored, whatever is told of it. */
  visit({ type, eventId, local, people }: Visit): void {
    this.#event({
      event_type: type,
      timestamp: local,
      data: { event_id: eventId, faces: people.map(({ status, name }) => ({ status, name })) },
    });
  }

  send(message: Message): Promise<void> {
    this.#event({ event_type: message.alert_type, timestamp: message.timestamp, data: message });
    return Promise.resolve();
  }

  #event(data: object): void {
    this.#streamed += 1;
    this.#stream.send('event', data);
  }
}
