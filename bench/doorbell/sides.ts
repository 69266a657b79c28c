/** Both doorbells with the same people, the same visitors and no debounce, each a process of its own. */
import { closeSync, existsSync, fstatSync, openSync, readSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { facesPickle } from '../../apps/doorbell/legacy/face-book.ts';
import { layout } from '../../apps/doorbell/legacy/files.ts';
import type { Person } from '../../apps/doorbell/seed/people.ts';
import { SqliteStorage } from '../../apps/doorbell/src/storage/sqlite.ts';
import { startChild } from '../../packages/changeover/src/testing/child.ts';

const START_TIMEOUT_MS = 60_000;
const LINE_FEED = 10;

export interface Side {
  readonly name: 'legacy' | 'next';
  readonly pid: number;
  readonly url: string;
  /** Events that a reader of the store finds, since the process began. */
  readonly stored: () => number;
}

const program = (file: string) => fileURLToPath(new URL(`../../apps/doorbell/${file}`, import.meta.url));

export async function startLegacy(stack: AsyncDisposableStack, root: string, porch: string, people: readonly Person[]) {
  const places = layout(root);
  await mkdir(places.logs, { recursive: true });
  const pickle = (roles: readonly string[]) =>
    facesPickle(gallery(people, roles).map(({ id, encoding }) => ({ name: id, encoding })));
  await writeFile(places.knownCache, pickle(['resident']));
  await writeFile(places.blacklistCache, pickle(['wanted']));
  const env = { DEBOUNCE_TIME: '0', FBI_UPDATE_ENABLED: 'False', NOTIFY_ON_KNOWN_VISITORS: 'True' };
  const { pid, url } = await start(stack, 'legacy/server.ts', { ...env, DOORBELL_ROOT: root, CAMERA_FOLDER: porch });
  let at = 0;
  let lines = 0;
  const stored = () => {
    if (!existsSync(places.eventsLog)) return 0;
    const file = openSync(places.eventsLog, 'r');
    const added = Buffer.alloc(fstatSync(file).size - at);
    const length = readSync(file, added, 0, added.length, at);
    closeSync(file);
    at += length;
    for (const byte of added.subarray(0, length)) if (byte === LINE_FEED) lines += 1;
    return lines;
  };
  return { name: 'legacy', pid, url, stored } satisfies Side;
}

export async function startNext(
  stack: AsyncDisposableStack,
  root: string,
  porch: string,
  people: readonly Person[],
  telegramUrl: string,
) {
  await mkdir(join(root, 'config'), { recursive: true });
  const settings = {
    hardware: { button_debounce_time: 0 },
    notifications: { include_images_for_known: true },
    storage: { log_level: 'WARNING' },
  };
  await writeFile(join(root, 'config/pipeline.json'), JSON.stringify(settings));
  const file = join(root, 'data/pipeline.db');
  const storage = new SqliteStorage(file);
  await storage.migrate();
  for (const { id, role, encoding } of gallery(people, ['resident', 'wanted'])) {
    const isBlacklisted = role === 'wanted';
    await storage.addEncoding({ personId: id, name: id, isBlacklisted }, encoding, 0);
  }
  await storage.close();
  const { pid, url } = await start(stack, 'src/main.ts', {
    DOORBELL_ROOT: root,
    CAMERA_FOLDER: porch,
    TELEGRAM_BOT_TOKEN: 'bench',
    TELEGRAM_CHAT_ID: '1',
    TELEGRAM_API_URL: telegramUrl,
  });
  const db = stack.adopt(new DatabaseSync(file, { readOnly: true, timeout: START_TIMEOUT_MS }), (open) => {
    open.close();
  });
  const count = db.prepare('SELECT count(*) AS events FROM events');
  return { name: 'next', pid, url, stored: () => Number(count.get()?.['events']) } satisfies Side;
}

/** All portraits but the one that is meant for visits. */
function gallery(people: readonly Person[], roles: readonly string[]) {
  return people
    .filter(({ role }) => roles.includes(role))
    .flatMap(({ id, role, portraits }) => portraits.slice(0, -1).map(({ encoding }) => ({ id, role, encoding })));
}

async function start(stack: AsyncDisposableStack, file: string, env: Readonly<Record<string, string>>) {
  const child = stack.use(startChild(program(file), { env: { PORT: '0', DATABASE_URL: undefined, ...env } }));
  const line = await child.line(/at http:\/\/\S+/, START_TIMEOUT_MS);
  return { pid: child.pid, url: /http:\/\/[^\s,]+/.exec(line)?.[0] ?? '' };
}
