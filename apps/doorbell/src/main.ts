/**
 * The new doorbell.
 *
 *   PORT=5002 DOORBELL_ROOT=FOLDER [DATABASE_URL=postgres://…] [PASSIVE=1] [CAMERA_FOLDER=FOLDER] node src/main.ts
 */
import { buildApp } from './app.ts';
import { daily } from './daily.ts';
import { rootFolder } from './files.ts';
import { removeOldCaptures } from './retention.ts';
import { openSystem } from './system.ts';
import { refreshWantedList } from './wanted-list.ts';

/** The models are loaded when the first answers are out. */
const WARM_UP_AFTER_MS = 200;
const WANTED_LIST_HOUR = 2;
const RETENTION_HOUR = 3;

const root = rootFolder();
const system = await openSystem({ root });
const { activity, bell, faces, notifications, settings, storage } = system;
const app = await buildApp(system);
const address = await app.listen(settings.web_interface);
console.log(`Doorbell at ${address}, data in ${root} and ${storage.kind}${activity.isActive ? '' : ', passive'}`);
if (activity.isActive) notifications.start();
if (settings.wanted_list.enabled) daily(WANTED_LIST_HOUR, activity, 'Wanted list', () => refreshWantedList(system));
daily(RETENTION_HOUR, activity, 'Retention', () => removeOldCaptures(system));
const warmUp = setTimeout(() => void faces.warm(), WARM_UP_AFTER_MS);

for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void stop());

/** New work is refused first, so that what is under way can end before its store is closed. */
async function stop(): Promise<void> {
  clearTimeout(warmUp);
  await activity.passivate();
  await app.close();
  await bell.stop();
  await faces.close();
  await storage.close();
}
