import type { FastifyInstance } from 'fastify';
import { now } from '../events.ts';
import type { System } from '../system.ts';

export function statusRoutes(app: FastifyInstance, system: System): void {
  app.get('/api/status', async () => ({ status: 'online', timestamp: now().local, ...(await statusOf(system)) }));
}

/** What the parts of a system are like, with the names that clients of the legacy know. */
export async function statusOf(system: System) {
  return {
    camera: cameraInfo(system),
    gpio: gpioInfo(system),
    faces: await faceStats(system),
    telegram: { initialized: true },
  };
}

export function cameraInfo({ camera, settings }: System) {
  const { camera_type } = settings.hardware;
  return {
    // Without a source, whatever is asked for, the camera plays pictures.
    camera_type: camera_type === 'auto' ? (camera.isContinuous ? 'opencv' : 'mock') : camera_type,
    initialized: camera.health().status === 'healthy',
    resolution: settings.frame_capture.resolution,
    rotation: settings.frame_capture.rotation,
  };
}

export function gpioInfo({ lamp, settings }: System) {
  const { doorbell_pin, led_pins } = settings.hardware;
  return { doorbell_pin, doorbell_state: 'mock', initialized: true, led_pins, led_states: lamp.states };
}

/** One name for each encoding: duplicates are kept. */
export async function faceStats({ storage }: System) {
  const people = await storage.people();
  const names = (isBlacklisted: boolean) =>
    people.filter((one) => one.isBlacklisted === isBlacklisted).map(({ name }) => name);
  const known = names(false);
  const blacklisted = names(true);
  return {
    known_faces: known.length,
    blacklist_faces: blacklisted.length,
    known_names: known,
    blacklist_names: blacklisted,
  };
}
