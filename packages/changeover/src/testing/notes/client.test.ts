import { readFile } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { freePort } from '../ports.ts';
import { type TempFolder, tempFolder } from '../temp.ts';
import { compareLedger, isKept } from './compare.ts';
import { type ClientOptions, type NotesClient, startLegacy, startNotesClient } from './start.ts';
import { openLegacyNotes, openPictures } from './stores.ts';

let temp: TempFolder;
let made = 0;
beforeAll(async () => {
  temp = await tempFolder();
});
afterAll(() => temp.remove());

const newRoot = () => path.join(temp.path, `root-${made++}`);
const start = (options: Omit<ClientOptions, 'ledger'>): Promise<NotesClient> =>
  startNotesClient({ lanes: 4, ...options, ledger: path.join(temp.path, `ledger-${made++}`) });

const NOTHING_LOST = { missing: [], duplicated: [], resurrected: [], wrong: [], foreign: [] };

it('a client of an undisturbed legacy loses nothing and fails nothing', async () => {
  for (const store of ['sqlite', 'files'] as const) {
    const root = newRoot();
    await using legacy = await startLegacy({ root, store });
    const operations = store === 'sqlite' ? (['update', 'delete', 'slow'] as const) : (['slow'] as const);
    const tags = store === 'sqlite';
    await using client = await start({ url: legacy.url, operations, tags, pictures: true });
    await sleep(700);
    const summary = await client.stop();
    expect(summary).toMatchObject({ failed: 0, staleReads: 0, switches: [], failures: [] });
    expect(summary.requests).toBe(summary.ok);
    expect(summary.servedBy).toEqual({ legacy: summary.requests });
    expect(summary.writesAcknowledged).toBeGreaterThan(5);
    expect(summary.latencyMs.max).toBeGreaterThanOrEqual(summary.latencyMs.p99);

    await expect.poll(async () => (await fetch(`${legacy.url}/idle`)).json()).toMatchObject({ idle: true });
    const comparison = await compareLedger(client.ledger, { url: legacy.url });
    expect(comparison).toMatchObject({ ...NOTHING_LOST, unknown: { stored: 0, notStored: 0 } });
    expect(comparison.acknowledged).toBeGreaterThan(3);

    // The same seen in the stores, while nobody serves them.
    await legacy.child.kill();
    const opened = openLegacyNotes(root, store);
    const pictures = openPictures(root);
    expect(await compareLedger(client.ledger, { store: opened, pictures })).toEqual(comparison);
    await opened.close();
  }
});

it('a legacy killed under a writing client keeps what was acknowledged, and the rest is told apart', async () => {
  const root = newRoot();
  const port = await freePort();
  const legacy = await startLegacy({ root, port });
  await using client = await start({ url: legacy.url, timeoutMs: 2_000 });
  await sleep(300);
  await legacy.child.kill();
  await sleep(100);
  await using again = await startLegacy({ root, port });
  await sleep(300);
  const summary = await client.stop();
  expect(summary.failed).toBeGreaterThan(0);
  expect(summary.cut).toBe(summary.failed);
  expect(summary.failures.join()).toMatch(/ECONNREFUSED|ECONNRESET|socket hang up/);
  expect(await compareLedger(client.ledger, { url: again.url })).toMatchObject(NOTHING_LOST);
});

it('the ledger of a client that was killed still holds what it was promised', async () => {
  const root = newRoot();
  await using legacy = await startLegacy({ root });
  const client = await start({ url: legacy.url });
  await sleep(300);
  await client.child.kill();
  // A request of the dead client may be under way still.
  await sleep(100);
  const comparison = await compareLedger(client.ledger, { url: legacy.url });
  expect(comparison).toMatchObject(NOTHING_LOST);
  expect(comparison.acknowledged).toBeGreaterThan(0);
});

