import multipart from '@fastify/multipart';
import fastify, { type FastifyInstance } from 'fastify';
import { sendError } from './http.ts';
import { candidateRoutes } from './routes/candidates.ts';
import { controlRoutes } from './routes/control.ts';
import { doorbellRoutes } from './routes/doorbell.ts';
import { eventRoutes } from './routes/events.ts';
import { fileRoutes } from './routes/files.ts';
import { knownFaceRoutes } from './routes/known-faces.ts';
import { pageRoutes } from './routes/page.ts';
import { statusRoutes } from './routes/status.ts';
import type { System } from './system.ts';

const MAX_UPLOAD_BYTES = 32 * 1024 * 1024;
const MAX_JSON_BYTES = 1024 * 1024;

/** The HTTP interface: every route of the legacy, and health and control for whoever runs this process. */
export async function buildApp(system: System): Promise<FastifyInstance> {
  const app = fastify({
    bodyLimit: MAX_JSON_BYTES,
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: 1024 },
  });
  // Bodies are parsed where they are wanted: a wrong content type must get the answer of its route.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => {
    done(null, body);
  });
  await app.register(multipart, { limits: { fileSize: MAX_UPLOAD_BYTES, files: 1, fields: 20, parts: 21 } });
  app.addHook('onRequest', (_request, reply, done) => {
    reply.header('Access-Control-Allow-Origin', '*');
    done();
  });
  app.setErrorHandler((error, _request, reply) => sendError(error, reply));
  app.setNotFoundHandler((_request, reply) =>
    reply
      .code(404)
      .type('text/html; charset=utf-8')
      .send('<!doctype html>\n<html lang="en">\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n'),
  );
  for (const routes of [
    pageRoutes,
    statusRoutes,
    doorbellRoutes,
    eventRoutes,
    knownFaceRoutes,
    candidateRoutes,
    fileRoutes,
    controlRoutes,
  ]) {
    routes(app, system);
  }
  system.live.routes(app);
  return app;
}
