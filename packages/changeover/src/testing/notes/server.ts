import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { FencedError, type Note, type NotesStore, TOKEN } from './note.ts';
import type { Pictures } from './pictures.ts';

/** The API that both sides of the fixture serve; each answer names its side in the header `x-notes-side`. */
export interface NotesServerOptions {
  readonly side: 'legacy' | 'next';
  readonly port: number;
  readonly store: NotesStore;
  readonly pictures: Pictures;
  /** Status of a write that failed in the store. */
  readonly failureOf: (error: unknown) => Answer;
  /** Work of the side's own that is not idle yet, besides late notes. */
  readonly ownWork?: () => number;
  /** `POST /control/<name>`. */
  readonly controls?: Readonly<Record<string, () => Promise<void>>>;
}

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

const MAX_BODY_BYTES = 1 << 20;
const PAGE = 500;

class BadRequest extends Error {}

/** Listens on 127.0.0.1, says so in one line, and ends in good order on SIGTERM; notes still to be stored late are lost then. */
export function serveNotes(options: NotesServerOptions): Server {
  const late = { pending: 0, lost: 0 };
  const server = createServer((request, response) => {
    void answer(options, late, request)
      .catch((error: unknown) =>
        error instanceof BadRequest ? { status: 400, body: { error: error.message } } : options.failureOf(error),
      )
      .then((result) => {
        // A connection that is busy while the server closes would stay open behind its answer.
        if (!server.listening) response.setHeader('connection', 'close');
        send(options, response, result);
      });
  });
  server.listen(options.port, '127.0.0.1', () => {
    const address = server.address();
    if (address !== null && typeof address === 'object')
      console.log(`listening on http://127.0.0.1:${address.port} (${options.side})`);
  });
  process.once('SIGTERM', () => {
    server.close(() => {
      void options.store.close().then(() => process.exit(0));
    });
  });
  return server;
}

function send({ side }: NotesServerOptions, response: ServerResponse, { status, body }: Answer): void {
  const bytes = body instanceof Uint8Array ? body : Buffer.from(JSON.stringify(body));
  const type = body instanceof Uint8Array ? 'application/octet-stream' : 'application/json';
  response.writeHead(status, { 'content-type': type, 'content-length': bytes.length, 'x-notes-side': side });
  response.end(bytes);
}

async function answer(
  options: NotesServerOptions,
  late: { pending: number; lost: number },
  request: IncomingMessage,
): Promise<Answer> {
  const { store, pictures, side } = options;
  const url = new URL(request.url ?? '/', 'http://localhost');
  const [first = '', second = '', third = ''] = url.pathname.split('/').slice(1);
  const route = `${request.method} /${first}${second === '' ? '' : '/:name'}${third === '' ? '' : `/${third}`}`;
  switch (route) {
    case 'GET /health':
      await store.get('health');
      return ok({ status: 'ok', side });
    case 'GET /idle': {
      const pending = late.pending + (options.ownWork?.() ?? 0);
      return ok({ idle: pending === 0, pending, lost: late.lost });
    }
    case 'POST /control/:name': {
      const control = options.controls?.[second];
      if (control === undefined) return notFound;
      await control();
      return ok({ done: second });
    }
    case 'GET /notes':
      return ok({ notes: await store.list(url.searchParams.get('after') ?? '', PAGE) });
    case 'POST /notes': {
      const { note, picture } = readNote(await readJson(request));
      return (await create(options, note, picture))
        ? { status: 201, body: { token: note.token } }
        : { status: 409, body: { error: 'duplicate' } };
    }
    case 'POST /slow': {
      const json = await readJson(request);
      const { note, picture } = readNote({ body: '', ...json });
      if (typeof json.ms !== 'number') throw new BadRequest('ms: expected a number');
      // Acknowledged, and nowhere but in memory: what a move has to wait for before it may lock the stores.
      void storeLate(options, late, note, picture, json.ms);
      return { status: 202, body: { token: note.token } };
    }
    case 'GET /notes/:name': {
      const note = await store.get(second);
      return note === null ? notFound : ok(note);
    }
    case 'GET /notes/:name/picture': {
      const picture = TOKEN.test(second) ? await pictures.read(second) : null;
      return picture === null ? notFound : { status: 200, body: picture };
    }
    case 'PUT /notes/:name': {
      if (!store.supportsChanges) return notAllowed;
      const { note } = readNote({ ...(await readJson(request)), token: second });
      return (await store.update(note)) ? ok({ token: second }) : notFound;
    }
    case 'DELETE /notes/:name': {
      if (!store.supportsChanges) return notAllowed;
      if (!(await store.remove(second))) return notFound;
      if (TOKEN.test(second)) await pictures.remove(second);
      return ok({ token: second });
    }
    default:
      return notFound;
  }
}

const ok = (body: unknown): Answer => ({ status: 200, body });
const notFound: Answer = { status: 404, body: { error: 'not found' } };
const notAllowed: Answer = { status: 405, body: { error: 'the log is only appended to' } };

async function create({ store, pictures }: NotesServerOptions, note: Note, picture: Uint8Array | null) {
  // The note first: a folder has no fence of its own, and a refused note must leave no picture behind. A kill between the two is
  // made good by the repeated creation.
  const isNew = await store.create(note);
  if (picture !== null && (isNew || (await pictures.read(note.token)) === null))
    await pictures.write(note.token, picture);
  return isNew;
}

async function storeLate(
  options: NotesServerOptions,
  late: { pending: number; lost: number },
  note: Note,
  picture: Uint8Array | null,
  ms: number,
): Promise<void> {
  late.pending++;
  await sleep(ms);
  try {
    await create(options, note, picture);
  } catch (error) {
    late.lost++;
    console.error(`lost the note ${note.token}:`, error);
  } finally {
    late.pending--;
  }
}

async function readJson(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    // Read to its end all the same: an answer in the middle of an upload would be lost with the connection.
    if (bytes <= MAX_BODY_BYTES) chunks.push(chunk);
  }
  if (bytes > MAX_BODY_BYTES) throw new BadRequest(`body: at most ${MAX_BODY_BYTES} bytes`);
  try {
    const json: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'));
    if (typeof json === 'object' && json !== null && !Array.isArray(json)) return json as Record<string, unknown>;
  } catch (error) {
    throw new BadRequest('body: not JSON', { cause: error });
  }
  throw new BadRequest('body: expected an object');
}

function readNote(json: Record<string, unknown>): { note: Note; picture: Uint8Array | null } {
  const { token, body, tags = [], picture = null } = json;
  if (typeof token !== 'string' || !TOKEN.test(token)) throw new BadRequest(`token: expected ${String(TOKEN)}`);
  if (typeof body !== 'string') throw new BadRequest('body: expected a string');
  if (!Array.isArray(tags) || !tags.every((tag) => typeof tag === 'string'))
    throw new BadRequest('tags: expected strings');
  if (picture !== null && typeof picture !== 'string') throw new BadRequest('picture: expected base64');
  return {
    note: { token, body, tags: [...new Set(tags)].sort() },
    picture: picture === null ? null : Buffer.from(picture, 'base64'),
  };
}

/** How an error of the store is told to the client of the legacy: plainly, as it never heard of a fence. */
export function legacyFailure(error: unknown): Answer {
  return { status: 500, body: { error: String(error) } };
}

/** The new side says apart that its store is fenced: it was not written, and may be tried again. */
export function nextFailure(error: unknown): Answer {
  return error instanceof FencedError ? { status: 503, body: { error: 'fenced' } } : legacyFailure(error);
}
