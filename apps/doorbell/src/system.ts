import { Faces } from '../shared/faces.ts';
import { Activity } from './activity.ts';
import { Camera } from './camera.ts';
import { folders, makeFolders } from './files.ts';
import { Lamp } from './lamp.ts';
import { Notifications } from './notifications/notifications.ts';
import { Telegram } from './notifications/telegram.ts';
import type { Parts } from './parts.ts';
import { Press } from './press.ts';
import { type Configuration, readConfiguration } from './settings.ts';
import { openStorage } from './storage/open.ts';

export interface System extends Parts {
  readonly press: Press;
}

export interface OpenOptions {
  /** Folder with `config` and `data`; what is missing is made. */
  readonly root: string;
  readonly environment?: NodeJS.ProcessEnv;
  readonly faces?: Faces;
}

/** Reads the settings of a root, opens its store and puts the parts together; nothing listens and no timer runs yet. */
export async function openSystem({
  root,
  environment = process.env,
  faces = new Faces(),
}: OpenOptions): Promise<System> {
  const configuration = await readConfiguration(root, environment);
  const { settings } = configuration;
  const places = folders(root, settings);
  await makeFolders(places);
  const storage = await openStorage(root, configuration);
  await storage.migrate();

  const activity = new Activity(environment['PASSIVE'] !== '1');
  const camera = new Camera(environment['CAMERA_FOLDER'] ?? null, settings.frame_capture, faces);
  const notifications = new Notifications({
    settings: settings.notifications,
    storage,
    activity,
    capturesFolder: places.captures,
    telegram: telegram(configuration, environment),
  });
  const parts: Parts = { ...configuration, places, activity, storage, faces, camera, lamp: new Lamp(), notifications };
  return { ...parts, press: new Press(parts) };
}

function telegram({ settings, secrets }: Configuration, environment: NodeJS.ProcessEnv) {
  const { telegramBotToken: token, telegramChatId: chatId } = secrets;
  const isDevelopment = environment['DEVELOPMENT_MODE']?.toLowerCase() === 'true';
  if (token === null || chatId === null || !settings.notifications.telegram_enabled || isDevelopment) return null;
  const apiUrl = environment['TELEGRAM_API_URL'];
  const timeoutMs = settings.notifications.telegram_timeout * 1000;
  return { client: new Telegram({ token, timeoutMs, ...(apiUrl === undefined ? {} : { apiUrl }) }), chatId };
}
