/**
 * The legacy doorbell: one process that watches the button, takes pictures, compares faces, logs events and serves the page.
 *
 *   PORT=5001 DOORBELL_ROOT=FOLDER CAMERA_FOLDER=FOLDER node legacy/server.ts
 */
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { Faces } from '../shared/faces.ts';
import { Camera } from './camera.ts';
import { Doorbell, type Parts } from './doorbell.ts';
import { FaceBook } from './face-book.ts';
import { layout } from './files.ts';
import { Led } from './led.ts';
import { Notifier } from './notifier.ts';
import { buildApp } from './routes.ts';
import { readSettings } from './settings.ts';

const root = path.resolve(process.env['DOORBELL_ROOT'] ?? path.join(import.meta.dirname, '../.legacy'));
const places = layout(root);
for (const folder of [
  places.known,
  places.blacklist,
  places.captures,
  places.croppedKnown,
  places.croppedUnknown,
  places.logs,
  places.scratch,
]) {
  await mkdir(folder, { recursive: true });
}

const settings = await readSettings(root);
const faces = new Faces();
const book = await FaceBook.load(places, faces, {
  face: settings.faceTolerance,
  blacklist: settings.blacklistTolerance,
});
const camera = new Camera(process.env['CAMERA_FOLDER'] ?? null, settings.cameraResolution, faces);
const parts: Parts = {
  places,
  settings,
  faces,
  book,
  camera,
  led: new Led(),
  notifier: new Notifier(settings.telegram),
};

const app = await buildApp(parts, new Doorbell(parts));
// On a hosting platform the original listens to everybody, at home only to this machine.
const isHosted = ['VERCEL', 'RENDER', 'RAILWAY'].some((name) => process.env[name]);
const address = await app.listen({
  host: isHosted ? '0.0.0.0' : '127.0.0.1',
  port: settings.port,
});
console.log(`Doorbell (legacy) at ${address}, data in ${root}`);
// There is no handler for SIGTERM: as in the original, it ends the process wherever it stands.
setTimeout(() => void faces.warm(), 200);