it('a stall is counted against every request that it delayed', async () => {
  await using legacy = await startLegacy({ root: newRoot() });
  await using client = await start({ url: legacy.url, rate: 100 });
  await sleep(300);
  await legacy.child.kill('SIGSTOP');
  await sleep(500);
  await legacy.child.kill('SIGCONT');
  await sleep(700);
  const summary = await client.stop();
  expect(summary.failed).toBe(0);
  expect(summary.latencyMs.max).toBeGreaterThan(450);
  // 100 a second for half a second out of a second and a half: far more than the 4 that were under way.
  expect(summary.latencyMs.p90).toBeGreaterThan(200);
});

it('the comparison sees each way in which a move can break its promise', async () => {
  const root = newRoot();
  const legacy = await startLegacy({ root });
  await using client = await start({ url: legacy.url, operations: ['update', 'delete'], tags: true });
  const list = async () => ((await (await fetch(`${legacy.url}/notes`)).json()) as { notes: unknown[] }).notes;
  await expect.poll(async () => (await list()).length, { timeout: 10_000 }).toBeGreaterThan(10);
  await expect.poll(() => readFile(client.ledger, 'utf8'), { timeout: 10_000 }).toMatch(/^intent \d+ delete /m);
  await client.stop();
  await legacy.child.kill();
  const store = openLegacyNotes(root, 'sqlite');
  const database = new DatabaseSync(path.join(root, 'data/notes.db'));
  const ledger = await readFile(client.ledger, 'utf8');
  const [deleted = ''] = /(?<=^intent \d+ delete )\S+/m.exec(ledger) ?? [];
  const [lost = '', stale = '', doubled = '', mistagged = ''] = (await store.list('', 4)).map((note) => note.token);

  expect(isKept(await compareLedger(client.ledger, { store }))).toBe(true);
  database.prepare('DELETE FROM notes WHERE token = ?').run(lost);
  database.prepare(`UPDATE notes SET body = token || ' v99 plain' WHERE token = ?`).run(stale);
  database.prepare(`INSERT INTO tags SELECT id, 'stray' FROM notes WHERE token = ?`).run(mistagged);
  database.prepare(`INSERT INTO notes (token, body) VALUES (?, 'risen')`).run(deleted);
  database.prepare(`INSERT INTO notes (token, body) VALUES ('somebody', 'else')`).run();
  database.close();
  const twice = {
    ...store,
    list: async (after: string, limit: number) =>
      (await store.list(after, limit)).flatMap((note) => (note.token === doubled ? [note, note] : [note])),
  };
  const comparison = await compareLedger(client.ledger, { store: twice });
  expect(comparison).toMatchObject({
    missing: [lost],
    duplicated: [doubled],
    resurrected: [deleted],
    foreign: ['somebody'],
  });
  expect([...comparison.wrong].sort()).toEqual([stale, mistagged].sort());
  expect(isKept(comparison)).toBe(false);
  await store.close();
});

it('a switch of sides is seen once, and an answer of the side that was left is seen too', async () => {
  await using legacy = await startLegacy({ root: newRoot() });
  // A proxy that says another side for a while, as if traffic had moved, come back by mistake, and gone again.
  let side = 'legacy';
  const proxy = createServer((incoming, outgoing) => {
    const named = side;
    const options = { method: incoming.method ?? 'GET', headers: incoming.headers };
    const inner = request(new URL(incoming.url ?? '/', legacy.url), options, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 500, { ...answer.headers, 'x-notes-side': named });
      answer.pipe(outgoing);
    });
    incoming.pipe(inner);
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => proxy.once('listening', resolve));
  await using client = await start({ url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}` });
  for (const next of ['next', 'legacy', 'next']) {
    await sleep(200);
    side = next;
  }
  await sleep(200);
  const summary = await client.stop();
  proxy.close();
  expect(summary.switches.map((change) => change.to)).toEqual(['next', 'legacy', 'next']);
  expect(summary.failed).toBe(0);
});
