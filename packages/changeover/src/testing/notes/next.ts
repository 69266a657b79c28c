/**
 * The new side of the fixture: `PORT=0 ROOT=/folder [DATABASE_URL=…] [PASSIVE=1] node next.ts`, after `next-schema.ts`.
 * While it is active it acts on its own, as a device or an outgoing message would: a line in `data/next-ticks.log` every
 * 100 ms. A passive one must not, until `POST /control/activate`.
 */
import { appendFile, mkdir } from 'node:fs/promises';
import path from 'node:path';
import { nextFailure, serveNotes } from './server.ts';
import { openNextNotes, openPictures } from './stores.ts';

const { PORT = '0', ROOT = process.cwd(), DATABASE_URL, PASSIVE = '' } = process.env;
const TICK_MS = 100;
const ticks = path.join(ROOT, 'data/next-ticks.log');
await mkdir(path.dirname(ticks), { recursive: true });

let timer: NodeJS.Timeout | null = null;
let underWay: Promise<void> = Promise.resolve();
let working = 0;

function tick(): void {
  working++;
  underWay = appendFile(ticks, `${Date.now()} ${process.pid}\n`).finally(() => working--);
}

function activate(): Promise<void> {
  timer ??= setInterval(tick, TICK_MS);
  return Promise.resolve();
}

async function passivate(): Promise<void> {
  if (timer !== null) clearInterval(timer);
  timer = null;
  await underWay;
}

if (PASSIVE === '' || PASSIVE === '0') await activate();
const server = serveNotes({
  side: 'next',
  port: Number(PORT),
  store: openNextNotes(ROOT, DATABASE_URL),
  pictures: openPictures(ROOT),
  failureOf: nextFailure,
  ownWork: () => working,
  controls: { activate, passivate },
});
server.on('close', () => void passivate());
