import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { tempFolder } from 'changeover/testing';
import { Activity } from '../src/activity.ts';
import { openChannels } from '../src/notifications/channels.ts';
import { Live } from '../src/notifications/live.ts';
import { Notifications, type Alert, type Occasion } from '../src/notifications/notifications.ts';
import { readConfiguration } from '../src/settings.ts';
import { openStorage } from '../src/storage/open.ts';
import type { NewNotification, NotificationStatus } from '../src/storage/storage.ts';

const STATUSES: readonly NotificationStatus[] = ['pending', 'delivered', 'failed', 'rate_limited', 'aggregated'];

export interface OutboxSetup {
  readonly notifications: object;
  readonly env?: NodeJS.ProcessEnv;
  /** Of an earlier outbox, to go on with. */
  readonly root?: string;
}

/** Notifications over a real store, with the channels of these settings. */
export async function openOutbox({ notifications: settings, env = {}, root: given }: OutboxSetup) {
  const temp = given === undefined ? await tempFolder('doorbell-outbox-') : null;
  const root = given ?? temp?.path ?? '';
  const capturesFolder = path.join(root, 'data/captures');
  await mkdir(path.join(root, 'config'), { recursive: true });
  await mkdir(capturesFolder, { recursive: true });
  await writeFile(path.join(root, 'config/pipeline.json'), JSON.stringify({ notifications: settings }));
  await writeFile(path.join(capturesFolder, 'visitor.jpg'), 'picture');
  const configuration = await readConfiguration(root, env);
  const storage = await openStorage(root, configuration);
  await storage.migrate();
  const activity = new Activity(true);
  const notifications = new Notifications({
    settings: configuration.settings.notifications,
    storage,
    activity,
    capturesFolder,
    channels: openChannels(configuration, env, new Live()),
  });
  notifications.start();
  return {
    root,
    activity,
    storage,
    notifications,
    /** As after a press: stored first, then sent. */
    tell: async (alert: Alert, occasion: Partial<Occasion> = {}) => {
      const row = notifications.prepare(alert, { title: 'T', message: 'M', eventId: 'event', ...occasion });
      if (row === null) throw new Error(`${alert} is switched off`);
      await storage.addNotification(row);
      notifications.deliver();
      return row;
    },
    rows: async (): Promise<NewNotification[]> => {
      const rows: NewNotification[] = [];
      for (const status of STATUSES) rows.push(...(await storage.notifications(status, 100)));
      return rows;
    },
    [Symbol.asyncDispose]: async () => {
      await activity.passivate();
      await notifications.stop();
      await storage.close();
      await temp?.remove();
    },
  };
}

export interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly atMs: number;
}

/** An HTTP server that keeps what it gets; the next answers are taken from `answers`, and are 200 when there are none. */
export async function receiver() {
  const received: Received[] = [];
  const answers: ((response: ServerResponse) => void)[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { url: requested = '', headers } = request;
      received.push({
        path: requested,
        headers,
        body: Buffer.concat(chunks).toString('latin1'),
        atMs: performance.now(),
      });
      const answer = answers.shift() ?? ((end: ServerResponse) => end.end('{"ok":true,"result":{}}'));
      answer(response);
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    received,
    answers,
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}
