/**
 * The new doorbell.
 *
 *   PORT=5002 DOORBELL_ROOT=FOLDER [DATABASE_URL=postgres://…] [PASSIVE=1] [CAMERA_FOLDER=FOLDER] node src/main.ts
 */
import { Faces } from '../shared/faces.ts';
import { Activity } from './activity.ts';
import { buildApp } from './app.ts';
import { Camera } from './camera.ts';
import { folders, makeFolders, rootFolder } from './files.ts';
import { Lamp } from './lamp.ts';
import { Notifications } from './notifications/notifications.ts';
import { Telegram } from './notifications/telegram.ts';
import { Press } from './press.ts';
import { readConfiguration } from './settings.ts';
import { openStorage } from './storage/open.ts';

/** The models are loaded when the first answers are out. */
const WARM_UP_AFTER_MS = 200;

const root = rootFolder();
const configuration = await readConfiguration(root);
const { settings, secrets } = configuration;
const places = folders(root, settings);
await makeFolders(places);
const storage = await openStorage(root, configuration);
await storage.migrate();

const activity = new Activity(process.env['PASSIVE'] !== '1');
const faces = new Faces();
const camera = new Camera(process.env['CAMERA_FOLDER'] ?? null, settings.frame_capture, faces);
const lamp = new Lamp();
const notifications = new Notifications({
  settings: settings.notifications,
  storage,
  activity,
  capturesFolder: places.captures,
  telegram: telegram(),
});
const parts = { ...configuration, places, activity, storage, faces, camera, lamp, notifications };
const app = await buildApp({ ...parts, press: new Press(parts) });
const address = await app.listen(settings.web_interface);
console.log(`Doorbell at ${address}, data in ${root} and ${storage.kind}${activity.isActive ? '' : ', passive'}`);
if (activity.isActive) notifications.start();
const warmUp = setTimeout(() => void faces.warm(), WARM_UP_AFTER_MS);

for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void stop());

/** New work is refused first, so that what is under way can end before its store is closed. */
async function stop(): Promise<void> {
  clearTimeout(warmUp);
  await activity.passivate();
  await app.close();
  await faces.close();
  await storage.close();
}

function telegram() {
  const { telegramBotToken: token, telegramChatId: chatId } = secrets;
  const isDevelopment = process.env['DEVELOPMENT_MODE']?.toLowerCase() === 'true';
  if (token === null || chatId === null || !settings.notifications.telegram_enabled || isDevelopment) return null;
  const apiUrl = process.env['TELEGRAM_API_URL'];
  const timeoutMs = settings.notifications.telegram_timeout * 1000;
  return { client: new Telegram({ token, timeoutMs, ...(apiUrl === undefined ? {} : { apiUrl }) }), chatId };
}
