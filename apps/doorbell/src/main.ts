/**
 * The new doorbell.
 *
 *   PORT=5002 DOORBELL_ROOT=FOLDER [DATABASE_URL=postgres://…] [PASSIVE=1] [CAMERA_FOLDER=FOLDER] node src/main.ts
 */
import { rootFolder } from './files.ts';
import { orchestrate } from './orchestrate.ts';

const root = rootFolder();
let address = '';
const doorbell = orchestrate({
  root,
  onListening: ({ listeningOrigin }) => {
    address = listeningOrigin;
  },
});
doorbell.registerEventCallback('state', ({ to }) => {
  if (to !== 'running') return;
  const { activity, storage } = doorbell.system;
  console.log(`Doorbell at ${address}, data in ${root} and ${storage.kind}${activity.isActive ? '' : ', passive'}`);
});

// Whoever reads that it is there may end it at once. New work is refused first, so that what is under way can end before its store is closed.
for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.once(signal, () => void doorbell.getLegacyInterface().stop());
await doorbell.start();

// Whoever runs this process starts it again where it could not be kept running.
await doorbell.ended.catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
