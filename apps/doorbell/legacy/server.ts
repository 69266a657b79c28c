/**
 * The legacy doorbell: one process that watches the button, takes pictures, compares faces, logs events and serves the page.
 *
 *   PORT=5001 DOORBELL_ROOT=FOLDER CAMERA_FOLDER=FOLDER node legacy/server.ts
 */
import path from 'node:path';
import { openSystem } from './system.ts';
import { scheduleRefresh } from './wanted-list.ts';

/** The models are loaded when the first answers are out. */
const WARM_UP_AFTER_MS = 200;

const root = path.resolve(process.env['DOORBELL_ROOT'] ?? path.join(import.meta.dirname, '../.legacy'));
const system = await openSystem({ root, cameraFolder: process.env['CAMERA_FOLDER'] ?? null });
const { app, faces, settings } = system;
// On a hosting platform the original listens to everybody, at home only to this machine.
const isHosted = ['VERCEL', 'RENDER', 'RAILWAY'].some((name) => process.env[name]);
const address = await app.listen({ host: isHosted ? '0.0.0.0' : '127.0.0.1', port: settings.port });
console.log(`Doorbell (legacy) at ${address}, data in ${root}`);
// There is no handler for SIGTERM: as in the original, it ends the process wherever it stands.
setTimeout(() => void faces.warm(), WARM_UP_AFTER_MS);
scheduleRefresh(system);
