/**
 * The whole move of the doorbell: settings, events, people, pictures and traffic.
 *
 * Where both sides live is told by the environment: DOORBELL_LEGACY_ROOT, DOORBELL_NEXT_ROOT, DOORBELL_PORTS (gateway, legacy, new side),
 * DOORBELL_CAMERA (a folder of pictures for machines without a camera) and DOORBELL_DATABASE_URL (a Postgres for the new side; default
 * SQLite). `TZ` must be that of the legacy, whose times have no zone.
 */
import path from 'node:path';
import { command, counts, defineChangeover, files, http, postgres, rows, sqlite } from 'changeover';
import { events } from './move/events.ts';
import { people } from './move/people.ts';
import { doorbellSettings } from './move/settings.ts';

const here = import.meta.dirname;
const legacyRoot = path.resolve(process.env['DOORBELL_LEGACY_ROOT'] ?? path.join(here, '.legacy'));
const nextRoot = path.resolve(process.env['DOORBELL_NEXT_ROOT'] ?? path.join(here, '.next'));
const [gatewayPort = 5000, legacyPort = 5001, nextPort = 5002] = (process.env['DOORBELL_PORTS'] ?? '')
  .split(',')
  .filter(Boolean)
  .map(Number);
const databaseUrl = process.env['DOORBELL_DATABASE_URL'];
const camera: Record<string, string> =
  process.env['DOORBELL_CAMERA'] === undefined ? {} : { CAMERA_FOLDER: process.env['DOORBELL_CAMERA'] };

const database = databaseUrl === undefined ? sqlite(path.join(nextRoot, 'data/pipeline.db')) : postgres(databaseUrl);
const nextEnvironment: Record<string, string> = {
  DOORBELL_ROOT: nextRoot,
  ...camera,
  ...(databaseUrl === undefined ? {} : { DATABASE_URL: databaseUrl }),
};
const node = `"${process.execPath}"`;

/** The yellow light is on from the moment a press is accepted until its event is stored. */
interface LegacyStatus {
  readonly gpio: { readonly led_states: { readonly yellow: boolean } };
}

const folders = ['known_faces', 'blacklist_faces', 'captures', 'cropped_faces'].map((name) =>
  files({ name, from: path.join(legacyRoot, 'data', name), to: path.join(nextRoot, 'data', name) }),
);

export default defineChangeover({
  name: 'doorbell',
  legacy: {
    units: [
      command(`${node} "${path.join(here, 'legacy/server.ts')}"`, {
        name: 'legacy doorbell',
        url: `http://127.0.0.1:${legacyPort}`,
        health: '/api/status',
        env: { PORT: String(legacyPort), DOORBELL_ROOT: legacyRoot, DEVELOPMENT_MODE: 'true', ...camera },
        quiesce: { until: { path: '/api/status', idle: ({ gpio }: LegacyStatus) => !gpio.led_states.yellow } },
        rehearse: { copy: legacyRoot, env: { DOORBELL_ROOT: '{folder}', PORT: '{port}' } },
      }),
    ],
  },
  next: {
    units: [
      command(`${node} "${path.join(here, 'src/main.ts')}"`, {
        name: 'new doorbell',
        url: `http://127.0.0.1:${nextPort}`,
        health: '/health/ready',
        env: { PORT: String(nextPort), ...nextEnvironment },
        passive: { env: { PASSIVE: '1' }, activate: '/control/activate', passivate: '/control/passivate' },
        quiesce: { until: { path: '/health/idle', idle: ({ idle }: { idle: boolean }) => idle } },
      }),
    ],
    setup: [{ run: `${node} "${path.join(here, 'src/migrate.ts')}"`, env: nextEnvironment }],
  },
  gateway: { listen: { host: '127.0.0.1', port: gatewayPort } },
  backup: {
    paths: [path.join(legacyRoot, '.env'), path.join(legacyRoot, 'config'), path.join(legacyRoot, 'data')],
    compress: 'zstd',
  },
  config: doorbellSettings(legacyRoot, nextRoot, nextPort),
  // Pictures first: an event or a person never names one that is not there yet.
  data: [...folders, events(legacyRoot, database), people(legacyRoot, database)],
  cutover: { hold: { deadline: '5s', rollbackDeadline: '30s' } },
  checks: [
    http('/api/status', { expect: ({ status }: { status: string }) => status === 'online' }),
    http('/api/recent-events'),
    http('/api/faces/known'),
    counts(),
    rows(),
  ],
});
