import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { Faces } from '../shared/faces.ts';
import { createLogger, Metrics, type Runtime } from '@changeover/runtime';
import type { FastifyInstance } from 'fastify';
import { Activity } from './activity.ts';
import { Bell } from './bell.ts';
import { Camera } from './camera/camera.ts';
import { ffmpegSource, greySize } from './camera/ffmpeg.ts';
import { folderSource } from './camera/folder.ts';
import type { CameraSource } from './camera/source.ts';
import { folders, makeFolders } from './files.ts';
import { Lamp } from './lamp.ts';
import { openChannels } from './notifications/channels.ts';
import { Live } from './notifications/live.ts';
import { Notifications } from './notifications/notifications.ts';

import type { Parts } from './parts.ts';
import { openFaces } from './recognition/faces.ts';
import { KeptGallery } from './recognition/gallery.ts';
import { type Configuration, readConfiguration, workersOf } from './settings.ts';
import { supervise } from './supervise.ts';
import { openStorage } from './storage/open.ts';

const LOG_LEVELS = { DEBUG: 'debug', INFO: 'info', WARNING: 'warn', ERROR: 'error', CRITICAL: 'fatal' } as const;

export interface System extends Parts {
  /** Absolute path of the folder with `config` and `data`. */
  readonly root: string;
  readonly bell: Bell;
  readonly runtime: Runtime;
  readonly pipelines: readonly Bell['line'][];
  readonly live: Live;
}

export interface OpenOptions {
  /** Folder with `config` and `data`; what is missing is made. */
  readonly root: string;
  readonly environment?: NodeJS.ProcessEnv;
  /** Shared with others, who close it; default its own. */
  readonly faces?: Faces;
}

export interface BuildOptions extends OpenOptions {
  /** One that has ended: who owns devices and writes, and what was counted, outlives it. */
  readonly previous?: System | null;
  /** Answers requests while the system runs. Default: nothing listens. */
  readonly serve?: (system: System) => Promise<FastifyInstance>;
}

/** As {@link buildSystem}, and started; nothing listens yet. */
export async function openSystem(options: OpenOptions): Promise<System> {
  const system = await buildSystem(options);
  await system.runtime.start();
  return system;
}

/** Reads the settings of a root, opens its store and puts the parts together; its runtime starts them. */
export async function buildSystem(options: BuildOptions): Promise<System> {
  const { root, environment = process.env, faces: given, previous = null, serve } = options;
  const configuration = await readConfiguration(root, environment);
  const { settings } = configuration;
  const faces = given ?? openFaces(workersOf(configuration).detection);
  const places = folders(root, settings);
  await makeFolders(places);
  // Watched, so that settings may come later.
  await mkdir(path.join(root, 'config'), { recursive: true });
  const storage = await openStorage(root, configuration);
  await storage.migrate().catch(async (error: unknown) => {
    await storage.close();
    throw error;
  });

  const activity = new Activity(previous?.activity.isActive ?? environment['PASSIVE'] !== '1');
  const camera = new Camera(cameraSource(configuration, environment, faces), settings.frame_capture, activity);
  const live = new Live();
  const notifications = new Notifications({
    settings: settings.notifications,
    storage,
    activity,
    capturesFolder: places.captures,
    channels: openChannels(configuration, environment, live),
  });
  const parts: Parts = {
    ...configuration,
    places,
    activity,
    storage,
    gallery: new KeptGallery(storage),
    faces,
    camera,
    lamp: new Lamp(),
    notifications,
  };
  const log = createLogger({ level: LOG_LEVELS[settings.storage.log_level] });
  const metrics = previous?.runtime.metrics ?? new Metrics();
  const bell = new Bell(parts, root, { log, metrics });
  bell.onVisit((visit) => {
    live.visit(visit);
  });
  const runtime = supervise(parts, bell, {
    log,
    metrics,
    ownsFaces: given === undefined,
    serve: serve === undefined ? undefined : () => serve(system),
  });
  const system: System = { ...parts, root: path.resolve(root), bell, runtime, pipelines: [bell.line], live };
  return system;
}

function cameraSource(
  { settings, secrets }: Configuration,
  environment: NodeJS.ProcessEnv,
  faces: Faces,
): CameraSource {
  const { frame_capture: capture, motion_detection: motion } = settings;
  const folder = environment['CAMERA_FOLDER'];
  const address = secrets.cameraUrl ?? capture.source;
  if (folder !== undefined || address === null) return folderSource(folder ?? null, capture, faces);
  return ffmpegSource({ address, capture, ...(motion.enabled && { grey: greySize(settings) }) });
}
