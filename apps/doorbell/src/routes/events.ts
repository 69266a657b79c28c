import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { FastifyInstance } from 'fastify';
import { EVENT_TYPES, shownEvent } from '../events.ts';
import type { System } from '../system.ts';

const SHOWN_EVENTS = 20;
const SHOWN_LOG_LINES = 50;

export function eventRoutes(app: FastifyInstance, { storage, places }: System): void {
  app.get('/api/recent-events', async () => {
    const events = await storage.recentEvents(EVENT_TYPES, SHOWN_EVENTS);
    return { status: 'success', events: events.flatMap((event) => shownEvent(event, places.captures) ?? []) };
  });

  app.get('/api/logs', async () => {
    const text = await readFile(path.join(places.logs, 'doorbell.log'), 'utf8').catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
      throw error;
    });
    const lines = text.split('\n');
    if (lines.at(-1) === '') lines.pop();
    return { status: 'success', logs: lines.slice(-SHOWN_LOG_LINES) };
  });
}
