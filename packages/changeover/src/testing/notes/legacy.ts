/**
 * The legacy of the fixture: `PORT=0 ROOT=/folder STORE=sqlite|files node legacy.ts`.
 * `BOOT_MS` makes it as slow to start as legacies are.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { legacyFailure, serveNotes } from './server.ts';
import { openLegacyNotes, openPictures } from './stores.ts';

const { PORT = '0', ROOT = process.cwd(), STORE = 'sqlite', BOOT_MS = '0' } = process.env;
if (STORE !== 'sqlite' && STORE !== 'files') throw new Error(`STORE: expected sqlite or files, got ${STORE}`);

await sleep(Number(BOOT_MS));
serveNotes({
  side: 'legacy',
  port: Number(PORT),
  store: openLegacyNotes(ROOT, STORE),
  pictures: openPictures(ROOT),
  failureOf: legacyFailure,
});
