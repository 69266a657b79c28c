import {
  createRuntime,
  RuntimeError,
  service,
  started,
  type Logger,
  type Metrics,
  type Reload,
  type Runtime,
} from '@changeover/runtime';
import type { FastifyInstance } from 'fastify';
import type { Bell } from './bell.ts';
import { daily } from './daily.ts';
import type { Parts } from './parts.ts';
import { removeOldCaptures } from './retention.ts';
import { watchSettings } from './settings.ts';
import { MotionWatch } from './stages/watch.ts';
import { refreshWantedList } from './wanted-list.ts';

/** The models are loaded when the first answers are out. */
const WARM_UP_AFTER_MS = 200;
const WANTED_LIST_HOUR = 2;
const RETENTION_HOUR = 3;
const MS_PER_SECOND = 1000;
const CAMERA_CHECK_MS = 1000;
/** A camera that is switched off for a night is back soon after it is switched on: more than fit into a minute, so there is no long rest. */
const CAMERA_BACKOFF_MS = 5000;
const CAMERA_RESTARTS = 60;
/** Then all is built again. */
const WEB_RESTARTS = 3;
const STOP_ALL_MS = 60_000;

/**
 * The parts as services: what needs what, what is watched, and what the household can do without. They stop in the reverse order, so that what
 * was accepted is stored before its store is closed.
 */
export function supervise(
  parts: Parts,
  bell: Bell,
  options: {
    readonly log: Logger;
    readonly metrics: Metrics;
    readonly ownsFaces: boolean;
    /** Answers requests, once everything that they need is there. Default: nothing listens. */
    readonly serve?: (() => Promise<FastifyInstance>) | undefined;
  },
): Runtime {
  const { activity, faces, notifications, settings } = parts;
  const { log, metrics, ownsFaces, serve } = options;
  const intervalMs = settings.monitoring.health_check_interval * MS_PER_SECOND;
  const storage = service('storage', {
    start: () => parts.storage,
    stop: (store) => store.close(),
    health: { check: (store) => store.ping(), intervalMs },
  });
  // Without a camera a press is still an event: the household can do without it.
  const camera = service('camera', {
    critical: false,
    start: () => parts.camera,
    health: { check: (eye) => eye.health(), intervalMs: CAMERA_CHECK_MS },
  });
  // A part of its own: the camera's health is told also while its pictures are on their way back.
  const pictures = service('pictures', {
    critical: false,
    needs: [started(camera)],
    start: () => parts.camera,
    run: (eye, { signal }) => eye.stream(signal),
    restart: { limit: CAMERA_RESTARTS, maxBackoffMs: CAMERA_BACKOFF_MS },
  });
  const motion = service('motion', {
    critical: false,
    needs: [started(storage)],
    start: () => new MotionWatch(parts, { log, metrics }),
    stop: (watch) => watch.stop(),
    health: { check: (watch) => watch.health(), intervalMs },
  });
  const recognition = service('recognition', {
    start: () => {
      const warm = () =>
        void faces.warm().catch((error: unknown) => {
          log.warn({ err: error }, 'the models were not loaded beforehand');
        });
      return setTimeout(warm, WARM_UP_AFTER_MS).unref();
    },
    stop: async (warmUp) => {
      clearTimeout(warmUp);
      if (ownsFaces) await faces.close();
    },
  });
  const pressing = service('bell', {
    needs: [started(storage), started(recognition)],
    start: () => {
      // A passive side leaves what it once accepted to the time when it may write again.
      activity.onChange((isActive) => {
        if (isActive) bell.start();
      });
      if (activity.isActive) bell.start();
    },
    stop: () => bell.stop(),
    health: { check: () => bell.health(), intervalMs },
    stopTimeoutMs: STOP_ALL_MS,
  });
  const messages = service('notifications', {
    critical: false,
    needs: [started(storage)],
    start: () => {
      if (activity.isActive) notifications.start();
    },
    stop: () => notifications.stop(),
    stopTimeoutMs: STOP_ALL_MS,
  });
  const chores = service('chores', {
    critical: false,
    needs: [started(storage), started(recognition)],
    start: () => {
      const ends = [daily(RETENTION_HOUR, activity, 'Retention', () => removeOldCaptures(parts))];
      if (settings.wanted_list.enabled)
        ends.push(daily(WANTED_LIST_HOUR, activity, 'Wanted list', () => refreshWantedList(parts)));
      return ends;
    },
    stop: (ends) => {
      for (const end of ends) end();
    },
  });
  const file = service('settings', {
    critical: false,
    start: ({ signal, log: own }) => {
      const told = (result: Reload | RuntimeError) => {
        if (result instanceof RuntimeError) own.error({ err: result }, 'the settings stay as they are');
        else own.warn(result, 'the settings have changed');
      };
      watchSettings(parts, told, signal);
    },
  });
  // It answers also while a part starts again: only the end of all is its end.
  const web = [storage, recognition, pressing].map((one) => started(one, { restarts: false }));
  return createRuntime({
    services: [
      storage,
      recognition,
      pressing,
      messages,
      chores,
      file,
      ...(parts.camera.isContinuous ? [camera, pictures] : []),
      ...(parts.camera.isContinuous && settings.motion_detection.enabled ? [motion] : []),
      ...(serve === undefined
        ? []
        : [
            service('web', {
              needs: web,
              start: serve,
              run: (app, { signal }) => listening(app, signal),
              restart: { limit: WEB_RESTARTS },
              stop: (app) => app.close(),
              stopTimeoutMs: STOP_ALL_MS,
            }),
          ]),
    ],
    stopTimeoutMs: STOP_ALL_MS,
    log,
    metrics,
  });
}

/** Rejects when it listens no more and nobody has asked for that. */
async function listening({ server }: FastifyInstance, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.once('close', () => {
      if (signal.aborted) resolve();
      else reject(new Error('it listens no more'));
    });
  });
}
