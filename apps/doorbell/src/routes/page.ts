import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { EVENT_TYPES, shownEvent } from '../events.ts';
import { HttpError } from '../http.ts';
import type { EventPosition } from '../storage/storage.ts';
import type { System } from '../system.ts';
import { sendFile } from './files.ts';

const FOLDER = path.join(import.meta.dirname, '../page');
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};
const HEADERS = {
  'Content-Security-Policy':
    "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
};
const EVENTS_PER_PAGE = 20;
/** Several people who watch see the same picture: the camera is not asked more often. */
const FRAME_AGE_MS = 500;
const POSITION = /^(\d{1,12}(?:\.\d{1,9})?)_(\d{1,16})$/;

/** The page for the household, and what it reads besides the interface of the legacy: pictures of visits, and visits by pages. */
export function pageRoutes(app: FastifyInstance, system: System): void {
  const { storage, places } = system;
  const files = new Map(readdirSync(FOLDER).map((name) => [name, pageFile(name)]));
  const frame = sharedFrame(system);
  const send = (name: string, request: FastifyRequest, reply: FastifyReply) => {
    const file = files.get(name);
    if (file === undefined) throw new HttpError(404, 'File not found');
    reply.headers({ ...HEADERS, 'Cache-Control': 'no-cache', ETag: file.tag });
    if (request.headers['if-none-match'] === file.tag) return reply.code(304).send();
    return reply.type(file.type).send(file.bytes);
  };

  app.get('/', (request, reply) => send('page.html', request, reply));
  app.get<{ Params: { file: string } }>('/app/:file', (request, reply) => send(request.params.file, request, reply));

  app.get<{ Querystring: { before?: string } }>('/app/events', async ({ query }, reply) => {
    ownOnly(reply);
    const found = await storage.eventsBefore(EVENT_TYPES, EVENTS_PER_PAGE + 1, positionOf(query.before));
    const events = found.slice(0, EVENTS_PER_PAGE);
    const last = events.at(-1);
    return {
      events: events.flatMap((event) => {
        const shown = shownEvent(event, '');
        if (shown === null) return [];
        const { timestamp, event_type, faces, capture_path: capture } = shown;
        const picture = capture === null ? null : `/app/captures/${encodeURIComponent(capture)}`;
        return [{ id: String(event.id), timestamp, event_type, faces, picture }];
      }),
      older: last !== undefined && found.length > EVENTS_PER_PAGE ? `${last.timestamp}_${last.id}` : null,
    };
  });

  app.get<{ Params: { name: string } }>('/app/captures/:name', (request, reply) => {
    ownOnly(reply);
    reply.header('Cache-Control', 'private, max-age=86400');
    return sendFile(reply, places.captures, request.params.name);
  });

  app.get('/app/frame', async (_request, reply) => {
    ownOnly(reply);
    const jpeg = await frame();
    if (jpeg === null) return reply.code(503).send({ status: 'error', message: 'The camera gives no picture' });
    return reply.type('image/jpeg').header('Cache-Control', 'no-store').send(Buffer.from(jpeg));
  });
}

/** Other sites may read what the legacy let them read, and nothing else. */
function ownOnly(reply: FastifyReply): void {
  reply.removeHeader('Access-Control-Allow-Origin');
}

function pageFile(name: string) {
  const bytes = readFileSync(path.join(FOLDER, name));
  const tag = `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"`;
  return { bytes, tag, type: TYPES[path.extname(name)] ?? 'application/octet-stream' };
}

function positionOf(text: string | undefined): EventPosition | null {
  if (text === undefined) return null;
  const [, timestamp, id] = POSITION.exec(text) ?? [];
  if (timestamp === undefined || id === undefined) throw new HttpError(400, 'There is no such page of events');
  return { timestamp: Number(timestamp), id: Number(id) };
}

function sharedFrame({ activity, camera }: System): () => Promise<Uint8Array | null> {
  let current: Promise<Uint8Array | null> | null = null;
  return async () => {
    current ??= activity
      .run(() => camera.capture())
      .finally(() => void sleep(FRAME_AGE_MS, null, { ref: false }).then(() => (current = null)));
    return current;
  };
}
