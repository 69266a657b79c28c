/**
 * The new doorbell.
 *
 *   PORT=5002 DOORBELL_ROOT=FOLDER [DATABASE_URL=postgres://…] [PASSIVE=1] [CAMERA_FOLDER=FOLDER] node src/main.ts
 */
import { buildApp } from './app.ts';
import { rootFolder } from './files.ts';
import { openSystem } from './system.ts';

const root = rootFolder();
const system = await openSystem({ root });
const { activity, runtime, settings, storage } = system;
const app = await buildApp(system);
const address = await app.listen(settings.web_interface);

// Whoever reads that it is there may end it at once.
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void stop());
console.log(`Doorbell at ${address}, data in ${root} and ${storage.kind}${activity.isActive ? '' : ', passive'}`);

/** New work is refused first, so that what is under way can end before its store is closed. */
async function stop(): Promise<void> {
  await activity.passivate();
  await app.close();
  await runtime.stop();
}

// Whoever runs this process starts it again where a critical part could not be kept running.
await runtime.ended.catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
