import { once } from 'node:events';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { Agent, type IncomingMessage, request } from 'node:http';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startPostgres, type ThrowawayPostgres } from '../postgres.ts';
import { type TempFolder, tempFolder } from '../temp.ts';
import { type NotesSide, setUpNext, startLegacy, startNext } from './start.ts';

let temp: TempFolder;
let postgres: ThrowawayPostgres;
let folders = 0;

beforeAll(async () => {
  temp = await tempFolder();
  postgres = await startPostgres();
});
afterAll(async () => {
  await postgres.stop();
  await temp.remove();
});

function newRoot(): string {
  return path.join(temp.path, String(folders++));
}

async function call(side: NotesSide, method: string, where: string, body?: unknown) {
  const response = await fetch(new URL(where, side.url), {
    method,
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const bytes = Buffer.from(await response.arrayBuffer());
  const isJson = response.headers.get('content-type') === 'application/json';
  return { status: response.status, body: isJson ? (JSON.parse(bytes.toString()) as unknown) : bytes };
}

const sides = {
  'legacy on SQLite': () => startLegacy({ root: newRoot() }),
  'legacy on a log': () => startLegacy({ root: newRoot(), store: 'files' }),
  'next on SQLite': async () => {
    const root = newRoot();
    await setUpNext({ root });
    return startNext({ root });
  },
  'next on Postgres': async () => {
    const root = newRoot();
    await setUpNext({ root, databaseUrl: postgres.url });
    return startNext({ root, databaseUrl: postgres.url });
  },
};

describe.each(Object.entries(sides))('%s', (name, start) => {
  const hasChanges = name !== 'legacy on a log';
  let side: NotesSide;
  beforeAll(async () => {
    side = await start();
  });
  afterAll(() => side.child.kill());

  it('stores a note once and shows it', async () => {
    const note = { token: 'a-1', body: `it's "so"\n門`, tags: hasChanges ? ['b', 'a'] : [] };
    expect(await call(side, 'POST', '/notes', note)).toMatchObject({ status: 201 });
    expect(await call(side, 'POST', '/notes', { ...note, body: 'again' })).toMatchObject({ status: 409 });
    expect(await call(side, 'GET', '/notes/a-1')).toEqual({ status: 200, body: { ...note, tags: note.tags.sort() } });
    expect(await call(side, 'GET', '/notes/a-2')).toMatchObject({ status: 404 });
    expect(await call(side, 'GET', '/notes?after=a-0')).toMatchObject({ body: { notes: [{ token: 'a-1' }] } });
    expect(await call(side, 'GET', '/notes?after=a-1')).toMatchObject({ body: { notes: [] } });
  });

  if (hasChanges)
    it('changes and deletes notes that are there', async () => {
      await call(side, 'POST', '/notes', { token: 'b-1', body: 'one', tags: ['x'] });
      expect(await call(side, 'PUT', '/notes/b-1', { body: 'two', tags: ['y'] })).toMatchObject({ status: 200 });
      expect(await call(side, 'GET', '/notes/b-1')).toMatchObject({ body: { body: 'two', tags: ['y'] } });
      expect(await call(side, 'DELETE', '/notes/b-1')).toMatchObject({ status: 200 });
      expect(await call(side, 'DELETE', '/notes/b-1')).toMatchObject({ status: 404 });
      expect(await call(side, 'PUT', '/notes/b-1', { body: 'three' })).toMatchObject({ status: 404 });
    });

  if (!hasChanges)
    it('refuses to change a line', async () => {
      expect(await call(side, 'PUT', '/notes/a-1', { body: 'two' })).toMatchObject({ status: 405 });
      expect(await call(side, 'DELETE', '/notes/a-1')).toMatchObject({ status: 405 });
    });

  it('keeps a picture beside its note', async () => {
    const picture = Buffer.from([0, 1, 2, 255]);
    await call(side, 'POST', '/notes', { token: 'c-1', body: '', picture: picture.toString('base64') });
    expect(await call(side, 'GET', '/notes/c-1/picture')).toEqual({ status: 200, body: picture });
    expect(await call(side, 'GET', '/notes/a-1/picture')).toMatchObject({ status: 404 });
    expect(await call(side, 'GET', '/notes/..%2f..%2fnotes/picture')).toMatchObject({ status: 404 });
  });

  it('is not idle while an acknowledged note is still in memory', async () => {
    const busy = { idle: false, pending: 1, lost: 0 };
    expect(await call(side, 'POST', '/slow', { token: 'd-1', ms: 300 })).toMatchObject({ status: 202 });
    if (name.startsWith('legacy')) expect(await call(side, 'GET', '/idle')).toMatchObject({ body: busy });
    expect(await call(side, 'GET', '/notes/d-1')).toMatchObject({ status: 404 });
    await expect.poll(() => call(side, 'GET', '/notes/d-1')).toMatchObject({ status: 200 });
    await expect.poll(() => call(side, 'GET', '/idle')).toMatchObject({ body: { idle: true, lost: 0 } });
  });

  it('answers nonsense with 400 and goes on', async () => {
    for (const body of [
      '',
      '{',
      '[]',
      '"a"',
      '{"token":"../x","body":""}',
      '{"token":"a","body":1}',
      'x'.repeat(2 << 20),
    ])
      expect(await call(side, 'POST', '/notes', body), body.slice(0, 40)).toMatchObject({ status: 400 });
    expect(await call(side, 'GET', '/nothing')).toMatchObject({ status: 404 });
    expect(await call(side, 'GET', '/health')).toMatchObject({ status: 200, body: { status: 'ok' } });
  });
});

describe('legacy', () => {
  it('has every acknowledged note after SIGKILL, and half a line is not one', async () => {
    for (const store of ['sqlite', 'files'] as const) {
      const root = newRoot();
      const before = await startLegacy({ root, store });
      await Promise.all(
        Array.from({ length: 20 }, (_, at) => call(before, 'POST', '/notes', { token: `k-${at}`, body: 'b' })),
      );
      await before.child.kill();
      if (store === 'files') appendFileSync(path.join(root, 'data/notes.log'), `{'token': 'half', 'bo`);
      await using after = await startLegacy({ root, store });
      const { body } = (await call(after, 'GET', '/notes')) as { body: { notes: unknown[] } };
      expect(body.notes).toHaveLength(20);
      expect(await call(after, 'POST', '/notes', { token: 'k-20', body: 'b' })).toMatchObject({ status: 201 });
      expect(await call(after, 'POST', '/notes', { token: 'k-0', body: 'b' })).toMatchObject({ status: 409 });
    }
  });

  it('fails at once when somebody else holds the write lock of its database', async () => {
    const root = newRoot();
    await using side = await startLegacy({ root });
    const other = new DatabaseSync(path.join(root, 'data/notes.db'));
    other.exec('BEGIN IMMEDIATE');
    expect(await call(side, 'POST', '/notes', { token: 'l-1', body: '' })).toMatchObject({ status: 500 });
    other.exec('ROLLBACK');
    other.close();
    expect(await call(side, 'POST', '/notes', { token: 'l-1', body: '' })).toMatchObject({ status: 201 });
  });

  it('answers a request that is under way before it ends on SIGTERM', async () => {
    await using side = await startLegacy({ root: newRoot() });
    const upload = request(new URL('/notes', side.url), { method: 'POST', agent: new Agent({ keepAlive: true }) });
    upload.write('{"token":"t-1",');
    await call(side, 'GET', '/health');
    const ended = side.child.kill('SIGTERM');
    await expect.poll(() => call(side, 'GET', '/health').catch(() => 'closed')).toBe('closed');
    upload.end('"body":""}');
    const [response] = (await once(upload, 'response')) as [IncomingMessage];
    expect(response.statusCode).toBe(201);
    await ended;
    expect(await side.child.exited).toEqual({ code: 0, signal: null });
  });
});

describe('next', () => {
  it('acts on its own only while it is active', async () => {
    const root = newRoot();
    await setUpNext({ root });
    await using side = await startNext({ root, passive: true });
    const file = path.join(root, 'data/next-ticks.log');
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(existsSync(file)).toBe(false);
    expect(await call(side, 'POST', '/control/activate')).toMatchObject({ status: 200 });
    await expect.poll(() => existsSync(file)).toBe(true);
    expect(await call(side, 'POST', '/control/passivate')).toMatchObject({ status: 200 });
    const then = readFileSync(file, 'utf8');
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(readFileSync(file, 'utf8')).toBe(then);
    expect(await call(side, 'POST', '/control/explode')).toMatchObject({ status: 404 });
  });

  it('says that it is fenced and writes again when it is not', async () => {
    const root = newRoot();
    await setUpNext({ root });
    await using onSqlite = await startNext({ root });
    const sqlite = new DatabaseSync(path.join(root, 'data/next.db'));
    await using onPostgres = await startNext({ root, databaseUrl: postgres.url });
    const client = new pg.Client(postgres.url);
    await client.connect();
    const refuse = `CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'no'; END$$`;
    for (let round = 0; round < 2; round++) {
      sqlite.exec(`CREATE TRIGGER refuse BEFORE INSERT ON notes BEGIN SELECT RAISE(ABORT, 'no'); END`);
      await client.query(`${refuse}; CREATE TRIGGER refuse BEFORE INSERT ON notes EXECUTE FUNCTION refuse()`);
      for (const side of [onSqlite, onPostgres])
        expect(await call(side, 'POST', '/notes', { token: `f-${round}`, body: '' })).toEqual({
          status: 503,
          body: { error: 'fenced' },
        });
      sqlite.exec('DROP TRIGGER refuse');
      await client.query('DROP TRIGGER refuse ON notes');
      for (const side of [onSqlite, onPostgres])
        expect(await call(side, 'POST', '/notes', { token: `f-${round}`, body: '' })).toMatchObject({ status: 201 });
    }
    sqlite.close();
    await client.end();
  });

  it('waits for another writer and answers others meanwhile', async () => {
    const root = newRoot();
    await setUpNext({ root });
    await using side = await startNext({ root });
    const other = new DatabaseSync(path.join(root, 'data/next.db'));
    other.exec('BEGIN IMMEDIATE');
    const waiting = call(side, 'POST', '/notes', { token: 'w-1', body: '' });
    expect(await call(side, 'GET', '/health')).toMatchObject({ status: 200 });
    other.exec('COMMIT');
    other.close();
    expect(await waiting).toMatchObject({ status: 201 });
  });

  it('lives on when its connections to Postgres are cut', async () => {
    const root = newRoot();
    await using side = await startNext({ root, databaseUrl: postgres.url });
    expect(await call(side, 'POST', '/notes', { token: 'p-1', body: '' })).toMatchObject({ status: 201 });
    const client = new pg.Client(postgres.url);
    await client.connect();
    await client.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()');
    await client.end();
    await expect.poll(() => call(side, 'POST', '/notes', { token: 'p-2', body: '' })).toMatchObject({ status: 201 });
  });

  it('is not healthy without its tables', async () => {
    const root = newRoot();
    await using side = await startNext({ root });
    expect(await call(side, 'GET', '/health')).toMatchObject({ status: 500 });
  });
});
