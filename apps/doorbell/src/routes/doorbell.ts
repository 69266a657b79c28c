import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { FastifyInstance } from 'fastify';
import { now } from '../events.ts';
import { addPicture } from '../files.ts';
import { HttpError, jsonBody } from '../http.ts';
import { recognise } from '../recognition/recognise.ts';
import type { NewNotification } from '../storage/storage.ts';
import type { System } from '../system.ts';

const PRIORITIES = new Map<string, NewNotification['priority']>([
  ['low', 'info'],
  ['normal', 'warning'],
  ['urgent', 'critical'],
]);

/** Button, camera, lamp and messages. */
export function doorbellRoutes(app: FastifyInstance, system: System): void {
  const { activity, camera, faces, lamp, places, bell, gallery, settings } = system;

  app.post('/api/trigger-doorbell', async () => {
    await bell.press();
    return { status: 'success', message: 'Doorbell triggered', timestamp: now().local };
  });

  // A GET that stores a picture: to whoever moves this system it is a write.
  app.get('/api/capture-photo', () =>
    activity.run(async () => {
      const frame = await camera.capture();
      if (!frame) return { status: 'error', message: 'Failed to capture image' };
      const filename = await addPicture(places, places.captures, (stamp) => `test_capture_${stamp}.jpg`, frame);
      const stored = await readFile(path.join(places.captures, filename), 'base64');
      const image = `data:image/jpeg;base64,${stored}`;
      return { status: 'success', image_data: image, filename, timestamp: now().local };
    }),
  );

  app.post('/api/test-face-recognition', () =>
    activity.run(async () => {
      const frame = await camera.capture();
      if (!frame) return { status: 'error', message: 'Failed to capture image' };
      const found = (await faces.analyse(frame)).faces;
      const people = await gallery.current();
      const { tolerance: face, blacklist_tolerance: blacklist } = settings.face_recognition;
      const results = found.map(({ encoding }, index) => {
        const { status, name, confidence, distance } = recognise(encoding, people, { face, blacklist });
        return { face_id: index + 1, status, name, confidence, distance };
      });
      return { status: 'success', faces_detected: found.length, results, timestamp: now().local };
    }),
  );

  app.post('/api/set-led', (request) =>
    activity.run(() => {
      const body = jsonBody(request);
      if (!body) throw new HttpError(500, '400 Bad Request: The request has no JSON object as its body.');
      const { status = 'idle', duration } = body;
      lamp.show(String(status), typeof duration === 'number' ? duration * 1000 : undefined);
      return Promise.resolve({ status: 'success', led_status: String(status), timestamp: now().local });
    }),
  );

  app.post('/api/test-notification', (request) =>
    activity.run(async () => {
      const { message = 'Test notification from web interface', priority = 'normal' } = jsonBody(request) ?? {};
      return (await sendTest(system, String(message), String(priority)))
        ? { status: 'success', message: 'Notification sent', timestamp: now().local }
        : { status: 'error', message: 'Failed to send notification', timestamp: now().local };
    }),
  );
}

/** Stores a message of the household's own, sends it at once, and tells whether it was delivered. */
export async function sendTest({ notifications, storage }: System, message: string, priority: string) {
  const notification = notifications.prepare('test', {
    title: 'DOORBELL SECURITY',
    message,
    priority: PRIORITIES.get(priority) ?? 'warning',
  });
  await storage.assertWritable();
  return notification !== null && (await notifications.deliverNow(notification));
}
