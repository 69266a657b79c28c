import type { FastifyInstance } from 'fastify';
import { now } from '../events.ts';
import type { System } from '../system.ts';

export function statusRoutes(app: FastifyInstance, { camera, settings, lamp, storage }: System): void {
  app.get('/api/status', async () => {
    const people = await storage.people();
    const names = (isBlacklisted: boolean) =>
      people.filter((one) => one.isBlacklisted === isBlacklisted).map(({ name }) => name);
    const known = names(false);
    const blacklisted = names(true);
    const { camera_type, doorbell_pin, led_pins } = settings.hardware;
    return {
      status: 'online',
      timestamp: now().local,
      camera: {
        // Without a source, whatever is asked for, the camera plays pictures.
        camera_type: camera_type === 'auto' ? (camera.isContinuous ? 'opencv' : 'mock') : camera_type,
        initialized: camera.health().status === 'healthy',
        resolution: settings.frame_capture.resolution,
        rotation: settings.frame_capture.rotation,
      },
      gpio: { doorbell_pin, doorbell_state: 'mock', initialized: true, led_pins, led_states: lamp.states },
      faces: {
        known_faces: known.length,
        blacklist_faces: blacklisted.length,
        known_names: known,
        blacklist_names: blacklisted,
      },
      telegram: { initialized: true },
    };
  });
}
