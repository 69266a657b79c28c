import { randomUUID } from 'node:crypto';
import { EventStream, RuntimeError } from '@changeover/runtime';
import type { FastifyInstance } from 'fastify';
import type { Visit } from '../stages/visit.ts';
import type { Channel, Message } from './channel.ts';

/** The pages that are open: what happens at the door, as it happens. Nobody has to be there, so that nothing is tried again. */
export class Live implements Channel {
  readonly name = 'web';
  readonly retry = { attempts: 1, pauseMs: () => 0 };
  readonly #stream: EventStream;

  constructor(options: { readonly maxClients?: number; readonly heartbeatMs?: number } = {}) {
    this.#stream = new EventStream(options);
  }

  /** `GET /stream/events`. */
  routes(app: FastifyInstance): void {
    app.get('/stream/events', (request, reply) => {
      const hello = { client_id: randomUUID(), server_time: new Date().toISOString(), capabilities: ['events'] };
      try {
        this.#stream.join(request, reply, { event: 'connected', data: hello });
      } catch (error) {
        if (!(error instanceof RuntimeError)) throw error;
        return reply.code(503).send({ error: 'SSE not available' });
      }
      return reply;
    });
    // Streams do not end by themselves, and the server waits for them.
    app.addHook('preClose', (done) => {
      this.#stream.close();
      done();
    });
  }

  /** A visit that was stored, whatever is told of it. */
  visit({ type, eventId, local, people }: Visit): void {
    this.#stream.send('event', {
      event_type: type,
      timestamp: local,
      data: { event_id: eventId, faces: people.map(({ status, name }) => ({ status, name })) },
    });
  }

  send(message: Message): Promise<void> {
    this.#stream.send('event', { event_type: message.alert_type, timestamp: message.timestamp, data: message });
    return Promise.resolve();
  }
}
