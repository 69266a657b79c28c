import path from 'node:path';
import multipart from '@fastify/multipart';
import fastify, { type FastifyInstance } from 'fastify';
import { stampOf } from '../shared/names.ts';
import { dashboard } from './dashboard.ts';
import type { Doorbell, Parts } from './doorbell.ts';
import { lastLines, pythonFace, recentEvents } from './event-log.ts';
import { isoNow, writeDurably } from './files.ts';
import { HttpError, jsonBody, send } from './http.ts';
import { faceRoutes } from './routes-faces.ts';

/** The original has no limit of its own; this one keeps a test from filling the memory. */
const MAX_UPLOAD_BYTES = 64 * 1024 * 1024;

export async function buildApp(parts: Parts, doorbell: Doorbell): Promise<FastifyInstance> {
  const app = fastify({
    bodyLimit: MAX_UPLOAD_BYTES,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 4096 },
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => {
    done(null, body);
  });
  await app.register(multipart, { limits: { fileSize: MAX_UPLOAD_BYTES, files: 1, fields: 20 } });
  app.addHook('onRequest', (_request, reply, done) => {
    reply.header('Access-Control-Allow-Origin', '*');
    done();
  });
  app.setErrorHandler((error, _request, reply) => {
    const status = error instanceof HttpError ? error.status : 500;
    return send(reply, { status: 'error', message: error instanceof Error ? error.message : String(error) }, status);
  });
  app.setNotFoundHandler((_request, reply) =>
    reply
      .code(404)
      .type('text/html; charset=utf-8')
      .send('<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n'),
  );

  app.get('/', (_request, reply) => reply.type('text/html; charset=utf-8').send(dashboard));
  systemRoutes(app, parts, doorbell);
  logRoutes(app, parts);
  faceRoutes(app, parts);
  return app;
}

function systemRoutes(app: FastifyInstance, parts: Parts, doorbell: Doorbell): void {
  const { places, settings, faces, book, camera, led, notifier } = parts;

  app.get('/api/status', (_request, reply) =>
    send(reply, {
      status: 'online',
      timestamp: isoNow(),
      camera: {
        camera_type: 'mock',
        initialized: true,
        resolution: settings.cameraResolution,
        rotation: settings.cameraRotation,
      },
      gpio: {
        doorbell_pin: settings.doorbellPin,
        doorbell_state: 'mock',
        initialized: true,
        led_pins: settings.ledPins,
        led_states: led.states,
      },
      faces: {
        known_faces: book.known.names.length,
        blacklist_faces: book.blacklist.names.length,
        known_names: book.known.names,
        blacklist_names: book.blacklist.names,
      },
      telegram: { initialized: true },
    }),
  );

  app.post('/api/trigger-doorbell', (_request, reply) => {
    doorbell.press();
    return send(reply, { status: 'success', message: 'Doorbell triggered', timestamp: isoNow() });
  });

  app.get('/api/capture-photo', async (_request, reply) => {
    const frame = await camera.capture();
    if (!frame) return send(reply, { status: 'error', message: 'Failed to capture image' });
    const filename = `test_capture_${stampOf(new Date())}.jpg`;
    await writeDurably(places, path.join(places.captures, filename), frame);
    const image = `data:image/jpeg;base64,${Buffer.from(frame).toString('base64')}`;
    return send(reply, { status: 'success', image_data: image, filename, timestamp: isoNow() });
  });

  app.post('/api/test-face-recognition', async (_request, reply) => {
    const frame = await camera.capture();
    if (!frame) return send(reply, { status: 'error', message: 'Failed to capture image' });
    const found = (await faces.analyse(frame)).faces;
    return send(reply, {
      status: 'success',
      faces_detected: found.length,
      results: found.map((face, index) => ({ face_id: index + 1, ...pythonFace(book.identify(face.encoding)) })),
      timestamp: isoNow(),
    });
  });

  app.post('/api/set-led', (request, reply) => {
    const body = jsonBody(request);
    if (!body) throw new HttpError(500, '400 Bad Request: The request has no JSON object as its body.');
    const { status = 'idle', duration = null } = body;
    led.show(String(status), typeof duration === 'number' ? duration * 1000 : null);
    return send(reply, { status: 'success', led_status: String(status), timestamp: isoNow() });
  });

  app.post('/api/test-notification', (request, reply) => {
    const { message = 'Test notification from web interface', priority = 'normal' } = jsonBody(request) ?? {};
    notifier.send(String(message), String(priority));
    return send(reply, { status: 'success', message: 'Notification sent', timestamp: isoNow() });
  });
}

function logRoutes(app: FastifyInstance, { places }: Parts): void {
  app.get('/api/recent-events', async (_request, reply) =>
    send(reply, { status: 'success', events: await recentEvents(places.eventsLog, 20) }),
  );

  app.get('/api/logs', async (_request, reply) =>
    send(reply, { status: 'success', logs: await lastLines(places.doorbellLog, 50) }),
  );
}
