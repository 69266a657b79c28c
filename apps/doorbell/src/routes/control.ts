import { healthRoutes } from '@changeover/runtime';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { HttpError } from '../http.ts';
import type { System } from '../system.ts';

/** Health for whoever watches this process, control for whoever moves the system. */
export function controlRoutes(app: FastifyInstance, system: System): void {
  const { activity, bell, layers, profile, runtime, storage } = system;
  healthRoutes(app, runtime, {
    // Who moves traffic here must not be told of a database that was there ten seconds ago.
    ready: async () => {
      await storage.ping();
      return { passive: !activity.isActive, store: storage.kind };
    },
  });
  app.get('/metrics', async (_request, reply) => {
    const { type, body } = await runtime.metrics.text();
    return reply.type(type).send(body);
  });

  app.get('/health/idle', () => ({ idle: bell.isIdle }));

  // The household's own: chats, brokers and folders are nobody else's business.
  app.get('/settings', (request, reply) => {
    requireLocal(request);
    reply.removeHeader('Access-Control-Allow-Origin');
    return { profile, settings: layers.describe() };
  });

  app.post('/control/activate', (request) => {
    requireLocal(request);
    activity.activate();
    return { status: 'active' };
  });

  app.post('/control/passivate', async (request) => {
    requireLocal(request);
    await activity.passivate();
    return { status: 'passive', idle: bell.isIdle };
  });
}

/** Only this machine, and nobody behind a proxy on it. */
function requireLocal(request: FastifyRequest): void {
  const address = request.socket.remoteAddress ?? '';
  const isForwarded = ['forwarded', 'x-forwarded-for', 'x-real-ip', 'via'].some((name) => name in request.headers);
  if (isForwarded || !(address === '::1' || /^(?:::ffff:)?127\./.test(address))) {
    throw new HttpError(403, 'Control is for this machine only');
  }
}
